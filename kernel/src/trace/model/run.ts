/**
 * A run, ready to be drawn: its tables, checked, with the lanes of the timeline and the stacks of memory.
 *
 * Knows nothing of canvases, pages or encodings. Everything here is computed once per payload; what depends on the window
 * in view is in `coverage.ts` and `stack.ts`.
 */
import { FpdtError } from '../../errors.js'
import type { Family, Kind, MemoryColumns, RunHead, RunTables, SpanColumns, Tier } from '../schema.js'
import {
  BUFFER_COLUMNS,
  CATEGORIES,
  FAMILIES,
  IDLE_CAUSES,
  KINDS,
  MEMORY_COLUMNS,
  NONE_32,
  PHASES,
  SPAN_COLUMNS,
  STREAMS,
  TIERS,
  USE_COLUMNS,
  WAIT_COLUMNS,
} from '../schema.js'
import { type Lane, laneOf } from './lane.js'
import { firstAfter } from './search.js'
import { type Stack, stackOf } from './stack.js'

export type { Lane } from './lane.js'
export { firstAfter } from './search.js'

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
  /** From the first to the last instant of which the tables know something. */
  readonly extent: Extent
}

/** Throws FpdtError 'payload' for tables that break the format: nothing is drawn from numbers that mean nothing. */
export function openRun(tables: RunTables): Run {
  const { head, spans, memory } = tables
  checkHead(head)
  checkTable('span', spans, SPAN_COLUMNS, ['start_ns', 'duration_ns', 'flops', 'bytes'])
  checkTable('memory', memory, MEMORY_COLUMNS, ['time_ns', 'delta_bytes', 'total_bytes'])
  checkCodes('span', 'stream', spans.stream, STREAMS.length)
  checkCodes('span', 'kind', spans.kind, KINDS.length)
  checkCodes('span', 'phase', spans.phase, PHASES.length)
  checkCodes('memory', 'tier', memory.tier, TIERS.length)
  checkCodes('memory', 'category', memory.category, CATEGORIES.length)
  checkPlan(tables)
  const families = familiesOf(head, spans)
  const lanes = lanesOf(spans, families)
  const stacks = stacksOf(memory)
  return {
    ...tables,
    lanes,
    stacks,
    ranks: [...new Set([...lanes, ...stacks].map(({ rank }) => rank))].sort((a, b) => a - b),
    families,
    extent: extentOf(head, lanes, spans, memory),
  }
}

export function stackFor(run: Run, rank: number, tier: Tier): Stack | undefined {
  return run.stacks.find((stack) => stack.rank === rank && stack.tier === tier)
}

/** Time of the window that lies in steps; all of it where the head names none. Streams stand still between steps, and are not to blame. */
export function stepTime({ head }: Run, start_ns: number, end_ns: number): number {
  if (head.steps.length === 0) return end_ns - start_ns
  return head.steps.reduce((sum, step) => sum + Math.max(0, Math.min(step.start_ns + step.duration_ns, end_ns) - Math.max(step.start_ns, start_ns)), 0)
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

function stacksOf(memory: MemoryColumns): Stack[] {
  const { time_ns } = memory
  for (let row = 1; row < time_ns.length; row++) {
    if (time_ns[row] < time_ns[row - 1]) throw broken(`memory row ${row} is earlier than the row before it; memory rows must be in order of time`)
  }
  return rowsBy(memory.rank, memory.tier, TIERS.length, (rank, tier, rows) => stackOf(memory, rank, TIERS[tier], rows))
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

/** The fields that drawing reads. A head comes out of a file that anyone may have written. */
function checkHead(head: RunHead): void {
  const list = (value: unknown, name: string, fields: Record<string, 'number' | 'string' | 'number or null'>): void => {
    if (!Array.isArray(value)) throw broken(`head.${name} is not a list`)
    for (const [i, item] of value.entries()) {
      for (const [field, type] of Object.entries(fields)) {
        const found = (item as Record<string, unknown> | null)?.[field]
        if (type === 'number or null' && found === null) continue
        if (typeof found !== type.split(' ')[0] || Number.isNaN(found)) throw broken(`head.${name}[${i}].${field} is not a ${type}`)
      }
    }
  }
  if (typeof head !== 'object' || head === null) throw broken('it has no head')
  for (const field of ['title', 'origin', 'state', 'message'] as const) if (typeof head[field] !== 'string') throw broken(`head.${field} is not text`)
  list(head.codes?.kernels, 'codes.kernels', { name: 'string', family: 'string' })
  list(head.tiers, 'tiers', {
    tier: 'string',
    predicted_bytes: 'number',
    allocated_bytes: 'number or null',
    measured_bytes: 'number or null',
    budget_bytes: 'number or null',
  })
  list(head.peaks, 'peaks', { tier: 'string', bytes: 'number', time_ns: 'number', words: 'string' })
  for (const peak of head.peaks) list(peak.buffers, 'peaks[].buffers', { name: 'string', bytes: 'number', category: 'string' })
  list(head.steps, 'steps', {
    step: 'number',
    start_ns: 'number',
    duration_ns: 'number',
    tokens: 'number',
    tokens_per_second: 'number',
    loss: 'number or null',
    mfu: 'number or null',
    mfu_formula: 'string',
  })
  for (const [i, step] of head.steps.entries()) checkAccounts(step.accounts, `steps[${i}].accounts`)
  const { spans, of, steps, reason } = head.kept ?? {}
  if (typeof spans !== 'number' || typeof of !== 'number' || !Array.isArray(steps) || typeof reason !== 'string')
    throw broken('head.kept does not say what was kept')
}

function checkAccounts(accounts: unknown, name: string): void {
  if (!Array.isArray(accounts)) throw broken(`head.${name} is not a list`)
  const number = (value: unknown, what: string): void => {
    if (!Number.isFinite(value)) throw broken(`head.${name}${what} is not a number`)
  }
  for (const [i, account] of accounts.entries()) {
    for (const field of ['rank', 'hidden_copy_ns', 'exposed_copy_ns'] as const) number(account?.[field], `[${i}].${field}`)
    for (const stream of STREAMS) number(account.busy_ns?.[stream], `[${i}].busy_ns.${stream}`)
    for (const cause of IDLE_CAUSES) number(account.idle_ns?.[cause], `[${i}].idle_ns.${cause}`)
  }
}

function checkTable(name: string, table: Record<string, ArrayLike<number>>, spec: Record<string, string>, finite: readonly string[], key = 'op'): void {
  const rows = table[key]?.length
  for (const column of Object.keys(spec)) {
    if (table[column]?.length !== rows)
      throw broken(`its ${name} table has ${table[column]?.length ?? 'no'} rows in column ${column} and ${rows ?? 'none'} in column ${key}`)
  }
  for (const column of finite) {
    const values = table[column]
    for (let row = 0; row < values.length; row++) {
      const value = values[row]
      if (!Number.isFinite(value) || (value < 0 && column !== 'delta_bytes')) throw broken(`${column} of ${name} row ${row} is ${value}`)
    }
  }
}

function checkCodes(table: string, column: string, codes: Uint8Array, known: number): void {
  for (let row = 0; row < codes.length; row++) {
    if (codes[row] >= known)
      throw broken(`${column} of ${table} row ${row} is code ${codes[row]}, and only ${known} are known; it may come from a newer version`)
  }
}

/** Every index of one table into another, so that nothing looks outside. */
function checkPlan({ listing, names, buffers, uses, waits, spans, memory, predicted }: RunTables): void {
  checkTable('buffer', buffers, BUFFER_COLUMNS, ['offset_bytes', 'size_bytes'], 'tier')
  checkTable('use', uses, USE_COLUMNS, [])
  checkTable('wait', waits, WAIT_COLUMNS, [])
  checkCodes('buffer', 'tier', buffers.tier, TIERS.length)
  checkCodes('buffer', 'category', buffers.category, CATEGORIES.length)
  if (names.length !== buffers.tier.length) throw broken(`it has ${buffers.tier.length} buffers and ${names.length} names for them`)
  const ops = listing.length
  checkIndices('use', 'op', uses.op, ops)
  checkIndices('use', 'buffer', uses.buffer, names.length)
  checkIndices('wait', 'op', waits.op, ops)
  checkIndices('wait', 'on', waits.on, ops)
  checkIndices('buffer', 'birth', buffers.birth, ops)
  checkIndices('span', 'op', spans.op, ops)
  checkIndices('memory', 'op', memory.op, ops)
  checkIndices('memory', 'buffer', memory.buffer, names.length)
  if (predicted) {
    checkTable('predicted span', predicted, SPAN_COLUMNS, ['start_ns', 'duration_ns', 'flops', 'bytes'])
    checkCodes('predicted span', 'stream', predicted.stream, STREAMS.length)
    checkCodes('predicted span', 'kind', predicted.kind, KINDS.length)
    checkCodes('predicted span', 'phase', predicted.phase, PHASES.length)
    checkIndices('predicted span', 'op', predicted.op, ops)
    checkPrediction(predicted, spans)
  }
}

/** A prediction is drawn below lanes, of which a step can have no more. */
function checkPrediction(predicted: SpanColumns, spans: SpanColumns): void {
  const most = spans.rank.reduce((greatest, rank) => Math.max(greatest, rank), 0)
  const last = new Map<number, number>()
  for (let row = 0; row < predicted.op.length; row++) {
    if (spans.op.length > 0 && predicted.rank[row] > most)
      throw broken(`predicted span ${row} is of rank ${predicted.rank[row]}, and ranks to ${most} have run`)
    const key = predicted.rank[row] * STREAMS.length + predicted.stream[row]
    if (predicted.start_ns[row] < (last.get(key) ?? 0)) throw broken(`predicted span ${row} starts before the one before it of the same rank and stream`)
    last.set(key, predicted.start_ns[row])
  }
}

function checkIndices(table: string, column: string, indices: Uint32Array, count: number): void {
  for (let row = 0; row < indices.length; row++) {
    if (indices[row] >= count && indices[row] !== NONE_32) throw broken(`${column} of ${table} row ${row} is ${indices[row]}, and there are ${count}`)
  }
}

function broken(reason: string): FpdtError {
  return new FpdtError('payload', `this run cannot be drawn: ${reason}`)
}
