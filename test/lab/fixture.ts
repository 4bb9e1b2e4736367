/**
 * A run made in memory: steps of FPDT on a small Llama, with a clock per stream and waits that follow from the data, as
 * the engine has them. It exists so that the widget can be tested without the engine; its times are seeded, not measured.
 */

import type { RunTables } from '../../kernel/src/trace/draw/index.js'
import type { Category, Columns, ColumnType, Kind, MemoryColumns, Phase, RunHead, SpanColumns, Stream, Tier } from '../../kernel/src/trace/schema.js'
import { CATEGORIES, KINDS, MEMORY_COLUMNS, NONE, PHASES, RUN_SCHEMA, RUN_VERSION, SPAN_COLUMNS, STREAMS, TIERS } from '../../kernel/src/trace/schema.js'

export interface FixtureOptions {
  ranks?: number
  layers?: number
  chunks?: number
  steps?: number
  origin?: RunHead['origin']
  budget_bytes?: number | null
}

const KERNELS = [
  { name: 'rmsNorm', family: 'elementwise' },
  { name: 'matmul', family: 'projection' },
  { name: 'rotary', family: 'elementwise' },
  { name: 'attend', family: 'attention' },
  { name: 'swiglu', family: 'elementwise' },
  { name: 'lossHead', family: 'loss' },
  { name: 'attendBackward', family: 'attention' },
  { name: 'adamW', family: 'optimizer' },
] as const
type KernelName = (typeof KERNELS)[number]['name']

const MIB = 2 ** 20
const KEY_VALUE = 2 * MIB
const HIDDEN = 4 * MIB
const MODEL_FLOPS = 4.4e12
const PEAK_FLOPS = 14e12

type Residency = [Tier, Category, number]
interface Work {
  words: string
  stream: Stream
  kind: Kind
  kernel?: KernelName
  phase: Phase
  layer?: number
  q?: number
  kv?: number
  ms: number
  flops?: number
  bytes?: number
  /** Names of results it waits for, and the name of its own. */
  after?: string[]
  gives?: string
  /** Residencies: made when it starts, ended when it ends. */
  makes?: Residency[]
  frees?: Residency[]
}

export function fixture(options: FixtureOptions = {}): RunTables {
  const { ranks = 2, layers = 4, chunks = 8, steps = 2, origin = 'measured', budget_bytes = 128 * MIB } = options
  const ops = stepOps(layers, chunks)
  const random = seeded(7)
  const spans: Record<keyof SpanColumns, number>[] = []
  const events: Omit<Record<keyof MemoryColumns, number>, 'total_bytes'>[] = []
  const remember = (step: number, op: number, rank: number, time_ns: number, [tier, category, delta_bytes]: Residency): void => {
    events.push({ step, op, rank, tier: TIERS.indexOf(tier), category: CATEGORIES.indexOf(category), time_ns, delta_bytes })
  }
  for (let rank = 0; rank < ranks; rank++) {
    remember(1, 0, rank, 0, ['device', 'parameters', 14 * MIB])
    remember(1, 0, rank, 0, ['host', 'optimizer', 42 * MIB])
  }
  const bounds: { start_ns: number; duration_ns: number }[] = []
  for (let step = 1, begin = 2e6, end = begin; step <= steps; step++, begin = end + 3e6) {
    for (let rank = 0; rank < ranks; rank++) {
      const clocks = new Map<Stream, number>()
      const ready = new Map<string, number>()
      for (const [op, work] of ops.entries()) {
        const start_ns = Math.round(Math.max(clocks.get(work.stream) ?? begin, ...(work.after ?? []).map((name) => ready.get(name) ?? begin)))
        const duration_ns = Math.round(work.ms * 1e6 * (0.94 + 0.12 * random()) * (1 + 0.01 * rank))
        const done = start_ns + duration_ns
        clocks.set(work.stream, done + 1500)
        if (work.gives) ready.set(work.gives, done)
        end = Math.max(end, done)
        const [stream, kind, phase] = [STREAMS.indexOf(work.stream), KINDS.indexOf(work.kind), PHASES.indexOf(work.phase)]
        const kernel = work.kernel ? KERNELS.findIndex(({ name }) => name === work.kernel) : 0xff
        const { layer = NONE, q = NONE, kv = NONE, flops = 0, bytes = 0 } = work
        spans.push({ step, op, rank, stream, kind, kernel, phase, layer, q, kv, start_ns, duration_ns, flops, bytes })
        for (const residency of work.makes ?? []) remember(step, op, rank, start_ns, residency)
        for (const [tier, category, size] of work.frees ?? []) remember(step, op, rank, done, [tier, category, -size])
      }
    }
    bounds.push({ start_ns: begin, duration_ns: end - begin })
  }
  const listing = ops.map(({ words, stream }) => `${words} @${stream}`)
  const tables = { spans: columnsOf(SPAN_COLUMNS, spans), memory: memoryColumns(events), listing }
  return { ...tables, head: headOf(tables, { ranks, layers, chunks, steps, origin, budget_bytes }, bounds) }
}

/** Forward, loss, backward and optimizer of one step, as one list that every rank runs. */
// biome-ignore format: one op a line
function stepOps(layers: number, chunks: number): Work[] {
  const ops: Work[] = []
  for (let layer = 0; layer < layers; layer++) forward(ops, layer, chunks)
  for (let i = 0; i < chunks; i++) {
    ops.push({ words: `fetch x[${layers},${i}]`, stream: 'fetch', kind: 'fetch', phase: 'loss', q: i, ms: 0.22, bytes: HIDDEN, after: [`x${layers},${i}`, `dx${layers},${i - 2}`], gives: `hx${i}`, makes: [['device', 'hidden', HIDDEN]] })
    ops.push({ words: `lossHead x[${layers},${i}] -> dx[${layers},${i}]`, stream: 'compute', kind: 'compute', kernel: 'lossHead', phase: 'loss', q: i, ms: 3.1, flops: 6.6e10, bytes: 14 * MIB, after: [`hx${i}`], gives: `dx${layers},${i}`, makes: [['device', 'loss', 18 * MIB]], frees: [['device', 'loss', 18 * MIB], ['device', 'hidden', HIDDEN]] })
  }
  for (let layer = layers - 1; layer >= 0; layer--) backward(ops, layer, chunks)
  for (let layer = 0; layer < layers; layer++) {
    ops.push({ words: `fetch moments[${layer}]`, stream: 'fetch', kind: 'fetch', phase: 'optimizer', layer, ms: 0.5, bytes: 10 * MIB, after: [`w${layer - 2}`], gives: `m${layer}`, makes: [['device', 'optimizer', 10 * MIB]] })
    ops.push({ words: `adamW weights[${layer}] grad[${layer}] moments[${layer}]`, stream: 'compute', kind: 'compute', kernel: 'adamW', phase: 'optimizer', layer, ms: 0.9, flops: 4e7, bytes: 24 * MIB, after: [`m${layer}`, `G${layer}`], gives: `w${layer}`, frees: [['device', 'gradients', 3 * MIB]] })
    ops.push({ words: `offload moments[${layer}]`, stream: 'offload', kind: 'offload', phase: 'optimizer', layer, ms: 0.5, bytes: 10 * MIB, after: [`w${layer}`], frees: [['device', 'optimizer', 10 * MIB]] })
  }
  return ops
}

// biome-ignore format: one op a line
function forward(ops: Work[], layer: number, chunks: number): void {
  const at = { phase: 'forward', layer } as const
  const compute = { ...at, stream: 'compute', kind: 'compute' } as const
  ops.push({ ...at, words: `gather weights[${layer}]`, stream: 'collective', kind: 'gather', ms: 0.6, bytes: 6 * MIB, gives: `W${layer}` })
  for (let i = 0; i < chunks; i++) {
    ops.push({ ...at, q: i, words: `fetch x[${layer},${i}]`, stream: 'fetch', kind: 'fetch', ms: 0.22, bytes: HIDDEN, after: [`x${layer},${i}`, `y${layer},${i - 2}`], gives: `fx${layer},${i}`, makes: [['device', 'hidden', HIDDEN]] })
    ops.push({ ...compute, q: i, words: `rmsNorm n[${i}] <- x[${layer},${i}]`, kernel: 'rmsNorm', ms: 0.12, flops: 8e6, bytes: 2 * HIDDEN, after: [`fx${layer},${i}`], makes: [['device', 'workspace', HIDDEN]] })
    ops.push({ ...compute, q: i, words: `matmul qkv[${i}] <- n[${i}] Wqkv[${layer}]`, kernel: 'matmul', ms: 0.85, flops: 1.3e10, bytes: 12 * MIB, after: [`W${layer}`], gives: `qkv${layer},${i}`, makes: [['device', 'attention', 3 * KEY_VALUE]], frees: [['device', 'workspace', HIDDEN]] })
    ops.push({ ...at, q: i, words: `allToAll qkv[${i}] -> q[${i}] k[${i}] v[${i}]`, stream: 'collective', kind: 'allToAll', ms: 0.4, bytes: 3 * KEY_VALUE, after: [`qkv${layer},${i}`], gives: `a${layer},${i}` })
    ops.push({ ...compute, q: i, words: `rotary q[${i}] k[${i}]`, kernel: 'rotary', ms: 0.1, flops: 1.2e7, bytes: 2 * KEY_VALUE, after: [`a${layer},${i}`], gives: `r${layer},${i}` })
    ops.push({ ...at, q: i, words: `offload k[${i}] v[${i}]`, stream: 'offload', kind: 'offload', ms: 0.35, bytes: 2 * KEY_VALUE, after: [`r${layer},${i}`], gives: `h${layer},${i}`, makes: [['host', 'attention', 2 * KEY_VALUE]] })
    for (let j = 0; j <= i; j++) {
      if (j < i)
        ops.push({ ...at, q: i, kv: j, words: `fetch k[${j}] v[${j}]`, stream: 'fetch', kind: 'fetch', ms: 0.35, bytes: 2 * KEY_VALUE, after: [`h${layer},${j}`, `t${layer},${i},${j - 2}`], gives: `f${layer},${i},${j}`, makes: [['device', 'attention', 2 * KEY_VALUE]] })
      ops.push({ ...compute, q: i, kv: j, words: `attend state[${i}] += q[${i}] k[${j}] v[${j}]`, kernel: 'attend', ms: j < i ? 0.95 : 0.5, flops: j < i ? 1.7e10 : 8.6e9, bytes: 4 * KEY_VALUE, after: [j < i ? `f${layer},${i},${j}` : `r${layer},${i}`], gives: `t${layer},${i},${j}`, frees: j < i ? [['device', 'attention', 2 * KEY_VALUE]] : [['device', 'attention', 2 * KEY_VALUE]] })
    }
    ops.push({ ...at, q: i, words: `allToAll o[${i}] -> oLocal[${i}]`, stream: 'collective', kind: 'allToAll', ms: 0.2, bytes: KEY_VALUE, after: [`t${layer},${i},${i}`], gives: `o${layer},${i}` })
    ops.push({ ...compute, q: i, words: `matmul y[${i}] <- oLocal[${i}] Wo[${layer}]`, kernel: 'matmul', ms: 0.4, flops: 6.4e9, bytes: 6 * MIB, after: [`o${layer},${i}`], frees: [['device', 'attention', KEY_VALUE]] })
    ops.push({ ...compute, q: i, words: `matmul g[${i}] <- y[${i}] Wgate[${layer}]`, kernel: 'matmul', ms: 0.9, flops: 1.4e10, bytes: 10 * MIB, makes: [['device', 'feedForward', 11 * MIB]] })
    ops.push({ ...compute, q: i, words: `swiglu f[${i}] <- g[${i}]`, kernel: 'swiglu', ms: 0.15, flops: 2e7, bytes: 11 * MIB })
    ops.push({ ...compute, q: i, words: `matmul x[${layer + 1},${i}] += f[${i}] Wdown[${layer}]`, kernel: 'matmul', ms: 0.45, flops: 7e9, bytes: 9 * MIB, gives: `y${layer},${i}`, frees: [['device', 'feedForward', 11 * MIB]] })
    ops.push({ ...at, q: i, words: `offload x[${layer + 1},${i}]`, stream: 'offload', kind: 'offload', ms: 0.22, bytes: HIDDEN, after: [`y${layer},${i}`], gives: `x${layer + 1},${i}`, makes: [['host', 'hidden', HIDDEN]], frees: [['device', 'hidden', HIDDEN]] })
  }
}

/** Outer loop over key/value chunks, inner over query chunks, as the paper has it. */
// biome-ignore format: one op a line
function backward(ops: Work[], layer: number, chunks: number): void {
  const at = { phase: 'backward', layer } as const
  const compute = { ...at, stream: 'compute', kind: 'compute' } as const
  for (let i = 0; i < chunks; i++) {
    ops.push({ ...at, q: i, words: `fetch x[${layer},${i}] dx[${layer + 1},${i}]`, stream: 'fetch', kind: 'fetch', ms: 0.44, bytes: 2 * HIDDEN, after: [`p${layer},${i - 2}`], gives: `b${layer},${i}`, makes: [['device', 'hidden', 2 * HIDDEN]] })
    ops.push({ ...compute, phase: 'recompute', q: i, words: `matmul g[${i}] <- y[${i}] Wgate[${layer}]`, kernel: 'matmul', ms: 0.9, flops: 1.4e10, bytes: 10 * MIB, after: [`b${layer},${i}`], makes: [['device', 'feedForward', 22 * MIB]] })
    ops.push({ ...compute, q: i, words: `matmul df[${i}] <- dx[${layer + 1},${i}] Wdown[${layer}]ᵀ`, kernel: 'matmul', ms: 1.8, flops: 2.8e10, bytes: 18 * MIB, gives: `p${layer},${i}`, frees: [['device', 'feedForward', 22 * MIB]] })
    ops.push({ ...at, q: i, words: `allToAll dO[${i}]`, stream: 'collective', kind: 'allToAll', ms: 0.2, bytes: KEY_VALUE, after: [`p${layer},${i}`], gives: `d${layer},${i}` })
    ops.push({ ...at, q: i, words: `offload dO[${i}] delta[${i}]`, stream: 'offload', kind: 'offload', ms: 0.25, bytes: KEY_VALUE, after: [`d${layer},${i}`], gives: `hd${layer},${i}`, makes: [['host', 'attention', KEY_VALUE]], frees: [['device', 'hidden', 2 * HIDDEN]] })
  }
  for (let j = 0; j < chunks; j++) {
    ops.push({ ...at, kv: j, words: `fetch k[${j}] v[${j}]`, stream: 'fetch', kind: 'fetch', ms: 0.35, bytes: 2 * KEY_VALUE, gives: `bk${layer},${j}`, makes: [['device', 'attention', 2 * KEY_VALUE]] })
    for (let i = j; i < chunks; i++) {
      ops.push({ ...at, q: i, kv: j, words: `fetch q[${i}] dO[${i}] dq[${i}]`, stream: 'fetch', kind: 'fetch', ms: 0.6, bytes: 4 * KEY_VALUE, after: [`hd${layer},${i}`, `g${layer},${j},${i - 2}`], gives: `bf${layer},${j},${i}`, makes: [['device', 'gradients', 4 * KEY_VALUE]] })
      ops.push({ ...compute, q: i, kv: j, words: `attendBackward dq[${i}] dk[${j}] dv[${j}] += q[${i}] k[${j}] v[${j}] dO[${i}]`, kernel: 'attendBackward', ms: i > j ? 2.3 : 1.2, flops: i > j ? 4.2e10 : 2.1e10, bytes: 9 * KEY_VALUE, after: [`bk${layer},${j}`, `bf${layer},${j},${i}`], gives: `g${layer},${j},${i}` })
      ops.push({ ...at, q: i, kv: j, words: `offload dq[${i}]`, stream: 'offload', kind: 'offload', ms: 0.35, bytes: 2 * KEY_VALUE, after: [`g${layer},${j},${i}`], frees: [['device', 'gradients', 4 * KEY_VALUE]] })
    }
    ops.push({ ...at, kv: j, words: `allToAll dq[${j}] dk[${j}] dv[${j}] -> dqkv[${j}]`, stream: 'collective', kind: 'allToAll', ms: 0.4, bytes: 3 * KEY_VALUE, after: [`g${layer},${j},${chunks - 1}`], gives: `dq${layer},${j}` })
    ops.push({ ...compute, kv: j, words: `matmul dx[${layer},${j}] <- dqkv[${j}] Wqkv[${layer}]ᵀ`, kernel: 'matmul', ms: 1.7, flops: 2.6e10, bytes: 16 * MIB, after: [`dq${layer},${j}`], gives: `dx${layer}`, frees: [['device', 'attention', 2 * KEY_VALUE], ['host', 'attention', 3 * KEY_VALUE], ['host', 'hidden', HIDDEN]] })
  }
  ops.push({ ...at, words: `reduceScatter grad[${layer}]`, stream: 'collective', kind: 'reduceScatter', ms: 0.7, bytes: 6 * MIB, after: [`dx${layer}`], gives: `G${layer}`, makes: [['device', 'gradients', 3 * MIB]] })
}

function memoryColumns(events: Omit<Record<keyof MemoryColumns, number>, 'total_bytes'>[]): MemoryColumns {
  // At one instant bytes are given back before others are taken, as in an arena.
  const sorted = [...events].sort((a, b) => a.time_ns - b.time_ns || a.delta_bytes - b.delta_bytes)
  const totals = new Map<string, number>()
  return columnsOf(
    MEMORY_COLUMNS,
    sorted.map((event) => {
      const key = `${event.rank} ${event.tier}`
      const total_bytes = (totals.get(key) ?? 0) + event.delta_bytes
      totals.set(key, total_bytes)
      return { ...event, total_bytes }
    }),
  )
}

function columnsOf<Spec extends Record<string, ColumnType>>(spec: Spec, rows: Record<keyof Spec, number>[]): Columns<Spec> {
  const arrays = { Uint8: Uint8Array, Uint16: Uint16Array, Uint32: Uint32Array, Float64: Float64Array }
  return Object.fromEntries(Object.entries(spec).map(([name, type]) => [name, arrays[type].from(rows.map((row) => row[name as keyof Spec]))])) as Columns<Spec>
}

function headOf(tables: Omit<RunTables, 'head'>, options: Required<FixtureOptions>, bounds: { start_ns: number; duration_ns: number }[]): RunHead {
  const { ranks, layers, chunks, origin, budget_bytes } = options
  const { memory, listing, spans } = tables
  const peakOf = (tier: Tier): number =>
    memory.total_bytes.reduce(
      (best, total, row) => (memory.tier[row] === TIERS.indexOf(tier) && (best < 0 || total > memory.total_bytes[best]) ? row : best),
      -1,
    )
  const tokens = chunks * 4096
  return {
    schema: RUN_SCHEMA,
    version: RUN_VERSION,
    run_id: '01936f5e-0000-7000-8000-000000000001',
    origin,
    state: origin === 'predicted' ? 'planned' : 'done',
    title: `FPDT · Llama ${layers} × 256 · ${tokens} tokens in ${chunks} chunks · ${ranks} ranks`,
    created: '2026-11-23T01:00:00Z',
    system: 'fpdt',
    model: { family: 'llama', layers, width: 256, heads: 4, kvHeads: 2, headSize: 64, feedForward: 688, vocabulary: 50257, parameters: 15_900_000 },
    sequence: { tokens, chunk: 4096, chunks, ranks, lookAhead: 1, prefetch: 2, dtype: 'bf16' },
    device: { backend: 'cpu', name: 'x86-64, AVX-512-BF16', threads: 2, note: 'Copies use the same cores as compute.' },
    codes: { kernels: KERNELS.map(({ name, family }) => ({ name, family })) },
    tiers: (['device', 'host'] as const).map((tier) => {
      const bytes = memory.total_bytes[peakOf(tier)] + (tier === 'device' ? 2 * MIB : 0)
      return {
        tier,
        budget_bytes: tier === 'device' ? budget_bytes : 2 ** 30,
        predicted_bytes: bytes,
        allocated_bytes: origin === 'measured' ? bytes : null,
        measured_bytes: origin === 'measured' ? bytes : null,
      }
    }),
    peaks: (['device', 'host'] as const).map((tier) => {
      const row = peakOf(tier)
      return {
        tier,
        bytes: memory.total_bytes[row],
        time_ns: memory.time_ns[row],
        step: memory.step[row],
        op: memory.op[row],
        words: listing[memory.op[row]],
        buffers: [
          { name: 'weights', bytes: 14 * MIB, category: 'parameters' },
          { name: 'q[3]', bytes: 8 * MIB, category: 'gradients' },
        ],
      }
    }),
    steps: bounds.map(({ start_ns, duration_ns }, i) => ({
      step: i + 1,
      start_ns,
      duration_ns,
      loss: origin === 'predicted' ? null : 10.83 - 0.41 * i,
      tokens,
      tokens_per_second: tokens / (duration_ns / 1e9),
      model_flops: MODEL_FLOPS,
      mfu: origin === 'predicted' ? null : MODEL_FLOPS / (duration_ns / 1e9) / PEAK_FLOPS,
      mfu_formula: `MFU = model FLOPs / step time / peak = ${MODEL_FLOPS} / ${duration_ns / 1e9} s / ${PEAK_FLOPS} per second`,
      gradient_norm: origin === 'predicted' ? null : 1.7,
    })),
    kept: { spans: spans.op.length, of: spans.op.length * 2, steps: bounds.map((_, i) => i + 1), reason: 'the last two of four steps' },
    message: '',
  }
}

function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}
