/**
 * Spans of a lane at the resolution of the screen. However many there are, the cost is one pass over those in view plus
 * the pixels: a span that fills whole pixels becomes a bar, and everything narrower, the ends of bars included, adds its
 * share to the pixel columns it touches. So a column is exact, and the shortest span leaves a trace.
 */

import { firstAfter, type Lane, type Run, stepTime } from '../model/run.js'
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

export function coverageOf(run: Run, lane: Lane, start_ns: number, end_ns: number, width: number): Coverage {
  const { start_ns: starts, duration_ns: durations } = run.spans
  const shares = new Float32Array(width * FAMILIES.length)
  const bars: Bar[] = []
  const perPixel = width / (end_ns - start_ns)
  let spans = 0
  let busy_ns = 0
  // Spans of a lane do not overlap: only the last one to start before the window can reach into it.
  for (let i = Math.max(0, firstAfter(lane.rows, (row) => starts[row], start_ns) - 1); i < lane.rows.length; i++) {
    const row = lane.rows[i]
    const start = starts[row]
    if (start >= end_ns) break
    const end = start + durations[row]
    if (end < start_ns) continue
    spans++
    busy_ns += Math.min(end, end_ns) - Math.max(start, start_ns)
    const from = Math.max(0, (start - start_ns) * perPixel)
    const to = Math.min(width, (end - start_ns) * perPixel)
    const first = Math.ceil(from - 1e-6)
    const last = Math.floor(to + 1e-6)
    const family = run.families[row]
    const add = (x: number, share: number): void => {
      const at = Math.min(width - 1, x) * FAMILIES.length + family
      // A span of no length still happened.
      shares[at] = Math.min(1, shares[at] + Math.max(share, 1e-3))
    }
    if (last - first >= NARROWEST_BAR) {
      bars.push({ row, x: first, width: last - first })
      if (first - from > 1e-3) add(first - 1, first - from)
      if (to - last > 1e-3) add(last, to - last)
    } else {
      for (let x = Math.floor(from); x < Math.max(to, Math.floor(from) + 1e-9); x++) add(x, Math.min(to, x + 1) - Math.max(from, x))
    }
  }
  return { bars, shares, spans, busy: busy_ns === 0 ? 0 : Math.min(1, busy_ns / stepTime(run, start_ns, end_ns)) }
}
