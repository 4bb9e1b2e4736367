/**
 * Spans of a lane at the resolution of the screen: a span that fills whole pixels becomes a bar, and everything narrower, the
 * ends of bars included, adds its share to the pixel columns it touches. A column is exact, and the shortest span leaves a
 * trace. However many spans there are, a column costs a search for each family of the lane (`model/lane.ts`).
 */

import { BLOCK, busyUntil, type Lane } from '../model/lane.js'
import { type Run, stepTime } from '../model/run.js'
import { countBefore } from '../model/search.js'
import { FAMILIES } from '../schema.js'

export interface Bar {
  readonly row: number
  /** Whole pixels, from the left edge of the window. */
  readonly x: number
  readonly width: number
}
export interface Coverage {
  readonly bars: readonly Bar[]
  /** shares[x * FAMILIES.length + family]: part of the column's time, 0 to 1, not covered by bars. */
  readonly shares: Float32Array
  /** Spans in view. */
  readonly spans: number
  /** Part of the window's step time in which the lane is busy, 0 to 1. */
  readonly busy: number
}

/** Bars narrower than this are drawn as shares: their edges would be noise. */
const NARROWEST_BAR = 2
/** Share of a column that is always seen: a span of no length still happened. Ends of bars that are narrower are left out. */
const TRACE = 1e-3
/** Part of a pixel that rounding may take. */
const ROUNDING = 1e-6

export function coverageOf(run: Run, lane: Lane, start_ns: number, end_ns: number, width: number): Coverage {
  const { start_ns: starts, duration_ns: durations } = run.spans
  const perPixel = width / (end_ns - start_ns)
  /** Where column x begins. */
  const edge_ns = (x: number): number => (x === width ? end_ns : start_ns + x / perPixel)
  const count = (time_ns: number): number => lane.families.reduce((sum, { starts_ns }) => sum + countBefore(starts_ns, time_ns), 0)
  // Spans of a lane do not overlap: only the last one to start before the window can reach into it.
  let first = count(start_ns)
  if (first > 0 && starts[lane.rows[first - 1]] + durations[lane.rows[first - 1]] >= start_ns) first--
  const last = count(end_ns)

  /** Family + 1 of a bar that begins at the very end of a column. */
  const slivers = new Uint8Array(width)
  const bars: Bar[] = []
  const long_ns = (NARROWEST_BAR - 2 * ROUNDING) / perPixel
  for (let i = first; i < last; i++) {
    if (lane.longest_ns[(i / BLOCK) | 0] < long_ns) {
      i |= BLOCK - 1
      continue
    }
    const row = lane.rows[i]
    if (durations[row] < long_ns) continue
    const from = Math.max(0, (starts[row] - start_ns) * perPixel)
    const to = Math.min(width, (starts[row] + durations[row] - start_ns) * perPixel)
    const x = Math.ceil(from - ROUNDING)
    const end = Math.floor(to + ROUNDING)
    if (end - x < NARROWEST_BAR) continue
    bars.push({ row, x, width: end - x })
    if (x > 0 && x - from <= TRACE && starts[row] < edge_ns(x)) slivers[x - 1] = run.families[row] + 1
  }

  const shares = new Float32Array(width * FAMILIES.length)
  let busy_ns = 0
  for (const times of lane.families) {
    let begun = countBefore(times.starts_ns, start_ns)
    let until = busyUntil(times, begun, start_ns)
    const before = until
    for (let x = 0; x < width; x++) {
      const time_ns = edge_ns(x + 1)
      const begunThen = countBefore(times.starts_ns, time_ns, begun)
      const untilThen = busyUntil(times, begunThen, time_ns)
      const share = (untilThen - until) * perPixel
      const begins = begunThen - begun - (slivers[x] === times.family + 1 ? 1 : 0)
      if (begins > 0 || share > TRACE) shares[x * FAMILIES.length + times.family] = Math.min(1, Math.max(share, TRACE))
      begun = begunThen
      until = untilThen
    }
    busy_ns += until - before
  }
  for (const { row, x, width } of bars) {
    const family = run.families[row]
    for (let at = x; at < x + width; at++) shares[at * FAMILIES.length + family] = 0
  }
  return { bars, shares, spans: last - first, busy: busy_ns === 0 ? 0 : Math.min(1, busy_ns / stepTime(run, start_ns, end_ns)) }
}
