/**
 * The protocol: which message is answered how. A table from message type to handler; every request stands between `busy` and `idle`; requests
 * on shell are handled one after another, those on control at once. Never runs user code, so nothing a cell does can block it.
 */
import { createRequire } from 'node:module'
import { setImmediate } from 'node:timers/promises'
import type { Assistant } from '../language/assist.js'
import type { Failure, Output } from '../language/protocol.js'
import { Channels, type RequestChannel } from './channels.js'
import type { Connection } from './connection.js'
import type { ExecutorProcess } from './executor-process.js'
import { History, historyPath } from './history.js'
import { type Message, PROTOCOL_VERSION, Session } from './message.js'
import { Outputs } from './outputs.js'
import { Wire } from './wire.js'

/** The reply's content; undefined for messages that have no reply. `isAborted`: an earlier cell failed, this one must not run. */
type Handler = (request: Message, isAborted: boolean) => object | undefined | Promise<object | undefined>

interface Queued {
  readonly request: Message
  isAborted: boolean
}

const require = createRequire(import.meta.url)
const { version } = require('../../package.json') as { version: string }
const { version: typescript } = require('typescript/package.json') as { version: string }

const KERNEL_INFO = {
  status: 'ok',
  protocol_version: PROTOCOL_VERSION,
  implementation: 'fpdt',
  implementation_version: version,
  language_info: {
    name: 'typescript',
    version: typescript,
    mimetype: 'text/typescript',
    file_extension: '.ts',
    pygments_lexer: 'typescript',
    codemirror_mode: 'typescript',
    nbconvert_exporter: 'script',
  },
  banner: `FPDT ${version}: long-context transformer training, chunk by chunk, in TypeScript`,
  help_links: [{ text: 'FPDT: Fully Pipelined Distributed Transformer', url: 'https://arxiv.org/abs/2408.16978' }],
  supported_features: [],
}

export class Kernel {
  readonly #session = new Session()
  readonly #history = new History(historyPath())
  /** Cells that ran since the executor started: what completion knows. */
  readonly #executed: string[] = []
  #assistant: Promise<Assistant> | undefined
  readonly #outputs = new Outputs((type, content, parent) => this.#publish(type, content, parent))
  readonly #handlers: Readonly<Record<RequestChannel, Readonly<Record<string, Handler>>>>
  readonly #queue: Queued[] = []
  #isPumping = false
  /** The number beside a cell. */
  #count = 0
  /** Every run, also those that do not count. */
  #runs = 0
  #result: string | undefined
  #stopped!: () => void

  /** Resolves after a shutdown_request or `stop`. */
  readonly stopped = new Promise<void>((resolve) => {
    this.#stopped = resolve
  })

  private constructor(
    private readonly channels: Channels,
    private readonly executor: ExecutorProcess,
  ) {
    executor.onOutput = (cell, output) => this.#output(cell, output)
    executor.onLoss = () => this.#forget()
    const info: Handler = () => KERNEL_INFO
    const shutdown: Handler = (request) => this.#shutdown(request)
    this.#handlers = {
      shell: {
        kernel_info_request: info,
        execute_request: (request, isAborted) => this.#execute(request, isAborted),
        complete_request: async ({ content }) => (await this.#assist()).complete(String(content.code), Number(content.cursor_pos)),
        inspect_request: async ({ content }) => (await this.#assist()).inspect(String(content.code), Number(content.cursor_pos)),
        is_complete_request: async ({ content }) => (await import('../language/is-complete.js')).isComplete(String(content.code)),
        history_request: ({ content }) => this.#history.reply(content),
        comm_info_request: () => ({ status: 'ok', comms: {} }),
        comm_open: (request) => this.#refuseComm(request),
        comm_msg: () => undefined, // of a comm that was refused; its close is on the way
        comm_close: () => undefined,
        shutdown_request: shutdown, // before 5.4 it came here
      },
      control: {
        kernel_info_request: info,
        interrupt_request: () => this.#interrupt(),
        shutdown_request: shutdown,
      },
      stdin: {},
    }
  }

  static async start(connection: Connection, executor: ExecutorProcess): Promise<Kernel> {
    const wire = new Wire(connection.key, connection.hash)
    const channels = await Channels.bind(connection, wire, (isFull) => executor.hold(isFull))
    const kernel = new Kernel(channels, executor)
    kernel.channels.listen(
      (channel, request) => kernel.#receive(channel, request),
      (topic) => kernel.channels.publish(kernel.#session.message('iopub_welcome', { subscription: topic }), topic),
    )
    kernel.#publish('status', { execution_state: 'starting' })
    return kernel
  }

  interrupt(): void {
    this.executor.interrupt()
  }

  stop(): void {
    this.#stopped()
  }

  /** Sends what is still to be sent and ends every process of the kernel but this one. */
  async close(): Promise<void> {
    void this.#assistant?.then((assistant) => assistant.close())
    // The process first: what it has printed, and the reply of a cell that ends with it, are still to be sent.
    for (const waiting of this.#queue) waiting.isAborted = true
    await this.executor.close()
    for (let turn = 0; turn < 10 && this.#isPumping; turn++) await setImmediate()
    this.#outputs.flush()
    await this.channels.close()
  }

  #receive(channel: RequestChannel, request: Message): void {
    if (!Object.hasOwn(this.#handlers[channel], request.header.msg_type)) {
      process.stderr.write(`fpdt kernel: ignored ${JSON.stringify(request.header.msg_type)} on ${channel}\n`)
    } else if (channel === 'shell') {
      this.#queue.push({ request, isAborted: false })
      void this.#pump()
    } else void this.#handle(channel, request, false)
  }

  async #pump(): Promise<void> {
    if (this.#isPumping) return
    this.#isPumping = true
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) await this.#handle('shell', next.request, next.isAborted)
    this.#isPumping = false
  }

  async #handle(channel: RequestChannel, request: Message, isAborted: boolean): Promise<void> {
    const { msg_type } = request.header
    this.#publish('status', { execution_state: 'busy' }, request)
    let reply: object | undefined
    try {
      reply = await this.#handlers[channel][msg_type]?.(request, isAborted)
    } catch (error) {
      reply = asError(error as Error)
      process.stderr.write(`fpdt kernel: ${msg_type}: ${(error as Error).stack}\n`)
    }
    if (reply !== undefined) this.channels.send(channel, this.#session.message(msg_type.replace(/_request$/, '_reply'), reply, request))
    this.#publish('status', { execution_state: 'idle' }, request)
  }

  async #execute(request: Message, isAborted: boolean): Promise<object> {
    const { code, silent = false, store_history = true, user_expressions, stop_on_error = true } = request.content
    if (isAborted) {
      return { ...asError({ name: 'Aborted', message: 'not run, because an earlier cell failed' }), execution_count: this.#count }
    }
    if (typeof code !== 'string') throw new TypeError(`execute_request: code is ${typeof code}, not a string`)
    const isStored = store_history === true && silent !== true
    if (isStored) this.#count++
    if (silent !== true) this.#publish('execute_input', { code, execution_count: this.#count }, request)

    const cell = ++this.#runs
    this.#result = undefined
    this.#outputs.open(cell, request, this.#count)
    const expressions = Object.fromEntries(Object.entries((user_expressions ?? {}) as object).map(([name, text]) => [name, String(text)]))
    const file = isStored ? `Cell [${this.#count}]` : 'Cell [*]'
    const { error, lost, expressions: values } = await this.executor.run({ cell, file, code, silent: silent === true, expressions })
    this.#outputs.flush()
    if (isStored) this.#history.add(this.#count, code, this.#result)
    if (lost !== true) this.#executed.push(code)

    if (error === undefined) return { status: 'ok', execution_count: this.#count, user_expressions: values, payload: [] }
    if (silent !== true) this.#publish('error', errorOutput(error), request)
    if (stop_on_error === true) {
      await setImmediate() // requests that have arrived meanwhile are queued first
      for (const queued of this.#queue) queued.isAborted = true
    }
    return { ...error, execution_count: this.#count, user_expressions: {}, payload: [] }
  }

  #output(cell: number, output: Output): void {
    if (output.kind === 'result') this.#result = String(output.data['text/plain'])
    this.#outputs.add(cell, output)
  }

  /** Parser and language server are loaded when they are first asked for: most of what an idle kernel would weigh. */
  #assist(): Promise<Assistant> {
    this.#assistant ??= import('../language/assist.js').then(({ Assistant }) => new Assistant(process.cwd(), this.#executed))
    return this.#assistant
  }

  #forget(): void {
    this.#executed.length = 0
    void this.#assistant?.then((assistant) => assistant.close())
  }

  #interrupt(): object {
    this.executor.interrupt()
    return { status: 'ok' }
  }

  #shutdown(request: Message): object {
    const content = { status: 'ok', restart: request.content.restart === true }
    this.#publish('shutdown_reply', content, request)
    this.#stopped()
    return content
  }

  #refuseComm(request: Message): undefined {
    this.#publish('comm_close', { comm_id: request.content.comm_id, data: {} }, request)
  }

  #publish(type: string, content: object, parent?: Message): void {
    this.channels.publish(this.#session.message(type, content, parent))
  }
}

function errorOutput({ ename, evalue, traceback }: Failure): Omit<Failure, 'status'> {
  return { ename, evalue, traceback }
}

function asError(error: { readonly name: string; readonly message: string }): Failure {
  return { status: 'error', ename: error.name, evalue: error.message, traceback: [`${error.name}: ${error.message}`] }
}
