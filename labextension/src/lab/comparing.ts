/** Comparing the run of a session with another: which there are, and where the other lies on this one's axis of time. */
import { type Comparison, choiceNames, compareRuns, type Extent, predictedRun, type Run } from 'fpdt/trace'
import type { RunPanel } from './panel.js'
import { drawnRuns } from './registry.js'
import type { Session, Shown } from './session.js'

/** A run to compare with. */
export interface Comparable {
  readonly words: string
  readonly run: Run
  /** Where newer data of it come from; null: it does not change. */
  readonly from: RunPanel | null
}

/** The prediction of this run, this run itself (another step of it), and the others that are drawn on the page. */
export function comparables({ shown }: Session): Comparable[] {
  const { run } = shown
  const predicted = predictedRun(run)
  const others = new Map<string, Omit<Comparable, 'words'>>()
  for (const panel of drawnRuns()) {
    const other = panel.session.shown.run
    // One run may be drawn twice: as an output and in a tab.
    if (other.head.run_id === run.head.run_id && other.head.origin === run.head.origin) continue
    others.set(`${other.head.run_id} ${other.head.origin}`, { run: other, from: panel })
  }
  const found = [...others.values()]
  const names = choiceNames(
    run,
    found.map((one) => one.run),
  )
  const listed = found.map((one, i): Comparable => ({ ...one, words: names[i] }))
  return [
    ...(predicted ? [{ words: 'what was predicted of this run', run: predicted, from: null }] : []),
    ...(run.head.kept.steps.length > 1 ? [{ words: 'another step of this run', run, from: null }] : []),
    ...listed,
  ]
}

/** Shows the other run below this one, both from the beginning of a step; null ends the comparison. */
export function compareWith(session: Session, other: Run | null): void {
  const { shown } = session
  if (other === null) {
    session.change({ other: null, steps: { a: null, b: null } })
    return
  }
  const kept = shown.run.head.kept.steps
  const steps = { a: kept.at(-1) ?? null, b: other === shown.run ? (kept.at(-2) ?? null) : null }
  session.change({ other, steps, views: new Set([...shown.views, 'compare' as const]) })
  showSteps(session)
}

/** Both steps from their beginning to the end of the longer one. */
export function showSteps(session: Session): void {
  const { shown } = session
  const comparison = comparisonOf(shown)
  if (!comparison) return
  const { a, b } = comparison
  const reach = reachOf(shown)
  const start_ns = Math.max(reach.start_ns, a.step.start_ns)
  const end_ns = Math.min(reach.end_ns, a.step.start_ns + Math.max(a.step.duration_ns, b.step.duration_ns))
  if (end_ns > start_ns) session.change({ window: { ...shown.window, start_ns, end_ns } })
}

const made = new WeakMap<Run, { readonly key: readonly unknown[]; readonly comparison: Comparison | null }>()

/** What is compared now; made once for two runs, their steps and a rank. */
export function comparisonOf({ run, other, steps, window }: Shown): Comparison | null {
  if (!other) return null
  const key = [run, steps.a, steps.b, window.rank]
  const known = made.get(other)
  if (known && key.every((part, i) => part === known.key[i])) return known.comparison
  const { a, b } = steps
  const comparison = compareRuns(run, other, { rank: window.rank, ...(a === null ? {} : { stepA: a }), ...(b === null ? {} : { stepB: b }) })
  made.set(other, { key, comparison })
  return comparison
}

/** What the window may show: the run, and the other run where it lies. */
export function reachOf(shown: Shown): Extent {
  const { run, other } = shown
  const offset_ns = comparisonOf(shown)?.offset_ns
  if (!other || offset_ns === undefined) return run.extent
  return {
    start_ns: Math.min(run.extent.start_ns, other.extent.start_ns + offset_ns),
    end_ns: Math.max(run.extent.end_ns, other.extent.end_ns + offset_ns),
  }
}
