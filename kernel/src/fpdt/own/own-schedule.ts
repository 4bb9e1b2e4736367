/**
 * A schedule of the user's own on a device: planned when it is made, run as often as wanted, stepped through, drawn like a
 * training run.
 *
 *   const q = value('q', [8, 2, 16], { category: 'attention' })
 *   const schedule = device.schedule(function* () {
 *     yield fetch(at('forward'), q)
 *     yield compute(at('forward'), 'attend', { state, q, k, v }, { first: 1 })
 *     ...
 *     yield* free(at('forward'), 'device', q)
 *   }, { inputs: { host: [q], device: [k, v] }, results: { device: [o] } })
 *   schedule.plan
 *   const results = await schedule.run({ q: random([8, 2, 16]), ... })
 */
import { DISPLAY_ID, INSPECT, type MimeBundle, TO_MIME } from '../../display.js'
import { FpdtError } from '../../errors.js'
import type { RunHead, RunTables, StepSummary, Tier } from '../../trace/schema.js'
import type { Spans } from '../../trace/spans.js'
import { duration, largestInWords } from '../../trace/words/format.js'
import type { Device } from '../device.js'
import { showLive } from '../live/hub.js'
import { isCheap, type Prediction, predict, predictedTimes } from '../plan/predict.js'
import { Answers } from '../run/answers.js'
import { RunControl } from '../run/control.js'
import { exportFile } from '../run/export-file.js'
import { ownHead } from '../run/head.js'
import { NotebookPicture } from '../run/notebook-picture.js'
import { peekAt } from '../run/peek.js'
import { copiesInWords, runBundle, runInWords, runTables } from '../run/show.js'
import { stepAccounts } from '../run/step-accounts.js'
import { Stepper, type StepperEnd } from '../run/stepper.js'
import { writeTrace } from '../run/trace-file.js'
import { refuseBusy, setFailed, setState } from '../run/under-way.js'
import { formatBytes } from '../sizes.js'
import { type Inputs, LoadedSchedule, parameterBlock, Results, type Scalars } from './loaded-schedule.js'
import type { SchedulePlan } from './schedule-plan.js'

/** What a schedule would take and when its ops would run. Nothing has run. */
export class PlannedSchedule {
  readonly head: RunHead
  readonly #device: Device
  #prediction: Prediction | undefined

  constructor(
    readonly schedule: SchedulePlan,
    device: Device,
  ) {
    this.#device = device
    this.head = ownHead(schedule, device.description, 'predicted')
  }

  /** The ops, one line each. */
  get listing(): readonly string[] {
    return this.schedule.plan.listing
  }
  /** Arena bytes of a rank: what will be allocated, exactly. */
  bytes(tier: Tier = 'device'): number {
    return this.schedule.plan.arenaBytes[tier]
  }
  /** Predicted time of a run in seconds, by the rates measured on this machine. */
  get seconds(): number {
    return this.#predict().spans.end_ns.reduce((last, time) => Math.max(last, time), 0) / 1e9
  }

  /** @internal What would run when, to be drawn below what did; null where a run would have to wait for it: it has very many ops, or no rates were measured yet. */
  get foretold(): Spans | null {
    const { plan, dtype } = this.schedule
    const isAtHand = this.#prediction || (isCheap(plan) && this.#device.knowsRates(dtype))
    return isAtHand ? this.#predict().spans : null
  }

  /** In words: what it takes, what makes the peak, how long it may run. */
  toString(): string {
    const { plan } = this.schedule
    const peak = plan.peaks.device
    return [
      `${this.head.title} (predicted)`,
      ...this.head.tiers.map(
        ({ tier, predicted_bytes, budget_bytes }) =>
          `${tier.padEnd(6)}  ${formatBytes(predicted_bytes)} a rank${budget_bytes === null ? '' : ` of ${formatBytes(budget_bytes)}`}`,
      ),
      ...(peak.bytes > 0
        ? [
            `peak    ${formatBytes(peak.bytes)} alive on the device at op ${peak.line}: ${plan.words(peak.line)}`,
            `        made of ${largestInWords(peak.residencies)}`,
          ]
        : []),
      `time    ${duration(1e9 * this.seconds)}, from rates measured on this machine; ${copiesInWords(this.#times())}`,
    ].join('\n')
  }
  [INSPECT](): string {
    return this.toString()
  }
  async [TO_MIME](): Promise<MimeBundle> {
    return this.bundle()
  }
  /** @internal `as`: of the schedule that it is the plan of. */
  async bundle(as: Partial<Pick<RunHead, 'run_id' | 'state'>> = {}): Promise<MimeBundle> {
    return { ...(await runBundle(this.tables(as))), 'text/plain': this.toString() }
  }
  /** The prediction as a run. */
  tables(as: Partial<Pick<RunHead, 'run_id' | 'state'>> = {}): RunTables {
    const { program, spans } = this.#predict()
    return runTables(this.schedule.plan, program, { ...this.head, ...as, steps: [summaryOf(1, this.#times())] }, [{ step: 1, spans }])
  }
  /** Questions to the prediction: what will make the peak, what will wait for what. */
  ask(): Answers {
    return new Answers(this.tables())
  }

  #times(): ReturnType<typeof predictedTimes> {
    return predictedTimes(this.schedule.plan, this.#predict(), this.head.device.backend)
  }
  #predict(): Prediction {
    this.#prediction ??= predict(this.schedule.plan, this.#device, this.schedule.dtype)
    return this.#prediction
  }
}

export class OwnSchedule {
  readonly head: RunHead
  /** What it takes and when its ops would run: known before anything has. */
  readonly plan: PlannedSchedule
  readonly #device: Device
  /** Pauses, runs on, steps and stops what is under way. */
  readonly control: RunControl
  readonly #closers: (() => void)[] = []
  readonly #picture: NotebookPicture
  #loaded: LoadedSchedule | undefined
  #stepper: Stepper<Results> | undefined
  #done = 0
  #busy: string | undefined // what is under way, in words
  #closed = false
  #closing: Promise<void> | undefined

  /** @internal Use `device.schedule`. */
  constructor(
    device: Device,
    readonly schedule: SchedulePlan,
  ) {
    this.#device = device
    this.plan = new PlannedSchedule(schedule, device)
    this.head = ownHead(schedule, device.description, 'measured')
    this.#picture = new NotebookPicture(this.head.run_id, () => this.bundle())
    this.control = new RunControl(schedule.plan, () => `run ${this.#done + 1}`)
  }

  /**
   * Writes the inputs, runs every op, and gives a copy of the results: `(await schedule.run({ q })).get('o')`. The first run
   * allocates. In a notebook runs are drawn. Rejects with FpdtError `config`, `shape`, `dtype` (inputs that are not what the
   * values say: nothing ran), `stopped` (interrupted), or the code of the op that failed; the run is then dropped.
   */
  async run(inputs: Inputs = {}, scalars: Scalars = {}): Promise<Results> {
    const parameters = parameterBlock(this.schedule, scalars)
    const loaded = await this.#begin('a run', inputs)
    let failed = true
    try {
      if (this.#picture.begin()) this.#device.rates(this.schedule.dtype) // while nothing else runs
      await loaded.run(parameters, this.control)
      const results = this.#record(loaded)
      failed = false
      return results
    } catch (error) {
      setFailed(this.head, this.control, error)
      throw error
    } finally {
      this.#busy = undefined
      await this.#picture.follow(failed)
    }
  }

  /** A run that stops where it is told to, so that any value can be looked at. Until it is closed or completed no other run may begin. */
  async stepper(inputs: Inputs = {}, scalars: Scalars = {}): Promise<Stepper<Results>> {
    const parameters = parameterBlock(this.schedule, scalars)
    const loaded = await this.#begin('a stepper', inputs)
    const finish = async (end: StepperEnd): Promise<Results | undefined> => {
      try {
        if (end === 'dropped') {
          loaded.drop()
          setState(this.head, this.control, 'stopped')
          return undefined
        }
        const results = this.#record(loaded)
        await this.#picture.follow()
        return results
      } catch (error) {
        setFailed(this.head, this.control, error)
        throw error
      } finally {
        this.#busy = this.#stepper = undefined
        this.control.release()
      }
    }
    this.#stepper = new Stepper(loaded.native, this.schedule, parameters, 'schedule.stepper(inputs)', finish, () => this.control.changed())
    this.control.hold(this.#stepper)
    return this.#stepper
  }

  /** Bytes per rank: planned, allocated, and the highest that the first run touched (null before it). Throws FpdtError `config`. */
  memory(tier: Tier = 'device'): { predicted: number; allocated: number | null; touched: number | null } {
    const row = this.head.tiers.find((candidate) => candidate.tier === tier)
    if (!row) throw new FpdtError('config', `this schedule uses no ${tier} memory; it uses ${this.head.tiers.map((t) => t.tier).join(' and ')}.`)
    return { predicted: row.predicted_bytes, allocated: row.allocated_bytes, touched: row.measured_bytes }
  }

  /** Stops what is under way and gives the memory back. What was recorded stays, and can still be shown. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }
  async #close(): Promise<void> {
    this.#closed = true
    this.control.close()
    await this.#loaded?.settled
    await this.#stepper?.close().catch(() => {}) // whoever closed or completed it is told why it failed; the memory is given back
    this.#loaded?.close()
    await this.#picture.end()
    for (const closer of this.#closers) closer()
  }
  /** @internal */
  onClose(closer: () => void): void {
    this.#closers.push(closer)
  }

  /** The output of a cell whose last value is this schedule is kept up to date by later runs. */
  get [DISPLAY_ID](): string {
    return this.head.run_id
  }
  async [TO_MIME](): Promise<MimeBundle> {
    this.#picture.shownAsValue()
    return this.bundle()
  }
  /** As a MIME bundle: `application/vnd.fpdt.run.v1+json`, `image/png`, `text/plain`. Before its first run that is its plan. */
  async bundle(): Promise<MimeBundle> {
    const { run_id, state } = this.head
    const kept = this.#loaded?.book.kept ?? []
    if (!this.#loaded || state === 'planned' || (kept.length === 0 && state === 'running' && this.plan.foretold)) return this.plan.bundle({ run_id, state })
    return runBundle(this.tables())
  }
  /** All that is kept of the runs: the spans of the newest 16, and the times of all. Throws FpdtError `config` before the first. */
  tables(): RunTables {
    if (!this.#loaded) throw new FpdtError('config', 'this schedule has not run yet; run it, or ask its plan: schedule.plan.ask().')
    return runTables(this.schedule.plan, this.#loaded.native.program, this.head, this.#loaded.book.kept, this.plan.foretold)
  }
  /** Writes all that is kept of the runs, the newest 16 and the times of all, to a file, as of a training run: `await schedule.trace('step.arrow')`. Throws FpdtError `config`, `disk`, `disk_full`. */
  async trace(path: string): Promise<string> {
    return writeTrace(path, this.tables())
  }
  /** Writes what is kept of the runs for other tools, as of a training run: `await schedule.export('step.json')`. Throws FpdtError `config`, `disk`, `disk_full`. */
  async export(path: string): Promise<string> {
    return exportFile(path, () => this.tables())
  }
  /** Questions to what is recorded, as of a training run. Throws FpdtError `config` before the first run. */
  ask(): Answers {
    return new Answers(this.tables())
  }
  [INSPECT](): string {
    return this.#done > 0 ? runInWords(this.head) : this.plan.toString()
  }

  /** Writes inputs: from then on a run is under way. */
  async #begin(what: string, inputs: Inputs): Promise<LoadedSchedule> {
    await this.#loaded?.settled
    if (this.#closed) throw new FpdtError('closed', `this schedule is closed, so ${what} cannot begin; make one with device.schedule(…).`)
    refuseBusy(what, this.#busy)
    this.#loaded ??= this.#load()
    for (const row of this.head.tiers) row.allocated_bytes = this.#loaded.native.allocated(row.tier)
    this.#loaded.write(inputs)
    this.#loaded.book.begin(this.#done + 1)
    this.#busy = what
    setState(this.head, this.control, 'running', '')
    return this.#loaded
  }

  #load(): LoadedSchedule {
    const loaded = new LoadedSchedule(this.#device, this.schedule)
    const { native, book } = loaded
    const live = {
      head: this.head,
      plan: this.schedule.plan,
      program: native.program,
      book,
      control: this.control,
      predicted: () => this.plan.foretold,
      peek: (name: string, rank: number) => peekAt(native, this.schedule, this.control.line, name, rank),
    }
    this.onClose(showLive(live))
    return loaded
  }

  /** Takes the spans and results of a completed run. */
  #record(loaded: LoadedSchedule): Results {
    const { spans, start_ns, duration_ns, keep } = loaded.book.end()
    loaded.native.reset()
    for (const row of this.head.tiers) row.measured_bytes ??= loaded.native.touched(row.tier)
    const record = { step: ++this.#done, spans }
    const accounts = stepAccounts(this.schedule.plan, loaded.native.program, record, { start_ns, duration_ns }, this.head.device.backend)
    this.head.steps.push(summaryOf(this.#done, { start_ns, duration_ns, accounts }))
    keep()
    setState(this.head, this.control, 'done')
    return new Results(loaded.results(), duration_ns / 1e9)
  }
}

/** A run as the head holds it: it has times, and neither tokens nor a loss. */
function summaryOf(step: number, times: Pick<StepSummary, 'start_ns' | 'duration_ns' | 'accounts'>): StepSummary {
  return { step, ...times, loss: null, tokens: 0, tokens_per_second: 0, model_flops: 0, mfu: null, mfu_formula: '', gradient_norm: null }
}
