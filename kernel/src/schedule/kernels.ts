/**
 * The compute kernels: the glossary of what a device can do. Each entry states what it computes (`roughly`), its operands
 * in calling order with their access, the numbers the native side receives, and its useful floating-point operations.
 *
 * `native/core/kernels.h` is the twin of this table, entry for entry; `test/backend/kernel-table.test.ts` compares them.
 * T is the compute dtype (bf16 or f32), H that of the hidden state and its gradient (T or f32). Sums, statistics and gradients of
 * weights are f32; products accumulate in f32.
 *
 * Access: `read`; `write` (every byte is written); `update` (read and written); `{ first }` (accumulates: adds to what is
 * there, but *writes* when the op's flag of that name is set, so nothing is ever zeroed for it).
 */
import { aligned } from '../aligned.js'
import { inWords } from '../display.js'
import type { Family } from '../trace/schema.js'
import { elements, type Value } from './values.js'

export type Access = 'read' | 'write' | 'update' | { readonly first: string }
export interface OperandSpec {
  readonly role: string
  readonly access: Access
  readonly optional?: true
}
export type Operands = Readonly<Record<string, Value>>
export type Flags = Readonly<Record<string, number>>

export interface KernelSpec {
  /** Number of the kernel in `native/core/kernels.h`. */
  readonly code: number
  readonly family: Family
  /** The equation. */
  readonly roughly: string
  readonly operands: readonly OperandSpec[]
  /** Names of `op.flags` the kernel takes: what shapes do not tell. Printed with the op. */
  readonly flags: readonly string[]
  /** Names of the numbers passed to the native kernel, in order; `parameters` computes them. */
  readonly parameterNames: readonly string[]
  readonly parameters: (o: Operands, f: Flags) => readonly number[]
  readonly flops: (o: Operands, f: Flags) => number
}

const read = (role: string): OperandSpec => ({ role, access: 'read' })
const optional = (role: string): OperandSpec => ({ role, access: 'read', optional: true })
const write = (role: string): OperandSpec => ({ role, access: 'write' })
const update = (role: string): OperandSpec => ({ role, access: 'update' })
const accumulate = (role: string, first = 'first'): OperandSpec => ({ role, access: { first } })

/** Extent `axis` of an operand; a missing operand is a mistake of the schedule, not of the user. */
function extent(o: Operands, role: string, axis: number): number {
  const value = o[role]?.shape[axis]
  if (value === undefined) throw new Error(`operand ${role} has no extent ${axis}`)
  return value
}
const count = (o: Operands, role: string): number => elements(o[role] as Value)
/** 1 when T is bf16, 0 when it is f32: read off the operand that carries T. */
const isBf16 = (o: Operands, role: string): number => (o[role]?.dtype === 'bf16' ? 1 : 0)
/** 1 when an operand that may be wider than T is f32 (as it also is where T is), else it is T. */
const isF32 = (o: Operands, role: string): number => (o[role]?.dtype === 'f32' ? 1 : 0)
const start = (o: Operands, role: string): number => o[role]?.start ?? 0
const flag = (f: Flags, name: string): number => f[name] ?? 0

/** Query rows times key rows that a causal mask leaves, for rows at these positions of the sequence. */
function causalPairs(qStart: number, qRows: number, kvStart: number, kvRows: number): number {
  // Row r sees min(kvRows, max(0, qStart + r + 1 - kvStart)) keys: none, then a ramp, then all.
  const seen = (r: number): number => Math.min(kvRows, Math.max(0, qStart + r + 1 - kvStart))
  const rampFrom = Math.min(qRows, Math.max(0, kvStart - qStart))
  const rampTo = Math.min(qRows, Math.max(rampFrom, kvStart + kvRows - qStart))
  const ramp = rampTo > rampFrom ? ((seen(rampFrom) + seen(rampTo - 1)) * (rampTo - rampFrom)) / 2 : 0
  return ramp + (qRows - rampTo) * kvRows
}
const pairs = (o: Operands): number => causalPairs(start(o, 'q'), extent(o, 'q', 0), start(o, 'k'), extent(o, 'k', 0))

const attentionNames = ['rows', 'columns', 'heads', 'kvHeads', 'headSize', 'qStart', 'kvStart', 'bf16'] as const
const attentionSizes = (o: Operands): number[] => [
  extent(o, 'q', 0),
  extent(o, 'k', 0),
  extent(o, 'q', 1),
  extent(o, 'k', 1),
  extent(o, 'q', 2),
  start(o, 'q'),
  start(o, 'k'),
  isBf16(o, 'q'),
]
const perElement = (role: string, operations: number) => (o: Operands) => operations * count(o, role)

export const KERNELS = {
  embed: {
    code: 1,
    family: 'elementwise',
    roughly: 'x[t] = table[tokens[t]] + positionTable[positions[t]], rounded once',
    operands: [write('x'), read('tokens'), read('table'), optional('positions'), optional('positionTable')], // (c, d) H; (c) i32; (V, d) T; (c) i32; (M, d) T: both or neither
    flags: [],
    // positions: rows of the position table, 0 where there is none.
    parameterNames: ['rows', 'width', 'vocabulary', 'positions', 'hiddenF32', 'bf16'],
    parameters: (o) => [
      extent(o, 'x', 0),
      extent(o, 'x', 1),
      extent(o, 'table', 0),
      o.positionTable ? extent(o, 'positionTable', 0) : 0,
      isF32(o, 'x'),
      isBf16(o, 'table'),
    ],
    flops: () => 0,
  },
  embedBackward: {
    code: 2,
    family: 'elementwise',
    roughly: 'dtable[tokens[t]] += dx[t], in order of t',
    operands: [accumulate('dtable'), read('dx'), read('tokens')], // (V, d) f32; (c, d) H; (c) i32
    flags: ['first'],
    parameterNames: ['rows', 'width', 'vocabulary', 'first', 'bf16'],
    parameters: (o, f) => [extent(o, 'dx', 0), extent(o, 'dx', 1), extent(o, 'dtable', 0), flag(f, 'first'), isBf16(o, 'dx')],
    flops: perElement('dx', 1),
  },
  norm: {
    code: 3,
    family: 'elementwise',
    roughly: 'out = x / sqrt(mean(x²) + eps) * weight', // RMSNorm, arXiv 1910.07467
    operands: [write('out'), read('x'), read('weight')], // (c, d) T; (c, d) H; (d) T
    flags: ['eps'],
    parameterNames: ['rows', 'width', 'eps', 'hiddenF32', 'bf16'],
    parameters: (o, f) => [extent(o, 'x', 0), extent(o, 'x', 1), flag(f, 'eps'), isF32(o, 'x'), isBf16(o, 'out')],
    flops: perElement('x', 4),
  },
  normBackward: {
    code: 4,
    family: 'elementwise',
    roughly: 'dx = residual + (dnorm/dx)ᵀ dout; dweight += Σ_t dout x / rms',
    operands: [write('dx'), accumulate('dweight'), read('dout'), read('x'), read('weight'), optional('residual')], // (c, d) H; (d) f32; (c, d) T; (c, d) H; (d) T; (c, d) H
    flags: ['eps', 'first'],
    parameterNames: ['rows', 'width', 'eps', 'first', 'hiddenF32', 'bf16'],
    parameters: (o, f) => [extent(o, 'x', 0), extent(o, 'x', 1), flag(f, 'eps'), flag(f, 'first'), isF32(o, 'x'), isBf16(o, 'dout')],
    flops: perElement('x', 10),
  },
  project: {
    code: 5,
    family: 'projection',
    roughly: 'out = residual + a Wᵀ + bias, rounded once',
    operands: [write('out'), read('a'), read('weight'), optional('residual'), optional('bias')], // (r, n) T or f32; (r, m) T; (n, m) T; (r, n) as out; (n) T
    flags: [],
    parameterNames: ['rows', 'outputs', 'inputs', 'outF32', 'bf16'],
    parameters: (o) => [count(o, 'a') / extent(o, 'weight', 1), extent(o, 'weight', 0), extent(o, 'weight', 1), isF32(o, 'out'), isBf16(o, 'a')],
    flops: (o) => 2 * count(o, 'a') * extent(o, 'weight', 0),
  },
  projectBackward: {
    code: 6,
    family: 'projection',
    roughly: 'da = dout W',
    operands: [write('da'), read('dout'), read('weight')], // (r, m) T; (r, n) T, row stride of `dout`; (n, m) T
    flags: [],
    // doutStride: elements of T between rows; twice `outputs` for a bf16 gradient that overwrites f32 logits in place.
    parameterNames: ['rows', 'outputs', 'inputs', 'doutStride', 'bf16'],
    parameters: (o) => [
      count(o, 'dout') / extent(o, 'weight', 0),
      extent(o, 'weight', 0),
      extent(o, 'weight', 1),
      gradientStride(o, extent(o, 'weight', 0), isBf16(o, 'weight')),
      isBf16(o, 'weight'),
    ],
    flops: (o) => 2 * count(o, 'dout') * extent(o, 'weight', 1),
  },
  weightGradient: {
    code: 7,
    family: 'projection',
    roughly: 'dweight += doutᵀ a',
    operands: [accumulate('dweight'), read('dout'), read('a')], // (n, m) f32; (r, n) T; (r, m) T
    flags: ['first'],
    parameterNames: ['rows', 'outputs', 'inputs', 'doutStride', 'first', 'bf16'],
    parameters: (o, f) => [
      count(o, 'a') / extent(o, 'dweight', 1),
      extent(o, 'dweight', 0),
      extent(o, 'dweight', 1),
      gradientStride(o, extent(o, 'dweight', 0), isBf16(o, 'a')),
      flag(f, 'first'),
      isBf16(o, 'a'),
    ],
    flops: (o) => 2 * count(o, 'a') * extent(o, 'dweight', 0),
  },
  rotary: {
    code: 8,
    family: 'elementwise',
    // RoFormer, arXiv 2104.09864, element m paired with m + D/2 as in Llama. `frequencies` come from model/rotary.ts, scalings included;
    // `magnitude` multiplies cos and sin (YaRN, arXiv 2309.00071; 1 otherwise).
    roughly: 'q, k = magnitude · rotate(q, k, position · frequencies[m]), angles in fp64',
    operands: [update('q'), update('k'), read('frequencies')], // (C, h/P, D) T; (C, g/P, D) T; (D/2) f64
    flags: ['magnitude'],
    parameterNames: ['rows', 'heads', 'kvHeads', 'headSize', 'start', 'magnitude', 'bf16'],
    parameters: (o, f) => [extent(o, 'q', 0), extent(o, 'q', 1), extent(o, 'k', 1), extent(o, 'q', 2), start(o, 'q'), flag(f, 'magnitude'), isBf16(o, 'q')],
    flops: (o) => 3 * (count(o, 'q') + count(o, 'k')),
  },
  rotaryBackward: {
    code: 9,
    family: 'elementwise',
    // Without frequencies (learned positions) nothing is rotated: only rounded.
    roughly: 'dqOut, dkOut = magnitude · rotate(dq, dk, -angle); dvOut = dv; rounded to T',
    operands: [write('dqOut'), write('dkOut'), write('dvOut'), read('dq'), read('dk'), read('dv'), optional('frequencies')], // outputs T, inputs f32, shapes as rotary
    flags: ['magnitude'],
    parameterNames: ['rows', 'heads', 'kvHeads', 'headSize', 'start', 'magnitude', 'bf16'],
    parameters: (o, f) => [
      extent(o, 'dq', 0),
      extent(o, 'dq', 1),
      extent(o, 'dk', 1),
      extent(o, 'dq', 2),
      start(o, 'dq'),
      flag(f, 'magnitude'),
      isBf16(o, 'dqOut'),
    ],
    flops: (o) => 3 * (count(o, 'dq') + count(o, 'dk')),
  },
  attend: {
    code: 10,
    family: 'attention',
    // FlashAttention-2 (2307.08691) Alg. 1; FPDT Fig. 3. `starts[r]`: position of the first token of row r's document (packed
    // documents); without it every document begins at 0. A row may see no key of a chunk; its own key it always sees.
    roughly: 's = q kᵀ/√D, masked to starts[r] <= kv position <= q position; state = online softmax of (state, s, v)',
    operands: [accumulate('state'), read('q'), read('k'), read('v'), optional('starts')], // (C, h/P, D + 2) f32 opaque; (C, h/P, D) T; (C, g/P, D) T twice; (C) i32
    flags: ['first'],
    parameterNames: [...attentionNames, 'first'],
    parameters: (o, f) => [...attentionSizes(o), flag(f, 'first')],
    flops: (o) => 4 * pairs(o) * extent(o, 'q', 1) * extent(o, 'q', 2),
  },
  finish: {
    code: 11,
    family: 'attention',
    roughly: 'o = state.acc / state.sum; lse = ln(sum) + max',
    operands: [write('o'), write('lse'), read('state')], // (C, h/P, D) T; (h/P, C) f32
    flags: [],
    parameterNames: ['rows', 'heads', 'headSize', 'bf16'],
    parameters: (o) => [extent(o, 'o', 0), extent(o, 'o', 1), extent(o, 'o', 2), isBf16(o, 'o')],
    flops: perElement('o', 1),
  },
  merge: {
    code: 12,
    family: 'attention',
    // Overflow-safe form: never log1p(exp(difference)). A row that saw nothing has lse = -inf.
    roughly: 'w = sigmoid(lseB - lse); o = o - w (o - oB); lse = lse - logsigmoid(lse - lseB)',
    operands: [update('o'), update('lse'), read('oB'), read('lseB')], // (C, h/P, D) f32; (h/P, C) f32; same twice
    flags: [],
    parameterNames: ['rows', 'heads', 'headSize'],
    parameters: (o) => [extent(o, 'o', 0), extent(o, 'o', 1), extent(o, 'o', 2)],
    flops: perElement('o', 3),
  },
  delta: {
    code: 13,
    family: 'attention',
    roughly: 'delta = rowsum(dO * o)',
    operands: [write('delta'), read('dO'), read('o')], // (h/P, C) f32; (C, h/P, D) T twice
    flags: [],
    parameterNames: ['rows', 'heads', 'headSize', 'bf16'],
    parameters: (o) => [extent(o, 'o', 0), extent(o, 'o', 1), extent(o, 'o', 2), isBf16(o, 'o')],
    flops: perElement('o', 2),
  },
  attendBackward: {
    code: 14,
    family: 'attention',
    // The mask is that of `attend`.
    roughly: 'p = e^(q kᵀ/√D - lse); ds = p (dO vᵀ - delta)/√D; dv += pᵀ dO; dk += dsᵀ q; dq += ds k', // FlashAttention-2 Alg. 2
    operands: [
      accumulate('dq', 'firstQ'),
      accumulate('dk', 'firstKv'),
      accumulate('dv', 'firstKv'),
      read('q'),
      read('k'),
      read('v'),
      read('dO'),
      read('lse'),
      read('delta'),
      optional('starts'), // (C) i32
    ],
    flags: ['firstQ', 'firstKv'], // dq (C, h/P, D) f32; dk, dv (C, g/P, D) f32
    parameterNames: [...attentionNames, 'firstQ', 'firstKv'],
    parameters: (o, f) => [...attentionSizes(o), flag(f, 'firstQ'), flag(f, 'firstKv')],
    flops: (o) => 10 * pairs(o) * extent(o, 'q', 1) * extent(o, 'q', 2),
  },
  swiglu: {
    code: 15,
    family: 'elementwise',
    roughly: 'out = silu(gateUp[:, :f]) * gateUp[:, f:]', // GLU variants, arXiv 2002.05202
    operands: [write('out'), read('gateUp')], // (r, f) T; (r, 2f) T
    flags: [],
    parameterNames: ['rows', 'feedForward', 'bf16'],
    parameters: (o) => [extent(o, 'out', 0), extent(o, 'out', 1), isBf16(o, 'out')],
    flops: perElement('out', 5),
  },
  swigluBackward: {
    code: 16,
    family: 'elementwise',
    roughly: 'dgate = dout up silu′(gate); dup = dout silu(gate)',
    operands: [write('dGateUp'), read('dout'), read('gateUp')], // (r, 2f) T; (r, f) T; (r, 2f) T
    flags: [],
    parameterNames: ['rows', 'feedForward', 'bf16'],
    parameters: (o) => [extent(o, 'dout', 0), extent(o, 'dout', 1), isBf16(o, 'dout')],
    flops: perElement('dout', 10),
  },
  crossEntropy: {
    code: 17,
    family: 'loss',
    // In place: row t of f32 logits becomes row t of dlogits in T, at the same first byte (row stride V f32). label -1 = ignored.
    roughly: 'loss += Σ_t (lse(logits) - logits[label]) / valid; logits = (softmax(logits) - onehot(label)) / valid',
    operands: [update('logits'), accumulate('loss'), read('labels')], // (r, V) f32; (1) f64; (r) i32
    flags: ['first', 'bf16'],
    parameterNames: ['rows', 'vocabulary', 'first', 'bf16'],
    parameters: (o, f) => [extent(o, 'logits', 0), extent(o, 'logits', 1), flag(f, 'first'), flag(f, 'bf16')],
    flops: perElement('logits', 5),
  },
  zero: {
    code: 18,
    family: 'elementwise',
    roughly: 'out = 0',
    operands: [write('out')],
    flags: [],
    parameterNames: ['bytes'],
    parameters: (o) => [count(o, 'out') * { bf16: 2, f32: 4, f64: 8, i32: 4 }[(o.out as Value).dtype]],
    flops: () => 0,
  },
  squaredNorm: {
    code: 19,
    family: 'optimizer',
    roughly: 'sum += Σ gradient²',
    operands: [accumulate('sum'), read('gradient')], // (1) f64; (n) f32
    flags: ['first'],
    parameterNames: ['count', 'first'],
    parameters: (o, f) => [count(o, 'gradient'), flag(f, 'first')],
    flops: perElement('gradient', 2),
  },
  clip: {
    code: 20,
    family: 'optimizer',
    // A sum that is not finite (or a loss that is not) gives 0, and adamW then leaves parameters and state untouched.
    roughly: 'scale = finite(sum) and finite(loss) ? min(1, maxNorm / √sum) : 0',
    operands: [write('scale'), read('sum'), read('loss')], // (1) f32; (1) f64; (1) f64
    flags: ['maxNorm'],
    parameterNames: ['maxNorm'],
    parameters: (_, f) => [flag(f, 'maxNorm')],
    flops: () => 3,
  },
  adamW: {
    code: 21,
    family: 'optimizer',
    // Rate and bias corrections come from the step's parameter block. Decoupled decay (arXiv 1711.05101) skips the first
    // `undecayed` elements of the whole group (norm weights and biases lie first). Element 0 here is element
    // rank * partition + offset of the group: a rank holds `partition` elements and updates them in slices.
    roughly: 'm = β1 m + (1-β1) g; v = β2 v + (1-β2) g²; master -= rate (m̂ / (√v̂ + eps) + decay master); weight = T(master)',
    operands: [update('master'), update('m'), update('v'), { role: 'weight', access: 'write', optional: true }, read('gradient'), read('scale')], // weight: T; absent when T is f32
    flags: ['beta1', 'beta2', 'eps', 'decay', 'undecayed', 'partition', 'offset'],
    parameterNames: ['count', 'beta1', 'beta2', 'eps', 'decay', 'undecayed', 'partition', 'offset'],
    parameters: (o, f) => [
      count(o, 'master'),
      flag(f, 'beta1'),
      flag(f, 'beta2'),
      flag(f, 'eps'),
      flag(f, 'decay'),
      flag(f, 'undecayed'),
      flag(f, 'partition'),
      flag(f, 'offset'),
    ],
    flops: perElement('master', 12),
  },
  layerNorm: {
    code: 22,
    family: 'elementwise',
    roughly: 'out = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias', // LayerNorm, arXiv 1607.06450; var is the biased one
    operands: [write('out'), read('x'), read('weight'), read('bias')], // (c, d) T; (c, d) H; (d) T; (d) T
    flags: ['eps'],
    parameterNames: ['rows', 'width', 'eps', 'hiddenF32', 'bf16'],
    parameters: (o, f) => [extent(o, 'x', 0), extent(o, 'x', 1), flag(f, 'eps'), isF32(o, 'x'), isBf16(o, 'out')],
    flops: perElement('x', 7),
  },
  layerNormBackward: {
    code: 23,
    family: 'elementwise',
    roughly: 'dx = residual + (dlayerNorm/dx)ᵀ dout; dweight += Σ_t dout (x - mean)/σ; dbias += Σ_t dout',
    operands: [write('dx'), accumulate('dweight'), accumulate('dbias'), read('dout'), read('x'), read('weight'), optional('residual')], // dweight, dbias (d) f32, others as normBackward
    flags: ['eps', 'first'],
    parameterNames: ['rows', 'width', 'eps', 'first', 'hiddenF32', 'bf16'],
    parameters: (o, f) => [extent(o, 'x', 0), extent(o, 'x', 1), flag(f, 'eps'), flag(f, 'first'), isF32(o, 'x'), isBf16(o, 'dout')],
    flops: perElement('x', 14),
  },
  biasGradient: {
    code: 24,
    family: 'projection',
    roughly: 'dbias += Σ_t dout[t]',
    operands: [accumulate('dbias'), read('dout')], // (n) f32; (r, n) T or f32
    flags: ['first'],
    parameterNames: ['rows', 'outputs', 'first', 'bf16'],
    parameters: (o, f) => [count(o, 'dout') / count(o, 'dbias'), count(o, 'dbias'), flag(f, 'first'), isBf16(o, 'dout')],
    flops: perElement('dout', 1),
  },
  gelu: {
    code: 25,
    family: 'elementwise',
    roughly: 'out = a/2 (1 + tanh(√(2/π) (a + 0.044715 a³)))', // arXiv 1606.08415, the tanh form of GPT-2
    operands: [write('out'), read('up')], // (r, f) T; (r, f) T
    flags: [],
    parameterNames: ['rows', 'feedForward', 'bf16'],
    parameters: (o) => [extent(o, 'out', 0), extent(o, 'out', 1), isBf16(o, 'out')],
    flops: perElement('out', 10),
  },
  geluBackward: {
    code: 26,
    family: 'elementwise',
    roughly: 'dUp = dout gelu′(up)',
    operands: [write('dUp'), read('dout'), read('up')], // (r, f) T; (r, f) T; (r, f) T
    flags: [],
    parameterNames: ['rows', 'feedForward', 'bf16'],
    parameters: (o) => [extent(o, 'dout', 0), extent(o, 'dout', 1), isBf16(o, 'dout')],
    flops: perElement('dout', 16),
  },
  round: {
    code: 27,
    family: 'elementwise',
    // What an f32 gradient of the hidden state becomes where it enters a product of bf16.
    roughly: 'out = x, to the nearest bf16, ties to even',
    operands: [write('out'), read('x')], // (r, n) bf16; (r, n) f32
    flags: [],
    parameterNames: ['count'],
    parameters: (o) => [count(o, 'x')],
    flops: () => 0,
  },
} as const satisfies Record<string, KernelSpec>

export type Kernel = keyof typeof KERNELS
inWords(KERNELS, kernelsInWords)
export const KERNEL_NAMES = Object.keys(KERNELS) as Kernel[]
/** A line each, and the names that each has. */
function kernelsInWords(kernels: Readonly<Record<string, KernelSpec>>): string {
  const names = Object.keys(Object.values(kernels)[0] ?? {})
  return [...aligned(Object.entries(kernels).map(([name, { family, roughly }]) => [name, family, roughly])), `each { ${names.join(', ')} }`].join('\n')
}
export function kernelSpec(kernel: Kernel): KernelSpec {
  return KERNELS[kernel]
}

/** Elements of T between rows of `dout`: its own width, or twice that where bf16 gradients lie in f32 logits. */
function gradientStride(o: Operands, outputs: number, bf16: number): number {
  return bf16 && o.dout?.dtype === 'f32' ? 2 * outputs : outputs
}
