/**
 * Rates of the machine at hand, measured with the kernels that training runs. A peak is the best of a fixed list of GEMM
 * shapes (cache-resident ones included), so that MFU has an honest denominator; predictions use it with the copy rate.
 *
 * The CPU is timed around whole calls. A GPU is timed by its own events, on data that lies there already, and from small shapes to
 * large ones: only large ones fill it, and where small ones take long (a GPU that is emulated) the large ones are left out.
 */
import type { Device as NativeDevice } from '@fpdt/native'
import { type BackendName, workspacesOf } from '../plan/workspace.js'
import { KERNELS, type Kernel } from '../schedule/kernels.js'
import { bytes, flops } from '../trace/words/format.js'
import type { MachineRates } from './durations.js'

export interface MeasuredRates {
  readonly dtype: 'bf16' | 'f32'
  /** Best GEMM rate, FLOP/s: the peak in MFU. */
  readonly peakFlopsPerSecond: number
  /** For `simulate`. */
  readonly rates: MachineRates
}

export function ratesInWords(measured: MeasuredRates): string {
  const { dtype, peakFlopsPerSecond, rates } = measured
  const perSecond = (work: string): string => `${work}/s`
  const { flopsPerSecond, memoryBytesPerSecond = Number.POSITIVE_INFINITY, copyBytesPerSecond, linkBytesPerSecond } = rates
  const computed = Object.entries(flopsPerSecond).filter(([, rate]) => Number.isFinite(rate))
  return [
    `${dtype}: ${perSecond(flops(peakFlopsPerSecond))} in the best matrix product, the peak in MFU`,
    `  ${computed.map(([family, rate]) => `${family} ${perSecond(flops(rate))}`).join(', ')}`,
    `  ${[
      ...(Number.isFinite(memoryBytesPerSecond) ? [`memory ${perSecond(bytes(memoryBytesPerSecond))}`] : []),
      `between device and host ${perSecond(bytes(copyBytesPerSecond))}`,
      `between ranks ${perSecond(bytes(linkBytesPerSecond))}`,
    ].join(', ')}`,
    `{ ${Object.keys(measured).join(', ')} }`,
  ].join('\n')
}

/** What a kind of machine is measured with; of each probe the sizes it is tried in, ascending. */
interface Sizes {
  /** rows, outputs, inputs */
  readonly gemm: readonly (readonly [number, number, number])[]
  readonly lossHead: readonly (readonly [number, number, number])[]
  /** rows, heads */
  readonly attention: readonly (readonly [number, number])[]
  /** elements */
  readonly norm: readonly number[]
  readonly copyBytes: readonly number[]
}
const SIZES: Readonly<Record<BackendName, Sizes>> = {
  cpu: {
    // From cache-resident to the shape of a loss head.
    gemm: [
      [256, 256, 256],
      [512, 512, 512],
      [1024, 1024, 1024],
      [2048, 1024, 1024],
      [4096, 256, 1024],
      [512, 8192, 256],
    ],
    lossHead: [[256, 16384, 256]],
    attention: [[512, 2]],
    norm: [1 << 20],
    copyBytes: [32 << 20],
  },
  cuda: {
    gemm: [
      [256, 256, 256],
      [1024, 1024, 1024],
      [2048, 2048, 2048],
      [4096, 4096, 4096],
      [8192, 8192, 8192],
    ],
    lossHead: [
      [64, 1024, 64],
      [256, 16384, 256],
      [2048, 32768, 4096],
    ],
    attention: [
      [64, 1],
      [512, 2],
      [4096, 16],
    ],
    norm: [1 << 14, 1 << 20, 1 << 26],
    copyBytes: [1 << 16, 1 << 22, 1 << 28],
  },
}
/** On the CPU from one op's end to the next one's begin: `npm run bench -- step` shows it as idle time of the pool. */
const OVERHEAD_NS = 20_000
/** Head size of the attention that is measured unless another is named. */
const HEAD_SIZE = 64
/** On the CPU all probes run in turns, this often and this long: other work on the machine only ever slows one, and seldom for a second. */
const ROUNDS = 5
const ROUND_NS = 8e6
/** On a GPU the best of so many; a larger size is left out when the smaller one's rate says that one run of it takes longer than this. */
const REPEATS = 5
const MOST_RUN_NS = 0.2e9

/** A call to be timed, and what it does: operations or bytes. */
interface Probe {
  /** Best time of a few calls, ns. */
  readonly time: () => number
  readonly work: number
}
/** The same work in several sizes, ascending. */
type Probes<Name extends string> = Readonly<Record<Name, readonly Probe[]>>
type Data = Float64Array | Float32Array | Int32Array | Uint16Array

/** Best GEMM rate over the fixed list, FLOP/s. About a third of a second. */
export function measureGemm(device: NativeDevice, dtype: 'bf16' | 'f32'): number {
  return bestRates(device, { gemm: gemmProbes(device, dtype) }).gemm
}

/** All rates a prediction needs, for attention of a head size. About half a second; cached by the device. */
export function measureMachine(device: NativeDevice, dtype: 'bf16' | 'f32', headSize = HEAD_SIZE): MeasuredRates {
  const best = bestRates(device, {
    gemm: gemmProbes(device, dtype),
    ...lossHeadProbes(device, dtype),
    ...attentionProbes(device, dtype, headSize),
    norm: normProbes(device, dtype),
    copy: copyProbes(device),
  })
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
    peakFlopsPerSecond: best.gemm,
    rates: {
      flopsPerSecond,
      memoryBytesPerSecond: best.norm,
      copyBytesPerSecond: best.copy,
      linkBytesPerSecond: best.copy,
      opOverhead_ns: onCpu(device) ? OVERHEAD_NS : leastTime(device),
    },
  }
}

/** Rate of work that is done in parts at different rates. */
function mean(...parts: readonly (readonly [work: number, rate: number])[]): number {
  return parts.reduce((sum, [work]) => sum + work, 0) / parts.reduce((sum, [work, rate]) => sum + work / rate, 0)
}

/** Work a second of each probe, at its best size and time. */
function bestRates<Name extends string>(device: NativeDevice, probes: Probes<Name>): Record<Name, number> {
  const all = Object.entries(probes) as [Name, readonly Probe[]][]
  const best = Object.fromEntries(all.map(([name]) => [name, 0])) as Record<Name, number>
  const measure = (name: Name, { time, work }: Probe): number => {
    const time_ns = time()
    best[name] = Math.max(best[name], work / (time_ns / 1e9))
    return time_ns
  }
  if (onCpu(device))
    for (let round = 0; round < ROUNDS; round++)
      for (const [name, sizes] of all) for (const probe of sizes) for (let spent = 0; spent < ROUND_NS; ) spent += measure(name, probe)
  else
    for (const [name, sizes] of all)
      for (const probe of sizes) {
        if (best[name] > 0 && probe.work / best[name] > MOST_RUN_NS / 1e9) break
        try {
          const began = process.hrtime.bigint()
          measure(name, probe)
          // What an emulator's events say is not what it takes.
          if (Number(process.hrtime.bigint() - began) > 2 * REPEATS * MOST_RUN_NS) break
        } catch (error) {
          // A GPU whose memory runs hold already is measured with what is left.
          if (best[name] === 0 || (error as NodeJS.ErrnoException).code !== 'out_of_memory') throw error
          break
        }
      }
  return best
}

function gemmProbes(device: NativeDevice, dtype: 'bf16' | 'f32'): Probe[] {
  return sizesOf(device).gemm.map(([rows, outputs, inputs]) => {
    const operands = [activations(device, dtype, rows * outputs), activations(device, dtype, rows * inputs), activations(device, dtype, outputs * inputs)]
    return kernelProbe(device, 'project', [rows, outputs, inputs, isF32(dtype), isBf16(dtype)], operands, 2 * rows * outputs * inputs)
  })
}

/** A loss head: the three products of a matrix in training, and what lies between them. Its parts stream from memory, as in a step. */
function lossHeadProbes(device: NativeDevice, dtype: 'bf16' | 'f32'): Probes<'project' | 'crossEntropy' | 'projectBackward' | 'weightGradient'> {
  const bySize = sizesOf(device).lossHead.map(([rows, outputs, inputs]) => {
    const logits = new Float32Array(lengthOf(device, rows * outputs))
    const gradient = dtype === 'bf16' ? new Uint16Array(logits.buffer) : logits
    const [a, weight] = [activations(device, dtype, rows * inputs), activations(device, dtype, outputs * inputs)]
    const stride = dtype === 'bf16' ? 2 * outputs : outputs
    const flops = 2 * rows * outputs * inputs
    return {
      project: kernelProbe(device, 'project', [rows, outputs, inputs, 1, isBf16(dtype)], [logits, a, weight], flops),
      // In place, as in a step: the gradient of these logits is what the next two read.
      crossEntropy: kernelProbe(
        device,
        'crossEntropy',
        [rows, outputs, 1, isBf16(dtype)],
        [logits, new Float64Array(1), new Int32Array(rows)],
        5 * rows * outputs, // as KERNELS counts them
      ),
      projectBackward: kernelProbe(
        device,
        'projectBackward',
        [rows, outputs, inputs, stride, isBf16(dtype)],
        [activations(device, dtype, rows * inputs), gradient, weight],
        flops,
      ),
      weightGradient: kernelProbe(
        device,
        'weightGradient',
        [rows, outputs, inputs, stride, 0, isBf16(dtype)],
        [new Float32Array(lengthOf(device, outputs * inputs)), gradient, a],
        flops,
      ),
    }
  })
  return {
    project: bySize.map((probes) => probes.project),
    crossEntropy: bySize.map((probes) => probes.crossEntropy),
    projectBackward: bySize.map((probes) => probes.projectBackward),
    weightGradient: bySize.map((probes) => probes.weightGradient),
  }
}

/** One query chunk on an earlier key/value chunk, all pairs seen. */
function attentionProbes(device: NativeDevice, dtype: 'bf16' | 'f32', headSize: number): Probes<'attend' | 'attendBackward'> {
  const bySize = sizesOf(device).attention.map(([rows, heads]) => {
    const count = rows * heads * headSize
    const q = activations(device, dtype, count)
    const f32 = (length: number): Float32Array => new Float32Array(lengthOf(device, length))
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
  })
  return { attend: bySize.map(({ attend }) => attend), attendBackward: bySize.map(({ attendBackward }) => attendBackward) }
}

/** Elementwise work: bytes of operands that stream from memory. */
function normProbes(device: NativeDevice, dtype: 'bf16' | 'f32'): Probe[] {
  const bytes = dtype === 'bf16' ? 2 : 4
  return sizesOf(device).norm.map((elements) => {
    const [x, out] = [activations(device, dtype, elements), activations(device, dtype, elements)]
    const parameters = [elements / 256, 256, 1e-5, isF32(dtype), isBf16(dtype)]
    return kernelProbe(device, 'norm', parameters, [out, x, activations(device, dtype, 256)], 2 * bytes * elements)
  })
}

/** A large copy: on the CPU in this process, the work of a copy stream there; on a GPU from the host and back, the slower of both ways. */
function copyProbes(device: NativeDevice): Probe[] {
  return sizesOf(device).copyBytes.map((bytes) => {
    if (!onCpu(device))
      return { work: bytes, time: () => Math.max(...[true, false].map((toDevice) => Math.min(...device.timeCopy(toDevice, bytes, 0, REPEATS)))) }
    const from = Buffer.alloc(bytes, 1)
    const to = Buffer.alloc(bytes)
    return { work: bytes, time: () => hostTime(() => from.copy(to)) }
  })
}

function kernelProbe(device: NativeDevice, kernel: Kernel, parameters: number[], operands: (Data | null)[], work: number): Probe {
  const { backend, threads } = device.info()
  const workspace = workspacesOf({ backend: backend as BackendName, threads })(kernel, parameters)
  const [code, numbers, step] = [KERNELS[kernel].code, Float64Array.from(parameters), new Float64Array(4)]
  const all = KERNELS[kernel].operands.map((_, i) => operands[i] ?? null) // optional operands come last
  const time = onCpu(device)
    ? () => hostTime(() => device.call(code, numbers, all, workspace, 0, step))
    : () => Math.min(...device.time(code, numbers, all, workspace, 0, REPEATS))
  return { time, work }
}

/** What a GPU takes for an op that does next to nothing. */
function leastTime(device: NativeDevice): number {
  return kernelProbe(device, 'zero', [1], [new Uint8Array(1) as unknown as Uint16Array], 1).time()
}

function hostTime(call: () => void): number {
  const begin = process.hrtime.bigint()
  call()
  return Number(process.hrtime.bigint() - begin)
}

function onCpu(device: NativeDevice): boolean {
  return device.info().backend === 'cpu'
}
function sizesOf(device: NativeDevice): Sizes {
  return SIZES[device.info().backend as BackendName]
}

function isBf16(dtype: 'bf16' | 'f32'): number {
  return dtype === 'bf16' ? 1 : 0
}
function isF32(dtype: 'bf16' | 'f32'): number {
  return dtype === 'f32' ? 1 : 0
}

/** Elements of an operand that are made here: on a GPU a few, which `time` repeats. */
function lengthOf(device: NativeDevice, count: number): number {
  return onCpu(device) ? count : Math.min(count, PATTERN)
}
/** No multiple of a row, so that rows differ. */
const PATTERN = 31 * 37

/** Small values of T, not all equal. */
function activations(device: NativeDevice, dtype: 'bf16' | 'f32', elements: number): Float32Array | Uint16Array {
  const count = lengthOf(device, elements)
  if (dtype === 'f32') return new Float32Array(count).map((_, i) => ((i % 31) - 15) / 64)
  return new Uint16Array(count).map((_, i) => 0x3c00 + (i % 31)) // near 0.0078
}
