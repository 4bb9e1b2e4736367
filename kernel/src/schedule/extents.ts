/**
 * How many elements of each operand a kernel touches, and of which dtype, by the numbers the kernel is given
 * (`parameterNames`). A native kernel sees addresses and these numbers alone, so an operand that is smaller than stated here
 * would be overrun; `check` compares them for every op.
 *
 * T stands for the compute dtype: bf16 or f32, the same for every T of one op. H stands for that of the hidden state: T or f32, the same
 * for every H of one op. `any`: read off the operand by the kernel.
 */
import type { Kernel } from './kernels.js'
import type { Dtype } from './values.js'

/** The op's parameters by name. */
export type Sizes = Readonly<Record<string, number>>
export type Extent = readonly [dtype: Dtype | 'T' | 'H' | 'any', elements: (n: Sizes) => number]

const rowsOf =
  (name: string) =>
  (n: Sizes): number =>
    n.rows * n[name]
const width: Extent = ['T', rowsOf('width')]
const hidden: Extent = ['H', rowsOf('width')]
const matrix = (dtype: 'T' | 'f32'): Extent => [dtype, (n) => n.outputs * n.inputs]
const q = (n: Sizes): number => n.rows * n.heads * n.headSize
const kv = (n: Sizes): number => n.columns * n.kvHeads * n.headSize
/** Keys of rotary: as many rows as queries. */
const rowKv = (n: Sizes): number => n.rows * n.kvHeads * n.headSize
const perHead = (n: Sizes): number => n.rows * n.heads
const one = (): number => 1
const frequencies: Extent = ['f64', (n) => n.headSize / 2]
const vector: Extent = ['T', (n) => n.width]
const activation: Extent = ['T', rowsOf('feedForward')]
const counted = (n: Sizes): number => n.count

export const EXTENTS: { readonly [K in Kernel]: Readonly<Record<string, Extent>> } = {
  embed: {
    x: hidden,
    tokens: ['i32', (n) => n.rows],
    table: ['T', (n) => n.vocabulary * n.width],
    positions: ['i32', (n) => n.rows],
    positionTable: ['T', (n) => n.positions * n.width],
  },
  embedBackward: { dtable: ['f32', (n) => n.vocabulary * n.width], dx: hidden, tokens: ['i32', (n) => n.rows] },
  norm: { out: width, x: hidden, weight: vector },
  normBackward: { dx: hidden, dweight: ['f32', (n) => n.width], dout: width, x: hidden, weight: vector, residual: hidden },
  project: {
    out: ['H', rowsOf('outputs')],
    a: ['T', rowsOf('inputs')],
    weight: matrix('T'),
    residual: ['H', rowsOf('outputs')],
    bias: ['T', (n) => n.outputs],
  },
  projectBackward: { da: ['T', rowsOf('inputs')], dout: ['any', rowsOf('outputs')], weight: matrix('T') },
  weightGradient: { dweight: matrix('f32'), dout: ['any', rowsOf('outputs')], a: ['T', rowsOf('inputs')] },
  rotary: { q: ['T', q], k: ['T', rowKv], frequencies },
  rotaryBackward: { dqOut: ['T', q], dkOut: ['T', rowKv], dvOut: ['T', rowKv], dq: ['f32', q], dk: ['f32', rowKv], dv: ['f32', rowKv], frequencies },
  attend: { state: ['f32', (n) => n.rows * n.heads * (n.headSize + 2)], q: ['T', q], k: ['T', kv], v: ['T', kv], starts: ['i32', (n) => n.rows] },
  finish: { o: ['T', q], lse: ['f32', perHead], state: ['f32', (n) => n.rows * n.heads * (n.headSize + 2)] },
  merge: { o: ['f32', q], lse: ['f32', perHead], oB: ['f32', q], lseB: ['f32', perHead] },
  delta: { delta: ['f32', perHead], dO: ['T', q], o: ['T', q] },
  attendBackward: {
    dq: ['f32', q],
    dk: ['f32', kv],
    dv: ['f32', kv],
    q: ['T', q],
    k: ['T', kv],
    v: ['T', kv],
    dO: ['T', q],
    lse: ['f32', perHead],
    delta: ['f32', perHead],
    starts: ['i32', (n) => n.rows],
  },
  swiglu: { out: ['T', rowsOf('feedForward')], gateUp: ['T', (n) => 2 * n.rows * n.feedForward] },
  swigluBackward: { dGateUp: ['T', (n) => 2 * n.rows * n.feedForward], dout: ['T', rowsOf('feedForward')], gateUp: ['T', (n) => 2 * n.rows * n.feedForward] },
  crossEntropy: { logits: ['f32', rowsOf('vocabulary')], loss: ['f64', one], labels: ['i32', (n) => n.rows] },
  zero: {}, // takes bytes: any value will do
  squaredNorm: { sum: ['f64', one], gradient: ['f32', counted] },
  clip: { scale: ['f32', one], sum: ['f64', one], loss: ['f64', one] },
  layerNorm: { out: width, x: hidden, weight: vector, bias: vector },
  layerNormBackward: { dx: hidden, dweight: ['f32', (n) => n.width], dbias: ['f32', (n) => n.width], dout: width, x: hidden, weight: vector, residual: hidden },
  biasGradient: { dbias: ['f32', (n) => n.outputs], dout: ['H', rowsOf('outputs')] },
  gelu: { out: activation, up: activation },
  geluBackward: { dUp: activation, dout: activation, up: activation },
  round: { out: ['bf16', counted], x: ['f32', counted] },
  adamW: { master: ['f32', counted], m: ['f32', counted], v: ['f32', counted], weight: ['T', counted], gradient: ['f32', counted], scale: ['f32', one] },
}
