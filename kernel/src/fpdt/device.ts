/** The device of a notebook: memory budgets, measured rates, and the runs that live on it. */
import { type Device as NativeDevice, openDevice } from '@fpdt/native'
import { type MeasuredRates, measureGemm, measureMachine } from '../cost/machine.js'
import { FpdtError } from '../errors.js'
import type { ModelConfig } from '../model/config.js'
import type { Tier } from '../trace/schema.js'
import { PlannedRun } from './planned-run.js'
import { parseBytes, refuseUnknown } from './sizes.js'
import type { Budgets, TrainOptions } from './training-plan.js'
import { TrainingRun } from './training-run.js'
import { longestSequence, planThatFits } from './what-fits.js'

export interface CpuOptions {
  /** Bytes of device memory a rank may take: `'1 GiB'`. On the CPU it plays the part of HBM. Default: an eighth of the machine's memory. */
  readonly memory?: string | number
  /** Bytes of host memory a rank may take for what is offloaded. Default: a quarter of the machine's memory. */
  readonly host?: string | number
  /** Threads of the compute pool that all ranks share. Default: as many as the process may use. */
  readonly threads?: number
  /** Instructions to use: 'avx512bf16', 'avx2' or 'scalar'. Default: the best there are. */
  readonly path?: string
}

export interface DeviceDescription {
  readonly backend: string
  readonly name: string
  readonly path: string
  readonly threads: number
  /** Per rank. */
  readonly budgets: { readonly device: number; readonly host: number }
}

/** One device a backend in this process: opening it again closes the former, so that a cell that is run again does not hold memory twice. */
let open: Device | undefined

/** What the native side takes. */
const MOST_THREADS = 1024

export class Device {
  readonly #native: NativeDevice
  readonly #runs = new Set<TrainingRun>()
  readonly #rates = new Map<string, MeasuredRates>()
  #closed = false

  private constructor(
    native: NativeDevice,
    readonly budgets: { readonly device: number; readonly host: number },
  ) {
    this.#native = native
  }

  /** The CPU backend. One is open at a time: opening another closes the former and its runs (a cell that is run again must not hold the memory twice). Throws FpdtError `config` for a size that is none, `native` when the addon cannot be loaded. */
  static async cpu(options: CpuOptions = {}): Promise<Device> {
    refuseUnknown('Device.cpu', options, ['memory', 'host', 'threads', 'path'])
    const { threads, path } = options
    if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= MOST_THREADS)) {
      throw new FpdtError('config', `threads ${String(threads)} is not a whole number from 1 to ${MOST_THREADS}.`)
    }
    const device = options.memory === undefined ? undefined : parseBytes(options.memory, 'memory')
    const host = options.host === undefined ? undefined : parseBytes(options.host, 'host')
    const native = openDevice({ backend: 'cpu', ...(threads ? { threads } : {}), ...(path ? { path } : {}) })
    const { memoryBytes } = native.info() // what this process may use, container limits included
    const former = open
    open = new Device(native, { device: device ?? Math.floor(memoryBytes / 8), host: host ?? Math.floor(memoryBytes / 4) })
    const opened = open
    await former?.close()
    return opened
  }

  get description(): DeviceDescription {
    const { backend, name, path, threads } = this.#native.info()
    return { backend, name, path, threads, budgets: this.budgets }
  }
  /** @internal */
  get native(): NativeDevice {
    this.#refuseClosed()
    return this.#native
  }

  /** What training would take and how it would run, before anything does. Throws as `train`. */
  plan(model: ModelConfig, options: TrainOptions): PlannedRun {
    this.#refuseClosed()
    const training = planThatFits(model, options, this.#machine())
    return new PlannedRun(training, this)
  }

  /**
   * Plans, allocates and fills in first parameters. Throws FpdtError `config` (what cannot work), `out_of_memory` (what
   * does not fit, with the op and buffers of the peak and what would fit).
   */
  async train(model: ModelConfig, options: TrainOptions): Promise<TrainingRun> {
    this.#refuseClosed()
    const run = await TrainingRun.open(this, planThatFits(model, options, this.#machine()))
    this.#runs.add(run)
    run.onClose(() => this.#runs.delete(run))
    return run
  }

  /** The longest sequence, in tokens, that fits this device's budgets with these options. Plans only; allocates nothing. */
  longestSequence(model: ModelConfig, options: Omit<TrainOptions, 'sequence'>): number {
    this.#refuseClosed()
    return longestSequence(model, options, this.#machine())
  }

  /** Measured rates of this machine for a dtype; the first call takes about a second. */
  rates(dtype: 'bf16' | 'f32' = 'bf16'): MeasuredRates {
    const known = this.#rates.get(dtype)
    if (known) return known
    const measured = measureMachine(this.native, dtype)
    this.#rates.set(dtype, measured)
    return measured
  }

  /** Measures the best GEMM rate again and keeps the better one: other work on the machine only ever lowers it. FLOP/s. */
  measurePeak(dtype: 'bf16' | 'f32' = 'bf16'): number {
    const known = this.rates(dtype)
    const peakFlopsPerSecond = Math.max(known.peakFlopsPerSecond, measureGemm(this.native, dtype))
    this.#rates.set(dtype, { ...known, peakFlopsPerSecond })
    return peakFlopsPerSecond
  }

  /** Ends all runs on it and gives all memory back. May be called again. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    if (open === this) open = undefined
    for (const run of this.#runs) await run.close()
    this.#native.close()
  }

  #machine(): Budgets {
    const budgets: Partial<Record<Tier, number>> = { ...this.budgets }
    return { budgets, threads: this.#native.info().threads }
  }
  #refuseClosed(): void {
    if (this.#closed) throw new FpdtError('closed', 'this device is closed; open one with await Device.cpu({ … }).')
  }
}
