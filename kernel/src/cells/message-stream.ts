/**
 * Tasks and notes as bytes, each on a socket of its own rather than on Node's IPC, which copies every buffer twice more. Buffers of comm messages
 * go as they are: the receiver has them read, or copies them once, to their place.
 *
 *     u32 magic, u32 bytes of JSON, u32 number of buffers, f64 length of each buffer, JSON, buffers
 *
 * The magic number is new in every executor: bytes that others write between the messages end the stream at the next message.
 */
import { constants } from 'node:buffer'
import type { CommEvent } from '../comm/comms.js'
import type { Note, Task } from './protocol.js'

type Message = Note | Task
type Kind = Message['kind']

export const NOTES: ReadonlySet<Note['kind']> = new Set(['ready', 'output', 'close', 'ask', 'heard', 'end'] as const)
export const TASKS: ReadonlySet<Task['kind']> = new Set(['cell', 'comm'] as const)

const HEAD_BYTES = 12
const MAX_BUFFERS = 2 ** 16
const CHUNK_BYTES = 2 ** 16

/** Of the messages of an executor, from its nonce. */
export function magicOf(nonce: string): number {
  return Number.parseInt(nonce.slice(0, 8), 16)
}

/** The parts of a message, to be written one after another. */
export function encodeMessage(message: Message, magic: number): readonly Uint8Array[] {
  const buffers = eventOf(message)?.buffers ?? []
  const json = JSON.stringify(withBuffers(message, []))
  const bytes = Buffer.byteLength(json)
  const head = Buffer.allocUnsafe(HEAD_BYTES + 8 * buffers.length + bytes)
  head.writeUInt32LE(magic, 0)
  head.writeUInt32LE(bytes, 4)
  head.writeUInt32LE(buffers.length, 8)
  for (const [index, { byteLength }] of buffers.entries()) head.writeDoubleLE(byteLength, HEAD_BYTES + 8 * index)
  head.write(json, HEAD_BYTES + 8 * buffers.length)
  return [head, ...buffers]
}

/**
 * Splits bytes into messages of those kinds, wherever the chunks are cut. User code can read and write the descriptors too: throws when it did, and is of
 * no use from then on.
 */
export class MessageReader<K extends Kind> {
  readonly #messages: Extract<Message, { kind: K }>[] = []
  readonly #parts = this.#read()
  /** What the next bytes fill. */
  #part: Uint8Array
  #filled = 0
  #chunk: Uint8Array | undefined

  constructor(
    private readonly kinds: ReadonlySet<K>,
    private readonly magic: number,
  ) {
    this.#part = this.#parts.next().value as Uint8Array
    this.#skipFull()
  }

  read(chunk: Uint8Array): Extract<Message, { kind: K }>[] {
    for (let at = 0; at < chunk.length; ) {
      const taken = Math.min(chunk.length - at, this.#part.length - this.#filled)
      this.#part.set(chunk.subarray(at, at + taken), this.#filled)
      this.#filled += taken
      at += taken
      this.#skipFull()
    }
    return this.#messages.splice(0)
  }

  /** Where whoever reads may put the next bytes instead: what is missing of a long part, which then is not copied, or a chunk. `readInto` takes them. */
  get space(): Uint8Array {
    if (this.#part.length - this.#filled > CHUNK_BYTES) return this.#part.subarray(this.#filled)
    this.#chunk ??= Buffer.allocUnsafeSlow(CHUNK_BYTES)
    return this.#chunk
  }

  /** So many bytes were put into the `space` that was given. */
  readInto(space: Uint8Array, count: number): Extract<Message, { kind: K }>[] {
    if (space === this.#chunk) return this.read(space.subarray(0, count))
    this.#filled += count
    this.#skipFull()
    return this.#messages.splice(0)
  }

  #skipFull(): void {
    while (this.#filled === this.#part.length) {
      this.#part = this.#parts.next().value as Uint8Array
      this.#filled = 0
    }
  }

  /** Yields memory, and goes on when it is filled. */
  *#read(): Generator<Uint8Array, never> {
    for (;;) {
      const head = Buffer.allocUnsafe(HEAD_BYTES)
      yield head
      const [magic, bytes, count] = [head.readUInt32LE(0), head.readUInt32LE(4), head.readUInt32LE(8)]
      if (magic !== this.magic || bytes > constants.MAX_STRING_LENGTH || count > MAX_BUFFERS) throw new RangeError('this is no message')
      const lengths = Buffer.allocUnsafe(8 * count)
      yield lengths
      const json = Buffer.allocUnsafe(bytes)
      yield json
      const buffers = Array.from({ length: count }, (_, index) => Buffer.allocUnsafeSlow(lengths.readDoubleLE(8 * index)))
      for (const buffer of buffers) yield buffer
      const message = JSON.parse(json.toString()) as Extract<Message, { kind: K }>
      if (!this.kinds.has(message?.kind as K)) throw new TypeError('this is no message')
      this.#messages.push(withBuffers(message, buffers))
    }
  }
}

function eventOf(message: Message): CommEvent | undefined {
  if (message.kind === 'comm') return message.event
  return message.kind === 'output' && message.output.kind === 'comm' ? message.output.event : undefined
}

function withBuffers<M extends Message>(message: M, buffers: readonly Uint8Array[]): M {
  const event = eventOf(message)
  if (event === undefined) return message
  const whole = { ...event, buffers }
  return message.kind === 'output' ? { ...message, output: { ...message.output, event: whole } } : { ...message, event: whole }
}
