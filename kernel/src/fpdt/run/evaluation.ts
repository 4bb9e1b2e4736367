/** The loss of a text under the parameters as they are: the training program, run as far as its losses and dropped. */
import { FpdtError } from '../../errors.js'
import type { NativeStep } from '../../execute/native.js'
import { KERNEL_NAMES } from '../../schedule/kernels.js'
import { type StepTokens, stepTokens } from '../../text/sequences.js'
import type { LongText } from '../../text/tokens.js'
import type { TrainingPlan } from '../plan/training-plan.js'
import { refuseUnknown } from '../sizes.js'
import { sequenceShape, writeInputs } from './inputs.js'

export interface EvaluateOptions {
  /** Sequences, each as long as those of training. A multiple of the batch, which is the default. */
  readonly sequences?: number
  /** Token of the text where the first begins. Default 0, so that losses over a training are of the same tokens. */
  readonly from?: number
}
export interface Evaluation {
  /** Mean over all labels that count. */
  readonly loss: number
  /** Labels that count. */
  readonly labels: number
  readonly sequences: number
  /** The text was shorter than what was read of it. */
  readonly repeated: boolean
}

/** One batch: its inputs are written and the program stands before its first op. */
export interface Pass {
  readonly parameters: Float64Array
  /** Line of the batch's last loss. */
  readonly line: number
  readonly labels: number
  readonly repeated: boolean
}

/** Throws FpdtError `config`. */
export function checkEvaluation({ config }: TrainingPlan, options: EvaluateOptions): Required<EvaluateOptions> {
  refuseUnknown('evaluate', options, ['sequences', 'from'])
  const { sequences = config.batch, from = 0 } = options
  const { batch } = config
  if (!(Number.isInteger(sequences) && sequences > 0 && sequences % batch === 0))
    throw new FpdtError(
      'config',
      `sequences ${String(sequences)} is not a multiple of this run's batch of ${batch}; try ${Math.max(1, Math.round(sequences / batch) || 1) * batch}.`,
    )
  if (!(Number.isSafeInteger(from) && from >= 0)) throw new FpdtError('config', `from ${String(from)} is not a token of a text, 0 or more.`)
  return { sequences, from }
}

/**
 * Refuses what `run.evaluate` would, before a training of hours ends with it: reads all that it will read. Throws FpdtError `config`,
 * `text`, `token`.
 */
export function checkHeldOut(training: TrainingPlan, text: LongText, options: EvaluateOptions): void {
  const { sequences, from } = checkEvaluation(training, options)
  const { batch, tokens } = training.config
  let labels = 0
  for (let done = 0; done < sequences; done += batch) labels += tokensOfPass(training, text, from + done * tokens).valid
  refuseUnlabelled(labels, training, text, { sequences, from })
}

/** A sequence without a label that counts adds nothing to the mean; without any there is no mean. Throws FpdtError `text`. */
export function refuseUnlabelled(labels: number, { config }: TrainingPlan, { source }: LongText, { sequences, from }: Required<EvaluateOptions>): void {
  if (labels === 0)
    throw new FpdtError(
      'text',
      `${source} has no label that counts in the ${sequences * config.tokens} tokens from ${from} on; evaluate more sequences of it, or another place.`,
    )
}

/** Writes the inputs of one batch. The batches of a step follow each other in the program, so the first is all of a pass. */
export function beginPass(native: NativeStep, training: TrainingPlan, text: LongText, position: number): Pass {
  const { config, plan } = training
  const inputs = tokensOfPass(training, text, position)
  const parameters = writeInputs(native, training, inputs, 1)
  const { kernel, op } = plan.entries
  const crossEntropy = KERNEL_NAMES.indexOf('crossEntropy')
  const lines = op.filter((_, entry) => kernel[entry] === crossEntropy)
  return { parameters, line: lines[lines.length / config.accumulate - 1], labels: inputs.valid, repeated: inputs.repeated }
}

function tokensOfPass({ config }: TrainingPlan, text: LongText, position: number): StepTokens {
  return stepTokens(text, position, { ...sequenceShape(config), sequences: config.batch })
}

/** The loss of a pass that has run to its line: the ranks' parts in rank order, as a step sums them. */
export function lossOf(native: NativeStep, { config, values }: TrainingPlan, { line }: Pass): number {
  let loss = 0
  for (let rank = 0; rank < config.ranks; rank++) {
    const bytes = native.read(values.loss, 'device', rank, line)
    loss += new Float64Array(bytes.buffer, bytes.byteOffset, 1)[0]
  }
  return loss
}
