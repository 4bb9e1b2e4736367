/** The window of time that is in view, and the ways to move it. Always inside the run; never empty. */
import type { Extent } from './run.js'

export interface View extends Extent {
  /** The rank whose memory is shown. */
  readonly rank: number
}

/** A window of 64 ns still tells the shortest measurable spans apart. */
const NARROWEST_NS = 64

/** Scales the window by `factor` (< 1 zooms in) about an instant that keeps its place. */
export function zoomed(view: View, extent: Extent, factor: number, about_ns: number): View {
  const whole = extent.end_ns - extent.start_ns
  const old = view.end_ns - view.start_ns
  const length = Math.min(whole, Math.max(Math.min(NARROWEST_NS, whole), old * factor))
  const start = about_ns - ((about_ns - view.start_ns) / old) * length
  return placed(view, extent, start, length)
}

/** Moves the window later by `by_ns`, as far as the run reaches. */
export function panned(view: View, extent: Extent, by_ns: number): View {
  return placed(view, extent, view.start_ns + by_ns, view.end_ns - view.start_ns)
}

/** The window as near to [start, end] as the run allows. */
export function shown(view: View, extent: Extent, start_ns: number, end_ns: number): View {
  const whole = extent.end_ns - extent.start_ns
  return placed(view, extent, start_ns, Math.min(whole, Math.max(end_ns - start_ns, Math.min(NARROWEST_NS, whole))))
}

/** A window at the end of the run ends exactly there: by that it is known to move on with it. */
function placed(view: View, extent: Extent, start: number, length: number): View {
  const latest = extent.end_ns - length
  if (start >= latest) return { ...view, start_ns: latest, end_ns: extent.end_ns }
  const start_ns = Math.max(start, extent.start_ns)
  return { ...view, start_ns, end_ns: start_ns + length }
}
