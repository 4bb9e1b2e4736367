/**
 * A run, ready to be drawn: its tables, checked, with the lanes of the timeline and the stacks of memory.
 *
 * Knows nothing of canvases, pages or encodings. Everything here is computed once per payload; what depends on the window
 * in view is in `coverage.ts` and `stack.ts`.
 */
import type { Family, Kind, MemoryColumns, RunHead, RunTables, SpanColumns, Tier } from '../schema.js'
import { FAMILIES, KINDS, STREAMS, TIERS } from '../schema.js'
import { broken, checkRun } from './check.js'
import { type Lane, laneOf } from './lane.js'
import { firstAfter } from './search.js'
import { type Stack, stackOf } from './stack.js'
import { type StepTimes, stepsOf } from './steps.js'

export type { Lane } from './lane.js'
export { firstAfter } from './search.js'

/** In lengths of the longest step. */
const LONG_PAUSE = 5

export interface Extent {
  readonly start_ns: number
  readonly end_ns: number
}

export interface Run extends RunTables {
  readonly lanes: readonly Lane[]
  readonly ranks: readonly number[]
  /** By rank, then tier; only what has events. */
  readonly stacks: readonly Stack[]
  /** Index into FAMILIES per span row. */
  readonly families: Uint8Array
  /** In order of time; those of which spans came and no summary, too. */
  readonly steps: readonly StepTimes[]
  /** From the first to the last instant of which the tables know something. */
  readonly extent: Extent
}

/** Throws FpdtError 'payload' for tables that break the format: nothing is drawn from numbers that mean nothing. */
export function openRun(tables: RunTables): Run {
  const { head, spans, memory } = tables
  checkRun(tables)
  const families = familiesOf(head, spans)
  const lanes = lanesOf(spans, families)
  const stacks = stacksOf(memory)
  return {
    ...tables,
    lanes,
    stacks,
    ranks: [...new Set([...lanes, ...stacks].map(({ rank }) => rank))].sort((a, b) => a - b),
    families,
    steps: stepsOf(head, spans),
    extent: extentOf(head, lanes, spans, memory),
  }
}

export function stackFor(run: Run, rank: number, tier: Tier): Stack | undefined {
  return run.stacks.find((stack) => stack.rank === rank && stack.tier === tier)
}

/** Time of the window that lies in steps, the one under way too. Streams stand still between steps, and are not to blame. */
export function stepTime({ steps }: Run, start_ns: number, end_ns: number): number {
  return steps.reduce((sum, step) => sum + Math.max(0, Math.min(step.end_ns, end_ns) - Math.max(step.start_ns, start_ns)), 0)
}

/**
 * What is worth to be seen at first: the newest steps that follow each other, which mostly is all of the run. Beside a pause that takes
 * several times as long as any step, as between cells that a reader runs by hand, steps would be too narrow to be read.
 */
export function homeOf({ steps, extent }: Run): Extent {
  const shown = steps.filter(({ start_ns, end_ns }) => end_ns > extent.start_ns && start_ns < extent.end_ns)
  const longest_ns = shown.reduce((most, { start_ns, end_ns }) => Math.max(most, end_ns - start_ns), 0)
  const first = shown.findLast(({ start_ns }, i) => i > 0 && start_ns - shown[i - 1].end_ns > LONG_PAUSE * longest_ns)
  return first ? { start_ns: first.start_ns, end_ns: extent.end_ns } : extent
}

/** The row of the lane's span at `time_ns`, or the nearest within `reach_ns`; -1 where there is none. */
export function spanAt(run: Run, lane: Lane, time_ns: number, reach_ns: number): number {
  const { start_ns, duration_ns } = run.spans
  const after = firstAfter(lane.rows, (row) => start_ns[row], time_ns)
  let best = -1
  let bestDistance = reach_ns
  for (const i of [after - 1, after]) {
    const row = lane.rows[i]
    if (row === undefined) continue
    const distance = Math.max(start_ns[row] - time_ns, time_ns - (start_ns[row] + duration_ns[row]), 0)
    if (distance <= bestDistance && (best < 0 || distance < bestDistance)) {
      best = row
      bestDistance = distance
    }
  }
  return best
}

function lanesOf(spans: SpanColumns, families: Uint8Array): Lane[] {
  const { start_ns } = spans
  return rowsBy(spans.rank, spans.stream, STREAMS.length, (rank, stream, rows) => {
    for (let i = 1; i < rows.length; i++) {
      if (start_ns[rows[i]] < start_ns[rows[i - 1]])
        throw broken(`span ${rows[i]} starts before span ${rows[i - 1]} of the same rank and stream; spans of a stream must be in order of time`)
    }
    return laneOf(spans, families, rank, STREAMS[stream], rows)
  })
}

/** Of a run that goes on, newer spans may come with the same memory. */
const stacked = new WeakMap<MemoryColumns, Stack[]>()

function stacksOf(memory: MemoryColumns): Stack[] {
  const known = stacked.get(memory)
  if (known) return known
  const { time_ns } = memory
  for (let row = 1; row < time_ns.length; row++) {
    if (time_ns[row] < time_ns[row - 1]) throw broken(`memory row ${row} is earlier than the row before it; memory rows must be in order of time`)
  }
  const stacks = rowsBy(memory.rank, memory.tier, TIERS.length, (rank, tier, rows) => stackOf(memory, rank, TIERS[tier], rows))
  stacked.set(memory, stacks)
  return stacks
}

/** Rows by rank and code, each in their order; a pass to count them, and one to put each where it belongs. */
function rowsBy<T>(ranks: Uint16Array, codes: Uint8Array, known: number, make: (rank: number, code: number, rows: Uint32Array) => T): T[] {
  let most = 0
  for (let row = 0; row < ranks.length; row++) if (ranks[row] > most) most = ranks[row]
  const next = new Uint32Array((most + 1) * known + 1)
  for (let row = 0; row < ranks.length; row++) next[ranks[row] * known + codes[row] + 1]++
  for (let key = 1; key < next.length; key++) next[key] += next[key - 1]
  const begin = next.slice()
  const rows = new Uint32Array(ranks.length)
  for (let row = 0; row < ranks.length; row++) rows[next[ranks[row] * known + codes[row]]++] = row
  const made: T[] = []
  for (let key = 0; key + 1 < begin.length; key++) {
    if (begin[key] < begin[key + 1]) made.push(make(Math.floor(key / known), key % known, rows.subarray(begin[key], begin[key + 1])))
  }
  return made
}

function familiesOf(head: RunHead, spans: SpanColumns): Uint8Array {
  const byKind: Record<Exclude<Kind, 'compute'>, Family> = {
    allToAll: 'collective',
    gather: 'collective',
    reduceScatter: 'collective',
    allReduce: 'collective',
    offload: 'offload',
    fetch: 'fetch',
    load: 'disk',
    spill: 'disk',
    free: 'elementwise',
  } // prettier-ignore
  const kernels = head.codes.kernels.map(({ family }) => FAMILIES.indexOf(family))
  const kinds = KINDS.map((kind) => (kind === 'compute' ? -1 : FAMILIES.indexOf(byKind[kind])))
  const families = new Uint8Array(spans.kind.length)
  for (let row = 0; row < families.length; row++) {
    const family = kinds[spans.kind[row]] >= 0 ? kinds[spans.kind[row]] : (kernels[spans.kernel[row]] ?? -1)
    if (family < 0) throw broken(`span ${row} runs kernel number ${spans.kernel[row]}, which the head's table of ${kernels.length} kernels does not hold`)
    families[row] = family
  }
  return families
}

function extentOf(head: RunHead, lanes: readonly Lane[], spans: SpanColumns, memory: MemoryColumns): Extent {
  let start = Infinity
  let end = -Infinity
  const include = (from: number, to: number): void => {
    start = Math.min(start, from)
    end = Math.max(end, to)
  }
  for (const { rows } of lanes) {
    const last = rows[rows.length - 1]
    include(spans.start_ns[rows[0]], spans.start_ns[last] + spans.duration_ns[last])
  }
  if (lanes.length === 0 && memory.time_ns.length > 0) include(memory.time_ns[0], memory.time_ns[memory.time_ns.length - 1])
  // Steps reach a little beyond their ops. Of a step that was kept in part, the missing part would be an empty picture.
  const margin = (end - start) / 10
  for (const step of head.steps) {
    if (step.start_ns < start && step.start_ns > start - margin) start = step.start_ns
    if (step.start_ns + step.duration_ns > end && step.start_ns + step.duration_ns < end + margin) end = step.start_ns + step.duration_ns
  }
  if (!(end > start)) return { start_ns: Number.isFinite(start) ? start : 0, end_ns: (Number.isFinite(start) ? start : 0) + 1e6 }
  return { start_ns: start, end_ns: end }
}
