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

/** Rows of the span table: the spans of one step, with the program's tags. Times are rounded to whole nanoseconds. */
export function spanColumns(program: Program, spans: Spans, step: number): SpanColumns {
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
