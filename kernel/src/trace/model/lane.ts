/**
 * One row of the timeline: all spans of one stream of one rank, in time, with an index that answers "how long was it busy until t"
 * for each family in the time of a search. So a pixel column costs the same whether it holds one span or a thousand, and is exact.
 *
 *   spans     ▓▓  ▓▓▓   ▓
 *   before    0   2     5 6    busy time of the family before each of its spans, and after the last
 */
import { FAMILIES, type SpanColumns, type Stream } from '../schema.js'

export interface Lane {
  readonly rank: number
  readonly stream: Stream
  /** Rows of the span table, by start. */
  readonly rows: Uint32Array
  /** What the lane has, in the order of FAMILIES. */
  readonly families: readonly FamilyTimes[]
  /** The longest duration in each BLOCK of `rows`. */
  readonly longest_ns: Float64Array
}

/** The spans of one family in a lane, in time. */
export interface FamilyTimes {
  /** Index into FAMILIES. */
  readonly family: number
  readonly starts_ns: Float64Array
  /** Busy time before each one; one entry more than there are spans. */
  readonly before_ns: Float64Array
}

/** Spans that are looked through one by one where their block holds a long one. */
export const BLOCK = 32

/** `families`: index into FAMILIES per span row. */
export function laneOf(spans: SpanColumns, families: Uint8Array, rank: number, stream: Stream, rows: Uint32Array): Lane {
  const { start_ns, duration_ns } = spans
  const counts = new Uint32Array(FAMILIES.length)
  const longest_ns = new Float64Array(Math.ceil(rows.length / BLOCK))
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]
    counts[families[row]]++
    const block = (i / BLOCK) | 0
    if (duration_ns[row] > longest_ns[block]) longest_ns[block] = duration_ns[row]
  }
  const times = Array.from(counts, (count, family): FamilyTimes => ({ family, starts_ns: new Float64Array(count), before_ns: new Float64Array(count + 1) }))
  counts.fill(0)
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]
    const { starts_ns, before_ns } = times[families[row]]
    const at = counts[families[row]]++
    starts_ns[at] = start_ns[row]
    before_ns[at + 1] = before_ns[at] + duration_ns[row]
  }
  return { rank, stream, rows, families: times.filter(({ starts_ns }) => starts_ns.length > 0), longest_ns }
}

/** Busy time of a family up to `time_ns`, of whose spans `begun` begin before it. */
export function busyUntil({ starts_ns, before_ns }: FamilyTimes, begun: number, time_ns: number): number {
  return begun === 0 ? 0 : Math.min(before_ns[begun], before_ns[begun - 1] + time_ns - starts_ns[begun - 1])
}
