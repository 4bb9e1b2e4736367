/**
 * Notes as bytes, on a pipe of their own rather than Node's IPC. Written synchronously, so nothing is lost when the process crashes a moment later, and
 * a cell that shows faster than clients read waits, as one that prints. Buffers of comm messages go as they are: the receiver copies them once, to their place.
 *
 *     u32 bytes of JSON, u32 number of buffers, f64 length of each buffer, JSON, buffers
 */
import { constants } from 'node:buffer'
import type { Note } from './protocol.js'

const KINDS: ReadonlySet<unknown> = new Set<Note['kind']>(['ready', 'output', 'close', 'ask', 'end'])
const MAX_BUFFERS = 2 ** 16

/** The parts of a note, to be written one after another. */
export function encodeNote(note: Note): readonly Uint8Array[] {
  const buffers = note.kind === 'output' && note.output.kind === 'comm' ? note.output.event.buffers : []
  const json = JSON.stringify(withBuffers(note, []))
  const bytes = Buffer.byteLength(json)
  const head = Buffer.allocUnsafe(8 + 8 * buffers.length + bytes)
  head.writeUInt32LE(bytes, 0)
  head.writeUInt32LE(buffers.length, 4)
  for (const [index, { byteLength }] of buffers.entries()) head.writeDoubleLE(byteLength, 8 + 8 * index)
  head.write(json, 8 + 8 * buffers.length)
  return [head, ...buffers]
}

/** Splits the bytes into notes, wherever the chunks are cut. User code can write to the pipe too: throws when it did, and is of no use from then on. */
export class NoteReader {
  readonly #notes: Note[] = []
  readonly #parts = this.#read()
  /** What the next bytes fill. */
  #part: Uint8Array
  #filled = 0

  constructor() {
    this.#part = this.#parts.next().value as Uint8Array
    this.#skipFull()
  }

  read(chunk: Uint8Array): Note[] {
    for (let at = 0; at < chunk.length; ) {
      const taken = Math.min(chunk.length - at, this.#part.length - this.#filled)
      this.#part.set(chunk.subarray(at, at + taken), this.#filled)
      this.#filled += taken
      at += taken
      this.#skipFull()
    }
    return this.#notes.splice(0)
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
      const head = Buffer.allocUnsafe(8)
      yield head
      if (head.readUInt32LE(0) > constants.MAX_STRING_LENGTH || head.readUInt32LE(4) > MAX_BUFFERS) throw new RangeError('this is no note')
      const lengths = Buffer.allocUnsafe(8 * head.readUInt32LE(4))
      yield lengths
      const json = Buffer.allocUnsafe(head.readUInt32LE(0))
      yield json
      const buffers = Array.from({ length: lengths.length / 8 }, (_, index) => Buffer.allocUnsafeSlow(lengths.readDoubleLE(8 * index)))
      for (const buffer of buffers) yield buffer
      const note = JSON.parse(json.toString()) as Note
      if (!KINDS.has(note?.kind)) throw new TypeError('this is no note')
      this.#notes.push(withBuffers(note, buffers))
    }
  }
}

function withBuffers(note: Note, buffers: readonly Uint8Array[]): Note {
  if (note.kind !== 'output' || note.output.kind !== 'comm') return note
  return { ...note, output: { ...note.output, event: { ...note.output.event, buffers } } }
}
