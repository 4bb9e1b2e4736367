/** A model in training on a device: steps, their times and bytes, and the picture that follows them. */

import { MFU_FORMULA, mfu, modelFlops } from '../../cost/flops.js'
import { DISPLAY_ID, INSPECT, inWords, type MimeBundle, TO_MIME } from '../../display.js'
import { FpdtError } from '../../errors.js'
import { NativeStep } from '../../execute/native.js'
import { type ModelSource, type SaveOptions, saveHuggingFace } from '../../files/huggingface.js'
import { foreignWords } from '../../files/model-source.js'
import { stepTokenCount } from '../../schedule/config.js'
import { KERNEL_NAMES } from '../../schedule/kernels.js'
import type { GroupValues } from '../../schedule/step-values.js'
import { nextToLearn, type StepTokens } from '../../text/sequences.js'
import { type LongText, longText, type TextSource } from '../../text/tokens.js'
import { type TimeSummary, timesOf } from '../../trace/ask/accounts.js'
import type { RunHead, RunTables, StepSummary, Tier } from '../../trace/schema.js'
import type { Device } from '../device.js'
import { showLive } from '../live/hub.js'
import { PlannedRun } from '../plan/planned-run.js'
import type { TrainingPlan } from '../plan/training-plan.js'
import { refuseUnknown } from '../sizes.js'
import { Answers } from './answers.js'
import { checkSave, type SaveRunOptions, saveCheckpoint } from './checkpoint.js'
import { RunControl } from './control.js'
import { beginPass, checkEvaluation, type EvaluateOptions, type Evaluation, lossOf, refuseUnlabelled } from './evaluation.js'
import { exportFile } from './export-file.js'
import { failedOp } from './failed-op.js'
import { newHead } from './head.js'
import { sequenceShape, writeInputs } from './inputs.js'
import { interruptible } from './interrupt.js'
import { whereNotFinite } from './not-finite.js'
import { NotebookPicture } from './notebook-picture.js'
import { type ParameterValues, readGradients, readGroup, readParameters, writeConstants, writeGroup } from './parameters.js'
import { peekAt } from './peek.js'
import { StepProgress } from './progress.js'
import { headInWords, runBundle, runInWords, runTables } from './show.js'
import { SpanBook } from './span-book.js'
import type { Start } from './start.js'
import { stepAccounts } from './step-accounts.js'
import { Stepper, type StepperEnd } from './stepper.js'
import { TextPositions } from './text-positions.js'
import { writeTrace } from './trace-file.js'
import { refuseBusy, setFailed, setState } from './under-way.js'
import { stepInWords, summaryInWords, timesInWords } from './words.js'

const ADAMW = KERNEL_NAMES.indexOf('adamW')

interface Step {
  readonly number: number
  readonly parameters: Float64Array
  readonly text: LongText
  /** Tokens of the text that were passed over, as no label of them counts. */
  readonly skipped: number
  readonly inputs: StepTokens
}

export class TrainingRun {
  readonly head: RunHead
  /** The plan of this run: predicted before anything ran. */
  readonly plan: PlannedRun
  readonly #device: Device
  readonly #native: NativeStep
  /** Pauses, runs on, steps and stops what is under way. */
  readonly control: RunControl
  readonly #book: SpanBook
  readonly #closers: (() => void)[] = []
  readonly #run: string // the same through all resumptions; `head.run_id` names this one
  readonly #texts: TextPositions
  readonly #source: ModelSource | undefined
  #done: number
  #halfUpdated: string | undefined // an op failed in the middle of an update, in words
  #busy: string | undefined // what is under way, in words
  #stepper: Stepper | undefined
  #settled: Promise<unknown> = Promise.resolve() // until nothing of an interrupted call runs any more
  #arenaAllocations = 0
  #fastest = 0 // model FLOP/s of the fastest step that the peak was measured again for
  readonly #progress: StepProgress
  readonly #picture: NotebookPicture
  #closed = false
  #closing: Promise<void> | undefined

  private constructor(
    device: Device,
    readonly training: TrainingPlan,
    native: NativeStep,
    { run, step, texts, source }: Start,
  ) {
    this.#device = device
    this.#native = native
    this.#run = run
    this.#done = step
    this.#texts = new TextPositions(texts)
    this.#source = source
    this.plan = new PlannedRun(training, device)
    this.head = inWords(newHead(training, device.description, 'measured'), headInWords)
    this.#picture = new NotebookPicture(this.head.run_id, () => this.bundle())
    this.#progress = new StepProgress(native.program, `${this.head.run_id}/progress`)
    for (const row of this.head.tiers) row.allocated_bytes = native.allocated(row.tier)
    this.#book = new SpanBook(native)
    this.control = new RunControl(training.plan, () => `step ${this.#done + 1}`)
    const live = {
      head: this.head,
      plan: training.plan,
      program: native.program,
      book: this.#book,
      control: this.control,
      predicted: () => this.plan.foretold,
      peek: (name: string, rank: number) => peekAt(native, training, this.control.line, name, rank),
    }
    this.onClose(showLive(live))
  }

  /** @internal Use `device.train` or `device.resume`. */
  static async open(device: Device, training: TrainingPlan, start: Start): Promise<TrainingRun> {
    const native = new NativeStep(device.native, training.plan)
    try {
      native.poison() // so that the highest byte the first step touches can be measured
      writeConstants(native, training)
      for (const group of training.values.groups) writeGroup(native, training, group, await start.states(group.group))
      return new TrainingRun(device, training, native, start)
    } catch (error) {
      native.close()
      throw error
    }
  }

  /** Steps whose updates are in the parameters. */
  get stepsDone(): number {
    return this.#done
  }

  /**
   * One training step on the next `sequence` tokens of a text: each text is read on from where this run left it, and from
   * its start again when it ends (the run then says so), past stretches where no label counts. Of the texts the last 1024 are
   * remembered; one that was read before those is read from its start. Times and rates of the summary are those of the device, from the
   * first op of the step to the last; its MFU is against the best peak rate measured so far (`measurePeak`).
   *
   * An interrupt, or closing the run, rejects at once with FpdtError `stopped`; native work ends at the next op boundary, and the
   * next call waits for that. A step that has not reached its optimizer is dropped whole, one that has is completed:
   * parameters are never half updated, and `stepsDone` tells which. Rejects also with `text`, `token` (bad input, nothing
   * ran), `not_finite` (loss or gradient: parameters and moments keep their last good values and the text is read on). The step
   * is then run again op by op, and the error names the op that wrote the first value that is not finite. A disk that fails in
   * the middle of an update leaves parameters half updated; from then on the run only rejects, with `half_updated`.
   */
  async step(text: TextSource): Promise<StepSummary> {
    await this.#settled
    this.#refuse('a step')
    const step = this.#next(longText(text))
    this.#busy = 'a step'
    setState(this.head, this.control, 'running')
    // Rates are measured while nothing else runs.
    if (this.#picture.begin()) this.#device.rates(this.training.config.dtype)
    let failed = true
    try {
      const summary = await this.#execute(step)
      failed = false
      return summary
    } catch (error) {
      setFailed(this.head, this.control, error)
      throw error
    } finally {
      this.#busy = undefined
      await this.#picture.follow(failed)
    }
  }

  /** `count` steps, one after the other: `for await (const s of run.steps(text, 100))`. The peak rate is measured again at the end, and MFU stated against the better of both. */
  async *steps(text: TextSource, count: number): AsyncGenerator<StepSummary, void, undefined> {
    if (!(Number.isInteger(count) && count >= 0))
      throw new FpdtError('config', `run.steps(text, ${String(count)}) needs a whole number of steps: for await (const step of run.steps(text, 100)).`)
    const whole = longText(text)
    const ended = this.control.series()
    try {
      for (let i = 0; i < count; i++) yield await this.step(whole)
    } finally {
      ended()
    }
    if (!this.#closed && !this.#busy) await this.measurePeak()
  }

  /** A step that stops where it is told to, so that any value can be looked at. Until it is closed no other step may run. */
  async stepper(text: TextSource): Promise<Stepper> {
    await this.#settled
    this.#refuse('a stepper')
    const step = this.#next(longText(text))
    this.#busy = 'a stepper'
    this.#book.begin(step.number)
    setState(this.head, this.control, 'running')
    const finish = async (end: StepperEnd): Promise<StepSummary | undefined> => {
      try {
        if (end === 'dropped') {
          this.#drop()
          setState(this.head, this.control, 'stopped')
          return undefined
        }
        const recording = this.#record(step, () => this.#closed)
        this.#settled = recording.catch(() => {}) // it may search for a while
        const summary = await recording
        await this.#picture.follow()
        return summary
      } catch (error) {
        setFailed(this.head, this.control, error)
        throw error
      } finally {
        this.#busy = this.#stepper = undefined
        this.control.release()
      }
    }
    this.#stepper = new Stepper(this.#native, this.training, step.parameters, 'run.stepper(text)', finish, () => this.control.changed())
    this.control.hold(this.#stepper)
    return this.#stepper
  }

  /**
   * A step like any other, whose gradients are shown on the way: f32, by group (`readParameters` has the order), of the mean loss and
   * before clipping. What `look` throws drops the step.
   */
  async stepWithGradients(text: TextSource, look: (gradients: ParameterValues) => Promise<void> | void): Promise<StepSummary> {
    const stepper = await this.stepper(text)
    try {
      const { gradientsDone } = this.training
      await stepper.to(gradientsDone)
      await look(readGradients(this.#native, this.training, gradientsDone))
      return await stepper.complete()
    } finally {
      await stepper.close()
    }
  }

  /**
   * Loss of a held-out text under the parameters as they are: `(await run.evaluate('held-out.txt')).loss`. Takes `sequences` of it
   * from token `from` on, the same ones each time; where training reads on in a text does not change. The training program runs
   * as far as the losses of one batch, and is dropped: no byte more is allocated. Throws as `step` does.
   */
  async evaluate(text: TextSource, options: EvaluateOptions = {}): Promise<Evaluation> {
    const { training } = this
    const { sequences, from } = checkEvaluation(training, options)
    const read = longText(text)
    return this.#alone('an evaluation', async (halted) => {
      const { batch, tokens } = training.config
      const losses: { loss: number; labels: number }[] = []
      let repeated = false
      let done = 0
      const watched = this.#progress.watch('evaluation', () => done / sequences)
      try {
        for (; done < sequences; done += batch) {
          const pass = beginPass(this.#native, training, read, from + done * tokens)
          repeated ||= pass.repeated
          if (pass.labels === 0) continue // it adds nothing to the mean
          const reached = await this.#native.run(pass.parameters, pass.line).catch((error: unknown) => {
            throw failedOp(error, this.#native, 'The evaluation is dropped; training can go on.')
          })
          if (reached.stopped || halted()) throw stoppedDuring('an evaluation')
          const loss = lossOf(this.#native, training, pass)
          this.#drop()
          if (!Number.isFinite(loss)) {
            const where = await whereNotFinite(this.#native, training, { parameters: pass.parameters, until: pass.line, stopped: halted })
            throw new FpdtError('not_finite', `the loss of ${read.source} is not finite. ${where ?? NOWHERE}`)
          }
          losses.push({ loss, labels: pass.labels })
        }
      } finally {
        watched()
        if (!this.#closed) this.#drop()
      }
      const labels = losses.reduce((sum, pass) => sum + pass.labels, 0)
      refuseUnlabelled(labels, training, read, { sequences, from })
      return { loss: losses.reduce((sum, pass) => sum + pass.loss * (pass.labels / labels), 0), labels, sequences, repeated }
    })
  }

  /**
   * Saves a checkpoint into a folder, from which `device.resume(dir)` goes on as if there had been no interruption, to the bit:
   * parameters, moments, step, how far each text was read, and the options. The former checkpoint there stays whole until the new
   * one is on the disk; then the last `keep` of this run stay. Gives the new one's path. Throws FpdtError `disk_full` or `disk`
   * (nothing of the new one is left), `stopped`.
   */
  async save(dir: string, options: SaveRunOptions = {}): Promise<string> {
    const { keep } = checkSave(options)
    return this.#alone('a save', (halted) => {
      const now = { run: this.#run, step: this.#done, texts: this.#texts.list(), source: this.#source }
      return saveCheckpoint(dir, keep, this.#native, this.training, now, () => {
        if (halted()) throw stoppedDuring('a save')
      })
    })
  }

  /**
   * Saves the parameters alone, in Hugging Face layout, for other tools. Those of a model that was loaded are saved in its dtype, with its
   * tokenizer and what else its folder says of it, and with `max_position_embeddings` of what was trained here where that is longer. Throws FpdtError `layout` for a model that has none, `disk_full`, `disk`, `stopped`.
   */
  async saveModel(dir: string, options: SaveOptions = {}): Promise<void> {
    refuseUnknown('saveModel', options, ['dtype', 'shardBytes', 'carried', 'keys'])
    const groups = new Map(this.training.values.groups.map((group) => [group.group.name, group]))
    return this.#alone('a save', (halted) =>
      saveHuggingFace(
        dir,
        this.training.config.model,
        ({ name }) => {
          if (halted()) throw stoppedDuring('a save')
          return readGroup(this.#native, this.training, groups.get(name) as GroupValues, 'master')
        },
        { sequence: this.training.config.tokens, ...(this.#source ? { source: this.#source } : {}), ...options },
      ),
    )
  }

  /** f32 parameters as they are, by group. */
  async parameters(): Promise<ParameterValues> {
    await this.#settled
    this.#refuse('reading parameters')
    return readParameters(this.#native, this.training, 'master')
  }

  /** Where the time of a step went, for every rank: each stream's busy time, what compute waited for, and the share of copies that lay under compute. By default of the last step. */
  times(step = this.#done): TimeSummary {
    const { steps } = this.head
    const summary = steps.find((candidate) => candidate.step === step)
    if (summary) return inWords(timesOf(summary), timesInWords)
    throw new FpdtError(
      'config',
      `step ${String(step)} is not kept; ${steps.length > 0 ? `steps ${steps[0].step} to ${steps.at(-1)?.step} are` : 'there was none yet'}.`,
    )
  }

  /** Measures the peak rate once more, and states the MFU of all steps against the better one: a machine that was busy the first time would flatter them. */
  async measurePeak(): Promise<void> {
    await this.#settled
    this.#refuse('measuring the peak')
    this.#measurePeak()
    await this.#picture.redraw()
  }

  /** Bytes per rank: planned, allocated, and the highest that the first step touched (null before it). */
  memory(tier: Tier = 'device'): { predicted: number; allocated: number | null; touched: number | null; arenaAllocationsDuringSteps: number } {
    const row = this.head.tiers.find((candidate) => candidate.tier === tier)
    if (!row) throw new FpdtError('config', `this run uses no ${tier} memory; it uses ${this.head.tiers.map((t) => t.tier).join(' and ')}.`)
    const { predicted_bytes: predicted, allocated_bytes: allocated, measured_bytes: touched } = row
    return { predicted, allocated, touched, arenaAllocationsDuringSteps: this.#arenaAllocations }
  }
  /** Stops what is under way and gives the memory back. What was recorded stays, and can still be shown. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }
  async #close(): Promise<void> {
    this.#closed = true
    this.control.close()
    this.#native.cancel()
    await this.#settled
    await this.#stepper?.close().catch(() => {}) // whoever closed or completed it is told why it failed; the memory is given back
    this.#native.close()
    if (this.head.state === 'running' || this.head.state === 'planned') this.head.state = 'done'
    await this.#picture.end()
    for (const closer of this.#closers) closer()
  }
  /** @internal */
  onClose(closer: () => void): void {
    this.#closers.push(closer)
  }

  /** Draws the run again with all that is known now. */
  async update(): Promise<void> {
    await this.#picture.draw()
  }
  /** The output of a cell whose last value is this run is kept up to date by later steps. */
  get [DISPLAY_ID](): string {
    return this.head.run_id
  }
  async [TO_MIME](): Promise<MimeBundle> {
    this.#picture.shownAsValue()
    return this.bundle()
  }
  /** The run as a MIME bundle: `application/vnd.fpdt.run.v1+json`, `image/png`, `text/plain`. Before its first step that is its plan. */
  async bundle(): Promise<MimeBundle> {
    const { run_id, state } = this.head
    const nothingYet = this.#book.kept.length === 0
    if (nothingYet && (state === 'planned' || (state === 'running' && this.plan.foretold))) return this.plan.bundle({ run_id, state })
    return runBundle(this.tables())
  }
  /** All that is kept of the run: the spans of its newest 16 steps, and the figures of all. What `bundle`, `ask` and files of the run are made of. */
  tables(): RunTables {
    return runTables(this.training.plan, this.#native.program, this.head, this.#book.kept, this.plan.foretold)
  }
  /**
   * Writes all that is kept of the run, the newest 16 steps and the figures of all, to a file that JupyterLab opens with a double click, and any Arrow reader reads: `await run.trace('step.arrow')`.
   * Gives its path. A former file stays until this one is whole. Throws FpdtError `config`, `disk`, `disk_full`.
   */
  async trace(path: string): Promise<string> {
    return writeTrace(path, this.tables())
  }
  /**
   * Writes what is kept of the run for other tools, by the ending of the name: `await run.export('step.json')` for Perfetto, `.csv` and
   * `.memory.csv` for tables, `.svg` and `.png` for the picture, `.arrow` as `trace` does. Gives its path. Throws FpdtError `config`, `disk`, `disk_full`.
   */
  async export(path: string): Promise<string> {
    return exportFile(path, () => this.tables())
  }
  /** Questions to what is recorded: `run.ask().memory('device')`, `.stalls()`, `.meetings({ layer: 0 })`, `.compare(other.ask())`. Throws FpdtError `config` before the first step. */
  ask(): Answers {
    return new Answers(this.tables())
  }
  [INSPECT](): string {
    return runInWords(this.head)
  }

  /** Takes the next tokens of a text and writes them to every rank. Throws `token` before anything is written. */
  #next(text: LongText): Step {
    const { config } = this.training
    const from = this.#texts.of(text)
    const { inputs, skipped } = nextToLearn(text, from, sequenceShape(config))
    const repeated = inputs.repeated ? `${text.source} has ${text.length} tokens, fewer than were read of it: it was repeated` : undefined
    const passed = skipped > 0 ? `no label counts in the ${skipped} tokens of ${text.source} from ${from % text.length} on: they were passed over` : undefined
    const foreign = text.words && this.#source?.gpt2Words === false ? foreignWords(text.source, this.#source) : undefined
    this.head.message = [foreign, this.#texts.strange(text) ?? repeated, passed].filter(Boolean).join('; ')
    const number = this.#done + 1
    return { number, text, skipped, inputs, parameters: writeInputs(this.#native, this.training, inputs, number) }
  }

  /** Runs the program to its end under the notebook's interrupt, and records it. */
  #execute(step: Step): Promise<StepSummary> {
    const stopped = (): FpdtError =>
      stoppedDuring(`step ${step.number}`, ' A step that has not reached its optimizer is dropped whole; run.stepsDone tells how many are in the parameters.')
    let halted = false
    const work = async (): Promise<StepSummary> => {
      this.#book.begin(step.number)
      const watched = this.#progress.watch(`step ${step.number}`, () => this.#progress.share(this.#book.take()))
      try {
        const reached = await this.control.run(this.#native, step.parameters)
        if (reached.stopped && reached.line < this.training.firstUpdate) throw stopped()
        for (let { stopped: rest } = reached; rest; ) rest = (await this.#native.run(step.parameters)).stopped
      } catch (error) {
        this.#drop(step.number)
        const end = this.#halfUpdated
          ? `This run cannot go on: ${this.#halfUpdated}. Go on from the last checkpoint with await device.resume(dir).`
          : 'The step is dropped.'
        throw failedOp(error, this.#native, end)
      } finally {
        watched()
      }
      return this.#record(step, () => halted || this.#closed)
    }
    const working = work()
    this.#settled = working.catch(() => {})
    const halt = (): void => {
      halted = true
      this.control.halt()
    }
    return interruptible(working, halt, stopped, (stop) => this.control.onStop(stop))
  }

  /** Does what no step may run beside, under the notebook's interrupt; `halted` tells the work that it is to end. */
  async #alone<T>(what: string, work: (halted: () => boolean) => Promise<T>): Promise<T> {
    await this.#settled
    this.#refuse(what)
    this.#busy = what
    let halted = false
    const ended = this.control.call(what)
    const working = work(() => halted || this.#closed).finally(() => {
      this.#busy = undefined
      ended()
    })
    this.#settled = working.catch(() => {})
    const halt = (): void => {
      halted = true
      this.#native.cancel()
    }
    const stopped = (): FpdtError => stoppedDuring(what)
    return interruptible(working, halt, stopped, (stop) => this.control.onStop(stop))
  }

  /** Forgets a step that did not end. One that failed after an update had begun leaves the run unusable, and it says so from then on. */
  #drop(number = this.#done + 1): void {
    const { kernel } = this.training.plan.entries
    const updates = this.#book.drop().some(({ entry }) => entry.some((e) => kernel[e] === ADAMW))
    if (updates) this.#halfUpdated = `step ${number} failed in the middle of its update, so some parameters are those after it and some those before`
    this.#native.reset()
  }

  /** Takes the spans of a completed step, and its results from the host. Throws `not_finite`, after a search for the reason that ends when it is `halted`. */
  async #record(step: Step, halted: () => boolean): Promise<StepSummary> {
    const { config, values } = this.training
    const { spans, start_ns, duration_ns, keep } = this.#book.end()
    this.#native.reset()
    this.#texts.advance(step.text, step.skipped + stepTokenCount(config))
    for (const row of this.head.tiers) row.measured_bytes ??= this.#native.touched(row.tier)
    this.#arenaAllocations = this.#native.allocationsDuringRuns()
    const scalar = (bytes: Uint8Array): number => new Float64Array(bytes.buffer, bytes.byteOffset, 1)[0]
    const loss = scalar(this.#native.read(values.loss, 'host', 0))
    const gradient_norm = Math.sqrt(scalar(this.#native.read(values.gradientNorm, 'host', 0)))
    if (!Number.isFinite(loss) || !Number.isFinite(gradient_norm)) {
      const what = Number.isFinite(loss) ? 'gradient norm' : 'loss'
      throw new FpdtError(
        'not_finite',
        `the ${what} of step ${step.number} is not finite; parameters keep their values after ${this.#done} steps, and the next step reads on. ${await this.#reason(step, halted)} If it happens again, start a run with a lower rate than ${this.training.optimizer.rate}, or with dtype 'f32'.`,
      )
    }
    this.#done = step.number
    const seconds = duration_ns / 1e9
    const tokens = stepTokenCount(config)
    const model_flops = modelFlops(config.model, step.inputs.stretches)
    const peak = this.#device.peakOf(config.ranks, config.dtype)
    const rates = { tokens_per_second: tokens / seconds, model_flops, mfu: mfu(model_flops, seconds, peak), mfu_formula: MFU_FORMULA }
    const record = { step: step.number, spans }
    const accounts = stepAccounts(this.training.plan, this.#native.program, record, { start_ns, duration_ns }, this.head.device.backend)
    const summary: StepSummary = inWords({ step: step.number, start_ns, duration_ns, loss, tokens, ...rates, gradient_norm, accounts }, summaryInWords, {
      brief: stepInWords,
    })
    this.head.steps.push(summary)
    // Faster than the peak: that was measured while the machine was busy. Not again for steps that are no faster, should it still be so.
    if ((summary.mfu ?? 0) > 1 && model_flops / seconds > this.#fastest) {
      this.#fastest = model_flops / seconds
      this.#measurePeak()
    }
    keep()
    setState(this.head, this.control, 'done')
    return summary
  }

  /** In words, where a step that changed nothing went wrong; it may take as long as the step did. */
  async #reason({ number, parameters }: Step, halted: () => boolean): Promise<string> {
    let share = 0
    const ended = this.control.call('a search for the first value that is not finite')
    const watched = this.#progress.watch(`step ${number} again, op by op, for the first value that is not finite`, () => share)
    try {
      const until = this.training.firstUpdate - 1
      const progress = (done: number): void => {
        share = done
      }
      return (await whereNotFinite(this.#native, this.training, { parameters, until, stopped: halted, progress })) ?? NOWHERE
    } finally {
      watched()
      ended()
    }
  }

  /** Measures the peak again, and states the MFU of all steps so far against it. */
  #measurePeak(): void {
    const { dtype, ranks } = this.training.config
    this.#device.measurePeak(dtype)
    const peak = this.#device.peakOf(ranks, dtype)
    for (const step of this.head.steps) step.mfu = mfu(step.model_flops, step.duration_ns / 1e9, peak)
  }

  #refuse(what: string): void {
    if (this.#closed)
      throw new FpdtError(
        'closed',
        `this run is closed, so ${what} cannot begin; run.close() was called, or its device was closed, as Device.cpu() does with the one it opened before. Start one with await device.train(…).`,
      )
    if (this.#halfUpdated)
      throw new FpdtError('half_updated', `${what} cannot begin: ${this.#halfUpdated}. Go on from the last checkpoint with await device.resume(dir).`)
    refuseBusy(what, this.#busy)
  }
}

/** What a search says that finds nothing: the machine did not do the same twice. */
const NOWHERE = 'Run again op by op, all its values were finite: the machine computed two things from the same bytes.'

function stoppedDuring(what: string, more = ''): FpdtError {
  return new FpdtError('stopped', `stopped during ${what}.${more}`)
}
