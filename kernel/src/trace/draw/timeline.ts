/** The lanes: a row per rank and stream, a bar per op. */

import type { Run } from '../model/run.js'
import type { View } from '../model/view.js'
import { FAMILIES, type Family } from '../schema.js'
import { percent } from '../words/format.js'
import { barWords } from '../words/run.js'
import { type Bar, type Coverage, coverageOf } from './coverage.js'
import { type Hatch, hatch } from './hatch.js'
import { type LaneLayout, type Layout, xOf } from './layout.js'
import { inRuns, type PixelRect, type Surface, textWidth, write } from './surface.js'
import { HATCHES, inkFor } from './theme.js'

export interface DrawnLane extends PixelRect {
  readonly rank: number
  readonly stream: string
  /** Spans in the window. */
  readonly spans: number
  readonly bars: number
  readonly busy: number
}

const BAR_TEXT = 10
const NEARLY_IDLE = 0.2
/** From this width on, neighbouring bars are parted by a line of the page's colour. */
const PARTED = 5

export function drawLane(surface: Surface, run: Run, view: View, layout: Layout, at: LaneLayout): DrawnLane {
  const { context, theme } = surface
  const { lane } = at
  const coverage = coverageOf(run, lane, view.start_ns, view.end_ns, at.width)
  const middle = at.y + at.height / 2
  context.fillStyle = theme.laneBed
  context.fillRect(at.x, at.y, at.width, at.height)
  if (at.leads) write(surface, `rank ${lane.rank}`, 1, middle, { role: 'rank', bold: true })
  write(surface, lane.stream, at.x - 8, middle, { role: 'lane', align: 'right' })
  if (layout.width - at.x - at.width > 20)
    write(surface, percent(coverage.busy), layout.width, middle, { role: 'figure', align: 'right', colour: theme.mutedText })
  drawShares(surface, at, coverage)
  drawBars(surface, run, at, coverage.bars)
  return {
    rank: lane.rank,
    stream: lane.stream,
    spans: coverage.spans,
    bars: coverage.bars.length,
    busy: coverage.busy,
    x: at.x,
    y: at.y,
    width: at.width,
    height: at.height,
  }
}

/** Where the lane's span lies on the page, for outlines; at least three pixels wide. */
export function spanRect(run: Run, view: View, layout: Layout, at: LaneLayout, row: number): PixelRect {
  const from = Math.max(at.x, xOf(layout, view, run.spans.start_ns[row]))
  const to = Math.min(at.x + at.width, xOf(layout, view, run.spans.start_ns[row] + run.spans.duration_ns[row]))
  return { x: Math.min(from, at.x + at.width - 3), y: at.y, width: Math.max(3, to - from), height: at.height }
}

/**
 * Columns narrower than a bar: families stand on each other, as high as their share of the time. Never less than a pixel, and
 * four in a column that is nearly idle: a copy of microseconds among seconds shall be seen.
 */
function drawShares({ context, theme }: Surface, at: LaneLayout, { shares }: Coverage): void {
  const { families } = at.lane
  const busy = new Float32Array(at.width)
  for (const { family } of families) for (let x = 0; x < at.width; x++) busy[x] += shares[x * FAMILIES.length + family]
  /** Where the next family of a column stands. */
  const floors = new Int16Array(at.width).fill(at.height)
  const heights = new Int16Array(at.width)
  for (const { family } of families) {
    for (let x = 0; x < at.width; x++) {
      const share = shares[x * FAMILIES.length + family]
      heights[x] = share === 0 ? 0 : Math.min(floors[x], Math.max(busy[x] < NEARLY_IDLE ? 4 : 1, Math.round(share * at.height)))
      floors[x] -= heights[x]
    }
    context.fillStyle = theme.families[FAMILIES[family]]
    inRuns(
      at.width,
      (x) => floors[x] * (at.height + 1) + heights[x],
      (x, end) => {
        if (heights[x] > 0) context.fillRect(at.x + x, at.y + floors[x], end - x, heights[x])
      },
    )
  }
}

function drawBars(surface: Surface, run: Run, at: LaneLayout, bars: readonly Bar[]): void {
  const { context, theme } = surface
  const hatched = new Map<Family, PixelRect[]>()
  for (const { row, x, width } of bars) {
    const family = FAMILIES[run.families[row]]
    const rect = { x: at.x + x, y: at.y, width: width >= PARTED ? width - 1 : width, height: at.height }
    context.fillStyle = theme.families[family]
    context.fillRect(rect.x, rect.y, rect.width, rect.height)
    if (width >= PARTED && HATCHES[family]) {
      const rects = hatched.get(family)
      if (rects) rects.push(rect)
      else hatched.set(family, [rect])
    }
  }
  for (const [family, kind] of Object.entries(HATCHES) as [Family, Hatch][]) hatch(context, hatched.get(family) ?? [], kind, inkFor(theme.families[family]))
  for (const { row, x, width } of bars) {
    if (width < 24) continue
    const words = barWords(run, row).find((text) => text.length * 4 < width && textWidth(surface, text, { size: BAR_TEXT }) <= width - 9)
    if (words === undefined) continue
    const fill = theme.families[FAMILIES[run.families[row]]]
    // Words stand on the plain fill, never on a hatch.
    write(surface, words, at.x + x + 4, at.y + at.height / 2, { role: 'bar', size: BAR_TEXT, colour: inkFor(fill), on: fill, plate: true })
  }
}
