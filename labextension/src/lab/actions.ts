/** What keys, buttons and commands do to a session. */
import { panned, type Run, type Target, zoomed } from 'fpdt/trace'
import { reachOf } from './comparing.js'
import type { Session } from './session.js'

export const ZOOM = 0.7
export const PAN = 0.2

/** Zooms about an instant, or about the middle; false when the window cannot change, so that the page may scroll instead. */
export function zoom(session: Session, factor: number, about_ns?: number): boolean {
  const { window } = session.shown
  const about = Math.min(Math.max(about_ns ?? (window.start_ns + window.end_ns) / 2, window.start_ns), window.end_ns)
  const next = zoomed(window, reachOf(session.shown), factor, about)
  if (next.start_ns === window.start_ns && next.end_ns === window.end_ns) return false
  session.change({ window: next })
  return true
}

/** Moves the window by a part of its length. */
export function pan(session: Session, share: number): void {
  const { window } = session.shown
  session.change({ window: panned(window, reachOf(session.shown), share * (window.end_ns - window.start_ns)) })
}

export function showWholeRun(session: Session): void {
  const { window } = session.shown
  session.change({ window: { ...reachOf(session.shown), rank: window.rank } })
}

/** Keeps the instant that is shown; lets go of the one that is kept already. */
export function keepInstant(session: Session): void {
  const { cursor_ns, pointer_ns } = session.shown
  session.change({ cursor_ns: cursor_ns !== null && (pointer_ns === null || pointer_ns === cursor_ns) ? null : session.instant_ns })
}

/** Pins the next or the previous op of the pinned op's lane, and brings it into view. */
export function stepOp(session: Session, by: 1 | -1): void {
  const { run, window, pinned } = session.shown
  const row = pinned?.kind === 'span' ? pinned.row : -1
  const lane = laneOf(run, row) ?? run.lanes.find(({ rank }) => rank === window.rank) ?? run.lanes[0]
  if (!lane) return
  const at = row < 0 ? lane.rows.findIndex((candidate) => run.spans.start_ns[candidate] >= window.start_ns) : lane.rows.indexOf(row) + by
  showTarget(session, { kind: 'span', row: lane.rows[Math.min(Math.max(at, 0), lane.rows.length - 1)] })
}

/** Pins a target, and moves the window so that its time is in view. */
export function showTarget(session: Session, target: Target): void {
  const { run, window } = session.shown
  const time = timeOf(run, target)
  const outside = time !== null && (time.start_ns < window.start_ns || time.end_ns > window.end_ns)
  const middle = (window.start_ns + window.end_ns) / 2
  session.change({ pinned: target, ...(outside ? { window: panned(window, run.extent, (time.start_ns + time.end_ns) / 2 - middle) } : {}) })
}

/** Shows the next or the previous step, whole. */
export function stepStep(session: Session, by: 1 | -1): void {
  const { run, window } = session.shown
  const { steps } = run.head
  const middle = (window.start_ns + window.end_ns) / 2
  const whole = reachOf(session.shown)
  const isWhole = window.start_ns === whole.start_ns && window.end_ns === whole.end_ns
  const current = steps.findLastIndex(({ start_ns }) => start_ns <= middle)
  const first = by > 0 ? 0 : steps.length - 1
  const step = steps[isWhole ? first : Math.min(Math.max(current + by, 0), steps.length - 1)]
  if (!step) return
  showStep(session, step.step)
}

/** Shows a step, whole. One whose ops are not in the picture has no place on its axis. */
export function showStep(session: Session, number: number): void {
  const { run, window } = session.shown
  const step = run.head.steps.find((one) => one.step === number)
  if (!step) return
  const start_ns = Math.max(step.start_ns, run.extent.start_ns)
  const end_ns = Math.min(step.start_ns + step.duration_ns, run.extent.end_ns)
  if (end_ns > start_ns) session.change({ window: { ...window, start_ns, end_ns } })
}

function laneOf(run: Run, row: number): Run['lanes'][number] | undefined {
  return row < 0 ? undefined : run.lanes.find(({ rows, rank }) => rank === run.spans.rank[row] && rows.includes(row))
}

function timeOf(run: Run, target: Target): { start_ns: number; end_ns: number } | null {
  if (target.kind === 'span') {
    const start_ns = run.spans.start_ns[target.row]
    return { start_ns, end_ns: start_ns + run.spans.duration_ns[target.row] }
  }
  return target.kind === 'instant' ? { start_ns: target.time_ns, end_ns: target.time_ns } : null
}
