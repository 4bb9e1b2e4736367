/**
 * What the plan predicted, below what was measured: under each lane a thin dashed band, busy where the lane was to be busy. The
 * prediction of a step begins with each step in view, and a line across the lanes stands where it was to end.
 *
 *   compute  ██████████  ████████████████   measured
 *            ▬ ▬ ▬ ▬  ▬ ▬ ▬ ▬ ▬      ┆      predicted
 */
import type { Extent, Run } from '../model/run.js'
import type { View } from '../model/view.js'
import { FAMILIES } from '../schema.js'
import { coverageOf } from './coverage.js'
import { BAND, type LaneLayout, type Layout, xOf } from './layout.js'
import { line, type Surface } from './surface.js'

/** Pixels of a dash and of the hole after it; a pause of the lane is longer than a hole. */
const DASH = 6
const HOLE = 2
/** Steps narrower than this have no room for a prediction. */
const NARROWEST_STEP = 12

export function drawPredicted(surface: Surface, run: Run, predicted: Run, view: View, layout: Layout): void {
  const { context, theme } = surface
  const [foretold] = predicted.head.steps
  if (!foretold || layout.lanes.length === 0) return
  const { steps } = run.head
  for (const [i, step] of steps.entries()) {
    // Of a step that follows at once, the beginning is worth more than the end of a prediction that was too long.
    const next_ns = steps[i + 1]?.start_ns ?? Number.POSITIVE_INFINITY
    const part: Extent = {
      start_ns: Math.max(view.start_ns, step.start_ns),
      end_ns: Math.min(view.end_ns, next_ns, step.start_ns + foretold.duration_ns),
    }
    const wide = ((Math.min(next_ns, step.start_ns + step.duration_ns) - step.start_ns) / (view.end_ns - view.start_ns)) * layout.plot.width
    if (part.end_ns <= part.start_ns || wide < NARROWEST_STEP) continue
    for (const at of layout.lanes) drawBand(surface, predicted, view, layout, at, part, step.start_ns)
    const end_ns = step.start_ns + foretold.duration_ns
    if (end_ns > view.end_ns || end_ns < view.start_ns || end_ns > next_ns) continue
    const x = Math.min(layout.plot.x + layout.plot.width - 1, Math.round(xOf(layout, view, end_ns))) + 0.5
    const [first, last] = [layout.lanes[0], layout.lanes[layout.lanes.length - 1]]
    context.save()
    context.strokeStyle = theme.text
    context.lineWidth = 1
    context.setLineDash([3, 2])
    line(context, x, first.y - 3, x, last.y + last.height + BAND.gap + BAND.height)
    context.restore()
  }
}

/** The lane of the prediction, `part` of the window, moved to begin at `origin_ns`. */
function drawBand(surface: Surface, predicted: Run, view: View, layout: Layout, at: LaneLayout, part: Extent, origin_ns: number): void {
  const { context, theme } = surface
  const lane = predicted.lanes.find(({ rank, stream }) => rank === at.lane.rank && stream === at.lane.stream)
  const [left, right] = [Math.floor(xOf(layout, view, part.start_ns)), Math.ceil(xOf(layout, view, part.end_ns))]
  const width = right - left
  if (!lane || width < 1) return
  const perPixel_ns = (view.end_ns - view.start_ns) / layout.plot.width
  const start_ns = view.start_ns + (left - layout.plot.x) * perPixel_ns - origin_ns
  const { bars, shares } = coverageOf(predicted, lane, start_ns, start_ns + width * perPixel_ns, width)
  /** Index into FAMILIES of what has most of each column; -1: nothing. */
  const column = new Int8Array(width).fill(-1)
  for (let x = 0; x < width; x++) {
    let most = 0
    for (let family = 0; family < FAMILIES.length; family++) {
      const share = shares[x * FAMILIES.length + family]
      if (share > most) [column[x], most] = [family, share]
    }
  }
  for (const bar of bars) column.fill(predicted.families[bar.row], bar.x, bar.x + bar.width)
  const y = at.y + at.height + BAND.gap
  for (let x = 0, end = 0; x < width; x = end) {
    for (end = x + 1; end < width && column[end] === column[x]; end++);
    if (column[x] < 0) continue
    context.fillStyle = theme.families[FAMILIES[column[x]]]
    for (let dash = x; dash < end; dash += DASH + HOLE) context.fillRect(left + dash, y, Math.min(DASH, end - dash), BAND.height)
  }
}
