/**
 * The protocol: which message is answered how. A table from message type to handler; every request stands between `busy` and `idle`. Only executions
 * wait for each other, in the queue of their shell: what a client asks or sends to a comm meanwhile is answered at once, so that widgets, completion
 * and a page that is loaded again work while a cell trains. Never runs user code, so nothing a cell does can block it.
 */
import { createRequire } from 'node:module'
import { setImmediate } from 'node:timers/promises'
import type { Assistant } from '../assist/assist.js'
import type { Executed } from '../assist/executed.js'
import type { Task } from '../cells/protocol.js'
import { FpdtError } from '../errors.js'
import { isParsable } from '../language/parsable.js'
import { Channels, type RequestChannel } from './channels.js'
import type { Connection } from './connection.js'
import { codeOf, cursorOf, detailOf, historyOf, parsableCodeOf } from './content.js'
import { Execution } from './execution.js'
import type { ExecutorProcess } from './executor-process.js'
import { asFailure } from './failure.js'
import { History, historyPath } from './history.js'
import { type Message, type MessageExtra, PROTOCOL_VERSION, Session } from './message.js'
import { Comms } from './open-comms.js'
import type { Ask } from './output-order.js'
import { Outputs } from './outputs.js'
import { Shells } from './shells.js'
import { Stdin } from './stdin.js'
import { Questions } from './supervisor-magics.js'
import { Wire } from './wire.js'

/** The reply's content; undefined for messages that have no reply. */
type Handler = (request: Message) => object | undefined | Promise<object | undefined>

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
  banner: `FPDT ${version}: long-context transformer training, chunk by chunk, in TypeScript\nType \`?\` for help, \`%lsmagic\` for all magics.`,
  help_links: [{ text: 'FPDT: Fully Pipelined Distributed Transformer', url: 'https://arxiv.org/abs/2408.16978' }],
  supported_features: ['kernel subshells'],
}

export class Kernel {
  readonly #session = new Session()
  readonly #history = new History(historyPath())
  readonly #outputs = new Outputs((type, content, parent, extra) => this.#publish(type, content, parent, extra))
  readonly #execution: Execution
  readonly #comms: Comms
  readonly #stdin: Stdin
  readonly #shells = new Shells((request, shell, aborted) => this.#handle('shell', request, () => this.#execution.execute(request, shell, aborted)))
  readonly #handlers: Readonly<Record<RequestChannel, Readonly<Record<string, Handler>>>>
  #assistant: Promise<Assistant> | undefined
  /** Executions under way, in the order they began. */
  readonly #executing = new Set<Message>()
  #stopped!: () => void

  /** Resolves after a shutdown_request or `stop`. */
  readonly stopped = new Promise<void>((resolve) => {
    this.#stopped = resolve
  })

  private constructor(
    private readonly channels: Channels,
    private readonly executor: ExecutorProcess,
  ) {
    const publish = (type: string, content: object, parent?: Message) => this.#publish(type, content, parent)
    const assist = () => this.#assist()
    const questions = new Questions(assist, { types: (text) => this.#execution.types.command(text) })
    this.#execution = new Execution(executor, this.#outputs, this.#history, publish, questions, assist, () => this.#forgetNames())
    this.#comms = new Comms(executor, this.#outputs, publish)
    this.#stdin = new Stdin(executor, (type, content, request) => {
      const message = this.#session.message(type, content, request)
      return { id: message.header.msg_id, sent: channels.send('stdin', message) }
    })
    executor.onOutput = (cell, output) => {
      if (output.kind === 'comm') this.#comms.follow(output.event)
      this.#execution.output(cell, output)
    }
    executor.onAsk = (ask) => void this.#ask(ask)
    executor.onLoss = (untouched) => this.#forget(untouched)
    const info: Handler = () => KERNEL_INFO
    const shutdown: Handler = (request) => this.#shutdown(request)
    const comm: Handler = (request) => this.#comms.receive(request)
    this.#handlers = {
      shell: {
        kernel_info_request: info,
        complete_request: async (request) => (await this.#assist()).complete(parsableCodeOf(request), cursorOf(request)),
        inspect_request: async (request) => (await this.#assist()).inspect(parsableCodeOf(request), cursorOf(request), detailOf(request)),
        is_complete_request: async (request) => {
          const code = codeOf(request)
          return isParsable(code) ? (await import('../language/is-complete.js')).isComplete(code) : { status: 'unknown' }
        },
        history_request: (request) => this.#history.reply(historyOf(request)),
        comm_info_request: ({ content }) => this.#comms.info(content),
        comm_open: comm,
        comm_msg: comm,
        comm_close: comm,
        shutdown_request: shutdown, // before 5.4 it came here
      },
      control: {
        kernel_info_request: info,
        interrupt_request: () => this.#interrupt(),
        shutdown_request: shutdown,
        create_subshell_request: () => this.#shells.create(),
        delete_subshell_request: (request) => this.#shells.delete(request),
        list_subshell_request: () => this.#shells.list(),
      },
      stdin: {},
    }
  }

  static async start(connection: Connection, executor: ExecutorProcess): Promise<Kernel> {
    const wire = new Wire(connection.key, connection.hash)
    const channels = await Channels.bind(connection, wire, (isFull) => executor.hold(isFull))
    const kernel = new Kernel(channels, executor)
    let isGreeted = false
    const greet = (topic: string) => {
      kernel.channels.publish(kernel.#session.message('iopub_welcome', { subscription: topic }), topic)
      // Any earlier it would reach nobody: clients subscribe when the socket is there.
      if (!isGreeted) kernel.#publish('status', { execution_state: 'starting' })
      isGreeted = true
    }
    const receive = (channel: RequestChannel, request: Message) => {
      kernel.#receive(channel, request)
      return channel === 'shell' ? executor.room() : undefined
    }
    kernel.channels.listen(receive, greet)
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
    this.#shells.abort('the kernel was shut down')
    await this.executor.close()
    for (let turn = 0; turn < 10 && this.#executing.size > 0; turn++) await setImmediate()
    this.#outputs.flush()
    await this.channels.close()
  }

  #receive(channel: RequestChannel, request: Message): void {
    const { msg_type } = request.header
    if (channel === 'stdin' && msg_type === 'input_reply') this.#stdin.receive(request)
    else if (channel === 'shell' && msg_type === 'execute_request') {
      try {
        this.#shells.of(request).push(request)
      } catch (error) {
        void this.#handle(channel, request, () => this.#execution.refuse(request, error as Error, this.#shells.main.count))
      }
    } else if (Object.hasOwn(this.#handlers[channel], msg_type)) void this.#handle(channel, request, this.#handlers[channel][msg_type] as Handler)
    else this.channels.complain(`ignored ${JSON.stringify(msg_type.slice(0, 80))} on ${channel}`)
  }

  async #ask(ask: Ask): Promise<void> {
    this.#outputs.flush()
    await this.channels.published()
    const request = this.#outputs.requestOf(ask.cell)
    if (request === undefined) this.executor.answer(ask.cell, { failed: 'it is no longer known who runs this cell' })
    else await this.#stdin.ask(ask, request)
  }

  /** Never rejects. */
  async #handle(channel: RequestChannel, request: Message, handler: Handler): Promise<void> {
    const { msg_type } = request.header
    const isExecution = msg_type === 'execute_request'
    this.#publish('status', { execution_state: 'busy' }, request)
    if (isExecution) this.#executing.add(request)
    let reply: object | undefined
    try {
      reply = await handler(request)
    } catch (error) {
      reply = asFailure(error as Error)
      if (!(error instanceof FpdtError)) this.channels.complain(`${msg_type}: ${(error as Error).stack}`)
    }
    // What has no reply, as comm messages, ends with its idle alone.
    if (reply !== undefined && msg_type.endsWith('_request')) {
      this.channels.send(channel, this.#session.message(msg_type.replace(/_request$/, '_reply'), reply, request))
    }
    if (isExecution) await this.#execution.settled(request)
    this.#publish('status', { execution_state: 'idle' }, request)
    this.#executing.delete(request)
    // Servers and front ends take the last status for that of the kernel, and one that seems idle may be culled in the middle of a training run.
    const [executing] = this.#executing
    if (executing !== undefined) this.#publish('status', { execution_state: 'busy' }, executing)
  }

  /** Parser and language server are loaded when they are first asked for: most of what an idle kernel would weigh. */
  #assist(): Promise<Assistant> {
    this.#assistant ??= import('../assist/assist.js').then(({ Assistant }) => new Assistant(process.cwd(), this.#execution.executed, this.#execution.globals))
    return this.#assistant
  }

  #forget(untouched: readonly Task[]): void {
    const isStillRun = (file: string) => untouched.some((task) => task.kind === 'cell' && task.file === file)
    this.#forgetNames(this.#execution.executed.filter(({ file }) => isStillRun(file)))
    this.#execution.globals.clear()
    this.#comms.closeAll()
  }

  #forgetNames(kept: readonly Executed[] = []): void {
    this.#execution.executed.splice(0, Number.POSITIVE_INFINITY, ...kept)
    void this.#assistant?.then((assistant) => assistant.forget())
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

  #publish(type: string, content: object, parent?: Message, extra?: MessageExtra): void {
    this.channels.publish(this.#session.message(type, content, parent, extra))
  }
}
