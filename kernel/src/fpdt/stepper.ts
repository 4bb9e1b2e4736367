/** A training step that is run piece by piece: to an op, a chunk, a layer; any value can be looked at where it stands. */
import { FpdtError } from '../errors.js'
import type { NativeStep } from '../execute/native.js'
import { fromBf16 } from '../model/bf16.js'
import { KINDS, PHASES, type Phase, type StepSummary, TIERS, type Tier } from '../trace/schema.js'
import type { TrainingPlan } from './training-plan.js'

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

export class Stepper {
  #line = -1
  #open = true

  /** @internal Use `run.stepper(text)`. */
  constructor(
    private readonly native: NativeStep,
    private readonly training: TrainingPlan,
    private readonly parameters: Float64Array,
    private readonly finish: (whole: boolean) => Promise<StepSummary | undefined>,
  ) {}

  /** The last op that is done, as it is printed; `undefined` before the first. */
  get op(): string | undefined {
    return this.training.plan.listing[this.#line]
  }
  /** Its line in the listing, -1 before the first. */
  get line(): number {
    return this.#line
  }

  /** Runs the next `count` ops (frees cost nothing and are counted along). Returns the last one's words. */
  async next(count = 1): Promise<string> {
    return this.to(Math.min(this.#line + count, this.training.plan.listing.length - 1))
  }
  /** Runs up to and with the op at a line of the listing. */
  async to(line: number): Promise<string> {
    this.#refuseClosed()
    const last = this.training.plan.listing.length - 1
    if (!Number.isInteger(line) || line <= this.#line || line > last) {
      throw new FpdtError('config', `op ${String(line)} is not ahead: the step stands at op ${this.#line} of ${last}, and does not run backwards.`)
    }
    await this.native.run(this.parameters, line)
    this.#line = line
    return this.training.plan.words(line)
  }
  /**
   * Runs until the computation at a place is done: past the next compute ops there that follow each other.
   * `until({ layer: 1, phase: 'backward', kv: 2 })`: row 2 of the attention's backward, with what makes it final.
   */
  async until(target: Target): Promise<string> {
    const { entries } = this.training.plan
    const wanted: [ArrayLike<number>, number | undefined][] = [
      [entries.phase, target.phase === undefined ? undefined : PHASES.indexOf(target.phase)],
      [entries.layer, target.layer],
      [entries.q, target.q],
      [entries.kv, target.kv],
    ]
    const matches = (entry: number): boolean => wanted.every(([column, value]) => value === undefined || column[entry] === value)
    const isCompute = KINDS.indexOf('compute')
    let last = -1
    for (let entry = this.native.entryAt(this.#line) + 1; entry < entries.length; entry++) {
      if (entries.kind[entry] !== isCompute) continue
      if (matches(entry)) last = entry
      else if (last >= 0) break
    }
    if (last < 0)
      throw new FpdtError(
        'config',
        `no computation ahead is at ${JSON.stringify(target)}; the step stands at op ${this.#line}: ${this.training.plan.words(this.#line)}.`,
      )
    return this.to(entries.op[last])
  }

  /** Values of a buffer where it stands now: on the device when it is there, else on the host. Throws FpdtError `not_resident`. */
  peek(name: string, rank = 0): Peek {
    this.#refuseClosed()
    const { ranks } = this.training.config
    if (!Number.isInteger(rank) || rank < 0 || rank >= ranks)
      throw new FpdtError('config', `rank ${String(rank)} is not one of the ${ranks} ranks, 0 to ${ranks - 1}.`)
    const value = this.training.values.known.get(name)
    if (!value) throw new FpdtError('not_resident', `no value is called ${name}; names look like ${[...this.training.values.known.keys()].slice(-1)[0]}.`)
    const { plan } = this.training
    const tier = TIERS.find((candidate) => plan.find(name, candidate, this.#line))
    if (!tier) plan.offsetOf(name, 'device', this.#line) // throws, saying where it is
    const bytes = this.native.read(value, tier as Tier, rank, this.#line)
    const count = bytes.byteLength
    const values =
      value.dtype === 'bf16'
        ? fromBf16(new Uint16Array(bytes.buffer, bytes.byteOffset, count / 2))
        : value.dtype === 'f32'
          ? new Float32Array(bytes.buffer, bytes.byteOffset, count / 4)
          : value.dtype === 'f64'
            ? new Float64Array(bytes.buffer, bytes.byteOffset, count / 8)
            : new Int32Array(bytes.buffer, bytes.byteOffset, count / 4)
    return { name, tier: tier as Tier, rank, shape: value.shape, values }
  }

  /** Runs the rest: the step then counts like any other. */
  async complete(): Promise<StepSummary> {
    if (this.#line < this.training.plan.listing.length - 1) await this.to(this.training.plan.listing.length - 1)
    this.#open = false
    return (await this.finish(true)) as StepSummary
  }
  /** Drops the step, unless its optimizer has begun: then completes it, so that parameters are never half updated. */
  async close(): Promise<void> {
    if (!this.#open) return
    if (this.#line >= this.training.firstUpdate) {
      await this.complete()
      return
    }
    this.#open = false
    await this.finish(false)
  }

  #refuseClosed(): void {
    if (!this.#open) throw new FpdtError('closed', 'this stepper is closed; make another with await run.stepper(text).')
  }
}
