/**
 * Memory of one rank on one tier over time, stacked by category: a step curve that changes only at events.
 *
 *   total   ┌──┐          totals[e] = bytes after event e; levels by category stand at every BLOCK-th event,
 *      ┌────┘  └──┐       and those between are replayed from there
 *   ───┘          └───    pixel columns show the instant of their highest total, so no peak is lost
 */
import { CATEGORIES, type Category, type MemoryColumns, type Tier } from '../schema.js'
import { countBefore, firstAfter } from './search.js'

export interface Stack {
  readonly rank: number
  readonly tier: Tier
  readonly memory: MemoryColumns
  /** Rows of the memory table, by time. */
  readonly rows: Uint32Array
  readonly times_ns: Float64Array
  /** Bottom of the stack first; `earlier` is what was alive before the first event and cannot be told apart any more. */
  readonly categories: readonly (Category | 'earlier')[]
  /** Bytes from before the first event (index 0) to after the last. */
  readonly totals: Float64Array
  /** Index into totals of the highest one (the first, of equals). */
  readonly peak: number
  readonly blocks: Blocks
}

/** What is known of each BLOCK of `totals`. */
interface Blocks {
  /** Index of its highest and of its lowest total, the first of equals. */
  readonly high: Uint32Array
  readonly low: Uint32Array
  /** levels[b * categories.length + c]: bytes of a category at its first total. */
  readonly levels: Float64Array
}

/** What one pixel column shows: indices into `totals`. */
export interface StackColumns {
  /** Index of the highest total of the column. */
  readonly high: Uint32Array
  /** Index of the lowest. */
  readonly low: Uint32Array
}

const BLOCK = 64

export function stackOf(memory: MemoryColumns, rank: number, tier: Tier, rows: Uint32Array): Stack {
  const { category, delta_bytes, total_bytes, time_ns } = memory
  const level = new Float64Array(CATEGORIES.length)
  const lowest = new Float64Array(CATEGORIES.length)
  const highest = new Float64Array(CATEGORIES.length)
  for (let i = 0; i < rows.length; i++) {
    const c = category[rows[i]]
    const now = level[c] + delta_bytes[rows[i]]
    level[c] = now
    if (now < lowest[c]) lowest[c] = now
    if (now > highest[c]) highest[c] = now
  }
  // A table may begin in the middle of a run. What is freed later than it was made visible must have been there before.
  const before = rows.length > 0 ? total_bytes[rows[0]] - delta_bytes[rows[0]] : 0
  const known = lowest.reduce((sum, low) => sum - low, 0)
  const present = CATEGORIES.map((_, c) => c).filter((c) => highest[c] > lowest[c])
  const earlier = before > known
  const opening = [...(earlier ? [before - known] : []), ...present.map((c) => 0 - lowest[c])]

  const totals = new Float64Array(rows.length + 1)
  const times_ns = new Float64Array(rows.length)
  totals[0] = Math.max(before, known)
  for (let i = 0; i < rows.length; i++) {
    times_ns[i] = time_ns[rows[i]]
    totals[i + 1] = totals[i] + delta_bytes[rows[i]]
  }
  const stack = { rank, tier, memory, rows, times_ns, totals, categories: [...(earlier ? (['earlier'] as const) : []), ...present.map((c) => CATEGORIES[c])] }
  const blocks = blocksOf(stack, opening)
  return { ...stack, blocks, peak: highestOf(totals, blocks.high) }
}

function blocksOf({ memory, rows, totals, categories }: Omit<Stack, 'blocks' | 'peak'>, opening: readonly number[]): Blocks {
  const count = Math.ceil(totals.length / BLOCK)
  const high = new Uint32Array(count)
  const low = new Uint32Array(count)
  const levels = new Float64Array(count * categories.length)
  const layers = CATEGORIES.map((category) => categories.indexOf(category))
  const level = Float64Array.from(opening)
  for (let e = 0; e < totals.length; e++) {
    if (e > 0) level[layers[memory.category[rows[e - 1]]]] += memory.delta_bytes[rows[e - 1]]
    const block = (e / BLOCK) | 0
    if (e % BLOCK === 0) {
      high[block] = low[block] = e
      levels.set(level, block * categories.length)
    } else {
      if (totals[e] > totals[high[block]]) high[block] = e
      if (totals[e] < totals[low[block]]) low[block] = e
    }
  }
  return { high, low, levels }
}

function highestOf(totals: Float64Array, candidates: Uint32Array): number {
  return candidates.reduce((best, e) => (totals[e] > totals[best] ? e : best), 0)
}

/** Bytes by category, in the order of `categories`, at an index into `totals`. */
export function levelsAfter({ memory, rows, categories, blocks }: Stack, event: number): Float64Array {
  const block = (event / BLOCK) | 0
  const levels = blocks.levels.slice(block * categories.length, (block + 1) * categories.length)
  for (let e = block * BLOCK; e < event; e++) levels[categories.indexOf(CATEGORIES[memory.category[rows[e]]])] += memory.delta_bytes[rows[e]]
  return levels
}

/** Index into `totals` of what stands at an instant: the number of events up to and including it. */
export function levelAt({ times_ns }: Stack, time_ns: number): number {
  return firstAfter(times_ns, (time) => time, time_ns)
}

/** The same, but of several levels at one instant, as when one op begins and another ends, the highest: a peak stands where it is drawn. */
export function highestAt(stack: Stack, time_ns: number): number {
  const { times_ns, totals } = stack
  const last = levelAt(stack, time_ns)
  let highest = last
  // A level counts when it stands after all events of the instant, or when it was risen to.
  for (let e = last - 1; e > 0 && times_ns[e - 1] === time_ns; e--) if (totals[e] > totals[e - 1] && totals[e] > totals[highest]) highest = e
  return highest
}

/** One entry per pixel column of the window. */
export function stackColumns(stack: Stack, start_ns: number, end_ns: number, width: number): StackColumns {
  const high = new Uint32Array(width)
  const low = new Uint32Array(width)
  const { totals, times_ns, blocks } = stack
  let event = levelAt(stack, start_ns)
  for (let x = 0; x < width; x++) {
    const last = countBefore(times_ns, start_ns + ((end_ns - start_ns) * (x + 1)) / width, event)
    let [highest, lowest] = [event, event]
    for (let e = event + 1; e <= last; e++) {
      const whole = e % BLOCK === 0 && e + BLOCK - 1 <= last
      const [h, l] = whole ? [blocks.high[e / BLOCK], blocks.low[e / BLOCK]] : [e, e]
      if (totals[h] > totals[highest]) highest = h
      if (totals[l] < totals[lowest]) lowest = l
      if (whole) e += BLOCK - 1
    }
    high[x] = highest
    low[x] = lowest
    event = last
  }
  return { high, low }
}
