/**
 * What a run must be before anything is drawn or asked: tables come out of files that anyone may have written. After this no
 * index looks outside, no number is without meaning, and no list of the head is longer than a run can make it.
 */
import { FpdtError } from '../../errors.js'
import type { RunHead, RunTables, SpanColumns } from '../schema.js'
import {
  BUFFER_COLUMNS,
  CATEGORIES,
  IDLE_CAUSES,
  KINDS,
  MEMORY_COLUMNS,
  NONE_32,
  ORIGINS,
  PHASES,
  RUN_STATES,
  SPAN_COLUMNS,
  STREAMS,
  TIERS,
  USE_COLUMNS,
  WAIT_COLUMNS,
} from '../schema.js'

/** Times and bytes are whole numbers, exact up to here: beyond it the next nanosecond is the same number. */
const MOST = 2 ** 53
/** Flops and rates are only shown: a million tokens through a large model are 1e18. */
const MOST_SHOWN = 1e30
const MOST_STEPS = 1e6
/** A column of codes holds a byte, and 0xFF stands for none. */
const MOST_KERNELS = 255
/** `peaksOf` names two dozen, and sums the rest by category. */
const MOST_PEAK_BUFFERS = 1000
/** Uses of an op, on average, of a run of any length: most have three to six, and the norm of all gradients a thousand. */
const MEAN_USES = 64
/** Uses of all spans of a short run. */
const MOST_LINKS = 2 ** 24

/** Throws FpdtError 'payload' for tables that break the format: nothing is drawn from numbers that mean nothing. */
export function checkRun(tables: RunTables): void {
  const { head, listing, names, buffers, uses, waits, spans, memory, predicted } = tables
  const ops = listing.length
  checkHead(head)
  checkSpans('span', spans)
  once(buffers, [listing, names, uses, waits], () => checkPlan(tables))
  once(memory, [listing, names], () => checkMemory(tables))
  checkIndices('span', 'op', spans.op, ops)
  checkLinks(ops, uses.op, spans.op)
  if (!predicted) return
  once(predicted, [listing], () => {
    checkSpans('predicted span', predicted)
    checkIndices('predicted span', 'op', predicted.op, ops)
  })
  checkPrediction(predicted, spans)
}

/** Tables that passed, and with which others: those of a run that goes on come again with every picture of it. */
const passed = new WeakMap<object, readonly unknown[]>()

function once(table: object, others: readonly unknown[], check: () => void): void {
  const before = passed.get(table)
  if (before && others.every((other, i) => other === before[i])) return
  check()
  passed.set(table, others)
}

export function broken(reason: string): FpdtError {
  return new FpdtError('payload', `this run cannot be drawn: ${reason}`)
}

// ---- tables --------------------------------------------------------------------------------------------------------

function checkSpans(name: string, spans: SpanColumns): void {
  checkTable(name, spans, SPAN_COLUMNS, { start_ns: [0, MOST], duration_ns: [0, MOST], flops: [0, MOST_SHOWN], bytes: [0, MOST] })
  const { start_ns, duration_ns } = spans
  for (let row = 0; row < start_ns.length; row++)
    if (start_ns[row] + duration_ns[row] > MOST) throw broken(`${name} row ${row} ends at ${start_ns[row] + duration_ns[row]} ns, later than 2^53`)
  checkCodes(name, 'stream', spans.stream, STREAMS.length)
  checkCodes(name, 'kind', spans.kind, KINDS.length)
  checkCodes(name, 'phase', spans.phase, PHASES.length)
}

type Bounds = readonly [least: number, most: number]

function checkTable(
  name: string,
  table: Record<string, ArrayLike<number>>,
  spec: Record<string, string>,
  bounds: Readonly<Record<string, Bounds>>,
  key = 'op',
): void {
  const rows = table[key]?.length
  for (const column of Object.keys(spec)) {
    if (table[column]?.length !== rows)
      throw broken(`its ${name} table has ${table[column]?.length ?? 'no'} rows in column ${column} and ${rows ?? 'none'} in column ${key}`)
  }
  for (const [column, [least, most]] of Object.entries(bounds)) {
    const values = table[column]
    // Said the way round that NaN fails.
    for (let row = 0; row < values.length; row++)
      if (!(values[row] >= least && values[row] <= most)) throw broken(`${column} of ${name} row ${row} is ${values[row]}`)
  }
}

function checkCodes(table: string, column: string, codes: Uint8Array, known: number): void {
  for (let row = 0; row < codes.length; row++) {
    if (codes[row] >= known)
      throw broken(`${column} of ${table} row ${row} is code ${codes[row]}, and only ${known} are known; it may come from a newer version`)
  }
}

/** Every index of one table into another, so that nothing looks outside. */
function checkPlan({ listing, names, buffers, uses, waits }: RunTables): void {
  checkTable('buffer', buffers, BUFFER_COLUMNS, { offset_bytes: [0, MOST], size_bytes: [0, MOST] }, 'tier')
  checkTable('use', uses, USE_COLUMNS, {})
  checkTable('wait', waits, WAIT_COLUMNS, {})
  checkCodes('buffer', 'tier', buffers.tier, TIERS.length)
  checkCodes('buffer', 'category', buffers.category, CATEGORIES.length)
  if (names.length !== buffers.tier.length) throw broken(`it has ${buffers.tier.length} buffers and ${names.length} names for them`)
  const ops = listing.length
  checkIndices('use', 'op', uses.op, ops)
  checkIndices('use', 'buffer', uses.buffer, names.length)
  checkIndices('wait', 'op', waits.op, ops)
  checkIndices('wait', 'on', waits.on, ops)
  checkIndices('buffer', 'birth', buffers.birth, ops, NONE_32)
  const op = countsOf(waits.op, ops).findIndex((count) => count > STREAMS.length)
  if (op >= 0) throw broken(`op ${op} waits for more ops than there are streams, and a plan names the last of each`)
}

function checkMemory({ listing, names, memory }: RunTables): void {
  checkTable('memory', memory, MEMORY_COLUMNS, { time_ns: [0, MOST], delta_bytes: [-MOST, MOST], total_bytes: [0, MOST] })
  checkCodes('memory', 'tier', memory.tier, TIERS.length)
  checkCodes('memory', 'category', memory.category, CATEGORIES.length)
  checkIndices('memory', 'op', memory.op, listing.length)
  checkIndices('memory', 'buffer', memory.buffer, names.length, NONE_32)
}

/** Answers go from spans to what their ops use: that each op does so little bounds all of them. */
function checkLinks(ops: number, uses: Uint32Array, spans: Uint32Array): void {
  const usesOf = countsOf(uses, ops)
  const found = spans.reduce((sum, op) => sum + (usesOf[op] ?? 0), 0)
  const most = MOST_LINKS + MEAN_USES * spans.length
  if (found > most) throw broken(`its ${spans.length} spans use buffers ${found} times, and those of a run at most ${most} times`)
}

function countsOf(keys: Uint32Array, count: number): Uint32Array {
  const counts = new Uint32Array(count)
  for (const key of keys) if (key < count) counts[key]++
  return counts
}

/** `none`: what may stand where there is nothing to point at. */
function checkIndices(table: string, column: string, indices: Uint32Array, count: number, none = -1): void {
  for (let row = 0; row < indices.length; row++) {
    if (indices[row] >= count && indices[row] !== none) throw broken(`${column} of ${table} row ${row} is ${indices[row]}, and there are ${count}`)
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

// ---- head ----------------------------------------------------------------------------------------------------------

/** `exact`: times and bytes. `shown`: other numbers. */
type Field = 'text' | 'exact' | 'shown' | 'exact or null' | 'shown or null'
type Fields = Readonly<Record<string, Field>>

/** The fields that are drawn or reckoned with. */
function checkHead(head: RunHead): void {
  if (typeof head !== 'object' || head === null) throw broken('it has no head')
  checkFields('head', head, { title: 'text', run_id: 'text', created: 'text', system: 'text', message: 'text' })
  checkName('head.origin', head.origin, ORIGINS)
  checkName('head.state', head.state, RUN_STATES)
  checkFields('head', head, { predicted_ns: 'exact or null' })
  checkFields('head.device', head.device, { backend: 'text', name: 'text', note: 'text', threads: 'shown' })
  checkFields('head.model', head.model, MODEL_FIELDS)
  checkFields('head.sequence', head.sequence, SEQUENCE_FIELDS)
  checkList('head.codes.kernels', head.codes?.kernels, MOST_KERNELS, { name: 'text', family: 'text' })
  checkList('head.tiers', head.tiers, TIERS.length, TIER_FIELDS)
  checkTiers('head.tiers', head.tiers)
  checkList('head.peaks', head.peaks, TIERS.length, { tier: 'text', bytes: 'exact', time_ns: 'exact', step: 'exact', op: 'exact', words: 'text' })
  checkTiers('head.peaks', head.peaks)
  for (const [i, { buffers }] of head.peaks.entries())
    checkList(`head.peaks[${i}].buffers`, buffers, MOST_PEAK_BUFFERS, { name: 'text', bytes: 'exact', category: 'text' })
  checkList('head.steps', head.steps, MOST_STEPS, STEP_FIELDS)
  for (const [i, { accounts }] of head.steps.entries()) checkAccounts(`head.steps[${i}].accounts`, accounts)
  checkFields('head.kept', head.kept, { spans: 'exact', of: 'exact', reason: 'text' })
  checkLength('head.kept.steps', head.kept.steps, MOST_STEPS)
  for (const [i, step] of head.kept.steps.entries()) checkField(`head.kept.steps[${i}]`, step, 'exact')
}

const MODEL_FIELDS: Fields = {
  family: 'text',
  layers: 'exact',
  width: 'exact',
  heads: 'exact',
  kvHeads: 'exact',
  headSize: 'exact',
  feedForward: 'exact',
  vocabulary: 'exact',
  parameters: 'exact',
}
const SEQUENCE_FIELDS: Fields = { tokens: 'exact', chunk: 'exact', chunks: 'exact', ranks: 'exact', lookAhead: 'exact', prefetch: 'exact', dtype: 'text' }
const TIER_FIELDS: Fields = {
  tier: 'text',
  predicted_bytes: 'exact',
  allocated_bytes: 'exact or null',
  measured_bytes: 'exact or null',
  budget_bytes: 'exact or null',
}
const STEP_FIELDS: Fields = {
  step: 'exact',
  start_ns: 'exact',
  duration_ns: 'exact',
  loss: 'shown or null',
  tokens: 'exact',
  tokens_per_second: 'shown',
  model_flops: 'shown',
  mfu: 'shown or null',
  mfu_formula: 'text',
  gradient_norm: 'shown or null',
}

function checkAccounts(name: string, accounts: unknown): void {
  checkList(name, accounts, 0x10000, { rank: 'exact', hidden_copy_ns: 'exact', exposed_copy_ns: 'exact' })
  const busy = Object.fromEntries(STREAMS.map((stream) => [stream, 'exact' as const]))
  const idle = Object.fromEntries(IDLE_CAUSES.map((cause) => [cause, 'exact' as const]))
  for (const [i, { busy_ns, idle_ns }] of accounts.entries()) {
    checkFields(`${name}[${i}].busy_ns`, busy_ns, busy)
    checkFields(`${name}[${i}].idle_ns`, idle_ns, idle)
  }
}

/** Each tier is known, and named once. */
function checkTiers(name: string, rows: readonly { tier: string }[]): void {
  for (const [i, { tier }] of rows.entries()) {
    checkName(`${name}[${i}].tier`, tier, TIERS)
    if (rows.findIndex((row) => row.tier === tier) < i) throw broken(`${name} names ${tier} twice`)
  }
}

/** Names choose words and colours: one that is not known has none. */
function checkName(name: string, value: unknown, known: readonly string[]): void {
  checkField(name, value, 'text')
  if (!known.includes(value as string)) throw broken(`${name} is ${shortened(value as string)}, not one of ${known.join(', ')}`)
}

function checkList(name: string, value: unknown, most: number, fields: Fields): asserts value is Record<string, unknown>[] {
  checkLength(name, value, most)
  for (let i = 0; i < value.length; i++) checkFields(`${name}[${i}]`, value[i], fields)
}

function checkLength(name: string, value: unknown, most: number): asserts value is unknown[] {
  if (!Array.isArray(value)) throw broken(`${name} is not a list`)
  if (value.length > most) throw broken(`${name} has ${value.length} entries, and a run has at most ${most}`)
}

function checkFields(name: string, value: unknown, fields: Fields): void {
  if (typeof value !== 'object' || value === null) throw broken(`${name} is not an object`)
  for (const [field, type] of Object.entries(fields)) checkField(`${name}.${field}`, (value as Record<string, unknown>)[field], type)
}

function checkField(name: string, value: unknown, type: Field): void {
  if (type === 'text') {
    if (typeof value !== 'string') throw broken(`${name} is not text`)
    return
  }
  if (value === null && type.endsWith('null')) return
  if (typeof value !== 'number' || Number.isNaN(value)) throw broken(`${name} is not a number`)
  const most = type.startsWith('exact') ? MOST : MOST_SHOWN
  if (Math.abs(value) > most) throw broken(`${name} is ${value}, beyond ${most === MOST ? '2^53' : most}`)
}

function shortened(text: string): string {
  return JSON.stringify(text.slice(0, 40))
}
