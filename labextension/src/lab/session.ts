/**
 * What is shown of one run, in one place: its views read it, change it through `change`, and are told. So a click in one view is
 * a selection in all, and one cursor runs through every axis of time.
 */
import {
  type Extent,
  homeOf,
  instant,
  type Phase,
  type Run,
  sameTarget,
  shown as showing,
  stackColumns,
  stackFor,
  type Target,
  type Theme,
  type View,
} from 'fpdt/trace'
import { VIEWS, type ViewName } from './view-names.js'

export { VIEWS, type ViewName }

export interface Shown {
  readonly run: Run
  /** The run it is compared with, aligned at the start of a step. */
  readonly other: Run | null
  /** The steps of the two that begin together; null: the newest of which ops are in the picture. */
  readonly steps: { readonly a: number | null; readonly b: number | null }
  /** Whether what was predicted of the run lies below its lanes. */
  readonly predicted: boolean
  /** Whether arrows show what the longest waits of compute in view waited for. */
  readonly stalls: boolean
  /** Time in view, and the rank whose memory and chunks are shown. */
  readonly window: View
  /** Layer and phase of the chunk views. */
  readonly layer: number
  readonly phase: Phase
  /** The instant that is kept: chunk and where views show it; null: they show the pointer's, or one of the window that has something to show. */
  readonly cursor_ns: number | null
  /** The instant under the pointer. */
  readonly pointer_ns: number | null
  readonly hover: Target | null
  readonly pinned: Target | null
  readonly views: ReadonlySet<ViewName>
  /** Larger type, one view at a time, arrow keys step from op to op. */
  readonly presentation: boolean
  /** A window that ends where the run ends moves on with it. */
  readonly follow: boolean
  readonly theme: Theme
  /** CSS pixels per unit of drawing: more than 1 in presentation mode. Canvas views are drawn in units and need not know it. */
  readonly scale: number
}
/** `size`: the width of the view's node. */
export type Changed = ReadonlySet<keyof Shown | 'size'>

export interface KeyWords {
  /** Values of `KeyboardEvent.key`; any of them does it. */
  readonly keys: readonly string[]
  readonly words: string
}

/** A view of a session: draws into its node, and redraws what a change concerns. */
export interface RunView {
  readonly name: ViewName
  readonly node: HTMLElement
  /** At most once a frame, and only while the node can be seen. `changed` holds every key the first time. */
  update(shown: Shown, changed: Changed): void
  /** Keys that the view itself knows (the panel knows those of all views); true when it was one of them. */
  key?(event: KeyboardEvent): boolean
  /** What those keys do, for the list of keys. */
  readonly keys?: readonly KeyWords[]
  dispose(): void
}

export class Session {
  #shown: Shown
  readonly #listeners = new Set<(shown: Shown, changed: Changed) => void>()

  constructor(shown: Shown) {
    this.#shown = shown
  }

  get shown(): Shown {
    return this.#shown
  }

  /** The instant that views without an axis of time show. */
  get instant_ns(): number {
    const { pointer_ns, cursor_ns, run, window } = this.#shown
    return pointer_ns ?? cursor_ns ?? restingInstant(run, window)
  }

  /** An instant in words, as exact as the window shows it. */
  instantWords(time_ns = this.instant_ns): string {
    const { start_ns, end_ns } = this.#shown.window
    return instant(time_ns, end_ns - start_ns)
  }

  /** The step of the place that the reader went to or picked; null while the picture moves with the run, and nothing of a time is picked. */
  get placeStep(): number | null {
    const { run, window, follow, pinned } = this.#shown
    const { extent, steps, spans } = run
    const isMoving = isSameTime(window, extent) || isSameTime(window, homeOf(run))
    const stepAt = (time_ns: number): number[] =>
      steps
        .filter(({ end_ns }) => end_ns > time_ns)
        .slice(0, 1)
        .map(({ step }) => step)
    const places = [
      ...(isMoving || (follow && window.end_ns === extent.end_ns) ? [] : stepAt(window.start_ns)),
      ...(pinned?.kind === 'span' ? [spans.step[pinned.row]] : pinned?.kind === 'instant' ? stepAt(pinned.time_ns) : []),
    ]
    return places.length > 0 ? Math.min(...places) : null
  }

  change(patch: Partial<Shown>): void {
    const changed = new Set((Object.keys(patch) as (keyof Shown)[]).filter((key) => !same(key, patch, this.#shown)))
    if (changed.size === 0) return
    this.#shown = { ...this.#shown, ...patch }
    for (const listener of [...this.#listeners]) listener(this.#shown, changed)
  }

  /** Takes newer data of the same run. The window stays; one that showed what is shown at first, or the whole run, does so of the longer run. */
  setRun(run: Run): void {
    const { run: before, window, follow, hover, pinned } = this.#shown
    const rank = run.ranks.includes(window.rank) ? window.rank : firstView(run).rank
    const later = follow && window.end_ns === before.extent.end_ns ? run.extent.end_ns - before.extent.end_ns : 0
    const next = isSameTime(window, homeOf(before))
      ? homeOf(run)
      : isSameTime(window, before.extent)
        ? run.extent
        : showing(window, run.extent, window.start_ns + later, window.end_ns + later)
    this.change({
      run,
      window: { ...next, rank },
      hover: inNewer(before, run, hover),
      pinned: inNewer(before, run, pinned),
    })
  }

  onChange(listener: (shown: Shown, changed: Changed) => void): { dispose(): void } {
    this.#listeners.add(listener)
    return { dispose: () => this.#listeners.delete(listener) }
  }
}

/** What is shown at first, with the memory of the rank that has most on the device. */
export function firstView(run: Run): View {
  const fullest = run.stacks.reduce(
    (best, stack) => (best && (best.tier !== stack.tier || best.totals[best.peak] >= stack.totals[stack.peak]) ? best : stack),
    run.stacks[0],
  )
  return { ...homeOf(run), rank: fullest?.rank ?? run.ranks[0] ?? 0 }
}

function isSameTime(a: Extent, b: Extent): boolean {
  return a.start_ns === b.start_ns && a.end_ns === b.end_ns
}

/** While a run goes on, where it is; afterwards, where the device holds most in the window: at the end of a step the chunks are gone. */
function restingInstant(run: Run, window: View): number {
  const stack = run.head.state === 'running' ? undefined : stackFor(run, window.rank, 'device')
  if (!stack) return window.end_ns
  const [level] = stackColumns(stack, window.start_ns, window.end_ns, 1).high
  return Math.max(window.start_ns, stack.times_ns[level - 1] ?? window.start_ns)
}

function same(key: keyof Shown, a: Partial<Shown>, b: Shown): boolean {
  if (key === 'hover' || key === 'pinned') return sameTarget(a[key] ?? null, b[key])
  return a[key] === b[key]
}

/** The same target in newer data: rows of spans may have moved. */
function inNewer(before: Run, after: Run, target: Target | null): Target | null {
  if (target?.kind !== 'span') return target
  const { row } = target
  const old = before.spans
  if (after.spans.op[row] === old.op[row] && after.spans.rank[row] === old.rank[row] && after.spans.step[row] === old.step[row]) return target
  const found = after.spans.op.findIndex((op, i) => op === old.op[row] && after.spans.rank[i] === old.rank[row] && after.spans.step[i] === old.step[row])
  return found < 0 ? null : { kind: 'span', row: found }
}
