/** A step as one line: for a person, or for a program. */
import { rateAt } from '../fpdt/plan/optimizer.js'
import type { TrainingRun } from '../fpdt/run/training-run.js'
import { figuresOf, listed } from '../fpdt/run/words.js'
import type { StepSummary } from '../trace/schema.js'
import type { Terminal } from './terminal.js'

/** What `--json` prints for a step. Bytes are of one rank; times are the device's. The hidden share of copies is null where there were none. */
export function stepAsJson(run: TrainingRun, summary: StepSummary, evaluationLoss?: number): object {
  const { step, loss, gradient_norm, tokens, tokens_per_second, mfu, mfu_formula, duration_ns } = summary
  const { hiddenCopyShare, exposedCopy_ns } = run.times(step)
  const peaks = run.head.tiers.map(({ tier, predicted_bytes, measured_bytes }) => [tier, { predicted: predicted_bytes, measured: measured_bytes }])
  return {
    step,
    backend: run.head.device.backend,
    device: run.head.device.name,
    loss,
    gradient_norm,
    rate: rateAt(run.training.optimizer, step),
    tokens,
    seconds: duration_ns / 1e9,
    tokens_per_second,
    mfu,
    mfu_formula,
    peaks: Object.fromEntries(peaks),
    hidden_copy_share: hiddenCopyShare,
    exposed_copy_seconds: exposedCopy_ns / 1e9,
    ...(evaluationLoss === undefined ? {} : { evaluation_loss: evaluationLoss }),
  }
}

/** Says a step: on a terminal in the place of the line before it, unless something was measured; elsewhere in a line of its own. */
export function sayStep(terminal: Terminal, summary: StepSummary, evaluationLoss: number | undefined, steps: number, remaining: string): void {
  const { step } = summary
  const { loss, rate, mfu } = figuresOf(summary)
  const evaluation = evaluationLoss === undefined ? '' : `evaluation ${evaluationLoss.toFixed(4)}`
  const line = `step ${step} of ${steps}: ${listed(loss, evaluation, rate, mfu, remaining === '' ? '' : `${remaining} left`)}`
  if (terminal.inPlace && evaluationLoss === undefined && step < steps) terminal.show(line)
  else terminal.say(line)
}

/** Time that is left after a step, from the wall-clock time between the steps so far; '' after the first and the last. */
export function paceOf(steps: number, now = Date.now): (step: number) => string {
  let first: { step: number; time_ms: number } | undefined
  return (step) => {
    const time_ms = now()
    first ??= { step, time_ms }
    if (step === first.step || step === steps) return ''
    return inTime(((steps - step) * (time_ms - first.time_ms)) / (step - first.step) / 1000)
  }
}

/** `48 s`, `12 min`, `3.4 h`, `2.1 days`. */
function inTime(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`
  return seconds < 36 * 3600 ? `${(seconds / 3600).toFixed(1)} h` : `${(seconds / 86400).toFixed(1)} days`
}
