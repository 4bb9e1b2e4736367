/** Memory of one rank on one tier: categories stacked over the timeline's axis, the budget as a line, the peak marked. */

import { opLine, verbOf, withoutStream } from '../ask/op-text.js'
import type { Run } from '../model/run.js'
import { levelsAfter, type StackColumns, stackColumns } from '../model/stack.js'
import type { View } from '../model/view.js'
import type { Tier } from '../schema.js'
import { bytes } from '../words/format.js'
import { phraseOf } from '../words/phrase.js'
import { type ChartLayout, type Layout, xOf, yOf } from './layout.js'
import { dash } from './legend.js'
import { inRuns, line, overlaps, type PixelRect, type Surface, type TextStyle, textRect, write } from './surface.js'

export interface DrawnChart extends PixelRect {
  readonly rank: number
  readonly tier: Tier
  readonly top_bytes: number
  readonly categories: readonly string[]
  readonly budget: { readonly bytes: number; readonly y: number; readonly toScale: boolean } | null
  /** Null where the run does not come to its peak in the window. */
  readonly peak: { readonly bytes: number; readonly x: number; readonly y: number; readonly words: string } | null
}

export function drawChart(surface: Surface, run: Run, view: View, layout: Layout, chart: ChartLayout): DrawnChart {
  const { context, theme } = surface
  const { stack } = chart
  context.strokeStyle = theme.grid
  context.lineWidth = 1
  for (const { value, label } of chart.ticks) {
    const y = Math.round(yOf(chart, value)) + 0.5
    line(context, chart.x, y, chart.x + chart.width, y)
    write(surface, label, chart.x - 8, y, { role: 'tick', align: 'right', colour: theme.mutedText })
  }
  const title = write(surface, chart.title, chart.x, chart.y - 9, { role: 'chart', bold: true })
  const columns = stackColumns(stack, view.start_ns, view.end_ns, chart.width)
  drawStack(surface, chart, columns)
  const budget = drawBudget(surface, chart, title)
  const peak = drawPeak(surface, run, view, layout, chart, columns, budget?.label ?? null)
  return {
    rank: stack.rank,
    tier: stack.tier,
    top_bytes: chart.top,
    categories: stack.categories,
    budget: budget && { bytes: budget.bytes, y: budget.y, toScale: budget.toScale },
    peak,
    x: chart.x,
    y: chart.y,
    width: chart.width,
    height: chart.height,
  }
}

/**
 * Each pixel column shows the instant of its highest total; what it does not hold all the time is paler. Category by category,
 * neighbours of one height as one: a canvas takes as long for a change of colour as for many rectangles.
 */
function drawStack(surface: Surface, chart: ChartLayout, { high, low }: StackColumns): void {
  const { context, theme } = surface
  const { stack, width } = chart
  const count = stack.categories.length
  const floor = chart.y + chart.height
  /** tops[c * width + x]: upper edge of category c in a column; that of the category below where it is too thin to be seen. */
  const tops = new Int32Array(count * width)
  for (let x = 0; x < width; x++) {
    if (x > 0 && high[x] === high[x - 1]) {
      for (let c = 0; c < count; c++) tops[c * width + x] = tops[c * width + x - 1]
      continue
    }
    const levels = levelsAfter(stack, high[x])
    let amount = 0
    let below = floor
    for (let c = 0; c < count; c++) {
      amount += levels[c]
      below = Math.min(below, Math.round(yOf(chart, amount)))
      tops[c * width + x] = below
    }
  }
  const edge = (c: number, x: number): number => (c < 0 ? floor : tops[c * width + x])
  for (const [c, category] of stack.categories.entries()) {
    context.fillStyle = theme.categories[category]
    inRuns(
      width,
      (x) => edge(c, x) * SPREAD + edge(c - 1, x),
      (x, end) => {
        const thick = edge(c - 1, x) - edge(c, x)
        if (thick > 0) context.fillRect(chart.x + x, edge(c, x), end - x, thick)
      },
    )
  }
  // Layers are parted by a line where they are wide enough to be seen as layers.
  context.fillStyle = theme.background
  context.globalAlpha = 0.7
  for (let c = 0; c < count; c++) {
    inRuns(
      width,
      (x) => (edge(c - 1, x) - edge(c, x) > 3 ? edge(c, x) : floor),
      (x, end) => {
        if (edge(c - 1, x) - edge(c, x) > 3 && end - x > 3) context.fillRect(chart.x + x, edge(c, x), end - x, 1)
      },
    )
  }
  context.globalAlpha = 0.45
  const steady = (x: number): number => Math.round(yOf(chart, stack.totals[low[x]]))
  inRuns(
    width,
    (x) => edge(count - 1, x) * SPREAD + steady(x),
    (x, end) => {
      const top = edge(count - 1, x)
      if (steady(x) > top) context.fillRect(chart.x + x, top, end - x, steady(x) - top)
    },
  )
  context.globalAlpha = 1
}

/** Two edges as one number. */
const SPREAD = 2 ** 16

function drawBudget(surface: Surface, chart: ChartLayout, title: PixelRect): { bytes: number; y: number; toScale: boolean; label: PixelRect } | null {
  if (chart.budget_bytes === null) return null
  const { theme } = surface
  const right = chart.x + chart.width
  const style: TextStyle = { role: 'budget', align: 'right', colour: theme.budget, plate: true }
  if (chart.budget_bytes > chart.top) {
    // Too far above the curve to be drawn to scale; the words stand where the line would be, above the chart.
    const words = `budget ${bytes(chart.budget_bytes)}, above this chart`
    const fits = right - textRect(surface, words, 0, 0, style).width > title.x + title.width + 8
    const label = write(surface, fits ? words : bytes(chart.budget_bytes), right - 4, chart.y - 9, style)
    return { bytes: chart.budget_bytes, y: chart.y - 9, toScale: false, label }
  }
  const y = Math.round(yOf(chart, chart.budget_bytes)) + 0.5
  dash(surface, chart.x, y, chart.width, theme.budget)
  return {
    bytes: chart.budget_bytes,
    y,
    toScale: true,
    label: write(surface, `budget ${bytes(chart.budget_bytes)}`, right - 4, y - 9 < chart.y - 16 ? y + 9 : y - 9, style),
  }
}

/** The first peak in view: every step of a training comes to the same height. */
function drawPeak(
  surface: Surface,
  run: Run,
  view: View,
  layout: Layout,
  chart: ChartLayout,
  { high }: StackColumns,
  taken: PixelRect | null,
): DrawnChart['peak'] {
  const { context, theme } = surface
  const { stack } = chart
  const size = stack.totals[stack.peak]
  const peak = high.find((event) => stack.totals[event] === size) ?? stack.peak
  const time_ns = peak === 0 ? view.start_ns : stack.times_ns[peak - 1]
  if (size === 0 || time_ns < view.start_ns || time_ns > view.end_ns) return null
  const x = xOf(layout, view, time_ns)
  const y = yOf(chart, size)
  context.fillStyle = theme.marker
  context.strokeStyle = theme.background
  context.lineWidth = 1.5
  context.beginPath()
  context.arc(x, y, 4, 0, 2 * Math.PI)
  context.fill()
  context.stroke()
  const row = peak === 0 ? undefined : stack.rows[peak - 1]
  const line = row === undefined ? '' : withoutStream(opLine(run, run.memory.op[row]))
  const phrase = row === undefined ? '' : phraseOf(run, run.memory.op[row])
  // The op that made the peak is named if there is room for it, else at least its verb, else the bytes alone.
  for (const words of [`peak ${bytes(size)} · ${phrase}`, `peak ${bytes(size)} · ${line}`, `peak ${bytes(size)} · ${verbOf(line)}`, `peak ${bytes(size)}`]) {
    for (const [dx, dy, align] of [
      [8, -9, 'left'],
      [-8, -9, 'right'],
      [8, 9, 'left'],
      [-8, 9, 'right'],
    ] as const) {
      const style: TextStyle = { role: 'peak', align, bold: true, plate: true }
      const rect = textRect(surface, words, x + dx, y + dy, style)
      const inside =
        rect.x >= chart.x && rect.x + rect.width <= chart.x + chart.width && rect.y + rect.height <= chart.y + chart.height && rect.y >= chart.y - 2
      if (!inside || (taken && overlaps(rect, taken, 3))) continue
      write(surface, words, x + dx, y + dy, style)
      return { bytes: size, x, y, words }
    }
  }
  return { bytes: size, x, y, words: '' }
}
