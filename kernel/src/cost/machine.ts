/**
 * Rates of the machine at hand, measured with the kernels that training runs. A peak is the best of a fixed list of GEMM
 * shapes (cache-resident ones included), so that MFU has an honest denominator; predictions use it with the copy rate.
 */
import type { Device as NativeDevice } from '@fpdt/native'
import { workspaceBytes } from '../plan/cpu-workspace.js'
import { KERNELS, type Kernel } from '../schedule/kernels.js'
import type { MachineRates } from './durations.js'

export interface MeasuredRates {
  readonly dtype: 'bf16' | 'f32'
  /** Best GEMM rate, FLOP/s: the peak in MFU. */
  readonly peakFlopsPerSecond: number
  /** For `simulate`. */
  readonly rates: MachineRates
}

/** rows, outputs, inputs: from cache-resident to the shape of a loss head. */
const GEMM_SHAPES: readonly (readonly [number, number, number])[] = [
  [256, 256, 256],
  [512, 512, 512],
  [1024, 1024, 1024],
  [2048, 1024, 1024],
  [4096, 256, 1024],
  [512, 8192, 256],
]
/** From one op's end to the next one's begin: `npm run bench -- step` shows it as idle time of the pool. */
const OVERHEAD_NS = 20_000
/** Head size of the attention that is measured unless another is named. */
const HEAD_SIZE = 64
/** All probes run in turns, this often and this long: other work on the machine only ever slows one, and seldom for a second. */
const ROUNDS = 5
const ROUND_NS = 8e6

/** A call to be timed, and what it does: operations or bytes. */
interface Probe {
  readonly call: () => void
  readonly work: number
}
type Data = Float64Array | Float32Array | Int32Array | Uint16Array

/** Best GEMM rate over the fixed list, FLOP/s. About a third of a second. */
export function measureGemm(device: NativeDevice, dtype: 'bf16' | 'f32'): number {
  return Math.max(...Object.values(bestRates(gemmProbes(device, dtype))))
}

/** All rates a prediction needs, for attention of a head size. About half a second; cached by the device. */
export function measureMachine(device: NativeDevice, dtype: 'bf16' | 'f32', headSize = HEAD_SIZE): MeasuredRates {
  const gemms = gemmProbes(device, dtype)
  const best = bestRates({
    ...gemms,
    ...lossHeadProbes(device, dtype),
    ...attentionProbes(device, dtype, headSize),
    norm: normProbe(device, dtype),
    copy: copyProbe(),
  })
  const gemm = Math.max(...Object.keys(gemms).map((shape) => best[shape as keyof typeof best]))
  const memoryBound = Number.POSITIVE_INFINITY
  const flopsPerSecond = {
    // As a step that recomputes its forward mixes them: 2 · 4 operations a pair of tokens forward, 10 backward.
    attention: mean([8, best.attend], [10, best.attendBackward]),
    // A third of the operations each.
    projection: mean([1, best.project], [1, best.projectBackward], [1, best.weightGradient]),
    elementwise: memoryBound,
    loss: best.crossEntropy,
    optimizer: memoryBound,
    collective: memoryBound,
    offload: memoryBound,
    fetch: memoryBound,
    disk: memoryBound,
  }
  return {
    dtype,
    peakFlopsPerSecond: gemm,
    rates: {
      flopsPerSecond,
      memoryBytesPerSecond: best.norm,
      copyBytesPerSecond: best.copy,
      linkBytesPerSecond: best.copy,
      opOverhead_ns: OVERHEAD_NS,
    },
  }
}

/** Rate of work that is done in parts at different rates. */
function mean(...parts: readonly (readonly [work: number, rate: number])[]): number {
  return parts.reduce((sum, [work]) => sum + work, 0) / parts.reduce((sum, [work, rate]) => sum + work / rate, 0)
}

/** Work a second of each probe, at its best. */
function bestRates<Name extends string>(probes: Readonly<Record<Name, Probe>>): Record<Name, number> {
  const all = Object.entries(probes) as [Name, Probe][]
  const best = Object.fromEntries(all.map(([name]) => [name, 0])) as Record<Name, number>
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, { call, work }] of all) {
      for (let spent = 0; spent < ROUND_NS; ) {
        const begin = process.hrtime.bigint()
        call()
        const time = Number(process.hrtime.bigint() - begin)
        best[name] = Math.max(best[name], work / (time / 1e9))
        spent += time
      }
    }
  }
  return best
}

function gemmProbes(device: NativeDevice, dtype: 'bf16' | 'f32'): Record<string, Probe> {
  return Object.fromEntries(
    GEMM_SHAPES.map(([rows, outputs, inputs]) => {
      const operands = [activations(dtype, rows * outputs), activations(dtype, rows * inputs), activations(dtype, outputs * inputs)]
      return [
        `${rows} x ${outputs} x ${inputs}`,
        kernelProbe(device, 'project', [rows, outputs, inputs, isF32(dtype), isBf16(dtype)], operands, 2 * rows * outputs * inputs),
      ]
    }),
  )
}

/** A loss head: the three products of a matrix in training, and what lies between them. Its parts stream from memory, as in a step. */
function lossHeadProbes(device: NativeDevice, dtype: 'bf16' | 'f32'): Record<'project' | 'crossEntropy' | 'projectBackward' | 'weightGradient', Probe> {
  const [rows, outputs, inputs] = [256, 16384, 256]
  const logits = new Float32Array(rows * outputs)
  const gradient = dtype === 'bf16' ? new Uint16Array(logits.buffer) : logits
  const [a, weight] = [activations(dtype, rows * inputs), activations(dtype, outputs * inputs)]
  const stride = gradient.length / rows
  const flops = 2 * rows * outputs * inputs
  return {
    project: kernelProbe(device, 'project', [rows, outputs, inputs, 1, isBf16(dtype)], [logits, a, weight], flops),
    // In place, as in a step: the gradient of these logits is what the next two read.
    crossEntropy: kernelProbe(
      device,
      'crossEntropy',
      [rows, outputs, 1, isBf16(dtype)],
      [logits, new Float64Array(1), new Int32Array(rows)],
      5 * logits.length, // as KERNELS counts them
    ),
    projectBackward: kernelProbe(
      device,
      'projectBackward',
      [rows, outputs, inputs, stride, isBf16(dtype)],
      [activations(dtype, rows * inputs), gradient, weight],
      flops,
    ),
    weightGradient: kernelProbe(
      device,
      'weightGradient',
      [rows, outputs, inputs, stride, 0, isBf16(dtype)],
      [new Float32Array(outputs * inputs), gradient, a],
      flops,
    ),
  }
}

/** One query chunk on an earlier key/value chunk, all pairs seen. */
function attentionProbes(device: NativeDevice, dtype: 'bf16' | 'f32', headSize: number): Record<'attend' | 'attendBackward', Probe> {
  const [rows, heads] = [512, 2]
  const count = rows * heads * headSize
  const q = activations(dtype, count)
  const f32 = (length: number): Float32Array => new Float32Array(length)
  const sizes = [rows, rows, heads, heads, headSize, rows, 0, isBf16(dtype)]
  const lse = f32(rows * heads).fill(Math.log(rows)) // small scores: every key has the same part
  return {
    attend: kernelProbe(device, 'attend', [...sizes, 0], [f32(rows * heads * (headSize + 2)), q, q, q], 4 * rows * count),
    attendBackward: kernelProbe(
      device,
      'attendBackward',
      [...sizes, 0, 0],
      [f32(count), f32(count), f32(count), q, q, q, q, lse, f32(rows * heads)],
      10 * rows * count,
    ),
  }
}

/** Elementwise work: bytes of operands that stream from memory. */
function normProbe(device: NativeDevice, dtype: 'bf16' | 'f32'): Probe {
  const elements = 1 << 20
  const [x, out] = [activations(dtype, elements), activations(dtype, elements)]
  return kernelProbe(device, 'norm', [elements / 256, 256, 1e-5, isF32(dtype), isBf16(dtype)], [out, x, activations(dtype, 256)], x.byteLength + out.byteLength)
}

/** A large copy in this process, the work of a copy stream on the CPU. */
function copyProbe(): Probe {
  const from = Buffer.alloc(32 << 20, 1)
  const to = Buffer.alloc(32 << 20)
  return { call: () => from.copy(to), work: from.length }
}

function kernelProbe(device: NativeDevice, kernel: Kernel, parameters: number[], operands: (Data | null)[], work: number): Probe {
  const [code, numbers, workspace, step] = [
    KERNELS[kernel].code,
    Float64Array.from(parameters),
    workspaceBytes(kernel, parameters, device.info().threads),
    new Float64Array(4),
  ]
  const all = KERNELS[kernel].operands.map((_, i) => operands[i] ?? null) // optional operands come last
  return { call: () => device.call(code, numbers, all, workspace, 0, step), work }
}

function isBf16(dtype: 'bf16' | 'f32'): number {
  return dtype === 'bf16' ? 1 : 0
}
function isF32(dtype: 'bf16' | 'f32'): number {
  return dtype === 'f32' ? 1 : 0
}

/** Small values of T, not all equal. */
function activations(dtype: 'bf16' | 'f32', count: number): Float32Array | Uint16Array {
  if (dtype === 'f32') return new Float32Array(count).map((_, i) => ((i % 31) - 15) / 64)
  return new Uint16Array(count).map((_, i) => 0x3c00 + (i % 31)) // near 0.0078
}
