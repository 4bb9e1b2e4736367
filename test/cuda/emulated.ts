/**
 * For suites that need an emulated GPU, whatever the machine has: to be imported before anything that imports @fpdt/native. Makes it load the addon that is
 * linked with the emulator; `emulator` steers the emulator of this process and reads its report (emulator/runtime/control.h says the words). Throws where
 * another addon is loaded: its report would be empty, and tests that look for faults there would pass.
 */
process.env.FPDT_NATIVE ??= new URL('../../native/build/fpdt-emulated.node', import.meta.url).pathname
const { control } = await import('./emulator/index.js')
const { cudaDevices } = await import('@fpdt/native')
cudaDevices()
if (Object.keys((control({ report: true }) as Report).calls).length === 0)
  throw new Error(
    `${process.env.FPDT_NATIVE} made no CUDA call of the emulator that emulator.node steers: FPDT_NATIVE and FPDT_EMULATOR_ADDON must be of one build`,
  )

export interface EmulatedDevice {
  readonly name?: string
  readonly major?: number
  readonly minor?: number
  /** Bytes. */
  readonly memory?: number
  readonly peer?: boolean
}
export interface Configuration {
  readonly seed?: number
  readonly policy?: 'prompt' | 'lazy' | 'eager' | 'random' | null
  readonly checks?: readonly ('order' | 'race' | 'initialised' | 'banks' | 'sectors')[]
  /** Blocks of one kernel under way at a time, in turns that the seed draws. */
  readonly resident_blocks?: number
  /** As cudaDriverGetVersion says it; 0 = none is installed. */
  readonly driver?: number
  readonly devices?: number | readonly EmulatedDevice[]
}
/** From now on: a fault in the nth call of a function of CUDA, or in the nth place of the PTX of kernels that matches. */
export type Plant =
  | { readonly call: string; readonly nth: number; readonly what: 'drop' | 'shorten' | 'swap' | 'late' | 'fail' }
  | { readonly ptx: string; readonly find: string; readonly replace: string; readonly nth?: number }
export interface Report {
  readonly faults: readonly string[]
  /** Ops that touch the same bytes, with nothing that orders them. */
  readonly unordered: readonly string[]
  readonly notes: readonly string[]
  readonly calls: Readonly<Record<string, number>>
  readonly launches: Readonly<Record<string, number>>
  readonly default_stream_ops: number
  readonly devices: readonly { readonly used: number; readonly peak: number; readonly total: number }[]
  readonly pinned: number
  readonly pinned_peak: number
  /** Asynchronous copies from or to memory that is not pinned. */
  readonly pageable_copies: number
  /** Waits of streams for events that keep their time. */
  readonly timed_waits: number
  readonly pending: number
  readonly plants: readonly { readonly used?: boolean; readonly applied?: number }[]
  readonly seed: number
}

export const emulator = {
  configure: (configure: Configuration): void => void control({ configure }),
  plant: (...plant: Plant[]): void => void control({ plant }),
  report: (): Report => control({ report: true }) as Report,
  /** Ends all work, brings lost devices back to life, forgets counts, reports and planted faults. */
  reset: (): void => void control({ reset: true }),
}
