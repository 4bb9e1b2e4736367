/**
 * Rates of the machine at hand, measured with the kernels that training runs. A peak is the best of a fixed list of GEMM
 * shapes (cache-resident ones included), so that MFU has an honest denominator; predictions use it with the copy rate.
 */
import type { Device as NativeDevice } from '@fpdt/native'
import type { MachineRates } from '../execute/simulate.js'
import { workspaceBytes } from '../plan/workspace.js'
import { KERNELS, type Kernel } from '../schedule/kernels.js'

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
/** Hand-over from one thread to another and the first touch of a kernel's code; of the order of a condition variable's wake-up. */
const OVERHEAD_NS = 20_000
/** A rate is the best of several calls for at least this long: other work on the machine only ever slows it. */
const MEASURE_NS = 40e6

/** Best GEMM rate over the fixed list, FLOP/s. About a third of a second. */
export function measureGemm(device: NativeDevice, dtype: 'bf16' | 'f32'): number {
  return Math.max(...GEMM_SHAPES.map(([rows, outputs, inputs]) => gemmRate(device, dtype, rows, outputs, inputs)))
}

/** All rates a prediction needs. About a second; cached by the device. */
export function measureMachine(device: NativeDevice, dtype: 'bf16' | 'f32'): MeasuredRates {
  const [rows, heads, headSize] = [1024, 4, 64]
  const q = activations(dtype, rows * heads * headSize)
  const f32 = (count: number): Float32Array => new Float32Array(count)
  const sizes = [rows, rows, heads, heads, headSize, rows, 0, dtype === 'bf16' ? 1 : 0]
  const forward = seconds(device, 'attend', [...sizes, 1], [f32(rows * heads * (headSize + 2)), q, q, q])
  const attention = (4 * rows * rows * heads * headSize) / forward
  const elements = 1 << 20
  const x = activations(dtype, elements)
  const norm = seconds(device, 'norm', [elements / 256, 256, 1e-5, dtype === 'bf16' ? 1 : 0], [activations(dtype, elements), x, activations(dtype, 256)])
  const gemm = measureGemm(device, dtype)
  const copy = copyRate()
  const unlimited = Number.POSITIVE_INFINITY
  const flopsPerSecond = {
    attention,
    projection: gemm,
    elementwise: unlimited,
    loss: unlimited,
    optimizer: unlimited,
    collective: unlimited,
    offload: unlimited,
    fetch: unlimited,
    disk: unlimited,
  }
  const memoryBytesPerSecond = (2 * x.byteLength) / norm
  return {
    dtype,
    peakFlopsPerSecond: gemm,
    rates: { flopsPerSecond, memoryBytesPerSecond, copyBytesPerSecond: copy, linkBytesPerSecond: copy, opOverhead_ns: OVERHEAD_NS },
  }
}

function gemmRate(device: NativeDevice, dtype: 'bf16' | 'f32', rows: number, outputs: number, inputs: number): number {
  const operands = [activations(dtype, rows * outputs), activations(dtype, rows * inputs), activations(dtype, outputs * inputs), null]
  return (2 * rows * outputs * inputs) / seconds(device, 'project', [rows, outputs, inputs, dtype === 'f32' ? 1 : 0, dtype === 'bf16' ? 1 : 0], operands)
}

/** Seconds of the fastest of several calls of one kernel. */
function seconds(device: NativeDevice, kernel: Kernel, parameters: number[], operands: (Float32Array | Uint16Array | null)[]): number {
  const call = (): number => {
    const begin = process.hrtime.bigint()
    device.call(
      KERNELS[kernel].code,
      Float64Array.from(parameters),
      operands,
      workspaceBytes(kernel, parameters, device.info().threads),
      0,
      new Float64Array(4),
    )
    return Number(process.hrtime.bigint() - begin)
  }
  let best = call()
  for (let spent = best, calls = 1; spent < MEASURE_NS || calls < 3; calls++) {
    const time = call()
    spent += time
    best = Math.min(best, time)
  }
  return best / 1e9
}

/** Small values of T, not all equal. */
function activations(dtype: 'bf16' | 'f32', count: number): Float32Array | Uint16Array {
  if (dtype === 'f32') return new Float32Array(count).map((_, i) => ((i % 31) - 15) / 64)
  return new Uint16Array(count).map((_, i) => 0x3c00 + (i % 31)) // near 0.0078
}

/** Bytes a second of one large copy in this process, the work of a copy stream on the CPU. */
function copyRate(): number {
  const from = Buffer.alloc(32 << 20, 1)
  const to = Buffer.alloc(32 << 20)
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < 4; i++) {
    const begin = process.hrtime.bigint()
    from.copy(to)
    best = Math.min(best, Number(process.hrtime.bigint() - begin))
  }
  return from.length / (best / 1e9)
}
