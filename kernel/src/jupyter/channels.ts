/**
 * The five sockets of a kernel. The only file that touches ZeroMQ.
 *
 *     shell, control, stdin   Router   requests in, replies out
 *     iopub                   XPub     outputs to every client; greets each subscriber (JEP 65)
 *     heartbeat               Router   echoes whatever comes
 */
import { lstatSync, rmSync } from 'node:fs'
import { setTimeout as startTimer } from 'node:timers'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { Router, type SocketOptions, XPublisher } from 'zeromq'
import { FpdtError } from '../errors.js'
import { Complaints } from './complaints.js'
import { address, type Connection, PORTS, type Port } from './connection.js'
import { asFailure } from './failure.js'
import type { Message } from './message.js'
import type { Wire } from './wire.js'

export type RequestChannel = 'shell' | 'control' | 'stdin'
type Frames = readonly Uint8Array[]

/** How long unsent messages may hold up the exit. */
const LINGER_MS = 1000
/** ZeroMQ cuts off whoever announces a longer frame: it would take the memory before anybody looks at the signature. */
const FRAME_BYTES = 2 ** 30
/** So many messages of one peer wait inside ZeroMQ; its further ones wait at the peer. */
const RECEIVED = 1000
const OPTIONS = { sendHighWaterMark: 0, receiveHighWaterMark: RECEIVED, maxMessageSize: FRAME_BYTES, linger: LINGER_MS }
/** `handover`: a client that comes back under its name before its old connection is known to be dead gets the name (as in ipykernel). */
const ROUTER = { ...OPTIONS, handover: true }
/**
 * A cell can print faster than a client reads. Few messages of IOPub wait inside ZeroMQ, the others in our queue, whose size we know; with `noDrop`
 * ZeroMQ refuses above its mark, where it would drop silently. A client that takes nothing for CUT_OFF_MS is cut off: others wait for the slowest.
 * `allSubs`: else only the first subscriber of a topic raises an event, and the others are never welcomed.
 */
const IOPUB = { ...OPTIONS, verbosity: 'allSubs', sendHighWaterMark: 128, noDrop: true } as const
const CUT_OFF_MS = 10_000
/** How often a refused message is tried again. ZeroMQ does not tell when an XPub socket has room: it always calls itself writable. */
const RETRY_MS = 5
/**
 * How long what a cell publishes may be gathered; its reply takes it along. To make, send and read `busy` and `execute_input` beside a short cell, on a
 * machine with few cores, would cost that reply a tenth.
 */
const GATHER_MS = 3
/** A queue that holds more than this is full, until it has gone down to half. */
const FULL_BYTES = 8 * 2 ** 20

export class Channels {
  readonly #sockets: Record<RequestChannel | 'heartbeat', Router>
  readonly #iopub: XPublisher
  readonly #queues: Record<RequestChannel | 'iopub' | 'heartbeat', SendQueue>
  readonly #complaints = new Complaints()
  /** Not yet made into frames. */
  readonly #published: (() => Frames)[] = []
  #gathering: NodeJS.Timeout | undefined

  private constructor(
    private readonly connection: Connection,
    private readonly wire: Wire,
    onFull: (isFull: boolean) => void,
    cutOff_ms: number,
  ) {
    const { curve } = connection
    const security = curve === undefined ? {} : { curveServer: true, curvePublicKey: curve.publicKey, curveSecretKey: curve.secretKey }
    const router = (options: SocketOptions<Router> = ROUTER) => new Router({ ...options, ...security })
    this.#sockets = { shell: router(), control: router(), stdin: router({ ...ROUTER, mandatory: true }), heartbeat: router(OPTIONS) }
    this.#iopub = new XPublisher({ ...IOPUB, tcpMaxRetransmitTimeout: cutOff_ms, ...security })
    const complain = (words: string) => this.#complaints.say(words)
    const queue = (socket: Router) => new SendQueue(socket, complain)
    const { shell, control, stdin, heartbeat } = this.#sockets
    const iopub = new SendQueue(this.#iopub, complain, onFull)
    this.#queues = { shell: queue(shell), control: queue(control), stdin: queue(stdin), iopub, heartbeat: queue(heartbeat) }
  }

  /** `onFull` is told when clients no longer keep up with what is published, and when they do again. Throws FpdtError 'address'. */
  static async bind(connection: Connection, wire: Wire, onFull: (isFull: boolean) => void, cutOff_ms = CUT_OFF_MS): Promise<Channels> {
    const channels = new Channels(connection, wire, onFull, cutOff_ms)
    const { heartbeat: hb, ...others } = channels.#sockets
    const sockets: Record<Port, Router | XPublisher> = { ...others, hb, iopub: channels.#iopub }
    // Socket files of ipc are for their owner alone.
    const umask = process.umask(0o177)
    try {
      await Promise.all(Object.entries(sockets).map(([port, socket]) => bindAt(socket, address(connection, port as Port), port)))
    } finally {
      process.umask(umask)
    }
    return channels
  }

  /**
   * Reads every socket until `close`. Frames that are no message of ours are reported on stderr and dropped. When `onRequest` gives a promise, the next
   * message of that channel waits for it.
   */
  listen(onRequest: (channel: RequestChannel, request: Message) => Promise<void> | undefined, onSubscribe: (topic: string) => void): void {
    for (const channel of ['shell', 'control', 'stdin'] as const) {
      void receive(this.#sockets[channel], (frames) => {
        const message = this.wire.decode(frames)
        if (!('refused' in message)) return onRequest(channel, message)
        this.#complaints.say(`dropped a message on ${channel}: ${message.refused}`)
      })
    }
    void receive(this.#sockets.heartbeat, (frames) => void this.#queues.heartbeat.send(frames))
    void receive(this.#iopub, ([frame]) => {
      const topic = subscribedTopic(frame)
      if (topic !== undefined) onSubscribe(topic)
    })
  }

  /** Whether it was sent: on stdin the client may not be there. */
  send(channel: RequestChannel, message: Message): Promise<boolean> {
    // A client that has its reply looks at the outputs once, as jupyter console does: they go first, unless a client that reads nothing holds them up.
    const outputs = this.#gathering === undefined ? undefined : Promise.race([this.published(), setImmediate()])
    const frames = this.#encode(message, (error) => ({ ...message, content: { ...asFailure(error) } }))
    return this.#queues[channel].send(frames, outputs)
  }

  /** Resolves when all that was published so far has been handed to ZeroMQ. */
  published(): Promise<void> {
    this.#flush()
    return this.#queues.iopub.drained()
  }

  /** To every client. Exactly one topic frame; its value is free, and helps those who subscribe to a part. */
  publish(message: Message, topic = message.header.msg_type): void {
    const { header } = message
    const encode = () =>
      this.#encode({ ...message, identities: [Buffer.from(topic)] }, (error) => ({
        ...message,
        identities: [Buffer.from('stream')],
        header: { ...header, msg_type: 'stream' },
        content: { name: 'stderr', text: `${header.msg_type} could not be sent: ${error.message}\n` },
      }))
    this.#published.push(encode)
    // The end of all that can go on without input: by then the executor has its task.
    if (!mayWait(message)) process.nextTick(() => this.#flush())
    else this.#gathering ??= startTimer(() => this.#flush(), GATHER_MS)
  }

  #flush(): void {
    clearTimeout(this.#gathering)
    this.#gathering = undefined
    for (const encode of this.#published.splice(0)) this.#queues.iopub.send(encode())
  }

  /** User code can give us what is no JSON (circles, a thousand levels); whoever waits for the message then gets `instead`. */
  #encode(message: Message, instead: (error: Error) => Message): Uint8Array[] {
    try {
      return this.wire.encode(message)
    } catch (error) {
      return this.wire.encode({ ...instead(error as Error), metadata: {} })
    }
  }

  /** To the terminal of the server, but not once for each message. */
  complain(words: string): void {
    this.#complaints.say(words)
  }

  async close(): Promise<void> {
    this.#flush()
    const drained = Promise.all(Object.values(this.#queues).map((queue) => queue.drained()))
    await Promise.race([drained, setTimeout(LINGER_MS)])
    for (const socket of [...Object.values(this.#sockets), this.#iopub]) socket.close()
    // ZeroMQ would remove them at some later time, and the process ends now.
    for (const file of PORTS.map((port) => socketFile(address(this.connection, port)))) if (file !== undefined) rmSync(file, { force: true })
    this.#complaints.sum()
  }
}

async function bindAt(socket: Router | XPublisher, at: string, port: string): Promise<void> {
  const failed = (why: string) => new FpdtError('address', `cannot bind ${port} to ${at}, where the connection file says: ${why}`)
  const path = socketFile(at)
  // ZeroMQ removes whatever lies at the path; a socket there is a former kernel's of the same connection file.
  if (path !== undefined && lstatSync(path, { throwIfNoEntry: false })?.isSocket() === false) throw failed('a file is there that is no socket')
  await socket.bind(at).catch((error: Error) => {
    throw failed(error.message)
  })
}

/** Of ipc; undefined for tcp. */
function socketFile(at: string): string | undefined {
  return at.startsWith('ipc://') ? at.slice('ipc://'.length) : undefined
}

function mayWait({ parent, content }: Message): boolean {
  return parent.msg_type === 'execute_request' && content.execution_state !== 'idle'
}

/** zeromq.js allows one pending send a socket; a second one throws EBUSY at once. So the sends of a socket form a chain. */
class SendQueue {
  #tail: Promise<void> = Promise.resolve()
  #bytes = 0
  #isFull = false

  constructor(
    private readonly socket: Router | XPublisher,
    private readonly complain: (words: string) => void,
    private readonly onFull: (isFull: boolean) => void = () => {},
  ) {}

  /** `after`: what else must have happened before. */
  send(frames: Frames, after?: Promise<void>): Promise<boolean> {
    const bytes = frames.reduce((sum, frame) => sum + frame.length, 0)
    this.#grow(bytes)
    const sent = this.#tail
      .then(() => after)
      .then(() => this.#sendNow(frames))
      .then(
        () => true,
        (error: Error) => {
          // A peer that is gone must not hold up the others.
          if (!this.socket.closed) this.complain(`could not send a message: ${error.message}`)
          return false
        },
      )
    this.#tail = sent.then(() => this.#grow(-bytes))
    return sent
  }

  /** Resolves when everything sent so far has been handed to ZeroMQ. */
  drained(): Promise<void> {
    return this.#tail
  }

  async #sendNow(frames: Frames): Promise<void> {
    for (;;) {
      try {
        return await this.socket.send(frames as Uint8Array[])
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
        await setTimeout(RETRY_MS)
      }
    }
  }

  #grow(bytes: number): void {
    this.#bytes += bytes
    const isFull = this.#bytes > (this.#isFull ? FULL_BYTES / 2 : FULL_BYTES)
    if (isFull === this.#isFull) return
    this.#isFull = isFull
    this.onFull(isFull)
  }
}

async function receive(socket: Router | XPublisher, handle: (frames: Buffer[]) => Promise<void> | undefined | void): Promise<void> {
  try {
    for await (const frames of socket) {
      const pause = handle(frames as Buffer[])
      if (pause !== undefined) await pause
    }
  } catch (error) {
    if (!socket.closed) throw error
  }
}

/** An XPub socket receives `\x01topic` for a subscription. Unsubscriptions and topics that are no UTF-8 are not answered. */
function subscribedTopic(frame: Buffer | undefined): string | undefined {
  if (frame === undefined || frame[0] !== 1) return undefined
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(frame.subarray(1))
  } catch {
    return undefined
  }
}
