/** The steps that a run's spans hold, and which of them is under way at an instant. */
import type { RunTables, SpanColumns } from '../schema.js'

export interface StepTimes {
  readonly step: number
  /** From its first span to the end of its last, on any rank. */
  readonly start_ns: number
  readonly end_ns: number
}

/** In order of time. */
export function stepsIn(spans: SpanColumns): readonly StepTimes[] {
  const known = made.get(spans)
  if (known) return known
  const steps = new Map<number, { step: number; start_ns: number; end_ns: number }>()
  for (let row = 0; row < spans.op.length; row++) {
    const step = spans.step[row]
    const start_ns = spans.start_ns[row]
    const end_ns = start_ns + spans.duration_ns[row]
    const times = steps.get(step)
    if (times) {
      times.start_ns = Math.min(times.start_ns, start_ns)
      times.end_ns = Math.max(times.end_ns, end_ns)
    } else steps.set(step, { step, start_ns, end_ns })
  }
  const sorted = [...steps.values()].sort((a, b) => a.start_ns - b.start_ns)
  made.set(spans, sorted)
  return sorted
}
const made = new WeakMap<SpanColumns, readonly StepTimes[]>()

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
