/** When the steps of a run were: by their spans, or by what the head sums up of them. */
import type { RunHead, SpanColumns } from '../schema.js'

export interface StepTimes {
  readonly step: number
  readonly start_ns: number
  readonly end_ns: number
}

/** From the first span of each to the end of its last, on any rank; in order of time. */
export function stepsIn(spans: SpanColumns): readonly StepTimes[] {
  const known = made.get(spans)
  if (known) return known
  const steps = new Map<number, { step: number; start_ns: number; end_ns: number }>()
  let times = { step: -1, start_ns: 0, end_ns: 0 }
  for (let row = 0; row < spans.op.length; row++) {
    const step = spans.step[row]
    const start_ns = spans.start_ns[row]
    const end_ns = start_ns + spans.duration_ns[row]
    if (step !== times.step) {
      times = steps.get(step) ?? { step, start_ns, end_ns }
      steps.set(step, times)
    }
    if (start_ns < times.start_ns) times.start_ns = start_ns
    if (end_ns > times.end_ns) times.end_ns = end_ns
  }
  const sorted = [...steps.values()].sort((a, b) => a.start_ns - b.start_ns)
  made.set(spans, sorted)
  return sorted
}
const made = new WeakMap<SpanColumns, readonly StepTimes[]>()

/** Those of the head, and by their spans those that it does not have: the step under way, and one that nobody summed up. In order of time. */
export function stepsOf(head: RunHead, spans: SpanColumns): readonly StepTimes[] {
  const summed = head.steps.map(({ step, start_ns, duration_ns }) => ({ step, start_ns, end_ns: start_ns + duration_ns }))
  const known = new Set(summed.map(({ step }) => step))
  return [...summed, ...stepsIn(spans).filter(({ step }) => !known.has(step))].sort((a, b) => a.start_ns - b.start_ns)
}
