/**
 * Comms on the side of user code: who is open, who listens. Knows no sockets: events leave through a function that the host gives, and those of
 * the front end come in through `receive`.
 */
import { randomUUID } from 'node:crypto'
import { FpdtError } from '../errors.js'

/** comm_open, comm_msg, comm_close in either direction. `buffers` travel as binary frames. */
export type CommEvent = {
  readonly id: string
  /** A JSON object. */
  readonly data: unknown
  readonly metadata: Readonly<Record<string, unknown>>
  readonly buffers: readonly Uint8Array[]
} & ({ readonly type: 'open'; readonly target: string } | { readonly type: 'msg' | 'close' })

/** What the front end sent. */
export interface CommMessage {
  readonly data: Readonly<Record<string, unknown>>
  readonly metadata: Readonly<Record<string, unknown>>
  readonly buffers: readonly Uint8Array[]
}

/** What goes beside the data: metadata of the message, and bytes that travel as they are. */
export interface CommOptions {
  readonly metadata?: Readonly<Record<string, unknown>>
  readonly buffers?: readonly (ArrayBuffer | ArrayBufferView)[]
}

/** May return a promise; the front end sees the kernel as busy until it resolves, and what it rejects with as an error. */
export type CommHandler = (message: CommMessage) => unknown
/** Called when the front end opens a comm of a target; registers what should happen on it. */
export type TargetHandler = (comm: Comm, message: CommMessage) => unknown

type JsonObject = Readonly<Record<string, unknown>>

/**
 * One channel between code in the kernel and code in the front end. Handlers of one message start in the order in which they were added, those of
 * the next message do not wait for them: a handler may await an answer that comes over the same comm.
 */
export class Comm {
  readonly #messageHandlers = new Set<CommHandler>()
  readonly #closeHandlers = new Set<CommHandler>()
  #isClosed = false

  /** Use `openComm` or `onComm`. */
  constructor(
    readonly id: string,
    readonly target: string,
    private readonly emit: (event: CommEvent) => void,
  ) {}

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Throws FpdtError 'comm-closed', and TypeError for data that is no JSON object. */
  send(data: JsonObject, options: CommOptions = {}): void {
    if (this.#isClosed) throw new FpdtError('comm-closed', `comm ${this.id} of target ${JSON.stringify(this.target)} is closed; open another with openComm`)
    this.emit({ type: 'msg', id: this.id, ...payloadOf(data, options) })
  }

  /** Does nothing when it is closed already. `onClose` is not called: that the front end closed is what it tells. */
  close(data: JsonObject = {}, options: CommOptions = {}): void {
    if (this.#isClosed) return
    const event = { type: 'close', id: this.id, ...payloadOf(data, options) } as const
    this.#isClosed = true
    this.emit(event)
  }

  /** Returns the function that takes the handler away. */
  onMessage(handler: CommHandler): () => void {
    this.#messageHandlers.add(handler)
    return () => this.#messageHandlers.delete(handler)
  }

  /** When the front end closes it. Returns the function that takes the handler away. */
  onClose(handler: CommHandler): () => void {
    this.#closeHandlers.add(handler)
    return () => this.#closeHandlers.delete(handler)
  }

  /** Resolves when the handlers are done; rejects with what the first of them threw, after all have begun. */
  async deliver(event: CommEvent): Promise<void> {
    if (event.type === 'close') this.#isClosed = true
    const handlers = [...(event.type === 'close' ? this.#closeHandlers : this.#messageHandlers)]
    const results = await Promise.allSettled(handlers.map(async (handler) => handler(messageOf(event))))
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }
}

/** All comms of a process. */
export class Comms {
  readonly #open = new Map<string, Comm>()
  readonly #targets = new Map<string, TargetHandler>()

  constructor(private readonly send: (event: CommEvent) => void) {}

  open(target: string, data: JsonObject = {}, options: CommOptions = {}): Comm {
    const comm = this.#create(randomUUID(), target)
    this.send({ type: 'open', id: comm.id, target, ...payloadOf(data, options) })
    this.#open.set(comm.id, comm)
    return comm
  }

  /** A later registration of the same target replaces an earlier one, as a cell that is run again does. */
  register(target: string, handler: TargetHandler): () => void {
    this.#targets.set(target, handler)
    return () => {
      if (this.#targets.get(target) === handler) this.#targets.delete(target)
    }
  }

  /** Of the front end. Resolves when the handlers are done, rejects with what they throw. Unknown targets are closed, messages to unknown ids ignored. */
  async receive(event: CommEvent): Promise<void> {
    if (event.type === 'open') return this.#accept(event)
    const comm = this.#open.get(event.id)
    if (event.type === 'close') this.#open.delete(event.id)
    await comm?.deliver(event)
  }

  async #accept(event: CommEvent & { type: 'open' }): Promise<void> {
    const handler = this.#targets.get(event.target)
    const comm = this.#create(event.id, event.target)
    if (handler === undefined) return comm.close()
    this.#open.set(comm.id, comm)
    try {
      await handler(comm, messageOf(event))
    } catch (error) {
      comm.close() // nobody listens on it
      throw error
    }
  }

  #create(id: string, target: string): Comm {
    return new Comm(id, target, (event) => {
      if (event.type === 'close') this.#open.delete(id)
      this.send(event)
    })
  }
}

function messageOf({ data, metadata, buffers }: CommEvent): CommMessage {
  return { data: (data ?? {}) as JsonObject, metadata, buffers }
}

/** Checked here, where the stack trace names the line of the user that sent it. */
function payloadOf(data: JsonObject, { metadata = {}, buffers = [] }: CommOptions): Pick<CommEvent, 'data' | 'metadata' | 'buffers'> {
  return { data: asJson(data, 'data'), metadata: asJson(metadata, 'metadata'), buffers: buffers.map(asBytes) }
}

function asJson(value: JsonObject, what: string): JsonObject {
  const plain: unknown = JSON.parse(JSON.stringify(value) ?? 'null')
  if (typeof plain !== 'object' || plain === null || Array.isArray(plain)) {
    throw new TypeError(
      `${what} of a comm message is ${Array.isArray(plain) ? 'an array' : `a ${plain === null ? 'null' : typeof plain}`}, not a JSON object; try { value: ... }`,
    )
  }
  return plain as JsonObject
}

function asBytes(buffer: ArrayBuffer | ArrayBufferView, index: number): Uint8Array {
  if (buffer instanceof Uint8Array) return buffer
  if (ArrayBuffer.isView(buffer)) return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength)
  if (buffer instanceof ArrayBuffer) return new Uint8Array(buffer)
  throw new TypeError(`buffer ${index} of a comm message is ${typeof buffer}, not an ArrayBuffer or a view of one`)
}
