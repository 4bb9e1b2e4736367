/**
 * What stands in a tier's memory at an instant, and why it is that much: bytes by category, every buffer with its life, what
 * was made last, what goes next. Exact: the buffers, and what has no name, add up to the total.
 *
 *   total        ┌──┐ <- pushed here by `made`
 *        ┌───────┘  └────┐ <- the next free
 *   ─────┘      ^        └────
 *             time_ns
 */
import { type Run, stackFor } from '../model/run.js'
import { highestAt } from '../model/stack.js'
import { CATEGORIES, type Category, NONE_32, type Tier } from '../schema.js'
import { groupOf, lookupOf, spanOf } from './lookup.js'
import { endOf } from './waiting.js'

export interface AliveBuffer {
  /** Row of the buffer table. */
  readonly buffer: number
  readonly name: string
  readonly bytes: number
  readonly category: Category
  /** Null: from before the first event that is known; to the end of what is known. */
  readonly since_ns: number | null
  readonly until_ns: number | null
  /** The op that makes it; null where it stands before the first op. */
  readonly madeBy: number | null
  /** Row of the span that uses it at this instant, or next in this step; null where none does. */
  readonly nextUse: number | null
}
export interface Spike {
  readonly rank: number
  readonly tier: Tier
  readonly time_ns: number
  readonly bytes: number
  /** Largest first. `earlier`: there since before the first event, of unknown category. */
  readonly categories: readonly { readonly category: Category | 'earlier'; readonly bytes: number }[]
  /** Largest first. */
  readonly buffers: readonly AliveBuffer[]
  /** Bytes of which the tables do not say whose they are. */
  readonly unnamed_bytes: number
  /** The residency that began last and so brought memory to this level: its buffer, and the op and span that began it. */
  readonly pushed: { readonly buffer: number; readonly op: number | null; readonly row: number | null; readonly time_ns: number; readonly bytes: number } | null
  /** What ends next, all at one instant; `op` is the one after whose end it is free. */
  readonly freed: {
    readonly buffers: readonly number[]
    readonly op: number
    readonly row: number | null
    readonly time_ns: number
    readonly bytes: number
  } | null
  readonly budget_bytes: number | null
}

/** Of several levels at one instant, as when one op begins and another ends, the highest. Null where the rank has no memory on the tier. */
export function spikeAt(run: Run, rank: number, tier: Tier, time_ns: number): Spike | null {
  const stack = stackFor(run, rank, tier)
  if (!stack || stack.rows.length === 0) return null
  const { memory, buffers, names } = run
  const { rows } = stack
  const level = highestAt(stack, time_ns)
  const opening = memory.total_bytes[rows[0]] - memory.delta_bytes[rows[0]]
  const bytes = level === 0 ? opening : memory.total_bytes[rows[level - 1]]
  const step = memory.step[rows[Math.max(0, level - 1)]]

  const begun = new Map<number, number>() // time, by buffer
  const unnamed = new Map<Category | 'earlier', number>()
  const add = (category: Category | 'earlier', more: number): void => void unnamed.set(category, (unnamed.get(category) ?? 0) + more)
  const categoryOf = (row: number): Category => CATEGORIES[memory.category[row]]
  const before = standingBefore(run, rows)
  for (let i = 0; i < level; i++) {
    const buffer = memory.buffer[rows[i]]
    if (buffer === NONE_32) add(categoryOf(rows[i]), memory.delta_bytes[rows[i]])
    else if (memory.delta_bytes[rows[i]] > 0) begun.set(buffer, memory.time_ns[rows[i]])
    else if (!begun.delete(buffer)) before.delete(buffer)
  }
  const ends = endsAfter(run, rows, level)
  const alive = [...before, ...begun.keys()].map(
    (buffer): AliveBuffer => ({
      buffer,
      name: names[buffer],
      bytes: buffers.size_bytes[buffer],
      category: CATEGORIES[buffers.category[buffer]],
      since_ns: begun.get(buffer) ?? null,
      until_ns: ends.get(buffer) ?? null,
      madeBy: buffers.birth[buffer] === NONE_32 ? null : buffers.birth[buffer],
      nextUse: nextUseOf(run, step, rank, buffer, time_ns),
    }),
  )
  alive.sort((a, b) => b.bytes - a.bytes || a.buffer - b.buffer)
  const rest = bytes - sum(alive.map((one) => one.bytes)) - sum([...unnamed.values()])
  if (rest !== 0) add('earlier', rest)
  const categories = new Map(unnamed)
  for (const one of alive) categories.set(one.category, (categories.get(one.category) ?? 0) + one.bytes)
  return {
    rank,
    tier,
    time_ns,
    bytes,
    categories: [...categories]
      .map(([category, size]) => ({ category, bytes: size }))
      .filter((part) => part.bytes !== 0)
      .sort((a, b) => b.bytes - a.bytes),
    buffers: alive,
    unnamed_bytes: sum([...unnamed.values()]),
    pushed: pushedTo(),
    freed: freedNext(),
    budget_bytes: run.head.tiers.find((candidate) => candidate.tier === tier)?.budget_bytes ?? null,
  }

  function pushedTo(): Spike['pushed'] {
    for (let i = level - 1; i >= 0; i--) {
      const buffer = memory.buffer[rows[i]]
      if (memory.delta_bytes[rows[i]] <= 0) continue
      const begun = { buffer, ...event(rows[i]), bytes: memory.delta_bytes[rows[i]] }
      // What stands before the first op was made by none.
      return buffers.birth[buffer] === NONE_32 ? { ...begun, op: null, row: null } : begun
    }
    return null
  }
  function freedNext(): Spike['freed'] {
    let first = level
    while (first < rows.length && memory.delta_bytes[rows[first]] > 0) first++
    if (first === rows.length) return null
    const together: number[] = []
    for (let i = first; i < rows.length && memory.time_ns[rows[i]] === memory.time_ns[rows[first]]; i++)
      if (memory.delta_bytes[rows[i]] < 0) together.push(rows[i])
    return { buffers: together.map((row) => memory.buffer[row]), ...event(rows[first]), bytes: -sum(together.map((row) => memory.delta_bytes[row])) }
  }
  function event(row: number): { op: number; row: number | null; time_ns: number } {
    const span = spanOf(run, memory.step[row], rank, memory.op[row])
    return { op: memory.op[row], row: span < 0 ? null : span, time_ns: memory.time_ns[row] }
  }
}

/** Buffers that end without having begun: a table may start in the middle of a run. */
function standingBefore({ memory }: Run, rows: Uint32Array): Set<number> {
  const seen = new Set<number>()
  const before = new Set<number>()
  for (const row of rows) {
    const buffer = memory.buffer[row]
    if (buffer === NONE_32 || seen.has(buffer)) continue
    seen.add(buffer)
    if (memory.delta_bytes[row] < 0) before.add(buffer)
  }
  return before
}

/** When each buffer's residency next ends, of those that end. */
function endsAfter({ memory }: Run, rows: Uint32Array, level: number): Map<number, number> {
  const ends = new Map<number, number>()
  for (let i = level; i < rows.length; i++) {
    const buffer = memory.buffer[rows[i]]
    if (memory.delta_bytes[rows[i]] < 0 && !ends.has(buffer)) ends.set(buffer, memory.time_ns[rows[i]])
  }
  return ends
}

/** The first span of a step that uses a buffer and has not ended. */
function nextUseOf(run: Run, step: number, rank: number, buffer: number, time_ns: number): number | null {
  const { spans, uses } = run
  let next: number | null = null
  for (const use of groupOf(lookupOf(run).usesOfBuffer, buffer)) {
    const row = spanOf(run, step, rank, uses.op[use])
    if (row >= 0 && endOf(spans, row) > time_ns && (next === null || spans.start_ns[row] < spans.start_ns[next])) next = row
  }
  return next
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
