/**
 * What a notebook keeps of a run: whole newest steps up to a number of spans, and of a long plan only what those spans need.
 * Ops keep their numbers and steps their times, so that what is kept means the same as in the whole.
 */
import { type MemoryColumns, NONE_32, type PlanTables, type RunHead, type RunTables, type SpanColumns } from './schema.js'
import { joinColumns, pickRows } from './spans.js'

/** Spans that a saved run keeps: a few megabytes of notebook at most, and drawn without a stutter. */
export const MAX_SPANS = 20_000
/** Characters of JSON that the steps of a head may take. Without their accounts that is a few thousand steps. */
const MAX_STEPS_TEXT = 2 ** 20

/**
 * Whole newest steps and the prediction, up to that many spans; of a newest step that alone has more, its beginning. `head.kept` says
 * so. The prediction takes half of them at most, and is cut as the step is. With no span to stand beside, memory goes where not one is to be kept.
 */
export function keepNewest(whole: RunTables, mostOfAll = MAX_SPANS): RunTables {
  const predicted =
    whole.predicted &&
    beginningRows(
      whole.predicted,
      rowsWhere(whole.predicted.op.length, () => true),
      Math.floor(mostOfAll / 2),
    ).kept
  const most = mostOfAll - (predicted?.op.length ?? 0)
  const tables: RunTables = { ...whole, predicted }
  const { spans, memory } = tables
  const rows = spans.op.length
  const before = whole.head.kept
  const wasCut = before.of > rows // by the kernel, which keeps the newest steps
  const of = wasCut ? before.of : rows
  const counts = new Map<number, number>()
  for (let row = 0; row < rows; row++) counts.set(spans.step[row], (counts.get(spans.step[row]) ?? 0) + 1)
  const newestFirst = [...counts.keys()].sort((a, b) => b - a)
  const steps: number[] = []
  let kept = 0
  for (const step of newestFirst) {
    kept += counts.get(step) as number
    if (kept > most) break
    steps.unshift(step)
  }
  if (steps.length === newestFirst.length) {
    const reason = wasCut ? before.reason : 'everything'
    if (mostOfAll > 0 || memory.op.length === 0) return withKept(tables, spans, memory, steps, reason, of)
    return withKept(tables, spans, pickRows(memory, new Uint32Array(0)), steps, `${reason}, without memory, which does not fit`, of)
  }
  const limit = `a saved run holds at most ${most} spans, and run.trace('step.arrow') writes ${wasCut ? `the newest ${newestFirst.length === 1 ? 'step' : `${newestFirst.length} steps`}` : 'all of them'} to a file`
  if (steps.length === 0) return beginningOf(tables, newestFirst[0], counts.get(newestFirst[0]) as number, most, limit, of)
  const first = steps[0]
  const newer = pickRows(
    spans,
    rowsWhere(rows, (row) => spans.step[row] >= first),
  )
  const all = wasCut ? whole.head.steps.length : newestFirst.length
  const reason = `the newest ${steps.length === 1 ? 'step' : `${steps.length} steps`} of ${all}: ${limit}`
  const begins = (row: number): boolean => memory.step[row] >= first
  return withKept(tables, newer, memoryFrom(memory, begins, begins), steps, reason, of)
}

function beginningOf(tables: RunTables, step: number, count: number, most: number, limit: string, of: number): RunTables {
  const { spans, memory } = tables
  const rows = rowsWhere(spans.op.length, (row) => spans.step[row] === step)
  const { kept, end_ns } = beginningRows(spans, rows, most)
  const reason = `the beginning of step ${step}, which alone has ${count} spans: ${limit}`
  const memoryKept = memoryFrom(
    memory,
    (row) => memory.step[row] === step,
    (row) => memory.step[row] === step && memory.time_ns[row] < end_ns,
  )
  return withKept(tables, kept, memoryKept, [step], reason, of)
}

/** Those of some rows that begin first, `most` of them or a few less: whole instants, but for a first one that alone has more. Until when: before `end_ns`. */
function beginningRows(spans: SpanColumns, rows: Uint32Array, most: number): { kept: SpanColumns; end_ns: number } {
  const end_ns = Float64Array.from(rows, (row) => spans.start_ns[row]).sort()[most] ?? Number.POSITIVE_INFINITY // the start of the first that is left out
  const earlier = rows.filter((row) => spans.start_ns[row] < end_ns)
  if (earlier.length > 0) return { kept: pickRows(spans, earlier), end_ns }
  const first = rows.filter((row) => spans.start_ns[row] === end_ns).subarray(0, most)
  return { kept: pickRows(spans, first), end_ns: end_ns + 1 }
}

function withKept(tables: RunTables, spans: SpanColumns, memory: MemoryColumns, steps: number[], reason: string, of: number): RunTables {
  const head: RunHead = { ...tables.head, kept: { spans: spans.op.length, of, steps, reason } }
  return { ...tables, head, spans, memory }
}

/** Rows that are to be kept; what stood before the first that `begins` begins again in an opening row for each buffer. */
function memoryFrom(memory: MemoryColumns, begins: (row: number) => boolean, keep: (row: number) => boolean): MemoryColumns {
  const [first] = rowsWhere(memory.op.length, begins, 1)
  const kept = pickRows(memory, rowsWhere(memory.op.length, keep))
  if (first === undefined) return kept
  const standing = new Map<number, number>() // rows, by rank and buffer
  for (let row = 0; row < first; row++) {
    const key = memory.rank[row] * 2 ** 32 + memory.buffer[row]
    if (memory.delta_bytes[row] > 0) standing.set(key, row)
    else standing.delete(key)
  }
  const opened = pickRows(memory, Uint32Array.from(standing.values()))
  opened.step.fill(memory.step[first])
  opened.time_ns.fill(memory.time_ns[first])
  const totals = new Map<number, number>() // by rank and tier
  for (let row = 0; row < opened.op.length; row++) {
    const arena = opened.rank[row] * 256 + opened.tier[row]
    totals.set(arena, (totals.get(arena) ?? 0) + opened.delta_bytes[row])
    opened.total_bytes[row] = totals.get(arena) as number
  }
  return joinColumns([opened, kept])
}

/**
 * The plan as far as the spans need it, those of the prediction too: lines of ops that ran, that they wait for and that make or end what they touch, the
 * others empty; buffers that they touch or that stand in memory, numbered anew; uses and waits of ops that ran. A buffer that
 * others use later keeps its last use, which says that it lives on.
 */
export function withoutUnused(tables: RunTables): RunTables {
  const { listing, names, buffers, uses, waits, spans, memory, predicted } = tables
  const ran = new Uint8Array(listing.length)
  for (const op of spans.op) ran[op] = 1
  if (predicted) for (const op of predicted.op) ran[op] = 1
  const lastUse = new Uint32Array(names.length)
  const touched = new Uint8Array(names.length)
  for (let u = 0; u < uses.op.length; u++) {
    lastUse[uses.buffer[u]] = u
    if (ran[uses.op[u]]) touched[uses.buffer[u]] = 1
  }
  for (const buffer of memory.buffer) if (buffer !== NONE_32) touched[buffer] = 1
  const keptBuffers = rowsWhere(names.length, (buffer) => touched[buffer] === 1)
  const keptUses = rowsWhere(uses.op.length, (u) => ran[uses.op[u]] === 1 || (touched[uses.buffer[u]] === 1 && lastUse[uses.buffer[u]] === u))
  const keptWaits = rowsWhere(waits.op.length, (w) => ran[waits.op[w]] === 1)

  const named = ran.slice()
  for (const w of keptWaits) named[waits.on[w]] = 1
  for (const buffer of keptBuffers) {
    for (const op of [buffers.birth[buffer], buffers.death[buffer]]) if (op < named.length) named[op] = 1
  }
  const number = new Uint32Array(names.length).fill(NONE_32)
  for (let i = 0; i < keptBuffers.length; i++) number[keptBuffers[i]] = i
  const renumbered = <T extends { buffer: Uint32Array }>(table: T): T => ({
    ...table,
    buffer: table.buffer.map((buffer) => (buffer === NONE_32 ? NONE_32 : number[buffer])),
  })
  return {
    ...tables,
    listing: listing.map((line, op) => (named[op] ? line : '')),
    names: Array.from(keptBuffers, (buffer) => names[buffer]),
    buffers: pickRows(buffers, keptBuffers),
    uses: renumbered(pickRows(uses, keptUses)),
    waits: pickRows(waits, keptWaits),
    memory: renumbered(memory),
  } satisfies PlanTables & RunTables
}

/** The newest steps of a head, as many as its text may hold; accounts only of those whose spans are kept where it would grow too long. */
export function withShorterHead(head: RunHead, most = MAX_STEPS_TEXT): RunHead {
  if (JSON.stringify(head.steps).length <= most) return head
  const kept = new Set(head.kept.steps)
  const lean = head.steps.map((step) => (kept.has(step.step) ? step : { ...step, accounts: [] }))
  let from = lean.length
  for (let left = most; from > 0; from--) {
    left -= JSON.stringify(lean[from - 1]).length + 1
    if (left < 0) break
  }
  const reason = from === 0 ? head.kept.reason : `${head.kept.reason}; figures are those of the last ${lean.length - from} of ${lean.length} steps`
  return { ...head, steps: lean.slice(from), kept: { ...head.kept, reason } }
}

function rowsWhere(count: number, keep: (row: number) => boolean, most = count): Uint32Array {
  const rows = new Uint32Array(most)
  let kept = 0
  for (let row = 0; row < count && kept < most; row++) if (keep(row)) rows[kept++] = row
  return rows.subarray(0, kept)
}
