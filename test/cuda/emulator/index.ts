/**
 * The typed face of emulator.node: PTX modules whose kernels run on the memory of typed arrays, and control of the runtime that stands in for libcudart.
 * A fault of the device is an Error with a `kind`: "illegal address", "misaligned address", "shared memory", "race", "uninitialised", "deadlock", "divergence",
 * "trap", "assert", "unknown instruction", "launch"; all else has kind "error".
 */
import { createRequire } from 'node:module'

export type Memory = Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array | Float32Array | Float64Array | BigUint64Array | BigInt64Array

/** A kernel parameter: memory whose address is passed, or a number of the type that its key names. */
export type Argument =
  | Memory
  | {
      readonly memory: Memory
      /** Bytes added to the address that the kernel gets. */
      readonly offset?: number
      /** Default: true. */
      readonly writable?: boolean
      /** Whether its bytes count as written for the check `initialised`. Default: true. */
      readonly written?: boolean
    }
  | { readonly u8: number }
  | { readonly u16: number }
  | { readonly u32: number }
  | { readonly s32: number }
  | { readonly f32: number }
  | { readonly f64: number }
  | { readonly u64: bigint }
  | { readonly s64: bigint }
  | { readonly bytes: Uint8Array }

export interface CheckOptions {
  /** Between threads of a block and between blocks of the launch. */
  readonly races?: boolean
  /** Bytes read that nobody wrote, in shared memory and in arguments with `written: false`. */
  readonly initialised?: boolean
  readonly banks?: boolean
  readonly sectors?: boolean
}

export interface LaunchOptions {
  readonly grid?: number | readonly [number, number, number]
  readonly block?: number | readonly [number, number, number]
  /** Bytes of dynamic shared memory. */
  readonly shared?: number
  readonly args?: readonly Argument[]
  /** 0 (default): blocks and warps in order; else in an order drawn from it. */
  readonly seed?: number
  /** Blocks under way at a time, in turns that the seed draws. Default: 1. */
  readonly residentBlocks?: number
  /** Of a block; one that needs more is a deadlock. Default: 20 million. */
  readonly mostInstructions?: number
  readonly checks?: CheckOptions
}

/** Counts of one instruction over the launch: bank passes or sectors `taken`, and the `fewest` that there could be. */
export interface SiteCount {
  readonly kernel: string
  /** Of the PTX text, from 1. */
  readonly line: number
  /** Warp instructions. */
  readonly instructions: number
  readonly taken: number
  readonly fewest: number
}

export interface Report {
  readonly banks: readonly SiteCount[]
  readonly sectors: readonly SiteCount[]
}

export interface KernelShape {
  readonly name: string
  /** Of the parameters in the packed block, bytes. */
  readonly offsets: readonly number[]
  readonly sizes: readonly number[]
  readonly parameterBytes: number
  readonly staticSharedBytes: number
  readonly mostThreads: number
}

export interface Fault extends Error {
  readonly kind: string
}

interface NativeModule {
  kernels(): KernelShape[]
  launch(request: object): Report
}
interface Addon {
  readonly Module: new (ptx: string) => NativeModule
  control(request: string): string
}

const addon = createRequire(import.meta.url)(
  process.env.FPDT_EMULATOR_ADDON ?? new URL('../../../native/build/emulator/emulator.node', import.meta.url).pathname,
) as Addon

/** Addresses of arguments are as far apart as the largest is: what runs off one never reaches another. */
const FIRST_ADDRESS = 1n << 40n
const APART = 1n << 32n

export class Module {
  readonly kernels: readonly KernelShape[]
  readonly #native: NativeModule

  /** Throws "unknown instruction" for whatever the machine does not know. */
  constructor(ptx: string) {
    this.#native = new addon.Module(ptx)
    this.kernels = this.#native.kernels()
  }

  /** Runs a kernel to its end; its writes are in the arguments then, also after a fault. */
  launch(kernel: string, options: LaunchOptions = {}): Report {
    const { grid = 1, block = 1, shared = 0, args = [], seed = 0, residentBlocks = 1, mostInstructions = 20e6, checks = {} } = options
    const shape = this.kernels.find(({ name }) => name === kernel)
    if (!shape) throw Object.assign(new Error(`the module has no kernel ${kernel}`), { kind: 'error' })
    if (args.length !== shape.offsets.length) {
      throw Object.assign(new Error(`${kernel} has ${shape.offsets.length} parameters, not ${args.length}`), { kind: 'error' })
    }
    const parameters = new Uint8Array(shape.parameterBytes)
    const regions = new Map<Memory, { address: bigint; memory: Memory; writable: boolean; written: boolean }>()
    args.forEach((argument, i) => {
      const place = new DataView(parameters.buffer, shape.offsets[i]!, shape.sizes[i]!)
      const given = ArrayBuffer.isView(argument) ? { memory: argument as Memory } : argument
      if ('memory' in given) {
        const { memory, offset = 0, writable = true, written = true } = given
        const region = regions.get(memory) ?? { address: FIRST_ADDRESS + BigInt(regions.size) * APART, memory, writable, written }
        regions.set(memory, region)
        place.setBigUint64(0, region.address + BigInt(offset), true)
      } else if ('bytes' in given) {
        parameters.set(given.bytes, shape.offsets[i])
      } else if ('u64' in given) place.setBigUint64(0, given.u64, true)
      else if ('s64' in given) place.setBigInt64(0, given.s64, true)
      else if ('f64' in given) place.setFloat64(0, given.f64, true)
      else if ('f32' in given) place.setFloat32(0, given.f32, true)
      else if ('u32' in given) place.setUint32(0, given.u32, true)
      else if ('s32' in given) place.setInt32(0, given.s32, true)
      else if ('u16' in given) place.setUint16(0, given.u16, true)
      else place.setUint8(0, given.u8)
    })
    const { races = false, initialised = false, banks = false, sectors = false } = checks
    return this.#native.launch({
      kernel,
      grid: sizes(grid),
      block: sizes(block),
      shared,
      parameters,
      regions: [...regions.values()],
      seed,
      residentBlocks,
      mostInstructions,
      races,
      initialised,
      banks,
      sectors,
    })
  }
}

/** Asks the runtime in the same library; the words are those of runtime/control.h. */
export function control(request: object): unknown {
  return JSON.parse(addon.control(JSON.stringify(request)))
}

function sizes(size: number | readonly [number, number, number]): readonly [number, number, number] {
  return typeof size === 'number' ? [size, 1, 1] : size
}
