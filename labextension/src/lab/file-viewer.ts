/** Run files (`fpdt/trace`, file.ts) in the file browser: a double click on `step.arrow` shows the run it holds. */
import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application'
import { WidgetTracker } from '@jupyterlab/apputils'
import { ABCWidgetFactory, type DocumentRegistry, DocumentWidget, TextModelFactory } from '@jupyterlab/docregistry'
import { button } from './button.js'
import { RunHost } from './run-host.js'

const FACTORY = 'FPDT run'
const FILE_TYPE = 'fpdt-run'
/** Bytes that a page can hold beside what it draws from them. */
const LARGEST = 2 ** 31
/** Time between two figures of progress: a screen reader says each. */
const TELL_MS = 1000

type Services = JupyterFrontEnd['serviceManager']

export const files: JupyterFrontEndPlugin<void> = {
  id: '@fpdt/labextension:files',
  description: 'Opens files that hold an FPDT run.',
  autoStart: true,
  optional: [ILayoutRestorer],
  activate: ({ docRegistry, serviceManager }: JupyterFrontEnd, restorer: ILayoutRestorer | null) => {
    docRegistry.addFileType({
      name: FILE_TYPE,
      displayName: 'FPDT run',
      extensions: ['.arrow'],
      mimeTypes: ['application/vnd.apache.arrow.stream'],
      contentType: 'file',
      fileFormat: null,
    })
    docRegistry.addModelFactory(new Unread())
    const factory = new RunFiles(serviceManager)
    docRegistry.addWidgetFactory(factory)
    const tracker = new WidgetTracker<DocumentWidget<RunFile>>({ namespace: FILE_TYPE })
    factory.widgetCreated.connect((_, widget) => {
      void tracker.add(widget)
      widget.context.pathChanged.connect(() => void tracker.save(widget))
    })
    void restorer?.restore(tracker, {
      command: 'docmanager:open',
      args: ({ context }) => ({ path: context.path, factory: FACTORY }),
      name: ({ context }) => context.path,
    })
  },
}

/** The document manager would read a file into a string; this one is read by its view, as bytes. */
class Unread extends TextModelFactory {
  override get name(): string {
    return FILE_TYPE
  }
  override get fileFormat(): null {
    return null
  }
}

class RunFiles extends ABCWidgetFactory<DocumentWidget<RunFile>> {
  constructor(readonly services: Services) {
    super({ name: FACTORY, modelName: FILE_TYPE, fileTypes: [FILE_TYPE], defaultFor: [FILE_TYPE], readOnly: true })
  }
  protected override createNewWidget(context: DocumentRegistry.Context): DocumentWidget<RunFile> {
    return new DocumentWidget({ content: new RunFile(context, this.services), context })
  }
}

export class RunFile extends RunHost {
  readonly #context: DocumentRegistry.Context
  readonly #services: Services
  #reading: AbortController | null = null
  /** When the file that is shown, or being read, was written. */
  #written: string | null = null

  constructor(context: DocumentRegistry.Context, services: Services) {
    super()
    this.addClass('jp-FPDT-tab')
    this.#context = context
    this.#services = services
    context.fileChanged.connect(this.#look, this)
    void context.ready.then(() => this.#look())
  }

  override dispose(): void {
    if (this.isDisposed) return
    this.#reading?.abort()
    this.#context.fileChanged.disconnect(this.#look, this)
    super.dispose()
  }

  /** Reads the file when it is not the one that was read. */
  #look(): void {
    const written = this.#context.contentsModel?.last_modified ?? null
    if (this.isDisposed || !this.#context.isReady || (written !== null && written === this.#written)) return
    this.#written = written
    void this.#read()
  }

  async #read(): Promise<void> {
    this.#reading?.abort()
    const reading = new AbortController()
    this.#reading = reading
    const name = this.#context.localPath
    const again = (): HTMLElement => button('Read it', `Read ${name}`, () => void this.#read())
    const cancel = button('Cancel', `Stop reading ${name}`, () => reading.abort(new Cancelled(`${name} was not read.`)))
    this.say(`${name} is read. `, 'status', [cancel])
    let told = performance.now()
    try {
      const bytes = await download(this.#services, this.#context.path, reading.signal, (done, of) => {
        if (performance.now() - told < TELL_MS) return
        told = performance.now()
        this.say(`${name} is read: ${megabytes(done)}${of > 0 ? ` of ${megabytes(of)}` : ''} MB. `, 'status', [cancel])
      })
      if (!reading.signal.aborted) await this.showTables(async () => (await import('fpdt/trace')).decodeRunFile(bytes))
    } catch (error) {
      if (this.isDisposed || reading !== this.#reading) return
      const words = error instanceof Error ? error.message : String(error)
      if (error instanceof Cancelled) this.say(`${words} `, 'status', [again()])
      else this.say(`${name} could not be read: ${words.slice(0, 300)} `, 'alert', [again()])
    }
  }
}

class Cancelled extends Error {}

/** The bytes of a file, by the address that the file browser downloads from: a contents model would hold them as a string, a third larger. */
async function download(
  { contents, serverSettings }: Services,
  path: string,
  signal: AbortSignal,
  progress: (done: number, of: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const request = new serverSettings.Request(await contents.getDownloadUrl(path), { ...serverSettings.init, signal, cache: 'no-store' })
  if (serverSettings.token) request.headers.set('Authorization', `token ${serverSettings.token}`)
  const response = await serverSettings.fetch.call(null, request) // a method of the window, not of the settings
  if (!response.ok || !response.body) throw new Error(`the server says ${response.status} ${response.statusText}`)
  const length = Number(response.headers.get('Content-Length') ?? 0)
  let bytes = new Uint8Array(room(length))
  let done = 0
  const reader = response.body.getReader()
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const end = done + part.value.length
    if (end > bytes.length) {
      const longer = new Uint8Array(room(Math.max(2 * bytes.length, end)))
      longer.set(bytes)
      bytes = longer
    }
    bytes.set(part.value, done)
    done = end
    progress(done, length)
  }
  return bytes.subarray(0, done)
}

function room(bytes: number): number {
  if (bytes > LARGEST)
    throw new Error(`it has more than ${megabytes(LARGEST)} MB, which a page cannot hold; record fewer steps, or read it with any Arrow reader`)
  return bytes
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1)
}
