/**
 * The chunk triangle: which query chunk met which key/value chunk in a layer, in what order, when, and where what they met with
 * came from.
 *
 *        kv 0  1  2            A row is a query chunk, a column a key/value chunk. Each cell that is met is one op of attention,
 *   q 0     1                  or several: of sequences that go through the layer one after the other.
 *     1     2  3
 *     2     4  5  6
 *
 * Knows the plan and the spans alone, so it holds for measured and predicted runs, any system, and schedules of the user's own.
 */
import { firstAfter, type Run } from '../model/run.js'
import { CATEGORIES, NONE, NONE_32, PHASES, type Phase, READS, type SpanColumns, TIERS, WRITES } from '../schema.js'
import { cached } from './cache.js'
import { groupOf, lookupOf, spanOf } from './lookup.js'
import { MOST_CHUNKS, valueName } from './value-name.js'

/**
 * Where something was before it was met with. `made`: on the device, where it was computed. `stayed`: on the device, where an
 * earlier meeting had used it. `host`: fetched for this meeting. `disk`: the same, and loaded from disk before that.
 */
export const SOURCES = ['made', 'stayed', 'host', 'disk'] as const
export type Source = (typeof SOURCES)[number]

/** All meetings of a layer in a phase of a step, on one rank. Columns have one entry a meeting, in order of the schedule. */
export interface Triangle {
  readonly step: number
  readonly rank: number
  readonly phase: Phase
  readonly layer: number
  /** Rows and columns of the picture: chunks of queries, and of keys and values. */
  readonly queries: number
  readonly keys: number
  readonly q: Uint16Array
  readonly kv: Uint16Array
  readonly op: Uint32Array
  /** Row of the span table, -1 for what has not run. */
  readonly row: Int32Array
  /** Ascending. Infinity for what has not run, -Infinity for what ran before the spans that were kept. */
  readonly start_ns: Float64Array
  readonly end_ns: Float64Array
  /** Index into SOURCES: the farthest place that anything came from for this meeting. */
  readonly source: Uint8Array
  /** Whether the run keeps anything on disk. */
  readonly hasDisk: boolean
  /** What was fetched for this meeting: bits FETCHED_Q (q, or in the backward something beside k and v) and FETCHED_KV. */
  readonly fetched: Uint8Array
  /** By cell, q * keys + kv: its first meeting, -1 where there is none; `next` has the one after each meeting in its cell, or -1. */
  readonly first: Int32Array
  readonly next: Int32Array
}

export const FETCHED_Q = 1
export const FETCHED_KV = 2

/** A phase and layer in which chunks met. */
export interface MeetingPlace {
  readonly phase: Phase
  /** NONE for a schedule without layers. */
  readonly layer: number
}

/** Phases and layers that have a triangle, in the order of the algorithm. */
export function meetingPlaces(run: Run): MeetingPlace[] {
  const places = new Map<number, MeetingPlace>()
  for (const { phase, layer } of attentionOps(run)) places.set(phase * 0x10000 + layer, { phase: PHASES[phase], layer })
  return [...places].sort(([a], [b]) => a - b).map(([, place]) => place)
}

/** Spans of a rank in which chunks meet, in order of time. */
export function meetingRows(run: Run, rank: number): Uint32Array {
  return cached(rowsOfRun, run, String(rank), () => {
    const ops = new Set(attentionOps(run).map(({ op }) => op))
    return Uint32Array.from(
      run.lanes.flatMap((lane) => (lane.rank === rank && lane.stream === 'compute' ? [...lane.rows] : [])).filter((row) => ops.has(run.spans.op[row])),
    )
  })
}
const rowsOfRun = new WeakMap<object, Map<string, Uint32Array>>()

/** The place where chunks met last on a rank at an instant, or are the first to meet; null for a run in which none do. */
export function placeAt(run: Run, rank: number, time_ns: number): MeetingPlace | null {
  const rows = meetingRows(run, rank)
  const row = rows[Math.max(0, firstAfter(rows, (at) => run.spans.start_ns[at], time_ns) - 1)]
  const ops = attentionOps(run)
  const op = ops[row === undefined ? 0 : firstAfter(ops, (each) => each.op, run.spans.op[row]) - 1]
  return op ? { phase: PHASES[op.phase], layer: op.layer } : null
}

/** The triangle of a place; null where no chunks meet there. */
export function triangleOf(run: Run, step: number, rank: number, place: MeetingPlace): Triangle | null {
  return cached(triangles, run, `${step} ${rank} ${place.phase} ${place.layer}`, () => makeTriangle(run, step, rank, place))
}
const triangles = new WeakMap<object, Map<string, Triangle | null>>()

/** How many meetings are over at an instant: those of one rank follow each other, so these are the first ones. */
export function metBy(triangle: Triangle, time_ns: number): number {
  return firstAfter(triangle.end_ns, (end_ns) => end_ns, time_ns)
}

/** The meeting under way at an instant, -1 between two. */
export function meetingAt(triangle: Triangle, time_ns: number): number {
  const next = metBy(triangle, time_ns)
  return next < triangle.op.length && triangle.start_ns[next] <= time_ns ? next : -1
}

/** Meetings of a cell, in order. */
export function meetingsOf(triangle: Triangle, q: number, kv: number): number[] {
  const list: number[] = []
  if (q >= triangle.queries || kv >= triangle.keys) return list
  for (let meeting = triangle.first[q * triangle.keys + kv]; meeting >= 0; meeting = triangle.next[meeting]) list.push(meeting)
  return list
}

/** Something that a meeting needs, and how it came to be on the device. */
export interface Arrival {
  readonly buffer: number
  readonly name: string
  readonly source: Source
  /** The fetch that brought it, for this meeting or for an earlier one; null for what was made on the device. */
  readonly fetch: Copy | null
  /** The load from disk before it. */
  readonly load: Copy | null
}
export interface Copy {
  readonly op: number
  /** -1 where it has not run. */
  readonly row: number
  readonly start_ns: number
  readonly end_ns: number
  /** How long compute stood still before the meeting, until this copy had ended. 0: it was hidden. */
  readonly waited_ns: number
  /** Row of the op of compute, on this rank or else on another, under which most of it lay; -1 where it lay under none. */
  readonly under: number
}

/** What a meeting reads, in order of its operands: q, k, v, and in the backward dO, lse, delta; then the sums that it adds to. */
export function arrivalsOf(run: Run, triangle: Triangle, meeting: number): Arrival[] {
  const { uses, names } = run
  const operands = operandsOf(run, triangle.op[meeting])
  const sorted = [...operands.filter((use) => uses.access[use] === READS), ...operands.filter((use) => uses.access[use] !== READS)]
  return sorted.map((use) => {
    const { source, fetch, load } = comingOf(run, use)
    const copy = (op: number): Copy | null => (op === NONE_32 ? null : copyOf(run, op, triangle, meeting))
    return { buffer: uses.buffer[use], name: names[uses.buffer[use]], source, fetch: copy(fetch), load: copy(load) }
  })
}

interface AttentionOp {
  readonly op: number
  readonly phase: number
  readonly layer: number
  readonly q: number
  readonly kv: number
}

/** Names of the kernels in which a query chunk meets a key/value chunk. */
const MEETING_KERNELS = ['attend', 'attendBackward']

/** Every op of attention that the run knows of, in order: those that ran in any step, and those that are predicted. */
function attentionOps(run: Run): readonly AttentionOp[] {
  const known = opsOfRun.get(run)
  if (known) return known
  const found = new Map<number, AttentionOp>()
  const kernels = new Set(run.head.codes.kernels.flatMap(({ name }, code) => (MEETING_KERNELS.includes(name) ? [code] : [])))
  const gather = (spans: SpanColumns): void => {
    for (let row = 0; row < spans.op.length; row++) {
      if (!kernels.has(spans.kernel[row]) || found.has(spans.op[row])) continue
      const chunks = chunksOf(run, spans, row)
      if (chunks) found.set(spans.op[row], { op: spans.op[row], phase: spans.phase[row], ...chunks })
    }
  }
  gather(run.spans)
  if (run.predicted) gather(run.predicted)
  const made = [...found.values()].sort((a, b) => a.op - b.op)
  opsOfRun.set(run, made)
  return made
}
const opsOfRun = new WeakMap<Run, readonly AttentionOp[]>()

/** Where the op says it stands; what a schedule of the user's own leaves unsaid is in the names of what it reads. */
function chunksOf(run: Run, spans: SpanColumns, row: number): Pick<AttentionOp, 'layer' | 'q' | 'kv'> | null {
  const [queries, keys] = [spans.q[row], spans.kv[row]]
  if ((queries !== NONE && queries >= MOST_CHUNKS) || (keys !== NONE && keys >= MOST_CHUNKS)) return null
  if (queries !== NONE && keys !== NONE) return { layer: spans.layer[row], q: queries, kv: keys }
  const read = operandsOf(run, spans.op[row]).filter((use) => run.uses.access[use] === READS)
  if (read.length < 2) return null
  const [q, k] = read.map((use) => valueName(run.names[run.uses.buffer[use]]))
  const chunk = (given: number, named: number): number => (given !== NONE ? given : named === NONE ? 0 : named)
  return { layer: spans.layer[row] === NONE ? q.layer : spans.layer[row], q: chunk(spans.q[row], q.chunk), kv: chunk(spans.kv[row], k.chunk) }
}

/** Rows of the table of uses: chunks that an op reads; neither workspace nor the documents' first positions. */
function operandsOf(run: Run, op: number): number[] {
  const { uses, buffers } = run
  return [...groupOf(lookupOf(run).usesOfOp, op)].filter((use) => {
    const category = CATEGORIES[buffers.category[uses.buffer[use]]]
    return (uses.access[use] & READS) !== 0 && category !== 'workspace' && category !== 'input'
  })
}

function makeTriangle(run: Run, step: number, rank: number, place: MeetingPlace): Triangle | null {
  const phase = PHASES.indexOf(place.phase)
  const ops = attentionOps(run).filter((op) => op.phase === phase && op.layer === place.layer)
  if (ops.length === 0) return null
  const { spans } = run
  const queries = 1 + ops.reduce((most, { q }) => Math.max(most, q), 0)
  const keys = 1 + ops.reduce((most, { kv }) => Math.max(most, kv), 0)
  const first = new Int32Array(queries * keys).fill(-1)
  const last = new Int32Array(queries * keys).fill(-1)
  const next = new Int32Array(ops.length).fill(-1)
  for (const [meeting, { q, kv }] of ops.entries()) {
    const cell = q * keys + kv
    if (last[cell] < 0) first[cell] = meeting
    else next[last[cell]] = meeting
    last[cell] = meeting
  }
  const comings = ops.map(({ op }) => comingsOf(run, op))
  const row = Int32Array.from(ops, ({ op }) => spanOf(run, step, rank, op))
  // What has no span before one that has ran before what was kept; after the last, it has not run.
  const ran = row.findLastIndex((at) => at >= 0)
  const unknown = (meeting: number): number => (meeting < ran ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY)
  return {
    step,
    rank,
    ...place,
    queries,
    keys,
    q: Uint16Array.from(ops, ({ q }) => q),
    kv: Uint16Array.from(ops, ({ kv }) => kv),
    op: Uint32Array.from(ops, ({ op }) => op),
    row,
    start_ns: Float64Array.from(row, (at, meeting) => (at < 0 ? unknown(meeting) : spans.start_ns[at])),
    end_ns: Float64Array.from(row, (at, meeting) => (at < 0 ? unknown(meeting) : spans.start_ns[at] + spans.duration_ns[at])),
    hasDisk: run.buffers.tier.includes(TIERS.indexOf('disk')),
    source: Uint8Array.from(comings, ({ farthest }) => SOURCES.indexOf(farthest)),
    fetched: Uint8Array.from(comings, ({ fetched }) => fetched),
    first,
    next,
  }
}

/** Places of k and v among what a meeting only reads: q, k, v, and the rest. */
const KEYS_AND_VALUES = [1, 2]

/** What came from afar counts, whatever it is. Of what was on the device k and v do: that q stayed for its row says nothing. */
function comingsOf(run: Run, op: number): { farthest: Source; fetched: number } {
  let farthest: Source = 'made'
  let fetched = 0
  let reads = 0
  for (const use of operandsOf(run, op)) {
    const { source } = comingOf(run, use)
    const isKeyOrValue = run.uses.access[use] === READS && KEYS_AND_VALUES.includes(reads++)
    if (SOURCES.indexOf(source) > SOURCES.indexOf(farthest) && (source !== 'stayed' || isKeyOrValue)) farthest = source
    if (source === 'host' || source === 'disk') fetched |= isKeyOrValue ? FETCHED_KV : FETCHED_Q
  }
  return { farthest, fetched }
}

/** How what a use reads came to be there: by the op that wrote it last, and whether a meeting has used it since. */
function comingOf(run: Run, use: number): { source: Source; fetch: number; load: number } {
  const { writers, met } = historyOf(run)
  const there: Source = met[use] ? 'stayed' : 'made'
  const writer = writers[use]
  if (writer === NONE_32 || !isCopy(run, writer, 'fetch')) return { source: there, fetch: NONE_32, load: NONE_32 }
  const [waiting] = groupOf(lookupOf(run).usesOfOp, writer) // a fetch names the host's buffer first
  const before = writers[waiting]
  const load = before !== NONE_32 && isCopy(run, before, 'load') ? before : NONE_32
  return { source: met[use] ? 'stayed' : load === NONE_32 ? 'host' : 'disk', fetch: writer, load }
}

interface History {
  /** By row of the table of uses: the op that wrote the buffer last before this one, NONE_32 where none did. */
  readonly writers: Uint32Array
  /** 1: an op of attention has used it since it was written, or wrote it. */
  readonly met: Uint8Array
}

function historyOf(run: Run): History {
  const known = histories.get(run)
  if (known) return known
  const { uses, names } = run
  const meets = new Set(attentionOps(run).map(({ op }) => op))
  const last = new Uint32Array(names.length).fill(NONE_32)
  const seen = new Uint8Array(names.length)
  const made: History = { writers: new Uint32Array(uses.op.length).fill(NONE_32), met: new Uint8Array(uses.op.length) }
  for (let from = 0, to = 0; from < uses.op.length; from = to) {
    // All uses of an op first look, then change: an op that names a buffer twice does not find itself there.
    for (to = from; to < uses.op.length && uses.op[to] === uses.op[from]; to++) {
      made.writers[to] = last[uses.buffer[to]]
      made.met[to] = seen[uses.buffer[to]]
    }
    const isMeeting = meets.has(uses.op[from])
    for (let use = from; use < to; use++) {
      const writes = (uses.access[use] & WRITES) !== 0
      if (writes) last[uses.buffer[use]] = uses.op[use]
      if (isMeeting) seen[uses.buffer[use]] = 1
      else if (writes) seen[uses.buffer[use]] = 0
    }
  }
  histories.set(run, made)
  return made
}
const histories = new WeakMap<Run, History>()

/** The listing begins each line with the kind of op. */
function isCopy(run: Run, op: number, kind: 'fetch' | 'load'): boolean {
  return run.listing[op].trimStart().startsWith(`${kind} `)
}

function copyOf(run: Run, op: number, triangle: Triangle, meeting: number): Copy {
  const { spans } = run
  const row = spanOf(run, triangle.step, triangle.rank, op)
  if (row < 0) return { op, row, start_ns: Number.POSITIVE_INFINITY, end_ns: Number.POSITIVE_INFINITY, waited_ns: 0, under: -1 }
  const start_ns = spans.start_ns[row]
  const end_ns = start_ns + spans.duration_ns[row]
  // Compute stood still from the end of its op before the meeting to the end of the copy, or not at all.
  const before = lookupOf(run).previous[triangle.row[meeting]] ?? -1
  const idleFrom_ns = before < 0 ? start_ns : spans.start_ns[before] + spans.duration_ns[before]
  const waited_ns = triangle.row[meeting] < 0 ? 0 : Math.max(0, Math.min(end_ns, triangle.start_ns[meeting]) - idleFrom_ns)
  return { op, row, start_ns, end_ns, waited_ns, under: underOf(run, triangle.rank, start_ns, end_ns) }
}

/** The op of compute that shares most time with the copy: of its own rank, or where that stood still, of another, which may have had the cores. */
function underOf(run: Run, rank: number, start_ns: number, end_ns: number): number {
  const { spans } = run
  let under = -1
  let most = 0
  for (const isOwn of [true, false]) {
    for (const lane of run.lanes) {
      if (lane.stream !== 'compute' || (lane.rank === rank) !== isOwn) continue
      const first = Math.max(0, firstAfter(lane.rows, (at) => spans.start_ns[at], start_ns) - 1)
      for (let i = first; i < lane.rows.length && spans.start_ns[lane.rows[i]] < end_ns; i++) {
        const at = lane.rows[i]
        const shared = Math.min(end_ns, spans.start_ns[at] + spans.duration_ns[at]) - Math.max(start_ns, spans.start_ns[at])
        if (shared > most) [most, under] = [shared, at]
      }
    }
    if (under >= 0) return under
  }
  return -1
}
