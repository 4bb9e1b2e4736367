/**
 * The format of a run: all that a widget knows of the engine, and all that the engine promises a widget.
 *
 * One run is a `RunHead` (JSON), two texts and tables of numbers (Arrow). The plan is said once, whatever ran:
 *
 *   listing  line i is the printed form of op i                     names    line i is the name of buffer i
 *   buffers  one row per residency of a value on a tier: its bytes, its place, the ops that make and end it
 *   uses     one row per op and buffer it touches                   waits    one row per op and op it must not start before
 *
 * What ran, or is predicted to, is said by step and rank:
 *
 *   spans    one row per executed op: when it ran, on which stream, what it did
 *   memory   one row per residency begun or ended: when, on which tier, how many bytes
 *
 * The saved form is `SavedRun`, the payload of `RUN_MIME`. Times are nanoseconds from the start of the run, held as
 * Float64 integers (exact to 104 days). Numbers are never null: `NONE` stands for "does not apply".
 * Order: spans of one (rank, stream) are sorted by start and never overlap; memory rows are sorted by time; buffers by
 * birth; uses and waits by op.
 */

export const RUN_MIME = 'application/vnd.fpdt.run.v1+json'
export const RUN_SCHEMA = 'fpdt.run'
export const RUN_VERSION = 2
/** Value of `layer`, `q`, `kv` and `rank` columns where the field does not apply. */
export const NONE = 0xffff
/** The same in columns of ops and buffers: `birth` of what stands before the first op, `buffer` of what has no name any more. */
export const NONE_32 = 0xffffffff

// Code tables: a column of codes holds an index into one of these.
/** Ordered queues of one rank. The order is the order of lanes in the timeline. */
export const STREAMS = ['compute', 'fetch', 'offload', 'collective', 'load', 'spill'] as const
/** Streams that copy between tiers. */
export const COPY_STREAMS = ['fetch', 'offload', 'load', 'spill'] as const satisfies readonly (typeof STREAMS)[number][]
/** Places of memory, fastest first. */
export const TIERS = ['device', 'host', 'disk'] as const
/** Kinds of op (`schedule/ops.ts`). */
export const KINDS = ['compute', 'allToAll', 'gather', 'reduceScatter', 'allReduce', 'offload', 'fetch', 'load', 'spill', 'free'] as const
/** Parts of a training step, in order. `recompute` is the forward of a layer done again during the backward. */
export const PHASES = ['embedding', 'forward', 'loss', 'recompute', 'backward', 'optimizer'] as const
/** What a buffer is for; memory is stacked by this. */
export const CATEGORIES = ['parameters', 'gradients', 'optimizer', 'hidden', 'attention', 'feedForward', 'loss', 'input', 'workspace'] as const
/** Families of ops that share a colour. `FAMILIES[head.codes.kernels[i].family]` for compute ops, else by kind. */
export const FAMILIES = ['attention', 'projection', 'elementwise', 'loss', 'optimizer', 'collective', 'offload', 'fetch', 'disk'] as const

export type Stream = (typeof STREAMS)[number]
export type Tier = (typeof TIERS)[number]
export type Kind = (typeof KINDS)[number]
export type Phase = (typeof PHASES)[number]
export type Category = (typeof CATEGORIES)[number]
export type Family = (typeof FAMILIES)[number]

/** Columns of the span table, with their Arrow types. One row: one op, on one rank, in one step. */
export const SPAN_COLUMNS = {
  step: 'Uint32', // training step, from 1
  op: 'Uint32', // index into the listing (line number, from 0)
  rank: 'Uint16',
  stream: 'Uint8', // STREAMS
  kind: 'Uint8', // KINDS
  kernel: 'Uint8', // head.codes.kernels; 0xFF unless kind is compute
  phase: 'Uint8', // PHASES
  layer: 'Uint16', // NONE outside layers
  q: 'Uint16', // query chunk, NONE where there is none
  kv: 'Uint16', // key/value chunk, NONE where there is none
  start_ns: 'Float64',
  duration_ns: 'Float64',
  flops: 'Float64', // useful floating-point operations of the op
  bytes: 'Float64', // bytes moved between tiers or ranks; for compute: bytes of its operands
} as const

/** Columns of the memory table. One row: a residency begins (delta > 0) or ends (delta < 0). */
export const MEMORY_COLUMNS = {
  step: 'Uint32',
  op: 'Uint32', // op that created it, or the op after whose last reader it ended
  rank: 'Uint16',
  tier: 'Uint8', // TIERS
  category: 'Uint8', // CATEGORIES
  time_ns: 'Float64',
  delta_bytes: 'Float64',
  total_bytes: 'Float64', // live bytes of this rank and tier after the event
  buffer: 'Uint32', // row of the buffer table
} as const

/** Columns of the buffer table. One row: a value on a tier, from the op that makes it to its free; the same on every rank. */
export const BUFFER_COLUMNS = {
  tier: 'Uint8', // TIERS
  category: 'Uint8', // CATEGORIES
  persistent: 'Uint8', // 1: there before the first op and after the last
  birth: 'Uint32', // op that makes it, NONE_32 when it is there before the first
  death: 'Uint32', // op of its free; one past the last op when it stays
  offset_bytes: 'Float64', // first byte in the tier's arena
  size_bytes: 'Float64',
} as const

/** Columns of the table of uses. One row: an op reads or writes a buffer. */
export const USE_COLUMNS = { op: 'Uint32', buffer: 'Uint32', access: 'Uint8' } as const
/** Bits of `access`. */
export const READS = 1
export const WRITES = 2

/** Columns of the table of waits: `op` may not start before `on` has ended. Ops of one stream wait for each other besides. */
export const WAIT_COLUMNS = { op: 'Uint32', on: 'Uint32' } as const

export type ColumnType = 'Uint8' | 'Uint16' | 'Uint32' | 'Float64'
/** Column types to typed arrays: what a decoded table is. */
export type Columns<Spec extends Record<string, ColumnType>> = {
  -readonly [Name in keyof Spec]: Spec[Name] extends 'Uint8'
    ? Uint8Array
    : Spec[Name] extends 'Uint16'
      ? Uint16Array
      : Spec[Name] extends 'Uint32'
        ? Uint32Array
        : Float64Array
}
export type SpanColumns = Columns<typeof SPAN_COLUMNS>
export type MemoryColumns = Columns<typeof MEMORY_COLUMNS>
export type BufferColumns = Columns<typeof BUFFER_COLUMNS>
export type UseColumns = Columns<typeof USE_COLUMNS>
export type WaitColumns = Columns<typeof WAIT_COLUMNS>

/** What is known of a run before anything ran, and does not change. */
export interface PlanTables {
  readonly listing: readonly string[]
  readonly names: readonly string[]
  readonly buffers: BufferColumns
  readonly uses: UseColumns
  readonly waits: WaitColumns
}
/** A run as tables: what decoders give and drawing takes. */
export interface RunTables extends PlanTables {
  readonly head: RunHead
  readonly spans: SpanColumns
  readonly memory: MemoryColumns
  /** Spans of one step as the plan predicts them, its first at 0; null where there is no prediction, or the run is one. */
  readonly predicted: SpanColumns | null
}

/** `measured`: times come from a clock around real work. `predicted`: from a plan and a machine's rates. */
export const ORIGINS = ['measured', 'predicted'] as const
export type Origin = (typeof ORIGINS)[number]
/** `lost`: the process that held the run is gone; what was saved is all there is. */
export const RUN_STATES = ['planned', 'running', 'done', 'stopped', 'failed', 'lost'] as const
export type RunState = (typeof RUN_STATES)[number]

/** Everything of a run that is not a table. Sizes in tokens, bytes, ns as the names say. */
export interface RunHead {
  schema: typeof RUN_SCHEMA
  version: typeof RUN_VERSION
  /** UUIDv7, never reused; also the display id of the run's output. */
  run_id: string
  origin: Origin
  state: RunState
  /** One line for a human, e.g. `FPDT · Llama 4 × 256 · 32768 tokens in 8 chunks · 2 ranks`. */
  title: string
  /** ISO 8601 with zone. */
  created: string
  system: string // a name of `schedule/systems.ts`, or 'own': a schedule of the user's own, which has no model or tokens (family '', counts 0)
  model: {
    family: string
    layers: number
    width: number
    heads: number
    kvHeads: number
    headSize: number
    feedForward: number
    vocabulary: number
    parameters: number
  }
  sequence: { tokens: number; chunk: number; chunks: number; ranks: number; lookAhead: number; prefetch: number; dtype: string }
  device: { backend: string; name: string; threads: number; note: string }
  codes: { kernels: { name: string; family: Family }[] }
  /** Per rank. `predicted_bytes` is the plan's arena extent, `measured_bytes` the highest byte touched, NaN-free: null until measured. */
  tiers: { tier: Tier; budget_bytes: number | null; predicted_bytes: number; allocated_bytes: number | null; measured_bytes: number | null }[]
  /** The live peak per tier (of one rank, in time), and what made it. */
  peaks: {
    tier: Tier
    bytes: number
    time_ns: number
    step: number
    op: number
    words: string
    buffers: { name: string; bytes: number; category: Category }[]
  }[]
  steps: StepSummary[]
  /** How long the plan says that a step takes; null where there is no prediction, or the run is one. */
  predicted_ns: number | null
  /** What the tables of this payload hold of what there is, e.g. `{ spans: 9000, of: 36000, steps: [4], reason: '…' }`. */
  kept: { spans: number; of: number; steps: number[]; reason: string }
  /** Why the run ended, when `state` is `failed` or `stopped`. */
  message: string
}

/** One training step, or one run of a schedule (tokens 0). MFU = model FLOPs / time / peak, formula in `mfu_formula`. */
export interface StepSummary {
  step: number
  start_ns: number
  duration_ns: number
  loss: number | null
  tokens: number
  tokens_per_second: number
  model_flops: number
  mfu: number | null
  mfu_formula: string
  gradient_norm: number | null
  /** Where its time went, a row a rank; empty where nobody counted. */
  accounts: RankAccount[]
}

/** Why compute stands still: for a copy over the host link, for other ranks' data, for the disk, for bytes of the arena that are still used, for another rank that computes on the same cores, or for nothing: it has no work, or is slow to begin. */
export const IDLE_CAUSES = ['fetch', 'collective', 'disk', 'memory', 'turn', 'nothing'] as const
export type IdleCause = (typeof IDLE_CAUSES)[number]

/** Where the time of a step went on one rank, whole nanoseconds: `busy_ns.compute` and all of `idle_ns` add up to the step's `duration_ns` exactly. */
export interface RankAccount {
  rank: number
  /** Time in which each stream ran an op. */
  busy_ns: Record<Stream, number>
  /** Time in which compute stood still, by what it waited for. */
  idle_ns: Record<IdleCause, number>
  /** Time of copies between tiers that lies under compute of this rank, or of any rank where they share the cores; hidden share = this / busy fetch, offload, load and spill. */
  hidden_copy_ns: number
  /** Part of `idle_ns`, of whatever cause, in which what compute waits for is a copy between tiers. */
  exposed_copy_ns: number
}

/** Base64 of a gzipped Arrow IPC stream (schema and one record batch). */
export interface PackedTable {
  encoding: 'arrow-stream+gzip+base64'
  rows: number
  data: string
}
/** Base64 of gzipped UTF-8; line i is the printed form of op i. */
export interface PackedText {
  encoding: 'text+gzip+base64'
  lines: number
  data: string
}
/** The payload of `RUN_MIME`: readable without decoding up to `head`, drawable with no kernel and no network. */
export interface SavedRun {
  head: RunHead
  listing: PackedText
  names: PackedText
  tables: { spans: PackedTable; memory: PackedTable; buffers: PackedTable; uses: PackedTable; waits: PackedTable; predicted: PackedTable | null }
}
