/** A model in training on a device: steps, their times and bytes, and the picture that follows them. */
import { MFU_FORMULA, mfu, modelFlops } from '../cost/flops.js'
import { DISPLAY_ID, displayHost, type MimeBundle, TO_MIME } from '../display.js'
import { FpdtError } from '../errors.js'
import { NativeStep } from '../execute/native.js'
import { type LongText, longText, type StepTokens, stepTokens } from '../model/tokens.js'
import { paddedTokens } from '../schedule/config.js'
import type { RunHead, StepSummary, Tier } from '../trace/schema.js'
import type { StepSpans } from '../trace/spans.js'
import type { Device } from './device.js'
import { newHead } from './head.js'
import { writeInputs } from './inputs.js'
import { initialParameters, type ParameterValues, readParameters, writeParameters } from './parameters.js'
import { PlannedRun } from './planned-run.js'
import { runBundle, runInWords } from './show.js'
import { Stepper } from './stepper.js'
import type { TrainingPlan } from './training-plan.js'

/** Text a step reads: what `longText` takes. */
export type Text = string | Uint32Array | LongText

/** Steps whose spans are kept; a saved picture holds fewer still (`trace/saved.ts`). */
const KEPT_STEPS = 16
/** Least time between two updates of the picture while steps follow each other. */
const UPDATE_MS = 2000

interface Step {
  readonly number: number
  readonly parameters: Float64Array
  readonly inputs: StepTokens
}

export class TrainingRun {
  readonly head: RunHead
  /** The plan of this run: predicted before anything ran. */
  readonly plan: PlannedRun
  readonly #device: Device
  readonly #native: NativeStep
  readonly #records: StepSpans[] = []
  readonly #closers: (() => void)[] = []
  #position = 0 // of the next step in its text
  #done = 0
  #origin_ns: number | undefined // of the first step, after the loading of the program
  #busy: string | undefined // what is under way, in words
  #settled: Promise<void> = Promise.resolve() // until nothing of an interrupted call runs any more
  #shown = false
  #updated_ms = 0
  #closed = false

  private constructor(
    device: Device,
    readonly training: TrainingPlan,
    native: NativeStep,
  ) {
    this.#device = device
    this.#native = native
    this.plan = new PlannedRun(training, device)
    this.head = newHead(training, device.description, 'measured')
    for (const row of this.head.tiers) row.allocated_bytes = native.allocated(row.tier)
  }

  /** @internal Use `device.train`. */
  static async open(device: Device, training: TrainingPlan): Promise<TrainingRun> {
    const native = new NativeStep(device.native, training.plan)
    native.poison() // so that the highest byte the first step touches can be measured
    writeParameters(native, training, initialParameters(training))
    return new TrainingRun(device, training, native)
  }

  /** Steps whose updates are in the parameters. */
  get stepsDone(): number {
    return this.#done
  }

  /**
   * One training step on the next `sequence` tokens of a text; a text that is too short is repeated, and the run says so.
   * Rejects with FpdtError `text` or `token` (bad input: nothing ran), `stopped` (interrupted: see `#execute`),
   * `not_finite` (loss or gradient: parameters keep their last good values).
   */
  async step(text: Text): Promise<StepSummary> {
    await this.#settled
    this.#refuse('a step')
    const step = this.#next(longText(text))
    this.#busy = 'a step'
    this.head.state = 'running'
    try {
      await this.#execute(step)
      return await this.#finish(step)
    } catch (error) {
      this.head.state = error instanceof FpdtError && error.code === 'stopped' ? 'stopped' : 'failed'
      this.head.message = error instanceof Error ? error.message : String(error)
      throw error
    } finally {
      this.#busy = undefined
    }
  }

  /** `count` steps, one after the other: `for await (const s of run.steps(text, 100))`. */
  async *steps(text: Text, count: number): AsyncGenerator<StepSummary, void, undefined> {
    const whole = longText(text)
    for (let i = 0; i < count; i++) yield await this.step(whole)
    if (this.#shown) await this.update()
  }

  /** A step that stops where it is told to, so that any value can be looked at. Until it is closed no other step may run. */
  async stepper(text: Text): Promise<Stepper> {
    await this.#settled
    this.#refuse('a stepper')
    const step = this.#next(longText(text))
    this.#busy = 'a stepper'
    return new Stepper(this.#native, this.training, step.parameters, async (whole) => {
      this.#busy = undefined
      if (!whole) {
        this.#drop()
        return undefined
      }
      this.#record(step)
      return this.#finish(step)
    })
  }

  /** f32 parameters as they are, by group. */
  parameters(): ParameterValues {
    this.#refuse('reading parameters')
    return readParameters(this.#native, this.training, 'master')
  }

  /** Bytes per rank: planned, allocated, and the highest that the first step touched (null before it). */
  memory(tier: Tier = 'device'): { predicted: number; allocated: number | null; touched: number | null; allocationsDuringSteps: number } {
    const row = this.head.tiers.find((candidate) => candidate.tier === tier)
    if (!row) throw new FpdtError('config', `this run uses no ${tier} memory; it uses ${this.head.tiers.map((t) => t.tier).join(' and ')}.`)
    const { predicted_bytes: predicted, allocated_bytes: allocated, measured_bytes: touched } = row
    return { predicted, allocated, touched, allocationsDuringSteps: this.#allocations }
  }
  #allocations = 0

  /** Gives the memory back. What was recorded stays, and can still be shown. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#native.cancel()
    await this.#settled
    this.#native.close()
    if (this.head.state === 'running' || this.head.state === 'planned') this.head.state = 'done'
    for (const closer of this.#closers) closer()
  }
  /** @internal */
  onClose(closer: () => void): void {
    this.#closers.push(closer)
  }

  /** Draws the run again with all that is known now. */
  async update(): Promise<void> {
    const host = displayHost()
    if (!host) return
    const update = this.#shown
    this.#shown = true
    this.#updated_ms = Date.now()
    host.display(await this.bundle(), { displayId: this.head.run_id, update })
  }
  /** The output of a cell whose last value is this run is kept up to date by later steps. */
  get [DISPLAY_ID](): string {
    return this.head.run_id
  }
  async [TO_MIME](): Promise<MimeBundle> {
    this.#shown = displayHost() !== undefined
    return this.bundle()
  }
  /** The run as a MIME bundle: `application/vnd.fpdt.run.v1+json`, `image/png`, `text/plain`. */
  async bundle(): Promise<MimeBundle> {
    return runBundle(this.training, this.#native.program, this.head, this.#records)
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return runInWords(this.head)
  }

  /** Takes the next tokens of a text and writes them to every rank. Throws `token` before anything is written. */
  #next(text: LongText): Step {
    const { config } = this.training
    const inputs = stepTokens(text, this.#position, config.tokens, paddedTokens(config), config.model.vocabulary)
    if (inputs.repeated) this.head.message = `the text has ${text.tokens.length} tokens, fewer than were trained on: it was repeated`
    const number = this.#done + 1
    return { number, inputs, parameters: writeInputs(this.#native, this.training, inputs, number) }
  }

  /**
   * Runs the program. An interrupt rejects at once with `stopped`; native work ends at the next op boundary, and the next
   * call waits for that. Before the optimizer phase the step is dropped; inside it the phase is completed first, so that
   * parameters are never half updated (`stepsDone` tells which).
   */
  async #execute(step: Step): Promise<void> {
    const running = this.#native.run(step.parameters).then(async ({ stopped, line }) => {
      if (stopped && line < this.training.firstUpdate) return this.#drop()
      if (stopped) await this.#native.run(step.parameters)
      this.#record(step)
    })
    this.#settled = running.catch(() => {})
    let release = (): void => {}
    const interrupted = new Promise<never>((_, reject) => {
      release =
        displayHost()?.onInterrupt(() => {
          this.#native.cancel()
          reject(
            new FpdtError(
              'stopped',
              `stopped during step ${step.number}. A step that has not reached its optimizer is dropped whole; run.stepsDone tells how many are in the parameters.`,
            ),
          )
        }) ?? release
    })
    try {
      await Promise.race([running, interrupted])
    } catch (error) {
      if (isRunError(error)) {
        this.#native.reset()
        throw new FpdtError(error.code, `${this.training.plan.words(this.#native.program.op[error.entry])}: ${error.message}. The step is dropped.`, {
          cause: error,
        })
      }
      throw error
    } finally {
      release()
    }
  }

  #drop(): void {
    this.#native.takeSpans()
    this.#native.reset()
  }

  /** Takes the spans of a completed step, and its results from the host. */
  #record(step: Step): void {
    const { config, values } = this.training
    const taken = this.#native.takeSpans()
    this.#native.reset()
    const first = taken.start_ns.reduce((least, time) => Math.min(least, time), Number.POSITIVE_INFINITY)
    this.#origin_ns ??= first
    const origin = this.#origin_ns
    const spans = { ...taken, start_ns: taken.start_ns.map((time) => time - origin), end_ns: taken.end_ns.map((time) => time - origin) }
    const start_ns = Math.round(first - origin)
    const duration_ns = Math.round(spans.end_ns.reduce((last, time) => Math.max(last, time), 0)) - start_ns
    const scalar = (bytes: Uint8Array): number => new Float64Array(bytes.buffer, bytes.byteOffset, 1)[0]
    const loss = scalar(this.#native.read(values.loss, 'host', 0))
    const gradient_norm = Math.sqrt(scalar(this.#native.read(values.gradientNorm, 'host', 0)))
    const finite = Number.isFinite(loss) && Number.isFinite(gradient_norm)
    if (finite) {
      this.#done = step.number
      this.#position += config.tokens
    }
    const tokens = config.tokens
    const flops = modelFlops(config.model, [tokens])
    const summary: StepSummary = {
      step: step.number,
      start_ns,
      duration_ns,
      loss: Number.isFinite(loss) ? loss : null,
      tokens,
      tokens_per_second: tokens / (duration_ns / 1e9),
      model_flops: flops,
      mfu: mfu(flops, duration_ns / 1e9, this.#device.rates(config.dtype).peakFlopsPerSecond),
      mfu_formula: MFU_FORMULA,
      gradient_norm: Number.isFinite(gradient_norm) ? gradient_norm : null,
    }
    this.head.steps.push(summary)
    this.#records.push({ step: step.number, spans })
    if (this.#records.length > KEPT_STEPS) this.#records.shift()
    this.#allocations = this.#native.allocationsDuringRuns()
    for (const row of this.head.tiers) row.measured_bytes ??= this.#native.touched(row.tier)
  }

  /** After a recorded step: says what it came to, and draws. */
  async #finish(step: Step): Promise<StepSummary> {
    const summary = this.head.steps[this.head.steps.length - 1]
    if (summary.loss === null || summary.gradient_norm === null) {
      const what = summary.loss === null ? 'loss' : 'gradient norm'
      throw new FpdtError(
        'not_finite',
        `the ${what} of step ${step.number} is not finite; parameters keep their values of ${this.#done} steps. Try a lower rate than ${this.training.optimizer.rate}, or dtype 'f32'.`,
      )
    }
    this.head.state = 'done'
    if (!this.#shown || Date.now() - this.#updated_ms > UPDATE_MS) await this.update()
    return summary
  }

  #refuse(what: string): void {
    if (this.#closed)
      throw new FpdtError(
        'closed',
        `this run is closed, so ${what} cannot begin; its device was opened again, or run.close() was called. Start one with await device.train(…).`,
      )
    if (this.#busy)
      throw new FpdtError(
        'busy',
        `${what} cannot begin while ${this.#busy} is under way${this.#busy === 'a stepper' ? '; close it with await stepper.close()' : ''}.`,
      )
  }
}

interface RunError extends Error {
  readonly code: string
  readonly entry: number
  readonly rank: number
}
function isRunError(error: unknown): error is RunError {
  return error instanceof Error && typeof (error as RunError).entry === 'number'
}
