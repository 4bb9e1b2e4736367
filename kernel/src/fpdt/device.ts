/** The device of a notebook: memory budgets, measured rates, and the runs that live on it. */
import { type Device as NativeDevice, openDevice } from '@fpdt/native'
import { type MeasuredRates, measureGemm, measureMachine } from '../cost/machine.js'
import { FpdtError } from '../errors.js'
import type { ModelConfig } from '../model/config.js'
import { OwnSchedule } from './own/own-schedule.js'
import { type Primitives, primitives } from './own/primitives/index.js'
import { type OpSource, planSchedule, type ScheduleOptions } from './own/schedule-plan.js'
import { adamW, type Optimizer } from './plan/optimizer.js'
import { PlannedRun } from './plan/planned-run.js'
import { type Budgets, optionsUnder, type TrainingPlan, type TrainOptions } from './plan/training-plan.js'
import { longestSequence, planThatFits } from './plan/what-fits.js'
import { openCheckpoint } from './run/checkpoint.js'
import { newStart, type Start } from './run/start.js'
import { TrainingRun } from './run/training-run.js'
import { parseBytes, refuseUnknown } from './sizes.js'

export interface CpuOptions {
  /** Bytes of device memory a rank may take: `'1 GiB'`. On the CPU it plays the part of HBM. Default: an eighth of the machine's memory, which device and host memory of all ranks must fit. */
  readonly memory?: string | number
  /** Bytes of host memory a rank may take for what is offloaded. Default: a quarter of the machine's memory. */
  readonly host?: string | number
  /** Bytes of disk a rank may take for what is spilled. Default: as many as its folder has free; a run reserves what it needs when it is made. */
  readonly disk?: string | number
  /** Folder of the disk tier's files, which have no name and end with their run. Default: `TMPDIR`, or `/tmp`. */
  readonly diskFolder?: string
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
  readonly diskFolder: string
  readonly budgets: TierBudgets
}
/** Bytes per rank; null: as many as the disk tier's folder has free. */
export interface TierBudgets {
  readonly device: number
  readonly host: number
  readonly disk: number | null
}

/** What may be another when a run goes on. */
export type ResumeOptions = Partial<Omit<TrainOptions, 'weights' | 'seed' | 'optimizer'>> & { readonly optimizer?: Partial<Optimizer> }

/** One device a backend in this process: opening it again closes the former, so that a cell that is run again does not hold memory twice. */
let open: Device | undefined

/** What the native side takes. */
const MOST_THREADS = 1024

export class Device {
  readonly #native: NativeDevice
  readonly #runs = new Set<{ close(): Promise<void> }>()
  readonly #rates = new Map<string, MeasuredRates>()
  #primitives: Primitives | undefined
  #closed = false
  #closing: Promise<void> | undefined

  private constructor(
    native: NativeDevice,
    readonly budgets: TierBudgets,
  ) {
    this.#native = native
  }

  /** The CPU backend. One is open at a time: opening another closes the former and its runs (a cell that is run again must not hold the memory twice). Throws FpdtError `config` for a size that is none, `native` when the addon cannot be loaded. */
  static async cpu(options: CpuOptions = {}): Promise<Device> {
    refuseUnknown('Device.cpu', options, ['memory', 'host', 'disk', 'diskFolder', 'threads', 'path'])
    const { threads, path, diskFolder } = options
    if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= MOST_THREADS)) {
      throw new FpdtError('config', `threads ${String(threads)} is not a whole number from 1 to ${MOST_THREADS}.`)
    }
    const device = options.memory === undefined ? undefined : parseBytes(options.memory, 'memory')
    const host = options.host === undefined ? undefined : parseBytes(options.host, 'host')
    const disk = options.disk === undefined ? null : parseBytes(options.disk, 'disk')
    if (diskFolder !== undefined && typeof diskFolder !== 'string')
      throw new FpdtError('config', `diskFolder ${String(diskFolder)} is not the path of a folder.`)
    const given = { ...(threads ? { threads } : {}), ...(path ? { path } : {}), ...(diskFolder ? { diskFolder } : {}) }
    const native = openDevice({ backend: 'cpu', ...given })
    const { memoryBytes } = native.info() // what this process may use, container limits included
    const former = open
    open = new Device(native, { device: device ?? Math.floor(memoryBytes / 8), host: host ?? Math.floor(memoryBytes / 4), disk })
    const opened = open
    await former?.close()
    return opened
  }

  get description(): DeviceDescription {
    const { backend, name, path, threads, diskFolder } = this.#native.info()
    return { backend, name, path, threads, diskFolder, budgets: this.budgets }
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
   * does not fit, with the op and buffers of the peak and what would fit), `disk_full` or `disk` (the disk tier cannot be had).
   */
  async train(model: ModelConfig, options: TrainOptions): Promise<TrainingRun> {
    this.#refuseClosed()
    const training = planThatFits(model, options, this.#machine())
    return this.#begin(training, newStart(training))
  }

  /**
   * Goes on with the run that `run.save(dir)` saved last, or with the checkpoint whose own path is given: same options, same step,
   * same places in its texts, and from there on the same bits as without the interruption. `overrides` change options: other tiers
   * keep the bits, other ranks, chunks or dtypes round otherwise; of an optimizer the keys that are given, `{ rate: 1e-4 }`. Throws FpdtError `checkpoint`, naming the file that is missing or
   * damaged and the checkpoint before it, and what `train` throws.
   */
  async resume(dir: string, overrides: ResumeOptions = {}): Promise<TrainingRun> {
    this.#refuseClosed()
    for (const name of ['weights', 'seed'])
      if (name in overrides) throw new FpdtError('config', `resume({ ${name} }) cannot be given: the checkpoint has the parameters.`)
    const { model, options, start } = await openCheckpoint(dir)
    let training: TrainingPlan
    try {
      const optimizer = adamW({ ...options.optimizer, ...overrides.optimizer })
      training = planThatFits(model, { ...optionsUnder(options, overrides.system), ...overrides, optimizer }, this.#machine())
    } catch (error) {
      if (error instanceof FpdtError) throw error
      throw new FpdtError('checkpoint', `${dir} describes no model and options that can be trained: ${(error as Error).message}.`, { cause: error })
    }
    return this.#begin(training, start)
  }

  async #begin(training: TrainingPlan, start: Start): Promise<TrainingRun> {
    const run = await TrainingRun.open(this, training, start)
    this.#runs.add(run)
    run.onClose(() => this.#runs.delete(run))
    return run
  }

  /**
   * A schedule of the user's own: ops as a generator yields them or a listing says them, checked and planned as those of a training
   * step. What it gives can be looked at (`plan`), run, stepped through and drawn. Throws FpdtError `schedule` (what is wrong with
   * which op), `config`, `out_of_memory`.
   */
  schedule(ops: OpSource, options: ScheduleOptions = {}): OwnSchedule {
    const schedule = new OwnSchedule(this, planSchedule(ops, options, this.machine))
    this.#runs.add(schedule)
    schedule.onClose(() => this.#runs.delete(schedule))
    return schedule
  }
  /** The steps of training one by one on small tensors, forward and backward: `await device.primitives.norm(x, weight)`. */
  get primitives(): Primitives {
    this.#refuseClosed()
    this.#primitives ??= primitives(this)
    return this.#primitives
  }

  /** The longest sequence, in tokens, that `train` takes with these options: it fits the budgets, all ranks fit the machine, and a plan holds its ops (a larger chunk makes fewer). Allocates nothing. */
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

  /** @internal Whether `rates` answers at once. */
  knowsRates(dtype: 'bf16' | 'f32'): boolean {
    return this.#rates.has(dtype)
  }

  /** Measures the best GEMM rate again and keeps the better one: other work on the machine only ever lowers it. FLOP/s. */
  measurePeak(dtype: 'bf16' | 'f32' = 'bf16'): number {
    const known = this.rates(dtype)
    const peakFlopsPerSecond = Math.max(known.peakFlopsPerSecond, measureGemm(this.native, dtype))
    this.#rates.set(dtype, { ...known, peakFlopsPerSecond })
    return peakFlopsPerSecond
  }

  /** Ends all runs on it and gives all memory back. May be called again. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }
  async #close(): Promise<void> {
    this.#closed = true
    if (open === this) open = undefined
    for (const run of this.#runs) await run.close()
    this.#native.close()
  }

  /** @internal What plans must fit. */
  get machine(): Budgets {
    this.#refuseClosed()
    return this.#machine()
  }
  #machine(): Budgets {
    const { disk, ...memory } = this.budgets
    const { threads, memoryBytes } = this.#native.info()
    return { budgets: disk === null ? memory : { ...memory, disk }, memory: memoryBytes, threads }
  }
  #refuseClosed(): void {
    if (this.#closed) throw new FpdtError('closed', 'this device is closed; open one with await Device.cpu({ … }).')
  }
}
