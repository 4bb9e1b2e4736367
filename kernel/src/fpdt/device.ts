/** The device of a notebook: memory budgets, measured rates, and the runs that live on it. */
import { cudaDevices, type DeviceOptions, type Device as NativeDevice, openDevice } from '@fpdt/native'
import { aligned } from '../aligned.js'
import { type MeasuredRates, measureGemm, measureMachine, ratesInWords } from '../cost/machine.js'
import { INSPECT, inWords } from '../display.js'
import { FpdtError } from '../errors.js'
import { escapeHtml } from '../escape-html.js'
import type { ModelConfig } from '../model/config.js'
import type { BackendName } from '../plan/workspace.js'
import { counted } from '../trace/words/format.js'
import { OwnSchedule } from './own/own-schedule.js'
import { type Primitives, primitives } from './own/primitives/index.js'
import { type OpSource, planSchedule, type ScheduleOptions } from './own/schedule-plan.js'
import { withRanks } from './plan/default-ranks.js'
import { adamW, type Optimizer } from './plan/optimizer.js'
import { PlannedRun } from './plan/planned-run.js'
import { type Budgets, optionsUnder, type TrainingPlan, type TrainOptions } from './plan/training-plan.js'
import { longestSequence, planThatFits } from './plan/what-fits.js'
import { openCheckpoint } from './run/checkpoint.js'
import { newStart, type Start } from './run/start.js'
import { TrainingRun } from './run/training-run.js'
import { formatBytes, parseBytes, refuseUnknown } from './sizes.js'

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

export interface CudaOptions {
  /** GPUs by CUDA's numbers; rank r is on `devices[r % devices.length]`. `train` has a rank for each unless it is given `ranks`. Default: the first that can be used. */
  readonly devices?: number | readonly number[]
  /** Bytes of a GPU's memory a rank may take: `'60 GiB'`. Default: 80 % of what is free when the device is opened, on the GPU with least, which all ranks of a GPU must fit. */
  readonly memory?: string | number
  /** Bytes of host memory a rank may take for what is offloaded; it is pinned. Default: half of the machine's memory, which all ranks must fit. */
  readonly host?: string | number
  /** As on the CPU. */
  readonly disk?: string | number
  readonly diskFolder?: string
}

export interface DeviceDescription {
  readonly backend: BackendName
  /** The processor, or the GPUs. */
  readonly name: string
  /** GPUs by name, in the order in which ranks take them; none on the CPU. */
  readonly gpus: readonly string[]
  /** Instructions in use; of GPUs their architecture, `sm_90`. */
  readonly path: string
  readonly threads: number
  readonly diskFolder: string
  readonly budgets: TierBudgets
  /** Another process has work on one of the GPUs: times are then not of this one alone. False on the CPU, and where it cannot be known. */
  readonly shared: boolean
}

/** A row of `Device.list()`. */
export interface ListedDevice {
  readonly backend: BackendName
  /** What `Device.cuda(index)` takes; null for the CPU, and where there is no GPU. */
  readonly index: number | null
  readonly name: string
  /** Instructions in use, or compute capability. */
  readonly path: string
  readonly memoryBytes: number | null
  /** null: not known before the device is opened. */
  readonly freeBytes: number | null
  readonly usable: boolean
  /** Why it cannot be used, and what to do; '' where it can. */
  readonly reason: string
}
/** Bytes per rank; null: as many as the disk tier's folder has free. */
export interface TierBudgets {
  readonly device: number
  readonly host: number
  readonly disk: number | null
}

/** What may be another when a run goes on. */
export type ResumeOptions = Partial<Omit<TrainOptions, 'weights' | 'seed' | 'optimizer'>> & { readonly optimizer?: Partial<Optimizer> }

interface Gpu {
  readonly index: number
  readonly name: string
}

/** What is open in this process, the CPU or a GPU, by whom: opening it again closes the former, so that a cell that is run again does not hold memory twice. */
const open = new Map<string, Device>()
/** Of what is free on a GPU: contexts, cuBLASLt and other processes need some too. */
const FREE_PART = 0.8

/** What the native side takes. */
const MOST_THREADS = 1024

export class Device {
  readonly #native: NativeDevice
  readonly #gpus: readonly Gpu[]
  /** Free on the GPU with least when it was opened: later its own runs hold some. */
  readonly #freeBytes: number
  readonly #runs = new Set<{ close(): Promise<void> }>()
  readonly #rates = new Map<string, MeasuredRates>()
  #primitives: Primitives | undefined
  #closed = false
  #closing: Promise<void> | undefined

  private constructor(
    native: NativeDevice,
    readonly budgets: TierBudgets,
    gpus: readonly Gpu[] = [],
  ) {
    this.#native = native
    this.#gpus = gpus
    this.#freeBytes = native.info().freeBytes
  }

  /** The CPU backend. One is open at a time: opening another closes the former and its runs (a cell that is run again must not hold the memory twice). Throws FpdtError `config` for a size that is none, `native` when the addon cannot be loaded or the processor lacks the instructions of `path`. */
  static async cpu(options: CpuOptions = {}): Promise<Device> {
    refuseUnknown('Device.cpu', options, ['memory', 'host', 'disk', 'diskFolder', 'threads', 'path'])
    const { threads, path } = options
    if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= MOST_THREADS)) {
      throw new FpdtError('config', `threads ${String(threads)} is not a whole number from 1 to ${MOST_THREADS}.`)
    }
    const { device, host, disk, folder } = tiersOf(options)
    const native = opened({ backend: 'cpu', ...(threads ? { threads } : {}), ...(path ? { path } : {}), ...folder })
    const { memoryBytes } = native.info() // what this process may use, container limits included
    const former = open.get('cpu')
    const made = new Device(native, { device: device ?? Math.floor(memoryBytes / 8), host: host ?? Math.floor(memoryBytes / 4), disk })
    open.set('cpu', made)
    await former?.close()
    return made
  }

  /**
   * The CUDA backend, on one GPU or several: `Device.cuda()`, `Device.cuda(1)`, `Device.cuda([0, 1])`, `Device.cuda({ devices: [0, 1], memory: '60 GiB' })`.
   * A GPU is open once: opening it again closes the device that had it, and its runs. Throws FpdtError `config` for a size or GPU that is none, `native` where a
   * GPU cannot be used (`Device.list()` says which can, and why not), `out_of_memory` where nothing is free.
   */
  static async cuda(given: number | readonly number[] | CudaOptions = {}): Promise<Device> {
    const options: CudaOptions = typeof given === 'number' || Array.isArray(given) ? { devices: given } : (given as CudaOptions)
    if (typeof options === 'string')
      throw new FpdtError('config', `Device.cuda() takes a GPU's number, a list of them, or { devices: 0, memory: '60 GiB' }; got ${JSON.stringify(given)}.`)
    refuseUnknown('Device.cuda', options, ['devices', 'memory', 'host', 'disk', 'diskFolder'])
    const { device, host, disk, folder } = tiersOf(options)
    const gpus = gpusOf(options.devices)
    const devices = gpus.map(({ index }) => index)
    // Before the GPUs are opened, so that what the former held counts as free.
    await Promise.all(devices.map((index) => open.get(`cuda ${index}`)?.close()))
    const native = opened({ backend: 'cuda', devices, ...folder })
    const { freeBytes, hostBytes } = native.info()
    const made = new Device(native, { device: device ?? Math.floor(FREE_PART * freeBytes), host: host ?? Math.floor(hostBytes / 2), disk }, gpus)
    for (const index of devices) open.set(`cuda ${index}`, made)
    return made
  }

  /** The CPU and all GPUs, those too that cannot be used, with the reason; where there is no GPU, a row that says why. Answers on every machine. */
  static list(): readonly ListedDevice[] {
    const cpu = opened({ backend: 'cpu', threads: 1 })
    const { name, path, memoryBytes } = cpu.info()
    cpu.close()
    const { devices, reason } = cudaDevices()
    const gpus = devices.map((gpu) => ({
      backend: 'cuda' as const,
      index: gpu.index,
      name: gpu.name,
      path: `sm_${gpu.capability.replace('.', '')}`,
      memoryBytes: gpu.memoryBytes,
      freeBytes: gpu.freeBytes,
      usable: gpu.usable,
      reason: gpu.reason,
    }))
    const none = { backend: 'cuda' as const, index: null, name: '', path: '', memoryBytes: null, freeBytes: null, usable: false, reason }
    const first: ListedDevice = { backend: 'cpu', index: null, name, path, memoryBytes, freeBytes: null, usable: true, reason: '' }
    return inWords([first, ...(gpus.length > 0 ? gpus : [none])], listInWords, { html: listInHtml })
  }

  get description(): DeviceDescription {
    const { backend, name, path, threads, diskFolder } = this.#native.info()
    const gpus = this.#gpus.map((gpu) => gpu.name)
    return { backend: backend as BackendName, name, gpus, path, threads, diskFolder, budgets: this.budgets, shared: this.#shared() }
  }
  #shared(): boolean {
    return this.#gpus.length > 0 && cudaDevices().devices.some(({ index, processes }) => this.#gpus.some((gpu) => gpu.index === index) && (processes ?? 0) > 1)
  }
  /** @internal */
  get native(): NativeDevice {
    this.#refuseClosed()
    return this.#native
  }

  /** What training would take and how it would run, before anything does. Throws as `train`. */
  plan(model: ModelConfig, options: TrainOptions): PlannedRun {
    this.#refuseClosed()
    const machine = this.#machine()
    const training = planThatFits(model, withRanks(model, options, machine), machine)
    return new PlannedRun(training, this)
  }

  /**
   * Plans, allocates and fills in first parameters. Throws FpdtError `config` (what cannot work), `out_of_memory` (what
   * does not fit, with the op and buffers of the peak and what would fit), `disk_full` or `disk` (the disk tier cannot be had).
   */
  async train(model: ModelConfig, options: TrainOptions): Promise<TrainingRun> {
    this.#refuseClosed()
    const machine = this.#machine()
    const training = planThatFits(model, withRanks(model, options, machine), machine)
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
    const machine = this.#machine()
    return longestSequence(model, withRanks(model, options, machine), machine)
  }

  /** Measured rates of this machine for a dtype, of GPUs those of the first; the first call takes about a second. */
  rates(dtype: 'bf16' | 'f32' = 'bf16'): MeasuredRates {
    const known = this.#rates.get(dtype)
    if (known) return known
    const measured = inWords(measureMachine(this.native, dtype), ratesInWords)
    this.#rates.set(dtype, measured)
    return measured
  }

  /** @internal Whether `rates` answers at once. */
  knowsRates(dtype: 'bf16' | 'f32'): boolean {
    return this.#rates.has(dtype)
  }

  /** @internal On how many processors so many ranks compute: rank r is on GPU r modulo their number, and on the CPU all share the cores. */
  processors(ranks: number): number {
    return Math.max(1, Math.min(ranks, this.#gpus.length))
  }

  /** @internal The peak in the MFU of so many ranks, FLOP/s: of all that they compute on. GPUs are taken to be alike. */
  peakOf(ranks: number, dtype: 'bf16' | 'f32'): number {
    return this.processors(ranks) * this.rates(dtype).peakFlopsPerSecond
  }

  /** Measures the best GEMM rate again, of GPUs that of the first, and keeps the better one: other work on the machine only ever lowers it. FLOP/s. */
  measurePeak(dtype: 'bf16' | 'f32' = 'bf16'): number {
    const known = this.rates(dtype)
    const peakFlopsPerSecond = Math.max(known.peakFlopsPerSecond, measureGemm(this.native, dtype))
    this.#rates.set(dtype, inWords({ ...known, peakFlopsPerSecond }, ratesInWords))
    return peakFlopsPerSecond
  }

  /** Ends all runs on it and gives all memory back. May be called again. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }
  async #close(): Promise<void> {
    this.#closed = true
    for (const [what, device] of open) if (device === this) open.delete(what)
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
    const { backend, threads, memoryBytes, devices, hostBytes } = this.#native.info()
    const budgets = disk === null ? memory : { ...memory, disk }
    if (backend === 'cpu') return { budgets, memory: memoryBytes, threads }
    return { backend: 'cuda', budgets, gpus: { count: devices, freeBytes: this.#freeBytes, memoryBytes, hostBytes }, threads }
  }
  [INSPECT](): string {
    if (this.#closed) return 'Device (closed)'
    const { backend, name, path, threads, diskFolder, budgets } = this.description
    const cores = backend === 'cpu' ? `, ${counted(threads, 'thread')}` : ''
    const disk = budgets.disk === null ? 'as many as are free' : formatBytes(budgets.disk)
    return `Device ${backend}: ${name} (${path})${cores}; bytes a rank may take: device ${formatBytes(budgets.device)}, host ${formatBytes(budgets.host)}, disk ${disk} (${diskFolder})`
  }

  #refuseClosed(): void {
    if (this.#closed) throw new FpdtError('closed', `this device is closed; open one with await Device.${this.#gpus.length > 0 ? 'cuda' : 'cpu'}({ … }).`)
  }
}

/** Of each device: its names for a program, what it is, and why it cannot be used. */
function cellsOf({ backend, index, name, path, memoryBytes, freeBytes, reason }: ListedDevice): readonly string[] {
  const memory = memoryBytes === null ? '' : `${formatBytes(memoryBytes)}${freeBytes === null ? '' : `, ${formatBytes(freeBytes)} free`}`
  return [`${backend}${index === null ? '' : ` ${index}`}`, name === '' ? 'none' : `${name} (${path})`, memory, reason === '' ? 'usable' : reason]
}
function listInWords(list: readonly ListedDevice[]): string {
  return aligned(list.map(cellsOf)).join('\n')
}
function listInHtml(list: readonly ListedDevice[]): string {
  const row = (cells: readonly string[], tag: string): string => `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join('')}</tr>`
  const body = list.map((device) => row(cellsOf(device), 'td')).join('')
  return `<table><thead>${row(['backend', 'device', 'memory', ''], 'th')}</thead><tbody>${body}</tbody></table>`
}

/** What both backends are given of tiers; undefined: the backend's own part of the memory there is. Throws FpdtError `config`. */
function tiersOf({ memory, host, disk, diskFolder }: Pick<CudaOptions, 'memory' | 'host' | 'disk' | 'diskFolder'>) {
  const device = memory === undefined ? undefined : parseBytes(memory, 'memory')
  const sizes = { device, host: host === undefined ? undefined : parseBytes(host, 'host'), disk: disk === undefined ? null : parseBytes(disk, 'disk') }
  if (diskFolder !== undefined && typeof diskFolder !== 'string') throw new FpdtError('config', `diskFolder ${String(diskFolder)} is not the path of a folder.`)
  return { ...sizes, folder: diskFolder ? { diskFolder } : {} }
}

/** GPUs that can be used, as they are asked for. Throws FpdtError `config`, or `native` with what `Device.list()` says. */
function gpusOf(given: CudaOptions['devices']): readonly Gpu[] {
  const named: readonly unknown[] | undefined = given === undefined ? undefined : Array.isArray(given) ? given : [given]
  // What is no GPU's number anywhere is said on a machine without one too.
  for (const index of named ?? [])
    if (!Number.isInteger(index) || (index as number) < 0)
      throw new FpdtError(
        'config',
        `devices ${JSON.stringify(index) ?? String(index)} is not a GPU's number; write 0, or [0, 1] (Device.list() has the numbers).`,
      )
  if (named?.length === 0) throw new FpdtError('config', 'Device.cuda([]) names no GPU; leave devices out for the first that can be used.')
  const { available, reason, devices } = cudaDevices()
  if (!available) throw new FpdtError('native', `no GPU can be used: ${reason}`)
  const usable = devices.filter((device) => device.usable)
  const asked = (named as readonly number[] | undefined) ?? usable.slice(0, 1).map(({ index }) => index)
  return asked.map((index, i) => {
    const gpu = devices.find((device) => device.index === index)
    if (!gpu)
      throw new FpdtError(
        'config',
        `there is no GPU ${String(index)}; there ${devices.length === 1 ? 'is' : 'are'} ${devices.map((d) => `${d.index} (${d.name})`).join(', ')}.`,
      )
    if (!gpu.usable) throw new FpdtError('native', `GPU ${index} (${gpu.name}) cannot be used: ${gpu.reason}`)
    if (asked.indexOf(index) !== i) throw new FpdtError('config', `GPU ${index} is named twice; ranks share a GPU where there are more ranks than GPUs.`)
    return gpu
  })
}

function opened(options: DeviceOptions): NativeDevice {
  try {
    return openDevice(options)
  } catch (error) {
    const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined
    throw code ? new FpdtError(code, (error as Error).message, { cause: error }) : error
  }
}
