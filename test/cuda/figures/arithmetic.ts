/**
 * What a kernel must move and compute at a size of real training, against what a GPU can: bytes of its operands, operations by its entry in
 * kernel/src/schedule/kernels.ts. The larger of the two times is what bounds it, if the kernel itself wastes nothing.
 */
import { KERNELS, type Kernel, type KernelSpec } from '../../../kernel/src/schedule/kernels.js'
import { bytesOf, type Dtype, type Value } from '../../../kernel/src/schedule/values.js'
import { GPUS, type Gpu } from './devices.js'

// Llama 3 8B on 4 ranks in chunks of 64K tokens; 2048 rows of logits at a time; AdamW over a quarter of a layer.
const [C, RANKS, d, h, g, D, f, V] = [65536, 4, 4096, 32, 8, 128, 14336, 128256]
const c = C / RANKS
const LOGITS = 2048
const PARAMETERS = 54_530_048

const value = (dtype: Dtype, ...shape: number[]): Value => ({ name: '', dtype, shape, category: 'hidden' })
const at = (start: number, of: Value): Value => ({ ...of, start })
const hidden = value('bf16', c, d)
const q = at(C, value('bf16', C, h / RANKS, D))
const kv = at(0, value('bf16', C, g / RANKS, D))
const grown = (of: Value): Value => ({ ...of, dtype: 'f32' })
const statistics = value('f32', h / RANKS, C)
const weights = value('f32', d)
const group = value('f32', PARAMETERS)
const scalar = value('f64', 1)

/** Operands by role, of each kernel once. A chunk of queries meets an earlier chunk of keys whole. */
const OPERANDS: Readonly<Record<Kernel, Readonly<Record<string, Value>>>> = {
  embed: { x: hidden, tokens: value('i32', c), table: value('bf16', V, d) },
  embedBackward: { dtable: value('f32', V, d), dx: hidden, tokens: value('i32', c) },
  norm: { out: hidden, x: hidden, weight: value('bf16', d) },
  normBackward: { dx: hidden, dweight: weights, dout: hidden, x: hidden, weight: value('bf16', d), residual: hidden },
  layerNorm: { out: hidden, x: hidden, weight: value('bf16', d), bias: value('bf16', d) },
  layerNormBackward: { dx: hidden, dweight: weights, dbias: weights, dout: hidden, x: hidden, weight: value('bf16', d), residual: hidden },
  project: { out: value('bf16', c, f), a: hidden, weight: value('bf16', f, d) },
  projectBackward: { da: hidden, dout: value('bf16', c, f), weight: value('bf16', f, d) },
  weightGradient: { dweight: value('f32', f, d), dout: value('bf16', c, f), a: hidden },
  biasGradient: { dbias: weights, dout: hidden },
  rotary: { q, k: kv, frequencies: value('f64', D / 2) },
  rotaryBackward: { dqOut: q, dkOut: kv, dvOut: kv, dq: grown(q), dk: grown(kv), dv: grown(kv), frequencies: value('f64', D / 2) },
  attend: { state: value('f32', C, h / RANKS, D + 2), q, k: kv, v: kv },
  finish: { o: q, lse: statistics, state: value('f32', C, h / RANKS, D + 2) },
  merge: { o: grown(q), lse: statistics, oB: grown(q), lseB: statistics },
  delta: { delta: statistics, dO: q, o: q },
  attendBackward: { dq: grown(q), dk: grown(kv), dv: grown(kv), q, k: kv, v: kv, dO: q, lse: statistics, delta: statistics },
  swiglu: { out: value('bf16', c, f), gateUp: value('bf16', c, 2 * f) },
  swigluBackward: { dGateUp: value('bf16', c, 2 * f), dout: value('bf16', c, f), gateUp: value('bf16', c, 2 * f) },
  gelu: { out: value('bf16', c, f), up: value('bf16', c, f) },
  geluBackward: { dUp: value('bf16', c, f), dout: value('bf16', c, f), up: value('bf16', c, f) },
  crossEntropy: { logits: value('f32', LOGITS, V), loss: scalar, labels: value('i32', LOGITS) },
  zero: { out: grown(kv) },
  squaredNorm: { sum: scalar, gradient: group },
  clip: { scale: value('f32', 1), sum: scalar, loss: scalar },
  adamW: { master: group, m: group, v: group, weight: value('bf16', PARAMETERS), gradient: group, scale: value('f32', 1) },
  round: { out: hidden, x: grown(hidden) },
}
/** Where a kernel does not touch every element of an operand once: bytes by role. */
const TOUCHED: Readonly<Partial<Record<Kernel, Readonly<Record<string, number>>>>> = {
  embed: { table: c * d * 2 },
  embedBackward: { dtable: 2 * c * d * 4 },
  crossEntropy: { logits: LOGITS * V * (4 + 4 + 2) }, // read twice, written in bf16
}
/** Sizes as words for the table. */
const rows = `${c} x ${d}`
const heads = `${C} x ${h / RANKS} x ${D}`
const WHERE: Readonly<Partial<Record<Kernel, string>>> = {
  project: `${c} x ${d} to ${f}`,
  projectBackward: `${c} x ${f} to ${d}`,
  weightGradient: `${f} x ${d} of ${c} rows`,
  rotary: heads,
  rotaryBackward: heads,
  attend: `${heads}, ${C} keys`,
  attendBackward: `${heads}, ${C} keys`,
  finish: heads,
  merge: heads,
  delta: heads,
  swiglu: `${c} x ${f}`,
  swigluBackward: `${c} x ${f}`,
  gelu: `${c} x ${f}`,
  geluBackward: `${c} x ${f}`,
  crossEntropy: `${LOGITS} x ${V}`,
  zero: `${C} x ${g / RANKS} x ${D}`,
  squaredNorm: `${PARAMETERS}`,
  clip: '1',
  adamW: `${PARAMETERS}`,
}

export interface Work {
  readonly kernel: Kernel
  readonly size: string
  readonly bytes: number
  readonly flops: number
  readonly onTensorCores: boolean
}
export const WORK: readonly Work[] = (Object.entries(OPERANDS) as [Kernel, Readonly<Record<string, Value>>][]).map(([kernel, operands]) => {
  const spec: KernelSpec = KERNELS[kernel]
  const bytes = spec.operands.map(({ role, access }) => {
    const operand = operands[role]
    return operand ? (TOUCHED[kernel]?.[role] ?? bytesOf(operand) * (access === 'read' || access === 'write' ? 1 : 2)) : 0
  })
  const onTensorCores = ['attend', 'attendBackward', 'project', 'projectBackward', 'weightGradient'].includes(kernel)
  return { kernel, size: WHERE[kernel] ?? rows, bytes: bytes.reduce((sum, x) => sum + x, 0), flops: spec.flops(operands, {}), onTensorCores }
})

/** Seconds that memory and arithmetic each need at their full rates. */
export const timesOf = ({ bytes, flops, onTensorCores }: Work, gpu: Gpu) => ({
  memory: bytes / gpu.memory,
  arithmetic: flops / (onTensorCores ? gpu.tensor : gpu.f32),
})

export function workTable(): string {
  const digits = (x: number): string => (x === 0 ? '0' : Number(x.toPrecision(3)) >= 100 ? String(Math.round(x)) : String(Number(x.toPrecision(3))))
  const lines = WORK.map((work) => {
    const columns = GPUS.map((gpu) => {
      const { memory, arithmetic } = timesOf(work, gpu)
      return `${digits(memory * 1e3)} | ${digits(arithmetic * 1e3)} | ${memory >= arithmetic ? 'memory' : 'arithmetic'}`
    })
    return `| ${work.kernel} | ${work.size} | ${digits(work.bytes / 1e6)} | ${digits(work.flops / 1e9)} | ${columns.join(' | ')} |`
  })
  const heading = GPUS.flatMap(({ name }) => [`${name}: memory, ms`, 'arithmetic, ms', 'bound'])
  return [`| kernel | size | MB | GFLOP | ${heading.join(' | ')} |`, `|---|---|---|---|${'---|'.repeat(heading.length)}`, ...lines].join('\n')
}
