/**
 * Why an op began when it did: what it waited for last, what that had waited for, and so on back in time.
 *
 * An op waits for `data` that another writes, for `bytes` of the arena that another still uses, or in the `queue` of its
 * stream. The plan knows which ops; which of them was the last is known from when they ended.
 *
 *   compute   [ attend ]...................[ norm y ]     norm waits for the fetch: it brings y. The fetch began late: y takes
 *   offload   .....[======= x =======]                    the bytes of x, which the offload still read. The offload
 *   fetch     .........................[= y =]            began when attend had made x.
 */
import { countBefore, firstAfter } from '../model/search.js'
import { READS, type RunTables, type SpanColumns, STREAMS, type Stream, TIERS, WRITES } from '../schema.js'
import { groupOf, type Linked, lookupOf, spanOf } from './lookup.js'

export type How = 'data' | 'bytes' | 'queue'
/** One op that another had to wait for: its span. */
export interface Wait {
  readonly row: number
  readonly how: How
}

export function endOf({ start_ns, duration_ns }: SpanColumns, row: number): number {
  return start_ns[row] + duration_ns[row]
}
export function streamOf({ stream }: SpanColumns, row: number): Stream {
  return STREAMS[stream[row]]
}

/** Of all that a span waited for, what ended last; null for a span that waited for nothing. `queue: false` leaves its own stream out. */
export function lastWait(tables: Linked, row: number, { queue = true } = {}): Wait | null {
  const { spans, waits } = tables
  const { waitsOfOp, previous } = lookupOf(tables)
  const op = spans.op[row]
  let last = -1
  for (const wait of groupOf(waitsOfOp, op)) {
    // A plan only waits for earlier ops; a file of anyone's might hold a circle.
    if (waits.on[wait] >= op) continue
    const on = spanOf(tables, spans.step[row], spans.rank[row], waits.on[wait])
    if (on >= 0 && (last < 0 || endOf(spans, on) > endOf(spans, last))) last = on
  }
  const before = queue ? previous[row] : -1
  if (before >= 0 && spans.op[before] < op && (last < 0 || endOf(spans, before) > endOf(spans, last))) return { row: before, how: 'queue' }
  return last < 0 ? null : { row: last, how: isForData(tables, op, spans.op[last]) ? 'data' : 'bytes' }
}

/** Whether `op` uses what `on` writes. If not, it waits for nothing but bytes: the place of another buffer, or one that is still read. */
function isForData(tables: Linked, op: number, on: number): boolean {
  const { uses } = tables
  const writes = writtenBy(tables, on)
  return groupOf(lookupOf(tables).usesOfOp, op).some((use) => writes.has(uses.buffer[use]))
}

/** Buffers that an op writes; kept, since many may wait for one. */
function writtenBy(tables: Linked, op: number): ReadonlySet<number> {
  const known = written.get(tables) ?? new Map<number, ReadonlySet<number>>()
  written.set(tables, known)
  const { uses } = tables
  const buffers =
    known.get(op) ?? new Set([...groupOf(lookupOf(tables).usesOfOp, op)].flatMap((use) => ((uses.access[use] & WRITES) !== 0 ? [uses.buffer[use]] : [])))
  known.set(op, buffers)
  return buffers
}
const written = new WeakMap<Linked, Map<number, ReadonlySet<number>>>()

/** The two buffers, of `op` and of `on`, that made one wait for the other: one value for data, two that share bytes for bytes. */
export function between(tables: Linked, op: number, on: number): { mine: number; other: number } | null {
  const { uses, buffers } = tables
  const { usesOfOp } = lookupOf(tables)
  const [theirs, own] = [[...groupOf(usesOfOp, on)], [...groupOf(usesOfOp, op)]]
  if (isForData(tables, op, on)) {
    const mine = new Set(own.map((use) => uses.buffer[use]))
    const use = theirs.find((use) => (uses.access[use] & WRITES) !== 0 && mine.has(uses.buffer[use])) as number
    return { mine: uses.buffer[use], other: uses.buffer[use] }
  }
  const taken = own.filter((use) => (uses.access[use] & WRITES) !== 0).map((use) => uses.buffer[use])
  const isTaken = overlapOf(buffers, taken)
  const other = theirs
    .filter((use) => (uses.access[use] & (READS | WRITES)) !== 0)
    .map((use) => uses.buffer[use])
    .find(isTaken)
  return other === undefined ? null : { mine: taken.find((buffer) => isOver(buffers, buffer, other)) as number, other }
}

/** Whether a buffer shares bytes with any of a list. Of the places that begin before it ends, those that end before it begins share none. */
function overlapOf({ tier, offset_bytes, size_bytes }: RunTables['buffers'], list: readonly number[]): (buffer: number) => boolean {
  const places = TIERS.map((_, code) => {
    const there = list.filter((buffer) => tier[buffer] === code && size_bytes[buffer] > 0)
    return { begins: sorted(there, (buffer) => offset_bytes[buffer]), ends: sorted(there, (buffer) => offset_bytes[buffer] + size_bytes[buffer]) }
  })
  return (buffer) => {
    const { begins, ends } = places[tier[buffer]]
    const from = offset_bytes[buffer]
    return size_bytes[buffer] > 0 && countBefore(begins, from + size_bytes[buffer]) > firstAfter(ends, (end) => end, from)
  }
}

function sorted(list: readonly number[], key: (buffer: number) => number): Float64Array {
  return Float64Array.from(list, key).sort()
}

function isOver({ tier, offset_bytes, size_bytes }: RunTables['buffers'], a: number, b: number): boolean {
  return tier[a] === tier[b] && offset_bytes[a] < offset_bytes[b] + size_bytes[b] && offset_bytes[b] < offset_bytes[a] + size_bytes[a]
}
