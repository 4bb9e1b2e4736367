/** A training step that is run piece by piece: to an op, a chunk, a layer; any value can be looked at where it stands. */
import { INSPECT } from '../../display.js'
import { FpdtError } from '../../errors.js'
import type { NativeStep } from '../../execute/native.js'
import type { Value } from '../../schedule/values.js'
import type { StepSummary } from '../../trace/schema.js'
import type { PlaceWanted } from '../../trace/units.js'
import type { TrainingPlan } from '../plan/training-plan.js'
import { failedOp } from './failed-op.js'
import { interruptible } from './interrupt.js'
import { type Peek, peekAt } from './peek.js'
import { endOfPlace } from './units.js'

/** How a stepper ended. */
export type StepperEnd = 'completed' | 'dropped'
/** What a stepper needs to know of what it runs: a training step, or a schedule of the user's own. */
export type Steppable = Pick<TrainingPlan, 'plan' | 'ops' | 'standing' | 'firstUpdate'> & { readonly values: { readonly known: ReadonlyMap<string, Value> } }

/**
 * Calls take turns in the order in which they were made: `next(100)` three times at once ends 300 ops further. What halts one, an interrupt,
 * a pause or `close`, halts those that wait behind it, which then reject with FpdtError `stopped` too. `Result`: what a completed run gives;
 * of a training step its summary.
 */
export class Stepper<Result = StepSummary> {
  #line = -1
  #turn: Promise<unknown> = Promise.resolve() // until nothing that was called is under way; never rejects
  #calls = 0 // that are
  #halts = 0
  #isRunning = false // native work is under way
  #isOver = false
  #completion: Promise<Result> | undefined
  #closing: Promise<void> | undefined

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
    return this.move((line) => Math.min(line + count, this.#last))
  }
  /**
   * Runs up to and with the op at a line of the listing. An interrupt rejects with FpdtError `stopped`: the step stands at an
   * op boundary, can be looked at, run on or closed. An op that fails drops the step.
   */
  async to(line: number): Promise<string> {
    return this.move(() => line)
  }
  /**
   * Runs until everything that is computed at a place is done: up to and with the last compute op there.
   * `until({ phase: 'backward', layer: 1, q: 3, kv: 2 })`: query chunk 3 has met key/value chunk 2 in the backward.
   */
  async until(place: PlaceWanted): Promise<string> {
    return this.move((line) => endOfPlace(this.steppable.plan, line, place))
  }
  /** @internal Runs to a line that is known when it is this call's turn. */
  async move(goalFrom: (line: number) => number): Promise<string> {
    const work = this.#inTurn(async () => {
      const goal = goalFrom(this.#line)
      if (!Number.isInteger(goal) || goal <= this.#line || goal > this.#last)
        throw new FpdtError('config', `op ${String(goal)} is not ahead: the step stands at op ${this.#line} of ${this.#last}, and does not run backwards.`)
      await this.#runTo(goal)
      return this.steppable.plan.words(goal)
    })
    return interruptible(work, () => this.halt(), stopped)
  }

  /** Values of a buffer where it stands now: on the device when it is there, else on the host. Throws FpdtError `not_resident`. */
  peek(name: string, rank = 0): Peek {
    this.#refuseClosed()
    if (this.isMoving) throw new FpdtError('busy', `${name} cannot be looked at while ops run; await the call that runs them.`)
    return peekAt(this.native, this.steppable, this.#line, name, rank)
  }

  /**
   * Runs the rest: the step then counts like any other. Called again while that is under way it gives the same result, and afterwards
   * rejects with FpdtError `closed`. Interrupted it rejects with `stopped`, and can be called again.
   */
  complete(): Promise<Result> {
    this.#completion ??= this.#complete().finally(() => {
      this.#completion = undefined
    })
    return this.#completion
  }
  /** Drops the step, unless its optimizer has begun: then completes it, so that parameters are never half updated. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /** @internal Ops run, or are to. */
  get isMoving(): boolean {
    return this.#calls > 0
  }
  /** @internal Until none do. */
  get settled(): Promise<unknown> {
    return this.#turn
  }
  /** @internal Ends what was called at the next op boundary, as an interrupt does. */
  halt(): void {
    this.#halts++
    if (this.#isRunning) this.native.cancel()
  }

  async #complete(): Promise<Result> {
    const run = this.#inTurn(async () => {
      if (this.#line < this.#last) await this.#runTo(this.#last)
    })
    // Its turn is the next, and no interrupt parts the end of a step from what is recorded of it.
    const end = this.#inTurn(() => this.#end('completed'))
    end.catch(() => {}) // where the way there was halted
    await interruptible(run, () => this.halt(), stopped)
    return (await end) as Result
  }
  async #close(): Promise<void> {
    this.halt()
    await this.#afterAll(async () => {
      if (this.#isOver) return
      const isUpdating = this.#line >= this.steppable.firstUpdate
      while (isUpdating && this.#line < this.#last) await this.#runOn(this.#last) // whoever halts it
      await this.#end(isUpdating ? 'completed' : 'dropped')
    })
  }

  /** Does `work` when all that was called before is over, unless that was halted or has ended the step. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    this.#refuseClosed()
    const halts = this.#halts
    return this.#afterAll(async () => {
      if (this.#isOver) throw this.#closed()
      if (this.#halts !== halts) throw stopped()
      return work()
    })
  }
  #afterAll<T>(work: () => Promise<T>): Promise<T> {
    if (this.#calls++ === 0) this.moved()
    const done = (): void => {
      if (--this.#calls === 0) this.moved()
    }
    const turn = this.#turn.then(work)
    this.#turn = turn.then(done, done)
    return turn
  }
  async #runTo(line: number): Promise<void> {
    await this.#runOn(line)
    if (this.#line >= line) return
    this.#halts++ // also where somebody else cancelled it
    throw stopped()
  }
  /** Runs on to a line, or to where it is halted. What fails drops the step. */
  async #runOn(line: number): Promise<void> {
    this.#isRunning = true
    try {
      const reached = await this.native.run(this.parameters, line)
      this.#line = Math.max(this.#line, reached.stopped ? reached.line : line)
    } catch (error) {
      await this.#end('dropped')
      throw failedOp(error, this.native, 'The step is dropped.')
    } finally {
      this.#isRunning = false
    }
  }
  async #end(end: StepperEnd): Promise<Result | undefined> {
    this.#isOver = true
    return this.finish(end)
  }
  get #last(): number {
    return this.steppable.plan.listing.length - 1
  }
  [INSPECT](): string {
    return `Stepper at op ${this.#line} of ${this.#last}: ${this.steppable.plan.words(this.#line)}`
  }

  #refuseClosed(): void {
    if (this.#isOver || this.#closing) throw this.#closed()
  }
  #closed(): FpdtError {
    return new FpdtError('closed', `this stepper is closed; make another with await ${this.another}.`)
  }
}

function stopped(): FpdtError {
  return new FpdtError('stopped', 'stopped at an op boundary: look, run on, or close the stepper.')
}
