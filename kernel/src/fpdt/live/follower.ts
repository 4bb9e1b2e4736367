/**
 * One page that follows one run: a plan, then the spans of each step as they come, and its head when they are out. Knows how much the page
 * has acknowledged, and stops where that is too little; a page that was slow gets the newest spans, not all that it missed.
 */
import type { Comm } from '../../comm/index.js'
import { encodeTable } from '../../trace/codec.js'
import { textOf } from '../../trace/lines.js'
import { CREDIT, type KernelMessage } from '../../trace/live/messages.js'
import { planTables } from '../../trace/plan-tables.js'
import type { RunHead } from '../../trace/schema.js'
import { joinColumns, type Spans, spanTable } from '../../trace/spans.js'
import type { Chapter } from '../run/span-book.js'
import { type FollowedRun, statusOf } from './followed-run.js'

/** Of a message of spans, about 200 KB. */
export const MOST_ROWS = 4096
/** Rows that a page is behind at most: as many as a full credit carries. */
export const MOST_BEHIND = CREDIT * MOST_ROWS

/** Without the numbers that are added to each message of a followed run. */
type Body<Message = Extract<KernelMessage, { seq: number }>> = Message extends unknown ? Omit<Message, 'run_id' | 'seq'> : never

export class Follower {
  #sent = 0
  #acknowledged = 0
  #attempt = 0 // of the chapter whose spans are sent
  #rows = 0 // of it that were sent, or left out
  #told: { readonly steps: number; readonly state: string; readonly mfu: number | null } // of the head that was sent last

  /** Sends the plan. */
  constructor(
    readonly run: FollowedRun,
    private readonly comm: Comm,
  ) {
    const { head, plan, program } = run
    const tables = planTables(plan)
    const lines = (list: readonly string[]): Uint8Array => new TextEncoder().encode(textOf(list))
    const predicted = run.predicted()
    const buffers = [
      lines(tables.listing),
      lines(tables.names),
      encodeTable('buffers', tables.buffers),
      encodeTable('uses', tables.uses),
      encodeTable('waits', tables.waits),
      ...(predicted ? [encodeTable('spans', spanTable(program, [{ step: 1, spans: predicted }]))] : []),
    ]
    this.#told = toldOf(head)
    this.#send({ op: 'plan', head, predicted: predicted !== null }, buffers)
  }

  acknowledge(seq: number): void {
    this.#acknowledged = Math.max(this.#acknowledged, Math.min(seq, this.#sent))
  }
  /** Sends what there is next: the head of steps whose spans are out or passed over, else spans. Says whether there is more that could be sent now. */
  send(): boolean {
    if (!this.#hasCredit) return false
    const next = this.#next()
    if (this.#isHeadNew(next)) this.#sendHead(next)
    else if (next) this.#sendSpans(next)
    return this.#hasCredit && !this.isDone
  }
  /** All that was to be said is said, or the page does not listen. */
  get isDone(): boolean {
    if (this.comm.isClosed) return true
    const next = this.#next()
    return !next && !this.#isHeadNew(next)
  }

  get #hasCredit(): boolean {
    return this.#sent - this.#acknowledged < CREDIT
  }
  #isHeadNew(next: Chapter | undefined): boolean {
    if (this.#stepsBefore(next) > this.#told.steps) return true
    const { state } = toldOf(this.run.head)
    return !next && ((state !== this.#told.state && state !== 'running') || this.#isRestated)
  }
  /** Of the steps that are over, those with no span left to be sent. */
  #stepsBefore(next: Chapter | undefined): number {
    const { steps } = this.run.head
    const first = next ? steps.findLastIndex(({ step }) => step < next.step) + 1 : steps.length
    return Math.max(first, this.#told.steps)
  }
  /** The MFU of all steps was stated anew. */
  get #isRestated(): boolean {
    const { steps, mfu } = this.#told
    return steps > 0 && this.run.head.steps[steps - 1].mfu !== mfu
  }

  /** The oldest step with spans that were not sent, after those are passed over that the page is too far behind for. */
  #next(): Chapter | undefined {
    this.run.book.take()
    const chapters = this.run.book.chapters().filter(({ attempt }) => attempt >= this.#attempt)
    const unsent = ({ attempt, rows }: Chapter): number => rows - (attempt === this.#attempt ? this.#rows : 0)
    let behind = chapters.reduce((sum, chapter) => sum + unsent(chapter), 0)
    for (const chapter of chapters) {
      const left = unsent(chapter)
      if (left === 0) continue
      const skipped = Math.min(left, Math.max(0, behind - MOST_BEHIND))
      if (skipped > 0) {
        this.#rows = chapter.rows - left + skipped
        this.#attempt = chapter.attempt
        behind -= skipped
      }
      if (skipped < left) return chapter
    }
    return undefined
  }
  #sendSpans(chapter: Chapter): void {
    const from = chapter.attempt === this.#attempt ? this.#rows : 0
    const to = Math.min(chapter.rows, from + MOST_ROWS)
    const { step, attempt, rows: of } = chapter
    this.#attempt = attempt
    this.#rows = to
    const table = encodeTable('spans', spanTable(this.run.program, [{ step, spans: rowsOf(chapter, from, to) }]))
    this.#send({ op: 'spans', step, attempt, of, status: statusOf(this.run) }, [table])
  }
  #sendHead(next: Chapter | undefined): void {
    const { head } = this.run
    const all = head.steps.slice(0, this.#stepsBefore(next))
    const steps = this.#isRestated ? all : all.slice(this.#told.steps)
    this.#told = toldOf({ ...head, steps: all })
    this.#send({ op: 'step', head: { ...head, steps }, status: statusOf(this.run) }, [])
  }
  #send(body: Body, buffers: readonly Uint8Array[]): void {
    this.comm.send({ ...body, run_id: this.run.head.run_id, seq: ++this.#sent }, { buffers })
  }
}

function toldOf({ steps, state }: Pick<RunHead, 'steps' | 'state'>) {
  return { steps: steps.length, state, mfu: steps.at(-1)?.mfu ?? null }
}

/** Some rows of a step, in the order in which they were taken. */
function rowsOf({ pieces }: Chapter, from: number, to: number): Spans {
  const parts: Spans[] = []
  let begin = 0
  for (const piece of pieces) {
    const end = begin + piece.entry.length
    if (end > from && begin < to) {
      const cut = [Math.max(0, from - begin), Math.min(end, to) - begin] as const
      const { rank, entry, start_ns, end_ns } = piece
      parts.push({ rank: rank.subarray(...cut), entry: entry.subarray(...cut), start_ns: start_ns.subarray(...cut), end_ns: end_ns.subarray(...cut) })
    }
    begin = end
  }
  return joinColumns(parts)
}
