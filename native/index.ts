/**
 * The typed face of the addon: devices, programs and single kernels. Knows nothing of schedules, models or Jupyter.
 *
 * Bytes are bytes, times are nanoseconds of one monotonic clock (that of `process.hrtime`). Every error is an `Error` with
 * a `code`:
 *   argument       a wrong type or a number out of its range       program   a program that is not well formed
 *   shape          numbers of an op that cannot be, small operands  range     bytes outside an arena
 *   out_of_memory  over a budget, or more than the machine has      busy      used during a run
 *   failed         run after a failed run, without `reset`          closed    used after `close`
 *   stopped        closed during a run                              token     a token or label outside the vocabulary
 *   disk_full      the disk tier's folder has not that much free    disk      its file cannot be made, read or written
 *   device_lost    a GPU's context is gone, and all that was in its memory: the process must be started anew
 *   native         all else
 */
import { createRequire } from 'node:module'
import { resolve } from 'node:path'

export type Tier = 'device' | 'host' | 'disk'
/** The types of real numbers. */
export type RealDtype = 'bf16' | 'f32' | 'f64'

export type DeviceOptions = CpuDeviceOptions | CudaDeviceOptions

export interface CpuDeviceOptions {
  readonly backend: 'cpu'
  /** Threads of the compute pool. Default: as many as the process may use. */
  readonly threads?: number
  /** Instruction path: one of `scalar`, `avx2`, `avx512bf16`. Default: the best of this processor. */
  readonly path?: string
  /** Folder of the disk tier's files, which have no name and end with their program. Default: `TMPDIR`, or `/tmp`. */
  readonly diskFolder?: string
}

export interface CudaDeviceOptions {
  readonly backend: 'cuda'
  /** GPUs by their index; rank r is on `devices[r % devices.length]`. Default: the first that can be used. */
  readonly devices?: readonly number[]
  /** As of the CPU. */
  readonly diskFolder?: string
}

/** What a machine has for the CUDA backend. */
export interface CudaDevices {
  /** This build has the backend: nvcc was found when it was made. */
  readonly built: boolean
  /** At least one GPU can be used. */
  readonly available: boolean
  /** Why not, a sentence with what to do; '' when available. */
  readonly reason: string
  readonly devices: readonly CudaDeviceInfo[]
}
export interface CudaDeviceInfo {
  readonly index: number
  readonly name: string
  /** Compute capability: '9.0'. */
  readonly capability: string
  readonly memoryBytes: number
  /** As the driver's management library says; null where it is not there. */
  readonly freeBytes: number | null
  /** Processes that compute on it, this one included where it does; null where it is not known. */
  readonly processes: number | null
  readonly usable: boolean
  /** Why not; '' when usable. */
  readonly reason: string
}

export interface DeviceInfo {
  readonly backend: string
  /** The processor or the GPUs, in words. */
  readonly name: string
  /** Instruction path in use, or compute capability. */
  readonly path: string
  /** Of the compute pool; 1 on GPUs. */
  readonly threads: number
  /** Of the whole device: of the machine, or of the smallest GPU in use. */
  readonly memoryBytes: number
  /** Devices that ranks are spread over. */
  readonly devices: number
  /** What is free now, of the GPU that has least; 0 on a CPU: not known. */
  readonly freeBytes: number
  /** Of the machine, where the host tier is other memory than the device's; 0 on a CPU: the tiers share `memoryBytes`. */
  readonly hostBytes: number
  readonly diskFolder: string
}

export interface Device {
  info(): DeviceInfo
  /** Arenas allocated since the device was opened. */
  allocations(): number
  /** The clock of all times. */
  nowNs(): number
  /**
   * Copies the program, checks that it can neither touch a byte outside its arenas nor race with itself, allocates them (exactly `arenaBytes` per rank
   * and tier, zero-filled; memory committed on touch, disk space reserved at once) and starts a thread per rank and stream.
   * `budgets`: most bytes per rank. Throws `program`, `shape`, `argument`; `out_of_memory` before anything is allocated;
   * `disk_full` and `disk` where the disk tier cannot be had.
   */
  load(program: NativeProgram, budgets?: Readonly<Partial<Record<Tier, number | null>>>): Executor
  /** See the function `call`. `step` has the four numbers of STEP_PARAMETERS. */
  call(kernel: number, parameters: Float64Array, operands: readonly Operand[], workspaceBytes: number, rank: number, step: Float64Array): void
  /**
   * How long one kernel takes: nanoseconds of each of `repeats` runs by the device's own events, after one that is not counted. Operands are as in `call`
   * but may be short: they are repeated to the size that the parameters say, and nothing is copied back.
   */
  time(kernel: number, parameters: Float64Array, operands: readonly Operand[], workspaceBytes: number, rank: number, repeats: number): Float64Array
  /** The same of copies of so many bytes from the host tier to the device tier, or back. */
  timeCopy(toDevice: boolean, bytes: number, rank: number, repeats: number): Float64Array
  /** Closes the executors that were loaded on it, then itself. Idempotent. */
  close(): void
}

/** The fields of a `Program` (kernel/src/plan/program.ts, where they are explained) that the native side reads. */
export interface NativeProgram {
  readonly ranks: number
  readonly length: number
  readonly op: Uint32Array
  readonly code: Uint16Array
  readonly stream: Uint8Array
  readonly operandStart: Uint32Array
  readonly operandTier: Uint8Array
  readonly operandOffset: Float64Array
  readonly operandBytes: Float64Array
  readonly parameterStart: Uint32Array
  readonly parameters: Float64Array
  readonly waitStart: Uint32Array
  readonly waitEntry: Uint32Array
  readonly arenaBytes: Readonly<Record<Tier, number>>
}

/** How a run ended: every entry up to `reached` is done on every rank and none above it has begun; -1 = none is done. */
export interface Reached {
  readonly reached: number
  /** True when `cancel` ended the run below the entry it was to reach. */
  readonly stopped: boolean
}

/** What the promise of a failed run rejects with: which entry failed, on which rank; all entries up to `reached` are done. */
export interface RunError extends Error {
  readonly code: string
  readonly entry: number
  readonly rank: number
  readonly reached: number
}

export interface Executor {
  /**
   * Runs what is not done yet, up to and with entry `until` (default: all). No JavaScript runs in between; the process is
   * kept alive. `step`: the four numbers of STEP_PARAMETERS. Rejects with `RunError` when a kernel fails: all ranks have
   * then stopped at an entry boundary, and `reset` is needed. Throws `busy`, `failed`, `closed`, `argument`.
   */
  run(until: number | undefined, step: Float64Array): Promise<Reached>
  /** Ends the run at the first entry boundary that is one for all ranks. Returns at once; the promise of `run` tells where. */
  cancel(): void
  /** Back to the first entry, for the next step. Memory stays; spans not taken are dropped. Throws `busy`. */
  reset(): void
  /**
   * Rows [rank, entry, start, end] of the entries that ended since the last call, also during a run; times in nanoseconds
   * after `originNs`. Rows of one rank and stream are in order and do not overlap. A collective starts when all ranks have
   * reached it; a kernel starts when the compute pool turns to it.
   */
  takeSpans(): Float64Array
  /** When the program was loaded, on the device's clock. */
  readonly originNs: number
  /** A copy of part of an arena. Throws `range`, `busy`. */
  read(tier: Tier, rank: number, offset: number, bytes: number): Uint8Array
  /** Copies `data` into an arena. Throws `range`, `busy`. */
  write(tier: Tier, rank: number, offset: number, data: ArrayBufferView): void
  /** Index of the first element that is NaN or infinite in these bytes, or -1. Throws `range`, also for part of an element, and `busy`. */
  firstNotFinite(tier: Tier, rank: number, offset: number, bytes: number, dtype: RealDtype): number
  /**
   * Bytes of each tier's arena, per rank, and arenas that the device allocated while this program ran: 0. What the disk tier
   * lies in: a disk past the page cache (direct I/O), a disk behind it where the file system has no direct I/O, or memory
   * where there is no such tier or its folder lies in memory itself (tmpfs).
   */
  memory(): { allocatedBytes: Record<Tier, number>; allocationsDuringRun: number; diskMedium: 'memory' | 'disk' | 'cached disk' }
  /** Fills the arenas of a tier (default: all) with a pattern that depends on the place, so that `touched` can tell. Throws `busy`. */
  poison(tier?: Tier): void
  /**
   * Bytes from the start of a rank's arena to the end of the highest 8-byte word written since `poison`, exact at the arena's
   * end. A word that was written passes for untouched with probability 2^-64. Throws `range` where nothing was poisoned.
   */
  touched(tier: Tier, rank: number): number
  /** Cancels a run (its promise rejects with `stopped`), waits for the entries under way, gives the memory back. Idempotent. */
  close(): void
}

/** Memory of an operand of `call`; null where an optional operand is not given. */
export type Operand = NodeJS.ArrayBufferView | null

interface Addon {
  readonly Device: new (options: DeviceOptions) => Device
  readonly kernels: readonly {
    readonly name: string
    readonly code: number
    readonly operands: number
    readonly written: number
    readonly parameters: number
  }[]
  readonly opcodes: Readonly<Record<string, number>>
  readonly streams: readonly string[]
  readonly tiers: readonly Tier[]
  kernelExtents(kernel: number, parameters: Float64Array): Extent[]
  cudaDevices(): CudaDevices
}

/** What a kernel touches of an operand, from its first byte on. */
export interface Extent {
  readonly bytes: number
  /** The operand may be absent. */
  readonly optional: boolean
}

const addon = loadAddon()

/** The kernels of this build: twin of KERNELS in kernel/src/schedule/kernels.ts. */
export const kernels = addon.kernels
/** Codes of copies and collectives: twin of OPCODES in kernel/src/plan/program.ts. */
export const opcodes = addon.opcodes
/** Streams and tiers by their numbers: twins of STREAMS and TIERS in kernel/src/trace/schema.ts. */
export const streams = addon.streams
export const tiers = addon.tiers

/**
 * What a kernel touches of each of its operands (the workspace is not one), by its parameters: twin of kernel/src/schedule/extents.ts.
 * Throws `argument` for a code that no kernel has, `shape` for parameters that cannot be.
 */
export function kernelExtents(kernel: number, parameters: Float64Array): readonly Extent[] {
  return addon.kernelExtents(kernel, parameters)
}

/** What this machine has for the CUDA backend. Answers on every machine and in every build; takes no memory of a GPU. */
export function cudaDevices(): CudaDevices {
  return addon.cudaDevices()
}

/** Throws `native` for a backend that is not in this build or has no usable device here, and for a path that the processor lacks. */
export function openDevice(options: DeviceOptions): Device {
  return new addon.Device(options)
}

/**
 * Runs one kernel, on this thread, on the memory of typed arrays. Operands and parameters are those of KERNELS, in order;
 * the workspace holds NaN bytes at first, later what was left there. Throws `argument` for wrong counts, `shape` where an operand is smaller than the
 * parameters say, and what the kernel throws. On CUDA operands are copied there and back, NaN bytes between them, and a kernel that writes
 * where it must not throws `native`.
 */
export function call(
  kernel: number,
  parameters: Float64Array,
  operands: readonly Operand[],
  workspaceBytes: number,
  options: { backend?: 'cpu' | 'cuda'; threads?: number; path?: string; rank?: number; step?: Float64Array } = {},
): void {
  const { backend = 'cpu', threads, path, rank = 0, step = new Float64Array(4) } = options
  const key = `${backend} ${threads} ${path}`
  let device = devices.get(key)
  if (!device) {
    device = openDevice(backend === 'cuda' ? { backend } : { backend, ...(threads === undefined ? {} : { threads }), ...(path === undefined ? {} : { path }) })
    devices.set(key, device)
  }
  device.call(kernel, parameters, operands, workspaceBytes, rank, step)
}
/** Devices of `call`, one per backend, thread count and path: a compute pool, or a GPU's context, costs more than a small kernel. */
const devices = new Map<string, Device>()

/** `FPDT_NATIVE` names another addon's file: one that was built elsewhere, or for the emulator of test/cuda. */
function loadAddon(): Addon {
  const named = process.env.FPDT_NATIVE
  try {
    return createRequire(import.meta.url)(named ? resolve(named) : '@fpdt/native/addon') as Addon
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw Object.assign(new Error(`the native addon ${named ?? ''} could not be loaded (${reason}); run \`npm run build:native\``, { cause }), {
      code: 'native',
    })
  }
}
