/** The prediction that a run carries, as a run of its own: what draws, asks and compares runs takes it like any other. */

import { memoryOf, peaksOf } from '../memory.js'
import { openRun, type Run } from '../model/run.js'
import type { RunHead, SpanColumns, StepSummary } from '../schema.js'
import { accountsOf } from './accounts.js'

const made = new WeakMap<Run, Run>()

/** Null where the run has no prediction, or is one. Its one step begins at 0. Made once for a run. */
export function predictedRun(run: Run): Run | null {
  const known = made.get(run)
  if (known) return known
  const prediction = predictionOf(run)
  if (prediction) made.set(run, prediction)
  return prediction
}

function predictionOf(run: Run): Run | null {
  const { head, predicted } = run
  if (predicted === null || predicted.op.length === 0) return null
  const memory = memoryOf(run, predicted)
  const words = (op: number): string => run.listing[op]?.trim() || 'before the first op'
  const kept: RunHead['kept'] = {
    spans: predicted.op.length,
    of: predicted.op.length,
    steps: [predicted.step[0]],
    reason: 'the prediction as it was saved with the run',
  }
  return openRun({
    ...run,
    head: {
      ...head,
      origin: 'predicted',
      state: 'planned',
      message: '',
      tiers: head.tiers.map((tier) => ({ ...tier, allocated_bytes: null, measured_bytes: null })),
      peaks: peaksOf(run, memory, words),
      steps: [predictedStep(run, predicted)],
      kept,
    },
    spans: predicted,
    memory,
    predicted: null,
  })
}

/** Tokens and operations are those of the measured steps: the plan is the same. */
function predictedStep(run: Run, spans: SpanColumns): StepSummary {
  const { head } = run
  const end_ns = spans.start_ns.reduce((last, start_ns, row) => Math.max(last, start_ns + spans.duration_ns[row]), 0)
  // Spans may have been left out to fit a notebook; the head knows how long it takes.
  const duration_ns = Math.max(end_ns, Number.isFinite(head.predicted_ns) ? Number(head.predicted_ns) : 0)
  const measured = head.steps.at(-1)
  const seconds = duration_ns / 1e9
  const step = { step: spans.step[0], start_ns: 0, duration_ns }
  return {
    ...step,
    loss: null,
    tokens: measured?.tokens ?? 0,
    tokens_per_second: (measured?.tokens ?? 0) / seconds,
    model_flops: measured?.model_flops ?? 0,
    mfu: measured?.mfu ? (measured.mfu * measured.duration_ns) / duration_ns : null,
    mfu_formula: measured?.mfu_formula ?? '',
    gradient_norm: null,
    // Of a prediction that was cut nobody knows what the rest waited for.
    accounts: duration_ns > end_ns ? [] : accountsOf({ ...run, spans }, step, head.device.backend),
  }
}
