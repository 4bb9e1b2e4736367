/** A training step that is run piece by piece: to an op, a chunk, a layer; any value can be looked at where it stands. */
import { FpdtError } from '../../errors.js'
import type { NativeStep } from '../../execute/native.js'
import type { Value } from '../../schedule/values.js'
import type { StepSummary } from '../../trace/schema.js'
import type { PlaceWanted } from '../../trace/units.js'
import type { TrainingPlan } from '../plan/training-plan.js'
import { interruptible } from './interrupt.js'
import { type Peek, peekAt } from './peek.js'
import { endOfPlace } from './units.js'

/** How a stepper ended. */
export type StepperEnd = 'completed' | 'dropped'
/** What a stepper needs to know of what it runs: a training step, or a schedule of the user's own. */
export type Steppable = Pick<TrainingPlan, 'plan' | 'ops' | 'standing' | 'firstUpdate'> & { readonly values: { readonly known: ReadonlyMap<string, Value> } }

/** `Result`: what a completed run gives; of a training step its summary. */
export class Stepper<Result = StepSummary> {
  #line = -1
  #open = true
  #running: Promise<void> | undefined
  #moving = false

  /** @internal Use `run.stepper(text)` or `schedule.stepper(inputs)`, as `another` says. */
  constructor(
    private readonly native: NativeStep,
    private readonly steppable: Steppable,
    private readonly parameters: Float64Array,
    private readonly another: string,
    private readonly finish: (end: StepperEnd) => Promise<Result | undefined>,
    /** Called when it begins to move, and when it stands. */
    private readonly moved: () => void = () => {},
  ) {}

  /** The last op that is done, as it is printed; `undefined` before the first. */
  get op(): string | undefined {
    return this.steppable.plan.listing[this.#line]
  }
  /** Its line in the listing, -1 before the first. */
  get line(): number {
    return this.#line
  }

  /** Runs the next `count` ops (frees cost nothing and are counted along). Returns the last one's words. */
  async next(count = 1): Promise<string> {
    await this.#running // whoever drives it
    return this.to(Math.min(this.#line + count, this.#last))
  }
  /**
   * Runs up to and with the op at a line of the listing. An interrupt rejects with FpdtError `stopped`: the step stands at an
   * op boundary, can be looked at, run on or closed. An op that fails drops the step.
   */
  async to(line: number): Promise<string> {
    this.#refuseClosed()
    await this.#running // of an interrupted call
    this.#refuseClosed() // meanwhile
    if (!Number.isInteger(line) || line <= this.#line || line > this.#last) {
      throw new FpdtError('config', `op ${String(line)} is not ahead: the step stands at op ${this.#line} of ${this.#last}, and does not run backwards.`)
    }
    const work = this.#runTo(line)
    this.#running = work.then(
      () => {},
      () => {},
    )
    const stopped = (): FpdtError => new FpdtError('stopped', `stopped on the way to op ${line}; the step stands at an op boundary: look, run on, or close it.`)
    const reached = await interruptible(work, () => this.native.cancel(), stopped)
    if (reached < line) throw stopped()
    return this.steppable.plan.words(line)
  }
  /**
   * Runs until everything that is computed at a place is done: up to and with the last compute op there.
   * `until({ phase: 'backward', layer: 1, q: 3, kv: 2 })`: query chunk 3 has met key/value chunk 2 in the backward.
   */
  async until(place: PlaceWanted): Promise<string> {
    await this.#running
    return this.to(endOfPlace(this.steppable.plan, this.#line, place))
  }

  /** Values of a buffer where it stands now: on the device when it is there, else on the host. Throws FpdtError `not_resident`. */
  peek(name: string, rank = 0): Peek {
    this.#refuseClosed()
    return peekAt(this.native, this.steppable, this.#line, name, rank)
  }

  /** Runs the rest: the step then counts like any other. */
  async complete(): Promise<Result> {
    this.#refuseClosed()
    if (this.#line < this.#last) await this.to(this.#last)
    return (await this.#end('completed')) as Result
  }
  /** Drops the step, unless its optimizer has begun: then completes it, so that parameters are never half updated. */
  async close(): Promise<void> {
    if (!this.#open) return
    this.#open = false
    this.native.cancel()
    await this.#running
    const updating = this.#line >= this.steppable.firstUpdate
    if (updating && this.#line < this.#last) await this.#runTo(this.#last)
    await this.#end(updating ? 'completed' : 'dropped')
  }

  /** @internal Ops run. */
  get isMoving(): boolean {
    return this.#moving
  }
  /** @internal Until none do. */
  get settled(): Promise<void> {
    return this.#running ?? Promise.resolve()
  }
  /** @internal Ends the way to a line at the next op boundary, as an interrupt does. */
  halt(): void {
    this.native.cancel()
  }

  async #runTo(line: number): Promise<number> {
    this.#moving = true
    this.moved()
    try {
      const reached = await this.native.run(this.parameters, line)
      this.#line = Math.max(this.#line, reached.stopped ? reached.line : line)
      return this.#line
    } catch (error) {
      await this.#end('dropped')
      throw error
    } finally {
      this.#moving = false
      this.moved()
    }
  }
  async #end(end: StepperEnd): Promise<Result | undefined> {
    this.#open = false
    return this.finish(end)
  }
  get #last(): number {
    return this.steppable.plan.listing.length - 1
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `Stepper at op ${this.#line} of ${this.#last}: ${this.steppable.plan.words(this.#line)}`
  }

  #refuseClosed(): void {
    if (!this.#open) throw new FpdtError('closed', `this stepper is closed; make another with await ${this.another}.`)
  }
}
