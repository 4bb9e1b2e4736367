/** The tokens of a step, onto every rank's host memory. */
import type { NativeStep } from '../execute/native.js'
import { dealt, type StepTokens } from '../model/tokens.js'
import type { TrainingPlan } from './training-plan.js'

/** Writes tokens and labels, chunk by chunk and rank by rank; gives the step's parameter block (STEP_PARAMETERS of `plan/program.ts`). */
export function writeInputs(native: NativeStep, training: TrainingPlan, inputs: StepTokens, step: number): Float64Array {
  const { config, values, optimizer } = training
  for (let rank = 0; rank < config.ranks; rank++) {
    for (let i = 0; i < config.chunks; i++) {
      native.write(values.tokens(i), 'host', rank, dealt(inputs.tokens, config.chunk, config.ranks, i, rank))
      native.write(values.labels(i), 'host', rank, dealt(inputs.labels, config.chunk, config.ranks, i, rank))
    }
  }
  return Float64Array.of(optimizer.rate, 1 - optimizer.beta1 ** step, 1 - optimizer.beta2 ** step, 1 / inputs.valid)
}
