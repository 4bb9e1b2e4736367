/**
 * TypeScript 7's language server (`tsc --lsp --stdio`): the process, and JSON-RPC with it. Ends with our end of its stdin, so none is left behind
 * however this process dies.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { executable } from '../language/tsc.js'

interface Incoming {
  readonly id?: number | string
  readonly method?: string
  readonly params?: { readonly items?: readonly { readonly section?: string }[] }
  readonly result?: unknown
  readonly error?: { readonly message: string }
}

/** A server that is asked and says nothing for so long is stuck: a cold one under full load takes two seconds. */
const STUCK_MS = 8000
/** Its heap may grow by half before it is collected, not to the double: 20 MB less, and completions stay as quick. */
const COLLECT_AT = '50'

/** What it asks an editor for, by section. Names of other modules are not offered, the edit that imports them could not be made. */
const SETTINGS: Readonly<Record<string, object>> = {
  'js/ts': { suggest: { autoImports: false }, tsserver: { automaticTypeAcquisition: { enabled: false } } },
  typescript: { disableAutomaticTypeAcquisition: true },
}

const CAPABILITIES = {
  textDocument: {
    hover: { contentFormat: ['markdown'] },
    diagnostic: {},
    definition: { linkSupport: true },
    signatureHelp: {
      signatureInformation: { documentationFormat: ['markdown'], parameterInformation: { labelOffsetSupport: true }, activeParameterSupport: true },
    },
  },
  workspace: { configuration: true, didChangeWatchedFiles: {} },
}

export interface Asking {
  /** How long the answer is of use. */
  readonly limit_ms: number
  /** Whoever asked wants no answer any more. */
  readonly signal?: AbortSignal
}

export class LanguageServer {
  readonly #child: ChildProcess
  readonly #pending = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>()
  readonly #settings: Readonly<Record<string, object>>
  /** What it has not answered yet. Dropped questions count: a stuck server is one whose questions were all dropped. */
  readonly #unanswered = new Set<number>()
  #stuck: NodeJS.Timeout | undefined
  #received: Buffer = Buffer.alloc(0)
  #sent = 0
  #end: string | undefined

  private constructor(
    folder: string,
    config: string,
    private readonly onEnd: (why: string) => void,
  ) {
    this.#settings = { ...SETTINGS, 'js/ts': { ...SETTINGS['js/ts'], customConfigFileName: config } }
    this.#child = spawn(executable(), ['--lsp', '--stdio'], { cwd: folder, stdio: ['pipe', 'pipe', 'ignore'], env: { GOGC: COLLECT_AT, ...process.env } })
    this.#child.stdout?.on('data', (chunk: Buffer) => this.#read(chunk))
    this.#child.stdin?.on('error', () => {}) // `exit` tells
    this.#child.on('error', (error) => this.#ended(error.message))
    this.#child.on('exit', (code, signal) => this.#ended(signal === null ? `exited with code ${code}` : `was ended by ${signal}`))
  }

  /** `config`: what a tsconfig.json is called here. `onEnd` hears of the server's end, unless `close` was called. Throws when the binary is missing. */
  static async start(folder: string, config: string, onEnd: (why: string) => void): Promise<LanguageServer> {
    const server = new LanguageServer(folder, config, onEnd)
    await server.request('initialize', { processId: process.pid, rootUri: null, capabilities: CAPABILITIES }, { limit_ms: STUCK_MS * 2 })
    server.notify('initialized', {})
    return server
  }

  get isOpen(): boolean {
    return this.#end === undefined
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Rejects when the server says so, ends, or the answer is of no use any more; then the server is told to stop. */
  request(method: string, params: object, { limit_ms, signal }: Asking): Promise<unknown> {
    if (!this.isOpen) return Promise.reject(new Error(`the language server ${this.#end}`))
    const id = ++this.#sent
    return new Promise((resolve, reject) => {
      const drop = (why: string): void => {
        this.notify('$/cancelRequest', { id })
        this.#settle(id, { error: { message: `${method} ${why}` } })
      }
      const onAbort = () => drop('is superseded')
      const timer = setTimeout(() => drop(`took more than ${limit_ms} ms`), limit_ms)
      const done =
        <T>(settle: (value: T) => void) =>
        (value: T) => {
          clearTimeout(timer)
          signal?.removeEventListener('abort', onAbort)
          settle(value)
        }
      this.#pending.set(id, { resolve: done(resolve), reject: done(reject) })
      signal?.addEventListener('abort', onAbort)
      this.#unanswered.add(id)
      if (this.#stuck === undefined) this.#await()
      this.#write({ id, method, params })
    })
  }

  notify(method: string, params: object): void {
    if (this.isOpen) this.#write({ method, params })
  }

  close(): void {
    if (this.isOpen) this.#ended('was closed', false)
  }

  #ended(why: string, isNews = true): void {
    if (!this.isOpen) return
    this.#end = why
    clearTimeout(this.#stuck)
    this.#child.kill('SIGKILL')
    for (const id of [...this.#pending.keys()]) this.#settle(id, { error: { message: `the language server ${why}` } })
    if (isNews) this.onEnd(why)
  }

  /** From now on, while something is unanswered, it should say something. */
  #await(): void {
    clearTimeout(this.#stuck)
    this.#stuck = this.#unanswered.size === 0 ? undefined : setTimeout(() => this.#ended(`said nothing for ${STUCK_MS / 1000} s`), STUCK_MS)
  }

  #write(message: object): void {
    const body = Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message }))
    this.#child.stdin?.write(`Content-Length: ${body.length}\r\n\r\n`)
    this.#child.stdin?.write(body)
  }

  #read(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk])
    for (;;) {
      const bodyStart = this.#received.indexOf('\r\n\r\n') + 4
      if (bodyStart < 4) return
      const length = Number(/content-length: *(\d+)/i.exec(this.#received.toString('latin1', 0, bodyStart))?.[1])
      if (!(this.#received.length >= bodyStart + length)) return
      this.#receive(JSON.parse(this.#received.toString('utf8', bodyStart, bodyStart + length)))
      this.#received = this.#received.subarray(bodyStart + length)
      this.#await()
    }
  }

  #receive({ id, method, params, result, error }: Incoming): void {
    if (method === undefined) {
      this.#unanswered.delete(id as number)
      this.#settle(id as number, error === undefined ? { result } : { error })
    }
    // What the server asks of an editor has no answer here, but for its settings, and it waits for one.
    else if (id !== undefined) this.#write({ id, result: params?.items?.map(({ section = '' }) => this.#settings[section] ?? null) ?? null })
  }

  #settle(id: number, { result, error }: Incoming): void {
    const pending = this.#pending.get(id)
    this.#pending.delete(id)
    if (error === undefined) pending?.resolve(result)
    else pending?.reject(new Error(error.message))
  }
}
