/** For what plants bugs: kernels and programs run on emulated GPUs, every check on. To be imported before anything that imports @fpdt/native. */
process.env.FPDT_TEST_BACKEND = 'cuda'
await import('../emulated.js')
const { control } = await import('../emulator/index.js')

/** control.h says the words. */
export type Plant =
  | { readonly call: string; readonly nth?: number; readonly what: 'drop' | 'shorten' | 'swap' | 'late' | 'fail' }
  | { readonly ptx: string; readonly find: string; readonly replace: string; readonly nth?: number }
  | { readonly ptx: string; readonly module: string }

export interface Findings {
  readonly faults: readonly string[]
  readonly unordered: readonly string[]
  readonly default_stream_ops: number
  readonly calls: Readonly<Record<string, number>>
  readonly plants: readonly { readonly used?: boolean; readonly applied?: number }[]
}

/** Forgets all plants and findings; queues go in an order drawn from `seed`. */
export function begin(seed: number): void {
  control({ reset: true, configure: { seed, policy: null, devices: 2, checks: ['order', 'race', 'initialised'] } })
}
export const plant = (...plants: readonly Plant[]): void => void control({ plant: plants })
export const findings = (): Findings => control({ report: true }) as Findings
