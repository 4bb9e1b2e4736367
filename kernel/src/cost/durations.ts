/** How long ops take on a machine, from its rates: what turns a plan into a prediction. */
import type { Duration } from '../execute/simulate.js'
import type { Program } from '../plan/program.js'
import { KERNEL_NAMES, kernelSpec } from '../schedule/kernels.js'
import { type Family, KINDS, STREAMS, type Stream } from '../trace/schema.js'

/** What a machine sustains; predictions are as good as these. */
export interface MachineRates {
  /** Of compute kernels, by family; Infinity where only memory counts. */
  readonly flopsPerSecond: Readonly<Record<Family, number>>
  /** Bytes of operands that compute kernels stream. Default Infinity: operations alone count. */
  readonly memoryBytesPerSecond?: number
  /** Between device and host, each way. */
  readonly copyBytesPerSecond: number
  /** Between host and disk, each way. Default `copyBytesPerSecond`. */
  readonly diskBytesPerSecond?: number
  /** From one rank to the others. */
  readonly linkBytesPerSecond: number
  /** Of any op, before its work. */
  readonly opOverhead_ns: number
}

/** Duration of each entry on such a machine: the slower of its operations and its bytes, and the overhead. */
export function durations(program: Program, machine: MachineRates): Duration {
  const { flopsPerSecond, copyBytesPerSecond, linkBytesPerSecond, opOverhead_ns } = machine
  const { memoryBytesPerSecond = Number.POSITIVE_INFINITY, diskBytesPerSecond = copyBytesPerSecond } = machine
  const bytesPerSecond: Record<Stream, number> = {
    compute: memoryBytesPerSecond,
    fetch: copyBytesPerSecond,
    offload: copyBytesPerSecond,
    collective: linkBytesPerSecond,
    load: diskBytesPerSecond,
    spill: diskBytesPerSecond,
  }
  const perStream = STREAMS.map((stream) => bytesPerSecond[stream])
  const perKernel = KERNEL_NAMES.map((kernel) => flopsPerSecond[kernelSpec(kernel).family])
  const isCompute = KINDS.indexOf('compute')
  return (entry) => {
    const moving = program.bytes[entry] / perStream[program.stream[entry]]
    const computing = program.kind[entry] === isCompute ? program.flops[entry] / perKernel[program.kernel[entry]] : 0
    return opOverhead_ns + Math.max(moving, computing) * 1e9
  }
}
