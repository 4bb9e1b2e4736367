/** execute_request: a cell becomes a task of the executor, and its outcome the reply. */
import { setImmediate } from 'node:timers/promises'
import type { Assistant } from '../assist/assist.js'
import type { Executed } from '../assist/executed.js'
import type { CellTask, Outcome, Output, Payload } from '../cells/protocol.js'
import { codeOf, expressionsOf } from './content.js'
import type { ExecutorProcess } from './executor-process.js'
import { asFailure, errorOutput } from './failure.js'
import type { History } from './history.js'
import type { Message } from './message.js'
import type { Outputs } from './outputs.js'
import type { Shell } from './shell.js'
import type { CellQuestions, Questions } from './supervisor-magics.js'
import { type CellCheck, type Due, TypeCheck } from './type-check.js'

type Publish = (type: string, content: object, parent: Message) => void

export class Execution {
  /** Cells that ran since the executor started, the running ones included: what completion knows. */
  readonly executed: Executed[] = []
  /** Names that code put on the executor's global object, and those of the results (`_3`). */
  readonly globals = new Set<string>()
  readonly types: TypeCheck
  /** By the request of a cell that has ended: when its types have been looked at. */
  readonly #due = new Map<Message, Due>()
  /** text/plain of the results of running cells. */
  readonly #results = new Map<number, string>()

  constructor(
    private readonly executor: ExecutorProcess,
    private readonly outputs: Outputs,
    private readonly history: History,
    private readonly publish: Publish,
    private readonly questions: Questions,
    assist: () => Promise<Assistant>,
    /** The process has forgotten all names, because the user asked for it. */
    private readonly onForgot: () => void,
  ) {
    const show = (cell: number, text: string) => {
      outputs.add(cell, { kind: 'stream', name: 'stderr', text })
      outputs.flush()
    }
    this.types = new TypeCheck(assist, this.executed, this.globals, show, process.env.FPDT_TYPES)
  }

  /** The content of the execute_reply. `aborted` says why the cell must not run: since protocol 5.1 the status of that is `error` too. */
  async execute(request: Message, shell: Shell, aborted?: string): Promise<object> {
    const reply = await this.#execute(request, shell, aborted)
    await this.#due.get(request)?.reply
    return reply
  }

  async #execute(request: Message, shell: Shell, aborted?: string): Promise<object> {
    const { silent, store_history = true, allow_stdin, stop_on_error = true } = request.content
    const refused = (error: Error) => ({ ...asFailure(error), execution_count: shell.count })
    if (aborted !== undefined) return refused({ name: 'Aborted', message: `not run, because ${aborted}` })
    let code: string
    let expressions: Record<string, string>
    try {
      code = codeOf(request)
      expressions = expressionsOf(request)
    } catch (error) {
      return refused(error as Error)
    }
    const isSilent = silent === true
    const isStored = store_history === true && !isSilent
    if (isStored) shell.count++
    const { count } = shell
    if (!isSilent) this.publish('execute_input', { code, execution_count: count }, request)

    const questions = await this.questions.of(code)
    const cell = this.executor.nextTask()
    this.outputs.openCell(cell, request, count)
    const canAsk = allow_stdin === true
    const task: CellTask = {
      kind: 'cell',
      cell,
      file: fileOf(shell, isStored),
      ...(shell.id === undefined ? {} : { subshell: shell.id }),
      ...(isStored ? { count } : {}),
      canAsk,
      code,
      silent: isSilent,
      expressions,
    }
    const check = isSilent ? undefined : this.types.begin(cell, task.file, code)
    const outcome = await this.#run(task, questions, check)
    this.outputs.ended(cell)
    const { error, forgot, expressions: values, payload = [], globals = [] } = outcome
    if (forgot === true) this.globals.clear() // all there are come again
    for (const name of globals) this.globals.add(name)
    if (check !== undefined) this.#due.set(request, check.ended(outcome, shell.followed()))
    if (isStored && shell.ordinal === undefined) this.globals.add(`_${count}`)
    this.outputs.flush()
    if (isStored) this.history.add(count, code, this.#results.get(cell), shell.ordinal)
    this.#results.delete(cell)
    if (forgot === true) {
      this.onForgot()
      this.executed.push({ code, file: task.file, hasFailed: error !== undefined }) // what it declared behind its `%reset` is there
    }

    if (error === undefined) {
      const page = await questions?.page()
      if (page !== undefined) this.#show(page, cell, canAsk)
      return { status: 'ok', execution_count: count, user_expressions: values, payload: page === undefined ? payload : [...payload, page] }
    }
    if (!isSilent) this.publish('error', errorOutput(error), request)
    if (stop_on_error === true) {
      await setImmediate() // requests that have arrived meanwhile are queued first
      shell.abort('an earlier cell failed')
    }
    return { ...error, execution_count: count, user_expressions: {}, payload }
  }

  /** The content of the execute_reply to what no shell takes. */
  refuse(request: Message, error: Error, count: number): object {
    const failure = asFailure(error)
    if (request.content.silent !== true) this.publish('error', errorOutput(failure), request)
    return { ...failure, execution_count: count }
  }

  /** Resolves when the types of a cell that was answered have been looked at, or took too long: its `idle` may follow. */
  async settled(request: Message): Promise<void> {
    await this.#due.get(request)?.idle
    this.#due.delete(request)
  }

  async #run(task: CellTask, questions: CellQuestions | undefined, check: CellCheck | undefined): Promise<Outcome> {
    const failure = questions?.failure ?? (await check?.refusal())
    if (failure !== undefined) return { error: failure, expressions: {} }
    const executed: Executed = { code: task.code, file: task.file }
    this.executed.push(executed)
    const printed = questions?.printed ?? ''
    if (printed !== '') this.outputs.add(task.cell, { kind: 'stream', name: 'stdout', text: printed })
    const outcome = await this.executor.run(task)
    executed.hasFailed = outcome.error !== undefined
    return outcome
  }

  /** A client that cannot be asked, such as nbclient, has nobody who reads and no pager either: there help is an output. */
  #show(page: Payload, cell: number, canAsk: boolean): void {
    if (canAsk || page.source !== 'page') return
    this.outputs.add(cell, { kind: 'display', data: page.data, metadata: {}, update: false })
    this.outputs.flush()
  }

  output(cell: number, output: Output): void {
    if (output.kind === 'result') this.#results.set(cell, String(output.data['text/plain']))
    this.outputs.add(cell, output)
  }
}

/** How stack frames name the cell; subshells count for themselves. */
function fileOf({ count, ordinal }: Shell, isStored: boolean): string {
  return `Cell [${isStored ? count : '*'}]${ordinal === undefined ? '' : ` of subshell ${ordinal}`}`
}
