/** The spans of a run: those of the step under way as they come, and the newest steps whole. Nobody else takes spans from its native step. */
import type { NativeStep } from '../../execute/native.js'
import type { Plan } from '../../plan/plan.js'
import { joinColumns, KEPT_STEPS, NO_SPANS, type Spans, type StepSpans, sinceOrigin } from '../../trace/spans.js'

/** A step that was begun. Its pieces follow each other in the order in which they were taken, which is also that of `StepSpans`. */
export interface Chapter {
  readonly step: number
  /** Counts the steps that were begun: one that was dropped is begun again under its number. */
  readonly attempt: number
  /** From the start of the run. */
  readonly pieces: readonly Spans[]
  readonly rows: number
}

export class SpanBook {
  #under: { step: number; attempt: number; pieces: Spans[]; rows: number } | undefined
  readonly #kept: (Chapter & StepSpans)[] = []
  #attempts = 0
  #origin_ns: number | undefined // when the first step was begun

  constructor(private readonly native: NativeStep) {}

  /** The newest steps that are over, oldest first. */
  get kept(): readonly StepSpans[] {
    return this.#kept
  }
  /** These, and the step under way. */
  chapters(): readonly Chapter[] {
    return this.#under ? [...this.#kept, this.#under] : this.#kept
  }

  /** The op that ended last, of those that were taken; -1 where there is none. */
  line({ entries }: Plan): number {
    const { entry, end_ns } = this.#under?.pieces.at(-1) ?? NO_SPANS
    let last = -1
    for (let i = 0; i < entry.length; i++) if (last < 0 || end_ns[i] > end_ns[last]) last = i
    return last < 0 ? -1 : entries.op[entry[last]]
  }

  begin(step: number): void {
    this.#under = { step, attempt: ++this.#attempts, pieces: [], rows: 0 }
  }
  /** Takes what has been completed since, also while ops run. Gives the step so far. */
  take(): readonly Spans[] {
    const under = this.#under
    if (!under) return []
    const taken = this.native.takeSpans()
    if (taken.entry.length > 0) {
      this.#origin_ns ??= this.native.began_ns
      under.pieces.push(sinceOrigin(taken, this.#origin_ns))
      under.rows += taken.entry.length
    }
    return under.pieces
  }
  /** The step is over, and is kept once it is known to count. */
  end(): { readonly spans: Spans; readonly start_ns: number; readonly duration_ns: number; readonly keep: () => void } {
    const pieces = this.take()
    const under = this.#under
    if (!under) throw new Error('a step ends that was not begun')
    const spans = joinColumns([NO_SPANS, ...pieces])
    const isEmpty = spans.entry.length === 0 // of frees alone, which take no time
    const start_ns = isEmpty ? 0 : Math.round(spans.start_ns.reduce((least, time) => Math.min(least, time), Number.POSITIVE_INFINITY))
    const end_ns = Math.round(spans.end_ns.reduce((last, time) => Math.max(last, time), 0))
    this.#under = undefined
    const { step, attempt, rows } = under
    const keep = (): void => {
      this.#kept.push({ step, attempt, rows, pieces: [spans], spans })
      if (this.#kept.length > KEPT_STEPS) this.#kept.shift()
    }
    return { spans, start_ns, duration_ns: end_ns - start_ns, keep }
  }
  /** Forgets the step under way. Gives what of it had run. */
  drop(): readonly Spans[] {
    const pieces = this.take()
    this.#under = undefined
    return pieces
  }
}
