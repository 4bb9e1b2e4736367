/**
 * Which entries must have ended before an entry may start. Three rules:
 *
 *   1. what it reads: the last writer
 *   2. what it writes: the last writer and the readers since
 *   3. bytes that it takes over from an earlier residency: that one's last users
 *
 * All three are one rule about bytes of the arena: a write follows every earlier user of its bytes, a read follows their
 * last writer, whatever residency they belonged to. So the walk keeps, for every stretch of bytes, its last writer and its
 * last reader on each stream, and knows of no residencies.
 *
 * What the own stream implies is dropped, and so is what another wait implies (vector clocks): at most one entry of each
 * other stream is left, few enough to draw as arrows.
 */

import { firstIndex } from '../search.js'
import { STREAMS, TIERS } from '../trace/schema.js'
import { ABSENT, type Entries, READS, WRITES } from './entries.js'
import type { Residency } from './lifetimes.js'

/** Entries that entry e waits for: entry[start[e]] .. entry[start[e + 1] - 1], all earlier than e. */
export interface Waits {
  readonly start: Uint32Array
  readonly entry: Uint32Array
}

const STREAM_COUNT = STREAMS.length
const NEVER = -1

/** Waits of every entry, least in number: see the head of this file. `residencies` have their offsets already. */
export function waitsOf(entries: Entries, residencies: readonly Pick<Residency, 'tier' | 'offset'>[]): Waits {
  const start = new Uint32Array(entries.length + 1)
  const waits: number[] = []
  const arenas = new Map(TIERS.map((tier) => [tier, new ArenaUsers()]))
  // known[e * STREAM_COUNT + s]: the last entry of stream s that has ended once e has.
  const known = new Int32Array(entries.length * STREAM_COUNT)
  const last = new Int32Array(STREAM_COUNT).fill(NEVER)
  const before = new Int32Array(STREAM_COUNT)
  const needed = new Int32Array(STREAM_COUNT)

  for (let e = 0; e < entries.length; e++) {
    const stream = entries.stream[e]
    needed.fill(NEVER)
    for (let o = entries.operandStart[e]; o < entries.operandStart[e + 1]; o++) {
      const index = entries.operandResidency[o]
      if (index === ABSENT) continue
      const { tier, offset } = residencies[index]
      const [from, to] = [offset + entries.operandFrom[o], offset + entries.operandTo[o]]
      const users = arenas.get(tier) as ArenaUsers
      if (entries.operandAccess[o] & WRITES) users.write(from, to, e, stream, needed)
      else if (entries.operandAccess[o] & READS) users.read(from, to, e, stream, needed)
    }
    needed[stream] = NEVER

    before.fill(NEVER)
    if (last[stream] !== NEVER) learn(before, known, last[stream])
    // Latest first: a wait can only be implied by one for a later entry.
    for (;;) {
      let latest = NEVER
      for (let s = 0; s < STREAM_COUNT; s++) if (needed[s] > before[s] && needed[s] > latest) latest = needed[s]
      if (latest === NEVER) break
      waits.push(latest)
      learn(before, known, latest)
    }
    start[e + 1] = waits.length
    before[stream] = e
    known.set(before, e * STREAM_COUNT)
    last[stream] = e
  }
  return { start, entry: new Uint32Array(waits) }
}

/** Adds to a clock all that is known once entry `e` has ended. */
function learn(clock: Int32Array, known: Int32Array, e: number): void {
  for (let s = 0; s < STREAM_COUNT; s++) clock[s] = Math.max(clock[s], known[e * STREAM_COUNT + s])
}

/** Last users of a stretch of bytes that all were touched alike. Streams are in order, so the last reader of each is enough. */
interface Users {
  writer: number
  writerStream: number
  readers: Int32Array | null
}

/** Last users of every byte of one arena: stretch i is starts[i] .. starts[i + 1]. A write makes its bytes one stretch again. */
class ArenaUsers {
  private readonly starts = [0]
  private readonly users: Users[] = [{ writer: NEVER, writerStream: 0, readers: null }]

  /** Raises `needed` to the entries that a read must follow. */
  read(from: number, to: number, entry: number, stream: number, needed: Int32Array): void {
    if (from === to) return
    const first = this.cut(from)
    const end = this.cut(to)
    for (let i = first; i < end; i++) {
      const users = this.users[i]
      followWriter(users, needed)
      users.readers ??= new Int32Array(STREAM_COUNT).fill(NEVER)
      users.readers[stream] = entry
    }
  }

  /** Raises `needed` to the entries that a write must follow. */
  write(from: number, to: number, entry: number, stream: number, needed: Int32Array): void {
    if (from === to) return
    const first = this.cut(from)
    const end = this.cut(to)
    for (let i = first; i < end; i++) {
      const users = this.users[i]
      followWriter(users, needed)
      if (users.readers) for (let s = 0; s < STREAM_COUNT; s++) needed[s] = Math.max(needed[s], users.readers[s])
    }
    this.users[first] = { writer: entry, writerStream: stream, readers: null }
    if (end - first > 1) {
      this.starts.splice(first + 1, end - first - 1)
      this.users.splice(first + 1, end - first - 1)
    }
  }

  /** Index of the stretch that begins at `at`, made if there is none. */
  private cut(at: number): number {
    const index = firstIndex(this.starts.length, (i) => this.starts[i] >= at)
    if (this.starts[index] === at) return index
    const { writer, writerStream, readers } = this.users[index - 1]
    this.starts.splice(index, 0, at)
    this.users.splice(index, 0, { writer, writerStream, readers: readers?.slice() ?? null })
    return index
  }
}

function followWriter({ writer, writerStream }: Users, needed: Int32Array): void {
  if (writer !== NEVER) needed[writerStream] = Math.max(needed[writerStream], writer)
}
