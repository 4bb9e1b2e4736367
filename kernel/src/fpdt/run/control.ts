/**
 * Control of what runs: from a cell, `run.control.pause()`, and from the page that shows the run. A pause holds before the next op, in
 * this step or the next; the promise of the cell that waits for the step stays pending, and the step computes what it would have computed.
 *
 *   const training = (async () => { for await (const step of run.steps(text, 100)) console.log(step.loss) })()
 *   await run.control.pause()                      stands at an op boundary
 *   await run.control.step('chunk')                runs on to the end of the chunk that comes next, and stays paused
 *   await run.control.until({ phase: 'backward' })
 *   await run.control.resume()
 *
 * While no step but a stepper is under way, the same words drive that.
 */
import { INSPECT } from '../../display.js'
import { FpdtError } from '../../errors.js'
import type { NativeStep, Reached } from '../../execute/native.js'
import type { Plan } from '../../plan/plan.js'
import type { RunStatus } from '../../trace/live/messages.js'
import { type PlaceWanted, UNITS, type Unit } from '../../trace/units.js'
import type { Stepper } from './stepper.js'
import { endOfPlace, endOfUnit } from './units.js'

/** `step`: a step under control. `call`: what can only be stopped. */
type Under = { readonly kind: 'step' } | { readonly kind: 'stepper'; readonly stepper: Stepper<unknown> } | { readonly kind: 'call'; readonly what: string }

export class RunControl {
  #under: Under | undefined
  #line = -1
  #paused = false
  #goal = Number.POSITIVE_INFINITY // while paused: line up to which ops may run
  #moving = false // native work is under way
  #series = 0 // loops over steps that are under way
  #halted = false // the step ends where it stands
  #drives = 0 // calls that run the stepper because it was asked to here
  #closed = false
  #native: NativeStep | undefined
  #wake: (() => void) | undefined // of a step that stands still
  readonly #between: ((isOver: boolean) => void)[] = [] // what is to be done between two ops of the step that moves
  readonly #standing = new Set<() => void>() // of calls that wait until it does
  readonly #stops = new Set<() => void>()
  readonly #watchers = new Set<() => void>()

  constructor(
    private readonly plan: Plan,
    /** The step under way, in words: `step 3`. */
    private readonly stepInWords: () => string,
  ) {}

  /** Holds before the next op, also where nothing runs yet. Resolves when it stands, with the place in words; at once where it does. */
  async pause(): Promise<string> {
    const under = this.#under
    if (this.activity === 'paused' || this.activity === 'held') return this.#where()
    if (under?.kind === 'stepper') {
      this.#refuse('pause')
      under.stepper.halt()
      await under.stepper.settled
      return this.#where()
    }
    if (under?.kind === 'call' || this.#closed) this.#refuse('pause')
    this.#paused = true
    this.#goal = this.#line
    if (this.#moving) this.#native?.cancel()
    this.changed()
    await this.#stands()
    return this.#where()
  }
  /** Runs on. A stepper runs to its last op, and is still to be completed. */
  async resume(): Promise<string> {
    this.#refuse('resume')
    if (this.#under?.kind === 'stepper') return this.#drive((stepper) => stepper.to(this.plan.listing.length - 1))
    this.#paused = false
    this.#go(Number.POSITIVE_INFINITY)
    return `${this.#what} runs on`
  }
  /** Runs on to the end of the op, chunk, layer or step that comes next, and pauses there. Calls that follow each other quickly add up. */
  async step(unit: Unit = 'op'): Promise<string> {
    if (!UNITS.includes(unit)) throw new FpdtError('config', `${JSON.stringify(unit)} is not one of ${UNITS.join(', ')}.`)
    return this.#to('step', (line) => endOfUnit(this.plan, line, unit))
  }
  /** Runs on until all that is computed at a place is done, and pauses there: `until({ phase: 'backward', layer: 1 })`. */
  async until(place: PlaceWanted): Promise<string> {
    return this.#to('until', (line) => endOfPlace(this.plan, line, place))
  }
  /** Ends what is under way as the notebook's interrupt does: its promise rejects with FpdtError `stopped`. A stepper is closed. */
  async stop(): Promise<string> {
    this.#refuse('stop')
    await this.#begun()
    this.#refuse('stop') // it may be over
    const what = this.#what
    if (this.#under?.kind === 'stepper') {
      await this.#drive((stepper) => stepper.close())
      return `${what} is closed`
    }
    for (const stop of [...this.#stops]) stop()
    return `${what} is stopped`
  }

  get activity(): RunStatus['activity'] {
    if (this.#closed) return 'closed'
    if (this.#under?.kind === 'call') return 'running'
    if (this.#under?.kind === 'stepper') return this.#under.stepper.isMoving ? 'running' : 'held'
    if (this.#paused && !this.#moving && this.#goal <= this.#line) return 'paused'
    return this.#under ? 'running' : 'idle'
  }
  /** A step stands still at an op, and its values can be looked at. */
  get standsInStep(): boolean {
    return this.activity === 'held' || (this.activity === 'paused' && this.#under !== undefined)
  }
  /** The op that was done last, where ops stand still; -1 before the first. */
  get line(): number {
    return this.#under?.kind === 'stepper' ? this.#under.stepper.line : this.#line
  }
  /** What may be asked for now. */
  get can(): RunStatus['can'] {
    const under = this.#under
    if (this.#closed) return []
    if (under?.kind === 'call') return ['stop']
    if (under?.kind === 'stepper') {
      if (!under.stepper.isMoving) return ['resume', 'step', 'until', 'stop']
      return this.#drives > 0 ? ['pause', 'step', 'until', 'stop'] : []
    }
    const more = under || this.#series > 0 ? (['step', 'until', 'stop'] as const) : []
    if (!this.#paused) return ['pause', ...more]
    return this.activity === 'paused' ? ['resume', ...more] : ['pause', 'resume', ...more]
  }

  /** What is under way, and what may be asked for now. */
  [INSPECT](): string {
    const calls = { pause: '.pause()', resume: '.resume()', step: ".step('chunk')", until: ".until({ phase: 'backward' })", stop: '.stop()' }
    const now = this.#closed ? 'the run is closed' : this.activity === 'idle' ? 'nothing is under way' : this.#where()
    return `Control of a run: ${now}${this.can.length > 0 ? `; now ${this.can.map((verb) => calls[verb]).join(', ')}` : ''}`
  }

  // ---- what a run tells its control ----------------------------------------------------------------------------------

  /** @internal Calls back whenever something of the above may have changed. */
  watch(changed: () => void): () => void {
    this.#watchers.add(changed)
    return () => this.#watchers.delete(changed)
  }
  /** @internal `stop` is called when somebody asks to end what is under way. */
  onStop(stop: () => void): () => void {
    this.#stops.add(stop)
    return () => this.#stops.delete(stop)
  }
  /** @internal Runs a step from its first op to its last, as it is told; or to where it is halted. */
  async run(native: NativeStep, parameters: Float64Array): Promise<Reached> {
    const last = this.plan.listing.length - 1
    this.#native = native
    this.#under = { kind: 'step' }
    this.#line = -1
    this.#halted = false
    if (this.#paused) this.#goal = -1
    this.#told()
    try {
      while (this.#line < last && !this.#halted) {
        const goal = this.#paused ? Math.min(this.#goal, last) : last
        if (goal <= this.#line) {
          await this.#woken()
          continue
        }
        this.#moving = true
        this.changed()
        const reached = await native.run(parameters, goal)
        this.#moving = false
        this.#line = Math.max(this.#line, reached.stopped ? reached.line : goal)
        if (this.#line < last) for (const work of this.#between.splice(0)) work(this.#halted)
      }
      return { line: this.#line, stopped: this.#line < last }
    } finally {
      this.#moving = false
      this.#under = undefined
      for (const work of this.#between.splice(0)) work(true)
      this.#told()
    }
  }
  /** @internal Ends a step where it stands: `run` resolves. A pause ends with it. */
  halt(): void {
    this.#halted = true
    this.#paused = false
    if (this.#moving) this.#native?.cancel()
    this.#wake?.()
    this.#told()
  }
  /** @internal Steps follow each other, until the returned function is called: what is asked for between two is meant for the next. */
  series(): () => void {
    this.#series++
    return () => {
      this.#series--
      this.#told()
    }
  }
  /** @internal Work that cannot be paused is under way, until the returned function is called. */
  call(what: string): () => void {
    const under: Under = { kind: 'call', what }
    this.#under = under
    this.changed()
    return () => {
      if (this.#under === under) this.#under = undefined
      this.#told()
    }
  }
  /** @internal A stepper is open, until it is released. */
  hold(stepper: Stepper<unknown>): void {
    this.#under = { kind: 'stepper', stepper }
    this.changed()
  }
  /** @internal */
  release(): void {
    this.#under = undefined
    this.#line = -1
    this.#told()
  }
  /** @internal What pages are told of the run may be another. */
  changed(): void {
    for (const changed of [...this.#watchers]) changed()
  }
  /** @internal */
  close(): void {
    this.#closed = true
    this.halt()
  }

  // --------------------------------------------------------------------------------------------------------------------

  async #to(verb: 'step' | 'until', lineAfter: (line: number) => number): Promise<string> {
    this.#refuse(verb)
    if (this.#under?.kind === 'stepper') return this.#drive((stepper) => stepper.move(lineAfter))
    const pauseThere = (): void => {
      const goal = lineAfter(this.#paused ? Math.max(this.#line, this.#goal) : this.#line) // throws, and the step goes on as it did
      this.#paused = true
      this.#go(goal)
    }
    do {
      await this.#begun()
      this.#refuse(verb) // it may be over
    } while (!(await this.#betweenOps(pauseThere)))
    await this.#stands()
    return this.#where()
  }
  /** Does something where it is certain which op is the next. Resolves to false, and does nothing, when the step was over before. */
  #betweenOps(work: () => void): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const attempt = (isOver: boolean): void => {
        try {
          if (!isOver) work()
          resolve(!isOver)
        } catch (error) {
          reject(error)
        }
      }
      const isOnItsWay = this.#moving && !(this.#paused && this.#goal > this.#line)
      if (!isOnItsWay) return attempt(false)
      this.#between.push(attempt)
      this.#native?.cancel()
    })
  }
  #go(goal: number): void {
    this.#goal = goal
    this.#wake?.()
    this.changed()
  }
  /** Between two steps of a loop: until the next has begun, or the loop is over. */
  async #begun(): Promise<void> {
    while (!this.#under && this.#series > 0 && !this.#closed) await new Promise<void>((resolve) => this.#standing.add(resolve))
  }
  /** Until the step stands where it may not go on, or is over. */
  async #stands(): Promise<void> {
    while (this.#under?.kind === 'step' && this.#paused && (this.#moving || this.#goal > this.#line))
      await new Promise<void>((resolve) => this.#standing.add(resolve))
  }
  #woken(): Promise<void> {
    this.#told()
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = undefined
        resolve()
      }
    })
  }
  async #drive<T>(work: (stepper: Stepper<unknown>) => Promise<T>): Promise<string> {
    const stepper = this.#under?.kind === 'stepper' ? this.#under.stepper : undefined
    if (!stepper) return this.#where()
    this.#drives++
    try {
      await work(stepper)
    } catch (error) {
      if (!(error instanceof FpdtError && error.code === 'stopped')) throw error // it was paused on its way
    } finally {
      this.#drives--
      this.changed()
    }
    return this.#where()
  }
  get #what(): string {
    if (this.#under?.kind === 'call') return this.#under.what
    return this.#under?.kind === 'stepper' ? 'the stepper' : this.stepInWords()
  }
  #where(): string {
    if (this.#under?.kind === 'call') return `${this.#what} is under way`
    if (this.#under?.kind === 'stepper') return `the stepper stands after op ${this.line}: ${this.plan.words(this.line)}`
    if (!this.#under) return this.#paused ? 'paused before the next step' : 'nothing runs any more'
    return `${this.#paused ? 'paused' : 'running'}: ${this.#what} after op ${this.#line}, ${this.plan.words(this.#line)}`
  }
  #refuse(verb: RunStatus['can'][number]): void {
    if (this.can.includes(verb)) return
    throw new FpdtError('control', `${verb} cannot be done now: ${this.#why(verb)}.`)
  }
  #why(verb: RunStatus['can'][number]): string {
    const under = this.#under
    if (this.#closed) return 'the run is closed'
    if (under?.kind === 'call') return `${under.what} is under way, which can only be stopped`
    if (under?.kind === 'stepper') {
      if (!under.stepper.isMoving) return 'the stepper stands still'
      return this.#drives > 0 ? 'the stepper is on its way; pause it first' : 'a cell runs the stepper; interrupt the cell, or wait for it'
    }
    return verb === 'resume' ? 'it is not paused' : 'no step is under way; run one in a cell'
  }
  /** The step stands, or is over. */
  #told(): void {
    const waiting = [...this.#standing]
    this.#standing.clear()
    for (const resolve of waiting) resolve()
    this.changed()
  }
}
