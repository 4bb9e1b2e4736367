/** The whole picture of a run: axis, lanes, memory. Draws, and says what it drew. */

import { relatedTo } from '../ask/related.js'
import { type Run, spanAt, stackFor } from '../model/run.js'
import { firstAfter } from '../model/search.js'
import { highestAt, levelAt, type Stack, stackColumns } from '../model/stack.js'
import type { Target } from '../model/target.js'
import type { View } from '../model/view.js'
import { STREAMS, TIERS } from '../schema.js'
import { bytes, counted, duration } from '../words/format.js'
import { arrowsOf, chainOf, drawArrows, stallsInView } from './arrows.js'
import { type Layout, timeAt, xOf, yOf } from './layout.js'
import { drawLegend } from './legend.js'
import { type DrawnChart, drawChart } from './memory.js'
import { drawPredicted } from './predicted.js'
import { type Context2D, type Label, line, overlaps, type PixelRect, type Surface, textWidth, write } from './surface.js'
import type { Theme } from './theme.js'
import { timeTicks } from './ticks.js'
import { type DrawnLane, drawLane, spanRect } from './timeline.js'

/** What was drawn: enough to check a picture without looking at it. */
export interface Picture {
  readonly lanes: readonly DrawnLane[]
  readonly charts: readonly DrawnChart[]
  readonly labels: readonly Label[]
}

/** What lies over the picture while a reader points at something. */
export interface Pointed {
  /** The instant under the pointer, in this view or another. */
  readonly pointer_ns: number | null
  /** The instant that is kept. */
  readonly cursor_ns: number | null
  /** Everything that is pointed at or kept, or that concerns it. */
  readonly targets: readonly Target[]
  /** Whether the longest waits of compute in view have their arrows, too. */
  readonly stalls?: boolean | undefined
}

/** A pointer is allowed to miss a short span by this many pixels. */
const REACH = 4

/** `predicted`: the prediction of the run (`model/predicted.ts`), to be drawn below its lanes. */
export function draw(surface: Surface, run: Run, view: View, layout: Layout, predicted: Run | null = null): Picture {
  const { context, theme } = surface
  context.fillStyle = theme.background
  context.fillRect(0, 0, layout.width, layout.height)
  drawLegend(surface, layout.families)
  drawLegend(surface, layout.categories)
  drawAxis(surface, run, view, layout, predicted)
  const lanes = layout.lanes.map((lane) => drawLane(surface, run, view, layout, lane))
  if (predicted) drawPredicted(surface, run, predicted, view, layout)
  if (layout.hiddenRanks > 0) {
    const words = `lanes of rank ${view.rank}; those of ${counted(layout.hiddenRanks, 'more rank')} are not drawn`
    write(surface, words, layout.plot.x, layout.hiddenLine, { role: 'note', colour: theme.mutedText })
  }
  drawStepBoundaries(surface, run, view, layout)
  const charts = layout.charts.map((chart) => drawChart(surface, run, view, layout, chart))
  if (run.head.origin === 'predicted') frame(surface, layout)
  return { lanes, charts, labels: surface.labels }
}

/** The span or the instant of memory under a point; null beside them. */
export function targetAt(run: Run, view: View, layout: Layout, x: number, y: number): Target | null {
  if (x < layout.plot.x || x > layout.plot.x + layout.plot.width) return null
  const time_ns = timeAt(layout, view, x)
  const lane = layout.lanes.find((at) => y >= at.y - 2 && y <= at.y + at.height + 2)
  if (lane) {
    const row = spanAt(run, lane.lane, time_ns, (REACH / layout.plot.width) * (view.end_ns - view.start_ns))
    return row < 0 ? null : { kind: 'span', row }
  }
  const chart = layout.charts.find((at) => y >= at.y - 4 && y <= at.y + at.height)
  return chart ? { kind: 'instant', tier: chart.stack.tier, rank: chart.stack.rank, time_ns: highestNear(chart.stack, view, layout, x) } : null
}

/** The instant of a pixel column of which the chart shows the height; that of the peak for a pointer that nearly hits it. */
function highestNear(stack: Stack, view: View, layout: Layout, x: number): number {
  const { times_ns, peak } = stack
  const pixel = (view.end_ns - view.start_ns) / layout.plot.width
  const time_ns = timeAt(layout, view, x)
  const isPeakNear = peak > 0 && Math.abs(times_ns[peak - 1] - time_ns) <= REACH * pixel
  const event = isPeakNear ? peak : stackColumns(stack, time_ns - pixel / 2, time_ns + pixel / 2, 1).high[0]
  return event > 0 && (isPeakNear || times_ns[event - 1] > time_ns - pixel / 2) ? times_ns[event - 1] : time_ns
}

/** Cursor, pointer and outlines, on a canvas of their own above the picture. */
export function drawPointer(context: Context2D, theme: Theme, run: Run, view: View, layout: Layout, { pointer_ns, cursor_ns, targets, stalls }: Pointed): void {
  const inView = (time_ns: number): boolean => time_ns >= view.start_ns && time_ns <= view.end_ns
  const columnOf = (time_ns: number): number => Math.round(xOf(layout, view, time_ns)) + 0.5
  if (stalls) drawArrows(context, theme, arrowsOf(run, view, layout, stallsInView(run, view)), true)
  const outlineSpan = (row: number): void => {
    const at = layout.lanes.find(({ lane }) => lane.rank === run.spans.rank[row] && lane.stream === STREAMS[run.spans.stream[row]])
    const { start_ns, duration_ns } = run.spans
    const overlapsView = start_ns[row] < view.end_ns && start_ns[row] + duration_ns[row] > view.start_ns
    if (at && overlapsView) outline(context, theme, spanRect(run, view, layout, at, row))
  }
  for (const target of targets) {
    if (target.kind === 'span') {
      drawArrows(context, theme, arrowsOf(run, view, layout, chainOf(run, target.row)))
      outlineSpan(target.row)
    } else if (target.kind === 'buffer' || target.kind === 'meeting') {
      for (const row of relatedTo(run, target).spans) outlineSpan(row)
    } else if (target.kind === 'instant' && inView(target.time_ns)) {
      const chart = layout.charts.find(({ stack }) => stack.tier === target.tier && stack.rank === target.rank)
      if (!chart) continue
      context.fillStyle = theme.marker
      context.beginPath()
      context.arc(xOf(layout, view, target.time_ns), yOf(chart, chart.stack.totals[highestAt(chart.stack, target.time_ns)]), 3, 0, 2 * Math.PI)
      context.fill()
    }
  }
  if (pointer_ns !== null && inView(pointer_ns)) {
    context.lineWidth = 1
    context.strokeStyle = theme.mutedText
    uprights(context, layout, columnOf(pointer_ns))
  }
  if (cursor_ns !== null && inView(cursor_ns)) drawCursor(context, theme, layout, columnOf(cursor_ns))
}

/** The kept instant: a bold line with a handle above the lanes. */
function drawCursor(context: Context2D, theme: Theme, layout: Layout, x: number): void {
  context.lineWidth = 2
  context.strokeStyle = theme.marker
  uprights(context, layout, x)
  const top = (layout.lanes[0]?.y ?? layout.charts[0]?.y ?? 0) - 3
  context.fillStyle = theme.marker
  context.beginPath()
  context.moveTo(x - 5, top - 6)
  context.lineTo(x + 5, top - 6)
  context.lineTo(x, top)
  context.closePath()
  context.fill()
}

function outline(context: Context2D, theme: Theme, { x, y, width, height }: PixelRect): void {
  context.lineWidth = 3
  context.strokeStyle = theme.background
  context.strokeRect(x - 1.5, y - 1.5, width + 3, height + 3)
  context.lineWidth = 2
  context.strokeStyle = theme.marker
  context.strokeRect(x - 1, y - 1, width + 2, height + 2)
}

function drawAxis(surface: Surface, run: Run, view: View, layout: Layout, predicted: Run | null): void {
  const { context, theme } = surface
  const { plot } = layout
  const axis = timeTicks(view.start_ns, view.end_ns, plot.width / 70)
  const title = write(surface, axis.title, plot.x - 8, layout.tickLine, { role: 'axis', align: 'right', colour: theme.mutedText })
  context.lineWidth = 1
  const placed: PixelRect[] = [title]
  const right =
    layout.width - plot.x - plot.width > 20
      ? write(surface, 'busy', layout.width, layout.tickLine, { role: 'figure', align: 'right', colour: theme.mutedText })
      : null
  if (right) placed.push(right)
  for (const { value, label } of axis.ticks) {
    const x = xOf(layout, view, value)
    context.strokeStyle = theme.grid
    uprights(context, layout, Math.round(x) + 0.5)
    const half = textWidth(surface, label) / 2 + 1
    const at = Math.min(Math.max(x, plot.x + half), plot.x + plot.width - half)
    const rect = { x: at - half, y: layout.tickLine - 6, width: 2 * half, height: 12 }
    if (placed.some((other) => overlaps(rect, other, 4))) continue
    placed.push(write(surface, label, at, layout.tickLine, { role: 'tick', align: 'center', colour: theme.mutedText }))
  }
  drawStepNames(surface, run, view, layout, predicted)
  drawPauseNames(surface, run, view, layout)
}

/** Pixels: a name in less is not looked for. */
const NARROWEST_NAME = 8

/** Each step is named at its beginning, or at the left edge when it began before. */
function drawStepNames(surface: Surface, run: Run, view: View, layout: Layout, predicted: Run | null): void {
  const { plot } = layout
  let free = plot.x
  if (run.head.origin === 'predicted') {
    const badge = write(surface, 'PREDICTED, NOT MEASURED', plot.x, layout.stepLine, { role: 'origin', bold: true, colour: surface.theme.budget })
    free = badge.x + badge.width + 12
  }
  for (const step of run.head.steps) {
    const end = step.start_ns + step.duration_ns
    if (end <= view.start_ns || step.start_ns >= view.end_ns) continue
    // Of thousands of steps, none is measured that has no room for a letter.
    if (Math.min(plot.x + plot.width, xOf(layout, view, end)) - Math.max(free, xOf(layout, view, step.start_ns)) < NARROWEST_NAME) continue
    const name = `step ${step.step}`
    const foretold = predicted ? `, predicted ${duration(predicted.head.steps[0].duration_ns)}` : ''
    const loss = step.loss === null ? '' : ` · loss ${step.loss.toFixed(3)}`
    const taken = `${name} · ${duration(step.duration_ns)}`
    for (const text of [`${taken}${foretold}${loss}`, `${taken}${loss}`, name]) {
      const x = Math.max(free, xOf(layout, view, step.start_ns) + 3)
      const width = textWidth(surface, text, { bold: true })
      if (x + width > Math.min(plot.x + plot.width, xOf(layout, view, end))) continue
      const rect = write(surface, text, x, layout.stepLine, { role: 'step', bold: true })
      free = rect.x + rect.width + 12
      break
    }
  }
}

/** Time between two steps has a name too, where there is room for it: it is not a stream that waits. */
function drawPauseNames(surface: Surface, run: Run, view: View, layout: Layout): void {
  const { steps } = run.head
  const words = 'between steps'
  const room = textWidth(surface, words) + 8
  for (const [i, next] of steps.slice(1).entries()) {
    const from = Math.max(layout.plot.x, xOf(layout, view, steps[i].start_ns + steps[i].duration_ns))
    const to = Math.min(layout.plot.x + layout.plot.width, xOf(layout, view, next.start_ns))
    if (to - from < room) continue
    write(surface, words, (from + to) / 2, layout.stepLine, { role: 'note', align: 'center', colour: surface.theme.mutedText })
  }
}

function drawStepBoundaries(surface: Surface, run: Run, view: View, layout: Layout): void {
  const { context, theme } = surface
  context.strokeStyle = theme.mutedText
  context.lineWidth = 1
  const starts = Float64Array.from(run.head.steps, ({ start_ns }) => start_ns).sort()
  const ends = run.head.steps.map(({ start_ns, duration_ns }) => start_ns + duration_ns)
  // Where one step follows the other, one line parts them.
  const merged = (5 / layout.plot.width) * (view.end_ns - view.start_ns)
  const apart = ends.filter((end) => !(starts[firstAfter(starts, (start) => start, end - merged)] < end + merged))
  const drawn = new Set<number>()
  for (const time_ns of [...starts, ...apart]) {
    if (time_ns < view.start_ns || time_ns > view.end_ns) continue
    const x = Math.min(layout.plot.x + layout.plot.width - 1, Math.round(xOf(layout, view, time_ns))) + 0.5
    if (drawn.has(x)) continue
    drawn.add(x)
    line(context, x, layout.stepLine - 6, x, layout.stepLine + 6)
    uprights(context, layout, x)
  }
}

/** A line through the lanes and through the charts, but not through the words between them. */
function uprights(context: Context2D, layout: Layout, x: number): void {
  for (const part of [layout.lanes, layout.charts]) {
    for (const [i, { y, height }] of part.entries()) {
      const top = part === layout.lanes && i > 0 ? part[i - 1].y + part[i - 1].height : y - 3
      line(context, x, top, x, y + height)
    }
  }
}

/** A prediction has a dashed frame, so that it cannot be taken for a measurement even when its words are cut off. */
function frame(surface: Surface, layout: Layout): void {
  const { context, theme } = surface
  context.save()
  context.strokeStyle = theme.budget
  context.lineWidth = 1
  context.setLineDash([4, 3])
  for (const part of [layout.lanes, layout.charts]) {
    if (part.length === 0) continue
    const top = part[0].y - 3
    const last = part[part.length - 1]
    context.strokeRect(layout.plot.x - 2.5, top + 0.5, layout.plot.width + 5, last.y + last.height + 3 - top)
  }
  context.restore()
}

/** What stands at an instant on every tier of a rank, for the line beside the cursor. */
export function levelsAt(run: Run, rank: number, time_ns: number): string {
  return TIERS.flatMap((tier) => stackFor(run, rank, tier) ?? [])
    .map((stack) => `${stack.tier} ${bytes(stack.totals[levelAt(stack, time_ns)])}`)
    .join(' · ')
}
