/**
 * Runs tasks in this process: cells, and handlers of comm messages. Several may be under way, taking turns where they await; interruption finds them
 * all. Knows no sockets: outputs go to an `OutputWriter`, the outcome is returned.
 */
import { types } from 'node:util'
import vm from 'node:vm'
import { Comms } from '../comm/comms.js'
import { COMM_HOST } from '../comm/index.js'
import { DISPLAY_HOST, type DisplayHost, type MimeBundle } from '../display.js'
import { mayHoldWords } from '../language/magics/signs.js'
import { SourceError } from '../language/syntax.js'
import { transpileCell } from '../language/transpile.js'
import { progress } from '../progress.js'
import { type Cell, cellOf, cells, UNHEARD } from './cell.js'
import { createDisplay, isShown } from './displays.js'
import { rememberCell } from './frames.js'
import { onInterrupt, setOldest, stop } from './interrupt.js'
import { KeyboardInterrupt } from './keyboard-interrupt.js'
import { hinted } from './magics/hinted.js'
import { CellModules } from './modules.js'
import { NewGlobals } from './new-globals.js'
import type { OutputWriter } from './output-writer.js'
import { displayIdOf, present, sendable } from './present/index.js'
import type { CellTask, Failure, Outcome, Shown, Task } from './protocol.js'
import { Results } from './results.js'
import { failureOf } from './traceback.js'
import { UserNames } from './user-names.js'
import { endWaiting, interruptWaiting, wait } from './waiting.js'

/** What transpiled cell code knows as `$$cell`. */
interface Scope {
  value: unknown
  readonly import: CellModules['import']
  readonly dynamicImport: CellModules['dynamicImport']
  readonly meta: CellModules['meta']
}

/** An interrupt so soon after another means that the cell shall end. */
const AGAIN_MS = 2000

export class Evaluator {
  readonly #modules: CellModules
  readonly #comms: Comms
  readonly #names = new UserNames()
  readonly #results = new Results(this.#names)
  readonly #globals = new NewGlobals()
  /** Oldest first. */
  readonly #running = new Map<number, { readonly cell: Cell; readonly reject: (reason: Error) => void }>()

  constructor(
    folder: string,
    private readonly output: OutputWriter,
  ) {
    this.#modules = new CellModules(folder)
    this.#comms = new Comms((event) => output.output({ kind: 'comm', event }))
    this.#installGlobals()
  }

  /** Never rejects; resolves when nothing of the task is left to wait for. */
  async run(task: Task): Promise<{ readonly cell: Cell; readonly outcome: Outcome }> {
    const cell = cellOf(task)
    const interrupted = new Promise<never>((_, reject) => this.#running.set(cell.id, { cell, reject }))
    interrupted.catch(() => {})
    this.#changed()
    if (task.kind === 'cell') this.output.begin(cell)
    const outcome = await cells.run(cell, () =>
      Promise.race([this.#perform(task, cell), interrupted]).catch((thrown): Outcome => {
        if (cell.heard !== UNHEARD) endWaiting(cell)
        return { error: failureOf(ofChild(thrown)), expressions: {} }
      }),
    )
    this.#running.delete(cell.id)
    this.#changed()
    const globals = this.#globals.tell(cell.forgot)
    return {
      cell,
      outcome: {
        ...outcome,
        ...(cell.payload.length === 0 ? {} : { payload: cell.payload }),
        ...(cell.forgot ? { forgot: true } : {}),
        ...(globals.length === 0 ? {} : { globals }),
      },
    }
  }

  /**
   * Throws into all tasks up to that one, once for every interrupt: what waits then cleans up. A task that catches it and goes on may, unless the user asks
   * again at once.
   */
  interrupt(upTo: number, serial: number): void {
    for (const { cell, reject } of this.#running.values()) {
      if (cell.id > upTo || cell.heard.serial >= serial) continue
      const isAgain = performance.now() - cell.heard.at_ms < AGAIN_MS
      cell.heard = { serial, at_ms: performance.now() }
      const isThrown = interruptWaiting(cell)
      if (isAgain) cell.interrupted = true
      if (isThrown) continue
      const interruption = new KeyboardInterrupt()
      interruption.stack = String(interruption) // how this process heard of it says nothing about the cell
      reject(interruption)
    }
  }

  /** An interrupt that nobody caught, as one that was thrown in a timer, has not reached what the cells wait for. */
  uncaught(): void {
    for (const { cell } of this.#running.values()) cell.heard = UNHEARD
  }

  isUnderWay(cell: Cell): boolean {
    return this.#running.has(cell.id)
  }

  #changed(): void {
    const [oldest = 0] = this.#running.keys()
    setOldest(oldest)
  }

  async #perform(task: Task, cell: Cell): Promise<Outcome> {
    if (task.kind === 'cell') return this.#evaluate(task, cell)
    await wait(this.#comms.receive(task.event))
    await wait(Promise.all(cell.pending))
    return { expressions: {} }
  }

  async #evaluate(task: CellTask, cell: Cell): Promise<Outcome> {
    const count = task.subshell === undefined ? task.count : undefined
    if (task.inputs !== undefined) this.#results.recall(task.inputs)
    if (count !== undefined) this.#results.begin(count, task.code)
    const { value } = await this.#execute(task.code, cell.file)
    if (!isShown(value) && !task.silent) await this.#showResult(value)
    if (!isShown(value) && count !== undefined) this.#results.keep(count, value)
    await wait(Promise.all(cell.pending))
    const expressions: [string, (Shown & { status: 'ok' }) | Failure][] = []
    for (const [name, code] of Object.entries(task.expressions)) {
      try {
        const { value } = await this.#execute(code, `expression ${name}`)
        expressions.push([name, { status: 'ok', data: (await wait(present(value))) as MimeBundle, metadata: {} }])
      } catch (thrown) {
        expressions.push([name, failureOf(thrown)])
      }
    }
    return { expressions: Object.fromEntries(expressions) } // whatever their names: `__proto__` is one
  }

  /** The scope rather than its value: a promise in `value` would be waited for. */
  async #execute(source: string, file: string): Promise<Scope> {
    const words = mayHoldWords(source) ? (await import('../language/magics/expand.js')).expandWords(source, (name) => this.#names.has(name)) : undefined
    let cell: ReturnType<typeof transpileCell>
    try {
      cell = transpileCell(source, file, words)
    } catch (error) {
      throw await hinted(error, file, words?.text ?? source)
    }
    const { code, names, positions } = cell
    rememberCell(file, source, positions)
    if (words !== undefined && words.text !== source) await this.#installWords()
    for (const name of names) this.#names.declare(name)
    const modules = this.#modules
    const scope: Scope = {
      value: undefined,
      import: (specifier, wanted, attributes) => modules.import(specifier, wanted, attributes),
      dynamicImport: (specifier, options) => modules.dynamicImport(specifier, options),
      meta: modules.meta,
    }
    let run: (check: typeof stop, scope: Scope) => Promise<void>
    try {
      const enclosed = this.#names.enclose(code)
      run = new vm.Script(enclosed.code, { filename: file }).runInThisContext()
      if (enclosed.apart !== undefined) run = (run as unknown as (apart: object) => typeof run)(enclosed.apart)
    } catch (error) {
      throw located(error as Error, file, source, positions)
    }
    try {
      await run(stop, scope)
    } catch (error) {
      this.#names.failed(names)
      throw types.isNativeError(error) ? await hinted(error, file, source) : error // what is not one may be a promise, or worse
    }
    return scope
  }

  async #showResult(value: unknown): Promise<void> {
    const data = (await wait(present(value))) as MimeBundle
    const displayId = displayIdOf(value)
    // Front ends can update a display, not a result.
    if (displayId !== undefined) this.output.output({ kind: 'display', displayId, update: false, data, metadata: {} })
    else this.output.output({ kind: 'result', data, metadata: {} })
  }

  /** Loaded with the first cell that has words. */
  async #installWords(): Promise<void> {
    if ('$$words' in globalThis) return
    const { Words } = await import('./magics/run.js')
    const words = new Words({
      folder: this.#modules.folder,
      names: this.#names,
      results: this.#results,
      display: (data) => this.output.output({ kind: 'display', data, metadata: {}, update: false }),
      import: (specifier) => this.#modules.dynamicImport(specifier),
      execute: (source, file) => this.#execute(source, file),
    })
    Object.defineProperty(globalThis, '$$words', { value: words, configurable: true })
  }

  #installGlobals(): void {
    const { output } = this
    const host: DisplayHost = {
      display: (data, { displayId, update = false, metadata = {} } = {}) =>
        output.output({ kind: 'display', data: sendable(data), metadata, update, ...(displayId === undefined ? {} : { displayId }) }),
      owner: () => cells.getStore(),
      onInterrupt,
    }
    const clear = (options: { wait?: boolean } = {}) => output.output({ kind: 'clear', wait: options.wait ?? false })
    console.clear = () => clear()
    const sh = async (command: string) => (await import('./magics/command.js')).sh(command)
    Object.assign(globalThis, { [DISPLAY_HOST]: host, [COMM_HOST]: this.#comms })
    this.offer({ display: createDisplay(host, clear), progress, require: this.#modules.require, sh })
  }

  /** What cells know without an import, until they take the name for something else. */
  offer(globals: object): void {
    for (const [name, value] of Object.entries(globals)) this.#names.offer(name, value, true)
  }
}

/** `execSync` says that its command was interrupted; it was because the cell was. */
function ofChild(thrown: unknown): unknown {
  if (stop[0] === 0 || !types.isNativeError(thrown) || (thrown as { signal?: unknown }).signal !== 'SIGINT') return thrown
  const interruption = new KeyboardInterrupt()
  interruption.stack = `${interruption}${(thrown.stack ?? '').slice(`${thrown}`.length)}`
  return interruption
}

/** V8 refuses some things that the parser lets pass; its message comes with the emitted line, which nobody wrote. */
function located(error: Error, file: string, source: string, positions: ReturnType<typeof transpileCell>['positions']): Error {
  const [, line, blanks] = /^[^\n]*:(\d+)\n[^\n]*\n([ \t]*)\^/.exec(error.stack ?? '') ?? []
  const at = line === undefined ? undefined : positions(Number(line), (blanks?.length ?? 0) + 1)
  return at === undefined ? error : new SourceError(error.message, file, source, at.line, at.column)
}
