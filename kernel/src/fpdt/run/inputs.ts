/** The inputs of a step, onto every rank's host memory. */
import type { NativeStep } from '../../execute/native.js'
import { paddedTokens, type StepConfig, sequencesOf } from '../../schedule/config.js'
import { dealt, type SequenceShape, type StepTokens } from '../../text/sequences.js'
import { rateAt } from '../plan/optimizer.js'
import type { TrainingPlan } from '../plan/training-plan.js'

/** How a step of this configuration takes tokens. */
export function sequenceShape(config: StepConfig): SequenceShape {
  const { model, tokens, documents } = config
  const positions = model.positions.kind === 'learned' ? model.positions.length : Number.POSITIVE_INFINITY
  return { sequences: sequencesOf(config), tokens, padded: paddedTokens(config), documents, vocabulary: model.vocabulary, positions }
}

/** Writes the inputs, chunk by chunk and rank by rank: those of a step, or of its first batches; gives the step's parameter block (STEP_PARAMETERS of `plan/program.ts`). */
export function writeInputs(native: NativeStep, training: TrainingPlan, inputs: StepTokens, step: number): Float64Array {
  const { config, values, optimizer } = training
  const learned = config.model.positions.kind === 'learned'
  for (let rank = 0; rank < config.ranks; rank++) {
    for (let n = 0; n * config.chunk < inputs.tokens.length; n++) {
      const local = (all: Int32Array): Int32Array => dealt(all, config, n, rank)
      native.write(values.tokens(n), 'host', rank, local(inputs.tokens))
      native.write(values.labels(n), 'host', rank, local(inputs.labels))
      if (learned) native.write(values.positions(n), 'host', rank, local(inputs.positions))
      // After the all-to-all every rank has all tokens of a chunk.
      if (config.documents) native.write(values.starts(n), 'host', rank, inputs.starts.subarray(n * config.chunk, (n + 1) * config.chunk))
    }
  }
  return Float64Array.of(rateAt(optimizer, step), 1 - optimizer.beta1 ** step, 1 - optimizer.beta2 ** step, 1 / inputs.valid)
}
