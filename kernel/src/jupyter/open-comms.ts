/** Comms on the side of the protocol: which are open, and the way of the front end's messages to the handlers in the executor. */
import type { CommEvent } from '../comm/comms.js'
import { FpdtError } from '../errors.js'
import type { ExecutorProcess } from './executor-process.js'
import { errorOutput } from './failure.js'
import type { Content, Message } from './message.js'
import type { Outputs } from './outputs.js'

type Publish = (type: string, content: object, parent?: Message) => void

export class Comms {
  /** Id -> target. */
  readonly #open = new Map<string, string>()

  constructor(
    private readonly executor: ExecutorProcess,
    private readonly outputs: Outputs,
    private readonly publish: Publish,
  ) {}

  /** The content of a comm_info_reply. */
  info({ target_name: wanted }: Content): object {
    const entries = [...this.#open].filter(([, target]) => wanted === undefined || wanted === null || target === wanted)
    return { status: 'ok', comms: Object.fromEntries(entries.map(([id, target_name]) => [id, { target_name }])) }
  }

  /** comm_open, comm_msg, comm_close of a client; resolves when the handlers are done and what they showed is sent. Messages of a comm that is closed by now are dropped. */
  async receive(request: Message): Promise<undefined> {
    const event = eventOf(request)
    if (event.type !== 'open' && !this.#open.has(event.id)) return
    this.follow(event)
    const task = this.executor.nextTask()
    this.outputs.openHandler(task, request)
    const { error } = await this.executor.run({ kind: 'comm', cell: task, event })
    this.outputs.ended(task)
    this.outputs.flush()
    if (error !== undefined) this.publish('error', errorOutput(error), request)
  }

  /** Keeps account of an event of either side. */
  follow(event: CommEvent): void {
    if (event.type === 'open') this.#open.set(event.id, event.target)
    else if (event.type === 'close') this.#open.delete(event.id)
  }

  /** The process that had all handlers is gone. */
  closeAll(): void {
    for (const id of this.#open.keys()) this.publish('comm_close', { comm_id: id, data: {} })
    this.#open.clear()
  }
}

function eventOf({ header, content, metadata, buffers }: Message): CommEvent {
  const { comm_id: id, target_name: target, data = {} } = content
  if (typeof id !== 'string') throw new FpdtError('content', `${header.msg_type}: comm_id is ${typeof id}, not a string`)
  const rest = { id, data, metadata, buffers }
  if (header.msg_type !== 'comm_open') return { type: header.msg_type === 'comm_close' ? 'close' : 'msg', ...rest }
  if (typeof target !== 'string') throw new FpdtError('content', `comm_open: target_name is ${typeof target}, not a string`)
  return { type: 'open', target, ...rest }
}
