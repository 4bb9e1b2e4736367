/** What pages are told of a run: a training run, or a schedule of the user's own. */
import type { Plan } from '../../plan/plan.js'
import type { Program } from '../../plan/program.js'
import type { RunStatus } from '../../trace/live/messages.js'
import type { RunHead } from '../../trace/schema.js'
import type { Spans } from '../../trace/spans.js'
import type { RunControl } from '../run/control.js'
import type { Peek } from '../run/peek.js'
import type { SpanBook } from '../run/span-book.js'

export interface FollowedRun {
  readonly head: RunHead
  readonly plan: Plan
  readonly program: Program
  readonly book: SpanBook
  readonly control: RunControl
  /** Spans of a step as the plan predicts them; null where that is not known without more ado. */
  readonly predicted: () => Spans | null
  /** Throws FpdtError `not_resident`, `config`. */
  readonly peek: (name: string, rank: number) => Peek
}

export function statusOf({ head, plan, book, control }: FollowedRun): RunStatus {
  const line = control.activity === 'running' ? book.line(plan) : control.line
  const last = head.steps.at(-1)
  return {
    run_id: head.run_id,
    title: head.title,
    state: head.state,
    activity: control.activity,
    step: book.chapters().at(-1)?.step ?? 0,
    line,
    words: plan.words(line),
    tokens_per_second: last?.tokens_per_second || null,
    device_bytes: head.tiers.find(({ tier }) => tier === 'device')?.measured_bytes ?? null,
    can: control.can,
  }
}
