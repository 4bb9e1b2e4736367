/** When a step of a run began, which is under way at an instant, and where in it the spans begin. */
import { type StepTimes, stepsIn } from '../model/steps.js'
import type { RunTables, SpanColumns } from '../schema.js'

/** When a step began, by the head or else by its spans; 0 where neither knows it. */
export function stepStart({ head, spans }: Pick<RunTables, 'head' | 'spans'>, step: number): number {
  const known = starts.get(head) ?? new Map([...stepsIn(spans), ...[...head.steps].reverse()].map(({ step, start_ns }) => [step, start_ns]))
  starts.set(head, known)
  return known.get(step) ?? 0
}
const starts = new WeakMap<RunTables['head'], ReadonlyMap<number, number>>()

/** The step under way at an instant, or the last before it; the first where there is none before; null for a run without spans. */
export function stepAt(spans: SpanColumns, time_ns: number): StepTimes | null {
  const steps = stepsIn(spans)
  return steps.findLast(({ start_ns }) => start_ns <= time_ns) ?? steps[0] ?? null
}

/** The first op of a step of which there is a span on a rank: 0 or little more, unless the spans begin in the middle of the step. */
export function firstOpOf(spans: SpanColumns, step: number, rank: number): number {
  const known = firsts.get(spans) ?? new Map<number, Map<number, number>>()
  if (!firsts.has(spans)) {
    for (let row = 0; row < spans.op.length; row++) {
      const ranks = known.get(spans.step[row]) ?? new Map<number, number>()
      known.set(spans.step[row], ranks)
      const first = ranks.get(spans.rank[row])
      if (first === undefined || spans.op[row] < first) ranks.set(spans.rank[row], spans.op[row])
    }
    firsts.set(spans, known)
  }
  return known.get(step)?.get(rank) ?? 0
}
const firsts = new WeakMap<SpanColumns, Map<number, Map<number, number>>>()
