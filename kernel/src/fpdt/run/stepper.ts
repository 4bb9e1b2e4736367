/** A training step that is run piece by piece: to an op, a chunk, a layer; any value can be looked at where it stands. */
import { FpdtError } from '../../errors.js'
import type { NativeStep } from '../../execute/native.js'
import { fromBf16 } from '../../model/bf16.js'
import { validTiers } from '../../schedule/validity.js'
import { type Value, whole } from '../../schedule/values.js'
import { KINDS, PHASES, type Phase, type StepSummary, TIERS, type Tier } from '../../trace/schema.js'
import type { TrainingPlan } from '../plan/training-plan.js'
import { refuseUnknown } from '../sizes.js'
import { interruptible } from './interrupt.js'

/** A place in the algorithm; what is not named matches anything. */
export interface Target {
  readonly phase?: Phase
  readonly layer?: number
  readonly q?: number
  readonly kv?: number
}
export interface Peek {
  readonly name: string
  readonly tier: Tier
  readonly rank: number
  readonly shape: readonly number[]
  readonly values: Float32Array | Int32Array | Float64Array
}
/** How a stepper ended. */
export type StepperEnd = 'completed' | 'dropped'
/** What a stepper needs to know of what it runs: a training step, or a schedule of the user's own. */
export type Steppable = Pick<TrainingPlan, 'plan' | 'ops' | 'standing' | 'firstUpdate'> & { readonly values: { readonly known: ReadonlyMap<string, Value> } }

/** `Result`: what a completed run gives; of a training step its summary. */
export class Stepper<Result = StepSummary> {
  #line = -1
  #open = true
  #running: Promise<void> | undefined

  /** @internal Use `run.stepper(text)` or `schedule.stepper(inputs)`, as `another` says. */
  constructor(
    private readonly native: NativeStep,
    private readonly steppable: Steppable,
    private readonly parameters: Float64Array,
    private readonly another: string,
    private readonly finish: (end: StepperEnd) => Promise<Result | undefined>,
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
  async until(target: Target): Promise<string> {
    refuseUnknown('until', target, ['phase', 'layer', 'q', 'kv'])
    if (target.phase !== undefined && !PHASES.includes(target.phase))
      throw new FpdtError('config', `phase ${JSON.stringify(target.phase)} is not one of ${PHASES.join(', ')}.`)
    const { entries } = this.steppable.plan
    const wanted: [ArrayLike<number>, number | undefined][] = [
      [entries.phase, target.phase === undefined ? undefined : PHASES.indexOf(target.phase)],
      [entries.layer, target.layer],
      [entries.q, target.q],
      [entries.kv, target.kv],
    ]
    const compute = KINDS.indexOf('compute')
    const matches = (entry: number): boolean =>
      entries.kind[entry] === compute && wanted.every(([column, value]) => value === undefined || column[entry] === value)
    for (let entry = entries.length - 1; entry >= 0 && entries.op[entry] > this.#line; entry--) if (matches(entry)) return this.to(entries.op[entry])
    throw new FpdtError(
      'config',
      `no computation ahead is at ${JSON.stringify(target)}; the step stands at op ${this.#line}: ${this.steppable.plan.words(this.#line)}.`,
    )
  }

  /** Values of a buffer where it stands now: on the device when it is there, else on the host. Throws FpdtError `not_resident`. */
  peek(name: string, rank = 0): Peek {
    this.#refuseClosed()
    const { ranks } = this.steppable.plan
    if (!Number.isInteger(rank) || rank < 0 || rank >= ranks)
      throw new FpdtError('config', `rank ${String(rank)} is not one of the ${ranks} ranks, 0 to ${ranks - 1}.`)
    const value = this.steppable.values.known.get(name)
    const base = name.replace(/\.[^.\]]*$/, '')
    if (!value && base !== name && this.steppable.values.known.has(base)) throw new FpdtError('not_resident', `${name} is a part of ${base}; peek at that.`)
    if (!value) throw new FpdtError('not_resident', `no value is called ${name}; names look like ${[...this.steppable.values.known.keys()].slice(-1)[0]}.`)
    const { plan, ops, standing } = this.steppable
    const valid = validTiers(take(ops(), this.#line + 1), standing).get(whole(value).name) ?? new Set()
    const tier = TIERS.find((candidate) => valid.has(candidate))
    if (!tier) {
      plan.offsetOf(name, 'device', this.#line) // says where it is when it is on no tier or another
      throw new FpdtError('not_resident', `${name} has a place on the device, but nothing has been written there after op ${this.#line}.`)
    }
    const bytes = this.native.read(value, tier, rank, this.#line)
    const count = bytes.byteLength
    const values =
      value.dtype === 'bf16'
        ? fromBf16(new Uint16Array(bytes.buffer, bytes.byteOffset, count / 2))
        : value.dtype === 'f32'
          ? new Float32Array(bytes.buffer, bytes.byteOffset, count / 4)
          : value.dtype === 'f64'
            ? new Float64Array(bytes.buffer, bytes.byteOffset, count / 8)
            : new Int32Array(bytes.buffer, bytes.byteOffset, count / 4)
    return { name, tier: tier, rank, shape: value.shape, values }
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

  async #runTo(line: number): Promise<number> {
    try {
      const reached = await this.native.run(this.parameters, line)
      this.#line = Math.max(this.#line, reached.stopped ? reached.line : line)
      return this.#line
    } catch (error) {
      await this.#end('dropped')
      throw error
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

function* take<T>(items: Iterable<T>, count: number): Iterable<T> {
  if (count <= 0) return
  for (const item of items) {
    yield item
    if (--count === 0) return
  }
}
