/**
 * For suites that need an emulated GPU, whatever the machine has: to be imported before anything that imports @fpdt/native. Makes it load the addon that is
 * linked with the emulator; `emulator` steers the emulator of this process and reads its report (emulator/runtime/control.h says the words).
 */
process.env.FPDT_NATIVE ??= new URL('../../native/build/fpdt-emulated.node', import.meta.url).pathname
const { control } = await import('./emulator/index.js')

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
  /** As cudaDriverGetVersion says it; 0 = none is installed. */
  readonly driver?: number
  readonly devices?: number | readonly EmulatedDevice[]
}
/** A fault in the nth call of a function of CUDA, from now on. */
export interface Plant {
  readonly call: string
  readonly nth: number
  readonly what: 'drop' | 'shorten' | 'swap' | 'late' | 'fail'
}
export interface Report {
  readonly faults: readonly string[]
  /** Ops that touch the same bytes, with nothing that orders them. */
  readonly unordered: readonly string[]
  readonly notes: readonly string[]
  readonly calls: Readonly<Record<string, number>>
  readonly default_stream_ops: number
  readonly devices: readonly { readonly used: number; readonly peak: number; readonly total: number }[]
  readonly pinned: number
  readonly pending: number
  readonly plants: readonly { readonly used?: boolean }[]
}

export const emulator = {
  configure: (configure: Configuration): void => void control({ configure }),
  plant: (...plant: Plant[]): void => void control({ plant }),
  report: (): Report => control({ report: true }) as Report,
  /** Ends all work, brings lost devices back to life, forgets counts, reports and planted faults. */
  reset: (): void => void control({ reset: true }),
}
