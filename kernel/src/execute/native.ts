/**
 * One training step on a native device: a plan's program loaded once, and its values read and written by name.
 * Knows plans and bytes; knows nothing of models, texts or display.
 */
import type { Executor, Device as NativeDevice } from '@fpdt/native'
import { FpdtError } from '../errors.js'
import { lower } from '../plan/lower.js'
import type { Plan } from '../plan/plan.js'
import type { Program } from '../plan/program.js'
import { byteRange, bytesOf, type Value, whole } from '../schedule/values.js'
import { firstIndex } from '../search.js'
import type { Tier } from '../trace/schema.js'
import { joinColumns, type Spans } from '../trace/spans.js'

export interface Reached {
  /** Line of the listing up to which all ops are done on every rank, -1 = none. */
  readonly line: number
  /** Cancelled before the line that was asked for. */
  readonly stopped: boolean
}

/**
 * Its clock stands still while nothing runs in the middle of a step: what a person looks at between two ops costs no time. It goes on
 * between steps, that is from `reset` to the next `run`.
 */
export class NativeStep {
  readonly program: Program
  readonly #executor: Executor
  readonly #nowNs: () => number
  #taken: Spans[] = [] // of earlier calls of `run`, which no later pause moves
  #paused_ns = 0 // in all
  #last_ns: number | undefined // end of the last op that was taken; undefined before the first of a step
  #began_ns = 0

  /** Allocates the arenas. Throws FpdtError `out_of_memory`, `disk_full`, `disk`. */
  constructor(
    device: NativeDevice,
    readonly plan: Plan,
  ) {
    this.program = lower(plan)
    this.#executor = loaded(device, this.program)
    this.#nowNs = () => device.nowNs() - this.#executor.originNs
  }

  /** Runs on from where the last call ended, up to and with the op at `line` (by default to the end). */
  async run(parameters: Float64Array, line = Number.POSITIVE_INFINITY): Promise<Reached> {
    const until = line === Number.POSITIVE_INFINITY ? this.program.length - 1 : this.entryAt(line)
    this.#taken.push(this.#take())
    const now_ns = this.#nowNs() - this.#paused_ns
    const running = this.#executor.run(until, parameters)
    // A piece of a step begins where the piece before it ended.
    if (this.#last_ns === undefined) this.#began_ns = this.#last_ns = now_ns
    else this.#paused_ns += now_ns - this.#last_ns
    const { reached, stopped } = await running
    return { line: reached < 0 ? -1 : (this.program.op[reached] as number), stopped }
  }
  cancel(): void {
    this.#executor.cancel()
  }
  /** Back to the first op. Memory keeps what it holds. */
  reset(): void {
    this.#executor.reset()
    this.#taken = []
    this.#last_ns = undefined
  }
  /** When the step under way was begun, on the clock of its spans. */
  get began_ns(): number {
    return this.#began_ns
  }
  /** What has been completed since the last call, also while running. Times in ns from the loading of the program, pauses left out. */
  takeSpans(): Spans {
    const spans = joinColumns([...this.#taken, this.#take()])
    this.#taken = []
    return spans
  }
  #take(): Spans {
    const rows = this.#executor.takeSpans()
    const count = rows.length / 4
    const spans = { rank: new Uint16Array(count), entry: new Uint32Array(count), start_ns: new Float64Array(count), end_ns: new Float64Array(count) }
    for (let i = 0; i < count; i++) {
      spans.rank[i] = rows[4 * i]
      spans.entry[i] = rows[4 * i + 1]
      spans.start_ns[i] = rows[4 * i + 2] - this.#paused_ns
      spans.end_ns[i] = rows[4 * i + 3] - this.#paused_ns
      this.#last_ns = Math.max(this.#last_ns ?? 0, spans.end_ns[i])
    }
    return spans
  }

  /** Bytes of a value where it lies after the op at `line` (by default after the last): a copy. */
  read(value: Value, tier: Tier, rank: number, line?: number): Uint8Array {
    return this.#executor.read(tier, rank, this.#offset(value, tier, line), bytesOf(value))
  }
  /** Throws FpdtError `shape` for data of another size, `not_resident` for a value that is not on that tier. */
  write(value: Value, tier: Tier, rank: number, data: ArrayBufferView, line?: number): void {
    if (data.byteLength !== bytesOf(value)) throw new FpdtError('shape', `${value.name} holds ${bytesOf(value)} bytes; got ${data.byteLength}.`)
    this.#executor.write(tier, rank, this.#offset(value, tier, line), data)
  }
  /** Index of the first element that is NaN or infinite, where a value lies after the op at `line` (by default after the last), or -1. Token ids are always finite. */
  firstNotFinite(value: Value, tier: Tier, rank: number, line?: number): number {
    if (value.dtype === 'i32') return -1
    return this.#executor.firstNotFinite(tier, rank, this.#offset(value, tier, line), bytesOf(value), value.dtype)
  }

  /** Fills all arenas with a pattern, so that `touched` can tell which bytes a step wrote. */
  poison(): void {
    this.#executor.poison()
  }
  /** Highest byte of a tier written since `poison`, plus one; the largest of all ranks. */
  touched(tier: Tier): number {
    let highest = 0
    for (let rank = 0; rank < this.program.ranks; rank++) highest = Math.max(highest, this.#executor.touched(tier, rank))
    return highest
  }
  /** Bytes of a tier's arena, per rank. */
  allocated(tier: Tier): number {
    return this.#executor.memory().allocatedBytes[tier]
  }
  /** What the disk tier lies in: see the native `Executor.memory`. */
  diskMedium(): 'memory' | 'disk' | 'cached disk' {
    return this.#executor.memory().diskMedium
  }
  /** Arena allocations made while programs ran: 0 unless something is wrong. */
  allocationsDuringRuns(): number {
    return this.#executor.memory().allocationsDuringRun
  }
  close(): void {
    this.#executor.close()
  }

  /** Last entry at or before a line of the listing, -1 = none. */
  entryAt(line: number): number {
    return firstIndex(this.program.length, (entry) => this.program.op[entry] > line) - 1
  }

  #offset(value: Value, tier: Tier, line?: number): number {
    return this.plan.offsetOf(whole(value).name, tier, line) + byteRange(value)[0]
  }
}

function loaded(device: NativeDevice, program: Program): Executor {
  try {
    return device.load(program)
  } catch (error) {
    const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined
    throw code ? new FpdtError(code, (error as Error).message, { cause: error }) : error
  }
}
