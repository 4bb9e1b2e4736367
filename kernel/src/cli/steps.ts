/** The steps of `fpdt train`, with what happens between them: evaluations, checkpoints, lines. */
import { FpdtError } from '../errors.js'
import type { EvaluateOptions, Evaluation } from '../fpdt/run/evaluation.js'
import type { TrainingRun } from '../fpdt/run/training-run.js'
import type { LongText } from '../text/tokens.js'
import type { StepSummary } from '../trace/schema.js'
import type { TrainConfig, TrainFile } from './config.js'
import { saveGradients } from './gradients.js'
import { paceOf, sayStep, stepAsJson } from './report.js'
import { INTERRUPTED, type Terminal } from './terminal.js'

export interface Printing {
  readonly terminal: Terminal
  readonly json: boolean
  /** File for the gradients of the first step. */
  readonly gradients: string | undefined
}
export interface Texts {
  readonly text: LongText
  /** Whose loss is measured. */
  readonly held: LongText | undefined
}

/** Steps until all are done, or one fails, or an interrupt; then saves what there is to save. Gives the exit code. */
export async function follow(
  run: TrainingRun,
  { config, path }: TrainFile,
  { text, held }: Texts,
  { terminal, json, gradients }: Printing,
): Promise<number | undefined> {
  const { steps = 1, evaluation, checkpoint, save } = config
  if (run.stepsDone >= steps) terminal.say(`all ${steps} steps are done; --steps N makes it more`)
  const state = new SavedState(run, checkpoint, path, terminal)
  const pace = paceOf(steps)
  const due = (every: number | undefined): boolean => run.stepsDone === steps || (every !== undefined && run.stepsDone % every === 0)
  let first = true
  let message = ''
  try {
    while (run.stepsDone < steps && !terminal.interrupted) {
      const summary = first && gradients !== undefined ? await stepSavingGradients(run, text, gradients) : await run.step(text)
      if (first) await run.measurePeak() // warm, and beside whatever else the machine does: the MFU of each line is against the better of two
      first = false
      let measured: Evaluation | undefined
      try {
        if (held && due(evaluation?.every)) measured = await run.evaluate(held, evaluationOf(evaluation))
      } finally {
        // The step is done, whatever became of its evaluation.
        if (json) console.log(JSON.stringify(stepAsJson(run, summary, measured?.loss)))
        else sayStep(terminal, summary, measured?.loss, steps, pace(summary.step))
      }
      if (run.head.message !== message && run.head.message !== '') terminal.say(`note: ${run.head.message}`)
      message = run.head.message
      if (due(checkpoint?.every)) await state.save()
    }
  } catch (error) {
    await state.saveAfter(error)
    throw error
  }
  await state.save()
  if (terminal.interrupted) return INTERRUPTED
  if (save?.folder !== undefined) {
    await run.saveModel(path(save.folder), save.dtype === undefined ? {} : { dtype: save.dtype })
    terminal.say(`saved the model: ${path(save.folder)}`)
  }
  return undefined
}

/** As the library takes it. */
export function evaluationOf(evaluation: TrainConfig['evaluation']): EvaluateOptions {
  return evaluation?.sequences === undefined ? {} : { sequences: evaluation.sequences }
}

function stepSavingGradients(run: TrainingRun, text: LongText, file: string): Promise<StepSummary> {
  return run.stepWithGradients(text, (gradients) => saveGradients(file, run.training.config.model, gradients))
}

/** The checkpoints of a run, where the configuration has a folder for them; each step is saved once. */
class SavedState {
  #step: number

  constructor(
    private readonly run: TrainingRun,
    private readonly checkpoint: TrainConfig['checkpoint'],
    private readonly path: TrainFile['path'],
    private readonly terminal: Terminal,
  ) {
    this.#step = run.stepsDone
  }

  async save(): Promise<void> {
    const { folder, keep } = this.checkpoint ?? {}
    const { stepsDone } = this.run
    if (folder === undefined || stepsDone === this.#step) return
    const saved = await this.run.save(this.path(folder), keep === undefined ? {} : { keep })
    this.#step = stepsDone
    this.terminal.say(`saved step ${stepsDone}: ${saved}`)
  }

  /** After an error, which stays the one that is told: the steps that are done can still be gone on from, unless the last one is half updated. */
  async saveAfter(error: unknown): Promise<void> {
    try {
      await this.save()
    } catch (another) {
      if (another instanceof FpdtError && another.code === 'half_updated') return
      if (String(another) !== String(error)) this.terminal.say(`note: step ${this.run.stepsDone} could not be saved: ${(another as Error).message}`)
    }
  }
}
