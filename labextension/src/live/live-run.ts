/**
 * One run as it arrives: spans are added as they come, memory is derived from them, and a `Run` is made of both when one is
 * drawn, as often as the page can afford it. What a saved output of the same run holds is put to it, so that both agree.
 *
 * Steps are kept whole, the newest ones; rows lie in order of their steps.
 */
import {
  joinColumns,
  type MemoryColumns,
  memoryOf,
  openRun,
  peaksOf,
  type Run,
  type RunHead,
  type RunTables,
  type SpanColumns,
  type StepSummary,
  selectRows,
} from 'fpdt/trace'
import type { RunSink } from './client.js'
import { emptySpans, GrowingSpans } from './growing.js'
import type { Plan } from './incoming.js'

export interface Limits {
  /** Steps that are kept, as far as they have no more spans than these. The step under way is always kept. */
  readonly steps: number
  readonly spans: number
  /** Pictures a second. */
  readonly frames: number
}
export const LIMITS: Limits = { steps: 4, spans: 200_000, frames: 20 }

/** Of one step; beyond them its beginning is given up. */
const MOST_OF_A_STEP = 1_000_000
/** Memory is counted for every rank up to the last. */
const MOST_RANKS = 1024
/** Least time between two times that memory is derived. */
const MEMORY_MS = 200
/** A picture may cost one part in so many of the time; so may memory. */
const SHARE = 5

export class LiveRun implements RunSink {
  readonly #spans = new GrowingSpans()
  #head: RunHead | null = null
  #plan: Plan | null = null
  readonly #steps = new Map<number, StepSummary>()
  /** By step: which attempt at it the rows are of, and how many spans it has. */
  readonly #known = new Map<number, { attempt: number; of: number }>()
  /** Steps that came since the last plan; rows of others may be replaced. */
  #fresh = new Set<number>()
  #firstOfLastStep = 0
  #version = 0
  #memory: {
    version: number
    rows: number
    finished: number
    past: MemoryColumns
    all: MemoryColumns
    peaks: RunHead['peaks']
    cost_ms: number
    at_ms: number
  } | null = null
  #run: Run | null = null
  /** Whether something came since `#run` was made. */
  #isBehind = false
  #cost_ms = 0
  #arrived = 0
  #failure = ''
  #told_ms = Number.NEGATIVE_INFINITY
  #timer: ReturnType<typeof setTimeout> | undefined
  readonly #listeners = new Set<() => void>()

  constructor(private readonly limits: () => Limits = () => LIMITS) {}

  /** As far as it has come; null before the plan. It is made when it is asked for. */
  get run(): Run | null {
    if (this.#isBehind && !this.#failure) this.#make()
    return this.#run
  }
  /** Spans that have come, all in all. */
  get arrived(): number {
    return this.#arrived
  }
  /** The first step of which it has spans. */
  get oldest(): number | null {
    return this.#spans.from(0).step[0] ?? null
  }
  /** Why nothing more can be drawn of it, in words. */
  get failure(): string {
    return this.#failure
  }
  /** When `run`, `arrived` or `failure` is another, as often as the limits say and the making of runs allows. */
  onChange(listener: () => void): { dispose(): void } {
    this.#listeners.add(listener)
    return { dispose: () => this.#listeners.delete(listener) }
  }

  dispose(): void {
    clearTimeout(this.#timer)
    this.#listeners.clear()
  }

  // ---- what arrives --------------------------------------------------------------------------------------------------

  plan(head: RunHead, plan: Plan): void {
    const none = emptySpans()
    openRun({ head, ...plan, spans: none, memory: memoryOf(plan, none) }) // refuses what is not to be used
    if (this.#plan && this.#plan.listing.length !== plan.listing.length) this.#replace(none)
    this.#plan = plan // whole, as a saved one need not be
    this.#version++
    this.#fresh = new Set()
    this.#takeHead(head)
    this.#changed()
  }

  spans(step: number, attempt: number, of: number, spans: SpanColumns): void {
    const ops = this.#plan?.listing.length ?? 0
    const strange = spans.op.find((op) => op >= ops)
    if (strange !== undefined) throw new Error(`a span is of op ${strange}, and there are ${ops}`)
    const rank = spans.rank.find((rank) => rank >= MOST_RANKS)
    if (rank !== undefined) throw new Error(`a span is of rank ${rank}, and a run in one process has at most ${MOST_RANKS}`)
    const known = this.#known.get(step)
    if (known?.attempt !== attempt || !this.#fresh.has(step)) this.#dropFrom(step)
    if (!this.#known.has(step)) {
      this.#firstOfLastStep = this.#spans.length
      this.#trim(step)
    }
    this.#fresh.add(step)
    this.#known.set(step, { attempt, of })
    this.#spans.append(spans)
    this.#arrived += spans.op.length
    if (this.#spans.length - this.#firstOfLastStep > MOST_OF_A_STEP) this.#replace(this.#spans.from(this.#spans.length - MOST_OF_A_STEP / 2))
    this.#changed()
  }

  step(head: RunHead): void {
    this.#takeHead(head)
    this.#changed()
  }

  lost(): void {
    if (!this.#head) return
    this.#head = { ...this.#head, state: 'lost' }
    this.#changed()
  }

  /** What a saved output says of the run: its finished steps, where fewer of their spans have come. One that was saved before the first step foretells it. */
  saved(tables: RunTables): void {
    if (tables.head.origin === 'predicted') return
    const mine = countsOf(this.#spans.from(0))
    const theirs = countsOf(tables.spans)
    const newest = [...new Set([...mine.keys(), ...theirs.keys()])].sort((a, b) => b - a).slice(0, this.limits().steps)
    const isOver = new Set(tables.head.steps.map(({ step }) => step))
    // What is on its way comes behind what has come: a step of which spans may still arrive is left to them.
    const onItsWay = Math.max(...this.#fresh)
    const isMissing = (step: number): boolean => (theirs.get(step) ?? 0) > (mine.get(step) ?? 0)
    const better = new Set(newest.filter((step) => isOver.has(step) && (this.#fresh.size === 0 || step < onItsWay) && isMissing(step)))
    this.#plan ??= tables
    for (const step of better) this.#known.set(step, { attempt: this.#known.get(step)?.attempt ?? -1, of: theirs.get(step) as number })
    if (better.size > 0) {
      const rows = joinColumns([selectRows(tables.spans, (row) => better.has(tables.spans.step[row])), this.#without(better)])
      this.#replace(inOrderOfSteps(rows))
    }
    if (!this.#head || tables.head.steps.length > this.#steps.size) this.#takeHead(tables.head)
    this.#changed()
  }

  #takeHead(head: RunHead): void {
    for (const step of head.steps) this.#steps.set(step.step, step)
    this.#head = head
  }

  // ---- rows ----------------------------------------------------------------------------------------------------------

  /** Rows of a step that begins anew, and of what is later than it. */
  #dropFrom(step: number): void {
    for (const known of [...this.#known.keys()]) if (known >= step) this.#known.delete(known)
    const rows = this.#spans.from(0)
    if (rows.step.some((of) => of >= step)) this.#replace(selectRows(rows, (row) => rows.step[row] < step))
  }

  /** Room for a step that begins: the oldest go. */
  #trim(next: number): void {
    let room = this.limits().spans
    const rows = this.#spans.from(0)
    const counts = [...countsOf(rows)].filter(([step]) => step < next).sort(([a], [b]) => b - a)
    let from = next
    for (const [step, count] of counts.slice(0, Math.max(0, this.limits().steps - 1))) {
      room -= count
      if (room < 0) break
      from = step
    }
    if (counts.some(([step]) => step < from)) this.#replace(selectRows(rows, (row) => rows.step[row] >= from))
  }

  #without(steps: ReadonlySet<number>): SpanColumns {
    const rows = this.#spans.from(0)
    return selectRows(rows, (row) => !steps.has(rows.step[row]))
  }

  #replace(rows: SpanColumns): void {
    this.#spans.replace(rows)
    const last = rows.step.at(-1)
    this.#firstOfLastStep = last === undefined ? 0 : rows.step.indexOf(last)
    this.#version++
  }

  // ---- pictures ------------------------------------------------------------------------------------------------------

  #changed(): void {
    this.#isBehind = true
    this.#tellIn(0)
  }

  #tellIn(least_ms: number): void {
    if (this.#timer !== undefined || this.#listeners.size === 0) return
    const pace_ms = this.#told_ms + Math.max(1000 / this.limits().frames, SHARE * this.#cost_ms) - performance.now()
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined
        this.#told_ms = performance.now()
        for (const listener of [...this.#listeners]) listener()
      },
      Math.max(least_ms, pace_ms),
    )
  }

  #make(): void {
    const begin_ms = performance.now()
    this.#isBehind = false
    try {
      const tables = this.#tables()
      if (tables) this.#run = openRun(tables)
    } catch (error) {
      this.#failure = error instanceof Error ? error.message : String(error)
      this.#tellIn(0)
    }
    this.#cost_ms = performance.now() - begin_ms
  }

  #tables(): RunTables | null {
    if (!this.#plan || !this.#head) return null
    const spans = this.#spans.from(0)
    const { all, peaks } = this.#memoryOf(this.#plan, spans)
    const counts = countsOf(spans)
    const steps = [...this.#steps.values()].sort((a, b) => a.step - b.step)
    const of = [...this.#known].reduce((sum, [step, known]) => sum + Math.max(known.of, counts.get(step) ?? 0), 0)
    const reason = spans.op.length < of ? `this page keeps the newest steps of a run that it follows, ${this.limits().steps} at most` : 'everything'
    const head = { ...this.#head, peaks, steps, kept: { spans: spans.op.length, of, steps: [...counts.keys()], reason } }
    return { ...this.#plan, head, spans, memory: all }
  }

  /** Finished steps are derived once, the step under way again and again, but not for every picture. */
  #memoryOf(plan: Plan, spans: SpanColumns): { all: MemoryColumns; peaks: RunHead['peaks'] } {
    const now_ms = performance.now()
    const before = this.#memory
    const finished = this.#firstOfLastStep
    const isSame = before?.version === this.#version && before.finished === finished
    if (before && isSame && before.rows === spans.op.length) return before
    const due_ms = before && isSame ? before.at_ms + Math.max(MEMORY_MS, SHARE * before.cost_ms) : now_ms
    if (before && now_ms < due_ms) {
      // It lags behind the spans; should nothing more come, the run is told of once more.
      this.#isBehind = true
      this.#tellIn(due_ms - now_ms)
      return before
    }
    const part = (from: number, to: number): SpanColumns => this.#rows(spans, from, to)
    const past = before && isSame ? before.past : memoryOf(plan, part(0, finished))
    const current = memoryOf(plan, part(finished, spans.op.length))
    // What stands between steps began with the first of them.
    const all = past.op.length === 0 ? current : joinColumns([past, selectRows(current, (row) => plan.buffers.persistent[current.buffer[row]] === 0)])
    const peaks = peaksOf(plan, all, (op) => (op < 0 ? 'before the first op' : (plan.listing[op] ?? '').trim()))
    const at_ms = performance.now()
    this.#memory = { version: this.#version, rows: spans.op.length, finished, past, all, peaks, cost_ms: at_ms - now_ms, at_ms }
    return this.#memory
  }

  #rows(spans: SpanColumns, from: number, to: number): SpanColumns {
    return Object.fromEntries(Object.entries(spans).map(([name, column]) => [name, column.subarray(from, to)])) as unknown as SpanColumns
  }
}

function countsOf(spans: SpanColumns): Map<number, number> {
  const counts = new Map<number, number>()
  for (const step of spans.step) counts.set(step, (counts.get(step) ?? 0) + 1)
  return counts
}

function inOrderOfSteps(spans: SpanColumns): SpanColumns {
  const steps = [...countsOf(spans).keys()].sort((a, b) => a - b)
  return joinColumns(steps.map((step) => selectRows(spans, (row) => spans.step[row] === step)))
}
