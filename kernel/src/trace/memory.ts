/**
 * Memory in time, from spans and the plan: a residency begins when the op that makes it starts and ends when its last user
 * on any stream has ended, which is when its bytes may be another's. The same for measured and for simulated spans.
 *
 *   spans      [fetch k]   [attend .. k ..]
 *   k@device   |═══════════════════════════|
 */
import type { Residency } from '../plan/lifetimes.js'
import type { Plan } from '../plan/plan.js'
import { CATEGORIES, type MemoryColumns, type RunHead, TIERS } from './schema.js'
import type { Spans, StepSpans } from './spans.js'

/** A residency begins or ends. */
interface Event {
  readonly time_ns: number
  /** Place among events of one instant: what ends then ends before what takes its bytes begins. */
  readonly order: number
  readonly begins: boolean
  readonly step: number
  readonly line: number
  readonly rank: number
  readonly residency: Residency
}

/** Rows of the memory table for steps in order of time. What stands between steps begins with the first. */
export function memoryColumns(plan: Plan, steps: readonly StepSpans[]): MemoryColumns {
  const events = eventsOf(plan, steps)
  const totals = new Float64Array(plan.ranks * TIERS.length)
  const column = <T>(make: (length: number) => T): T => make(events.length)
  const memory: MemoryColumns = {
    step: column((n) => new Uint32Array(n)),
    op: column((n) => new Uint32Array(n)),
    rank: column((n) => new Uint16Array(n)),
    tier: column((n) => new Uint8Array(n)),
    category: column((n) => new Uint8Array(n)),
    time_ns: column((n) => new Float64Array(n)),
    delta_bytes: column((n) => new Float64Array(n)),
    total_bytes: column((n) => new Float64Array(n)),
  }
  for (const [row, { time_ns, begins, step, line, rank, residency }] of events.entries()) {
    const tier = TIERS.indexOf(residency.tier)
    const delta = begins ? residency.bytes : -residency.bytes
    totals[rank * TIERS.length + tier] += delta
    memory.step[row] = step
    memory.op[row] = Math.max(0, line)
    memory.rank[row] = rank
    memory.tier[row] = tier
    memory.category[row] = CATEGORIES.indexOf(residency.category)
    memory.time_ns[row] = time_ns
    memory.delta_bytes[row] = delta
    memory.total_bytes[row] = totals[rank * TIERS.length + tier]
  }
  return memory
}

/** Buffers of a peak that are named one by one; the rest is summed by category. */
const NAMED_BUFFERS = 24

/** The live peak of each tier, of the rank where it is highest: when, at which op, and what was alive, largest first. */
export function peaksOf(plan: Plan, steps: readonly StepSpans[]): RunHead['peaks'] {
  const events = eventsOf(plan, steps)
  return TIERS.flatMap((tier) => {
    const live = new Float64Array(plan.ranks)
    let [bytes, at] = [0, -1]
    for (const [i, { begins, rank, residency }] of events.entries()) {
      if (residency.tier !== tier) continue
      live[rank] += begins ? residency.bytes : -residency.bytes
      if (live[rank] > bytes) [bytes, at] = [live[rank], i]
    }
    if (at < 0) return []
    const { rank, time_ns, step, line } = events[at]
    const alive = new Set<Residency>()
    for (const { begins, rank: r, residency } of events.slice(0, at + 1)) {
      if (r !== rank || residency.tier !== tier) continue
      if (begins) alive.add(residency)
      else alive.delete(residency)
    }
    return [{ tier, bytes, time_ns, step, op: Math.max(0, line), words: plan.words(line), buffers: buffersOf([...alive]) }]
  })
}

function buffersOf(alive: readonly Residency[]): RunHead['peaks'][number]['buffers'] {
  const largest = [...alive].sort((a, b) => b.bytes - a.bytes)
  const named = largest.slice(0, NAMED_BUFFERS).map(({ name, bytes, category }) => ({ name, bytes, category }))
  const rest = largest.slice(NAMED_BUFFERS)
  const summed = CATEGORIES.flatMap((category) => {
    const same = rest.filter((residency) => residency.category === category)
    return same.length > 0 ? [{ name: `${same.length} more`, bytes: same.reduce((sum, { bytes }) => sum + bytes, 0), category }] : []
  })
  return [...named, ...summed]
}

/** All beginnings and ends, in order of time. */
function eventsOf(plan: Plan, steps: readonly StepSpans[]): Event[] {
  const users = usersOf(plan)
  const standing = plan.residencies.filter(({ persistent }) => persistent)
  let left: Event[] = [] // began in a step that was stopped, and not ended by it
  const events: Event[] = []
  for (const [index, { step, spans }] of steps.entries()) {
    const start_ns = Math.round(spans.start_ns.reduce((first, time) => Math.min(first, time), Number.POSITIVE_INFINITY))
    if (!Number.isFinite(start_ns)) continue
    for (const { line, rank, residency } of left) events.push({ time_ns: start_ns, order: -2, begins: false, step, line, rank, residency })
    left = []
    for (let rank = 0; rank < plan.ranks; rank++) {
      const begin = (residency: Residency, time_ns: number, order: number): Event => ({
        time_ns,
        order,
        begins: true,
        step,
        line: residency.birth,
        rank,
        residency,
      })
      if (index === 0) for (const residency of standing) if (residency.bytes > 0) events.push(begin(residency, start_ns, -1))
      const rows = rowsOf(plan, spans, rank)
      for (const [r, residency] of plan.residencies.entries()) {
        if (residency.persistent || residency.bytes === 0) continue
        const first = users.entry[users.start[r]]
        const isThere = residency.birth < 0 // before the first op
        if (!isThere && (first === undefined || rows[first] < 0)) continue
        const beginning = isThere ? begin(residency, start_ns, -1) : begin(residency, Math.round(spans.start_ns[rows[first]]), 2 * first)
        events.push(beginning)
        let last = -1
        for (let u = users.start[r]; u < users.start[r + 1]; u++) {
          const row = rows[users.entry[u]]
          if (row < 0) {
            last = -1
            break
          }
          if (last < 0 || spans.end_ns[row] >= spans.end_ns[rows[last]]) last = users.entry[u]
        }
        if (last < 0) left.push(beginning)
        else events.push({ ...beginning, time_ns: Math.round(spans.end_ns[rows[last]]), order: 2 * last + 1, begins: false, line: plan.entries.op[last] })
      }
    }
  }
  return events.sort((a, b) => a.time_ns - b.time_ns || a.step - b.step || a.order - b.order || a.rank - b.rank)
}

/** Row of each entry's span on a rank, -1 where it has not run. */
function rowsOf(plan: Plan, spans: Spans, rank: number): Int32Array {
  const rows = new Int32Array(plan.entries.length).fill(-1)
  for (let i = 0; i < spans.entry.length; i++) if (spans.rank[i] === rank) rows[spans.entry[i]] = i
  return rows
}

/** Entries that touch each residency, in list order: those of r lie at start[r] .. start[r + 1]. */
function usersOf({ entries, residencies }: Plan): { start: Uint32Array; entry: Uint32Array } {
  const start = new Uint32Array(residencies.length + 1)
  for (const r of entries.operandResidency) if (r >= 0) start[r + 1]++
  for (let r = 0; r < residencies.length; r++) start[r + 1] += start[r]
  const entry = new Uint32Array(start[residencies.length])
  const next = start.slice()
  for (let e = 0; e < entries.length; e++) {
    for (let o = entries.operandStart[e]; o < entries.operandStart[e + 1]; o++) {
      const r = entries.operandResidency[o]
      if (r >= 0) entry[next[r]++] = e
    }
  }
  return { start, entry }
}
