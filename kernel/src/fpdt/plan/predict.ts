/** A plan on a clock: what would run when, by the rates measured on a device. */
import { durations } from '../../cost/durations.js'
import { simulate } from '../../execute/simulate.js'
import { lower } from '../../plan/lower.js'
import type { Plan } from '../../plan/plan.js'
import type { Program } from '../../plan/program.js'
import type { StepSummary } from '../../trace/schema.js'
import type { Spans } from '../../trace/spans.js'
import type { Device } from '../device.js'
import { stepAccounts } from '../run/step-accounts.js'

export interface Prediction {
  readonly program: Program
  readonly spans: Spans
}

/** Ops of all ranks that a run is foretold for the sake of its picture: about a tenth of a second, once. */
const FORETOLD_OPS = 200_000

/** Whether a prediction costs little beside a step. */
export function isCheap({ entries, ranks }: Plan): boolean {
  return entries.length * ranks <= FORETOLD_OPS
}

/** `dtype`: what most of its work is computed in. */
export function predict(plan: Plan, device: Device, dtype: 'bf16' | 'f32'): Prediction {
  const program = lower(plan)
  const { rates: measured } = device.rates(dtype)
  return { program, spans: simulate(program, durations(program, measured), { pools: device.processors(plan.ranks) }) }
}

/** How long the predicted step takes, and where its time goes. */
export function predictedTimes(plan: Plan, { program, spans }: Prediction, backend: string): Pick<StepSummary, 'start_ns' | 'duration_ns' | 'accounts'> {
  const times = { start_ns: 0, duration_ns: Math.round(spans.end_ns.reduce((last, time) => Math.max(last, time), 0)) }
  return { ...times, accounts: stepAccounts(plan, program, { step: 1, spans }, times, backend) }
}
