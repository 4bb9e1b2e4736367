/** Spans as executors give them, and as the run format holds them. */
import type { Program } from '../plan/program.js'
import type { SpanColumns } from './schema.js'

/** When each entry of a program ran on each rank, one row each; those of one (rank, stream) in order. */
export interface Spans {
  readonly rank: Uint16Array
  /** Index into the program. */
  readonly entry: Uint32Array
  /** From the start of the run. */
  readonly start_ns: Float64Array
  readonly end_ns: Float64Array
}

export const NO_SPANS: Spans = { rank: new Uint16Array(0), entry: new Uint32Array(0), start_ns: new Float64Array(0), end_ns: new Float64Array(0) }

/** The same spans, counted from `origin_ns`. */
export function sinceOrigin(spans: Spans, origin_ns: number): Spans {
  return { ...spans, start_ns: spans.start_ns.map((time) => time - origin_ns), end_ns: spans.end_ns.map((time) => time - origin_ns) }
}

/** Rows of the span table: the spans of one step, with the program's tags. Times are rounded to whole nanoseconds. */
function spanColumns(program: Program, spans: Spans, step: number): SpanColumns {
  const rows = spans.entry.length
  const tag = <T extends Uint8Array | Uint16Array | Uint32Array | Float64Array>(column: T): T => {
    const out = new (column.constructor as new (length: number) => T)(rows)
    for (let i = 0; i < rows; i++) out[i] = column[spans.entry[i]]
    return out
  }
  const start_ns = spans.start_ns.map(Math.round)
  return {
    step: new Uint32Array(rows).fill(step),
    op: tag(program.op),
    rank: spans.rank.slice(),
    stream: tag(program.stream),
    kind: tag(program.kind),
    kernel: tag(program.kernel),
    phase: tag(program.phase),
    layer: tag(program.layer),
    q: tag(program.q),
    kv: tag(program.kv),
    start_ns,
    // From rounded ends, so that spans of one stream do not come to overlap.
    duration_ns: spans.end_ns.map((end, i) => Math.round(end) - start_ns[i]),
    flops: tag(program.flops),
    bytes: tag(program.bytes),
  }
}

/** Steps of a run whose spans are kept, the newest; a saved picture holds fewer still (`saved.ts`). */
export const KEPT_STEPS = 16

/** The spans of one executed step. */
export interface StepSpans {
  readonly step: number
  readonly spans: Spans
}

/** Span table of several steps; empty for none. */
export function spanTable(program: Program, steps: readonly StepSpans[]): SpanColumns {
  return joinColumns([spanColumns(program, NO_SPANS, 0), ...steps.map(({ step, spans }) => spanColumns(program, spans, step))])
}

/** Tables of the same columns, one after the other. */
export function joinColumns<Table extends object>(tables: readonly Table[]): Table {
  const [first] = tables as readonly Record<string, Float64Array>[]
  if (!first) throw new Error('joinColumns joins at least one table')
  const joined = Object.keys(first).map((name) => {
    const columns = tables.map((table) => (table as Record<string, Float64Array>)[name])
    const out = new (first[name].constructor as Float64ArrayConstructor)(columns.reduce((rows, column) => rows + column.length, 0))
    let row = 0
    for (const column of columns) {
      out.set(column, row)
      row += column.length
    }
    return [name, out]
  })
  return Object.fromEntries(joined) as Table
}

/** The rows of a table for which `keep` is true. */
export function selectRows<Table extends object>(table: Table, keep: (row: number) => boolean): Table {
  const [first] = Object.values(table) as Uint32Array[]
  return pickRows(
    table,
    Uint32Array.from(first.keys()).filter((row) => keep(row)),
  )
}

/** These rows of a table, in this order. */
export function pickRows<Table extends object>(table: Table, rows: Uint32Array): Table {
  const picked = Object.entries(table as Record<string, Float64Array>).map(([name, column]) => {
    const out = new (column.constructor as Float64ArrayConstructor)(rows.length)
    for (let i = 0; i < rows.length; i++) out[i] = column[rows[i]]
    return [name, out]
  })
  return Object.fromEntries(picked) as Table
}
