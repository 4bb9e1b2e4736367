/**
 * Memory of one rank on one tier over time, stacked by category: a step curve that changes only at events.
 *
 *   level   ┌──┐          levels[c][e] = bytes of categories[c] after event e
 *      ┌────┘  └──┐
 *   ───┘          └───    pixel columns show the instant of their highest total, so no peak is lost
 */
import { CATEGORIES, type Category, type MemoryColumns, type Tier } from '../schema.js'

export interface Stack {
  readonly rank: number
  readonly tier: Tier
  /** Rows of the memory table, by time. */
  readonly rows: Uint32Array
  readonly times_ns: Float64Array
  /** Bottom of the stack first; `earlier` is what was alive before the first event and cannot be told apart any more. */
  readonly categories: readonly (Category | 'earlier')[]
  /** Per category, bytes from before the first event (index 0) to after the last. */
  readonly levels: readonly Float64Array[]
  /** Sum of levels. */
  readonly totals: Float64Array
  /** Index into totals of the highest one (the first, of equals). */
  readonly peak: number
}

/** What one pixel column shows: indices into `totals`. */
export interface StackColumns {
  /** Index of the highest total of the column. */
  readonly high: Uint32Array
  /** Index of the lowest. */
  readonly low: Uint32Array
}

export function stackOf(memory: MemoryColumns, rank: number, tier: Tier, rows: Uint32Array): Stack {
  const deltas = CATEGORIES.map(() => new Float64Array(rows.length + 1))
  const lowest = new Float64Array(CATEGORIES.length)
  rows.forEach((row, i) => {
    for (const [c, level] of deltas.entries()) level[i + 1] = level[i] + (memory.category[row] === c ? memory.delta_bytes[row] : 0)
    const c = memory.category[row]
    lowest[c] = Math.min(lowest[c], deltas[c][i + 1])
  })
  // A table may begin in the middle of a run. What is freed later than it was made visible must have been there before.
  const before = rows.length > 0 ? memory.total_bytes[rows[0]] - memory.delta_bytes[rows[0]] : 0
  const known = lowest.reduce((sum, low) => sum - low, 0)
  const levels: Float64Array[] = []
  const categories: (Category | 'earlier')[] = []
  if (before - known > 0) {
    categories.push('earlier')
    levels.push(new Float64Array(rows.length + 1).fill(before - known))
  }
  for (const [c, level] of deltas.entries()) {
    const shifted = level.map((value) => value - lowest[c])
    if (shifted.some((value) => value > 0)) {
      categories.push(CATEGORIES[c])
      levels.push(shifted)
    }
  }
  const totals = Float64Array.from({ length: rows.length + 1 }, (_, i) => levels.reduce((sum, level) => sum + level[i], 0))
  const peak = totals.reduce((best, total, i) => (total > totals[best] ? i : best), 0)
  return { rank, tier, rows, times_ns: Float64Array.from(rows, (row) => memory.time_ns[row]), categories, levels, totals, peak }
}

/** Index into `totals` of what stands at an instant: the number of events up to and including it. */
export function levelAt(stack: Stack, time_ns: number): number {
  let low = 0
  let high = stack.times_ns.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (stack.times_ns[middle] > time_ns) high = middle
    else low = middle + 1
  }
  return low
}

/** One entry per pixel column of the window. */
export function stackColumns(stack: Stack, start_ns: number, end_ns: number, width: number): StackColumns {
  const high = new Uint32Array(width)
  const low = new Uint32Array(width)
  let event = levelAt(stack, start_ns)
  for (let x = 0; x < width; x++) {
    const end = start_ns + ((end_ns - start_ns) * (x + 1)) / width
    high[x] = low[x] = event
    while (event < stack.times_ns.length && stack.times_ns[event] < end) {
      event++
      if (stack.totals[event] > stack.totals[high[x]]) high[x] = event
      if (stack.totals[event] < stack.totals[low[x]]) low[x] = event
    }
  }
  return { high, low }
}
