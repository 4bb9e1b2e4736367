/**
 * Where everything in the picture of a run lies, in CSS pixels.
 *
 *   legend of families
 *            step 1 ............ step 2              busy
 *   time, ms 0        10        20        30
 *   rank 0   compute ████████████████████████        93 %
 *            fetch   ▒▒ ▒▒ ▒▒                        20 %
 *   legend of categories
 *            device memory of rank 0
 *    512 MiB ------------------------- budget 500 MiB
 *            ▁▂▅█▅▂▁
 */

import { type Lane, type Run, stackFor } from '../model/run.js'
import type { Stack } from '../model/stack.js'
import type { View } from '../model/view.js'
import { CATEGORIES, FAMILIES, type Family, TIERS } from '../schema.js'
import { CATEGORY_WORDS } from '../words/names.js'
import { type LegendEntry, type LegendLayout, layOutLegend } from './legend.js'
import { type PixelRect, type Surface, textWidth } from './surface.js'
import { HATCHES } from './theme.js'
import { byteTicks, type Tick } from './ticks.js'

export interface LaneLayout extends PixelRect {
  readonly lane: Lane
  /** The first lane of its rank carries the rank's name. */
  readonly leads: boolean
}
export interface ChartLayout extends PixelRect {
  readonly stack: Stack
  /** Bytes at the upper edge. */
  readonly top: number
  readonly budget_bytes: number | null
  readonly ticks: readonly Tick[]
  readonly title: string
}
export interface Layout {
  readonly width: number
  readonly height: number
  /** The columns that are time. */
  readonly plot: { readonly x: number; readonly width: number }
  readonly families: LegendLayout
  readonly categories: LegendLayout
  /** Middles of the lines with step names and tick labels. */
  readonly stepLine: number
  readonly tickLine: number
  readonly lanes: readonly LaneLayout[]
  readonly charts: readonly ChartLayout[]
  /** Ranks whose lanes are left out because there are too many, and the middle of the line that says so. */
  readonly hiddenRanks: number
  readonly hiddenLine: number
}

/** Of a lane's prediction: pixels of its band, and between the two. */
export const BAND = { height: 4, gap: 2 } as const
const LANE = 17
const LANE_GAP = 4
const RANK_GAP = 9
const CHART_TITLE = 20
const CHART_HEIGHTS = { device: 116, host: 76, disk: 60 } as const
/** Room above the highest point of a chart, for the words of the peak or the budget. */
const HEADROOM = 20
/** More lanes than this would not fit a screen: then only one rank's are shown. */
const MOST_LANES = 24
/** A budget this many times the peak would press the curve flat; it is then named, not drawn to scale. */
const FARTHEST_BUDGET = 3

/** Whether the lanes of one rank alone are drawn. */
export function hidesRanks(run: Run): boolean {
  return run.lanes.length > MOST_LANES
}

export interface LayoutOptions {
  /** Leaves room below each lane for its prediction. */
  readonly predicted?: boolean
  /** Least x of the plot, for pictures below each other on one axis (`leftOf`). */
  readonly left?: number
}

export function layOut(surface: Surface, run: Run, view: View, width: number, { predicted = false, left: least = 0 }: LayoutOptions = {}): Layout {
  const shown = hidesRanks(run) ? run.lanes.filter(({ rank }) => rank === view.rank) : run.lanes
  const left = Math.max(least, leftOf(surface, run))
  const right = width >= 420 ? Math.ceil(textWidth(surface, '99.9 %') + 12) : 4
  const plot = { x: left, width: Math.max(40, Math.floor(width - left - right)) }

  const present = new Set(run.lanes.flatMap(({ families }) => families.map(({ family }) => family)))
  const used = FAMILIES.filter((_, i) => present.has(i))
  const families = layOutLegend(
    surface,
    [
      ...used.map((family): LegendEntry => ({ words: FAMILY_WORDS[family], colour: surface.theme.families[family], hatch: HATCHES[family] })),
      ...(predicted ? [{ words: 'predicted', colour: surface.theme.mutedText, dashed: true }] : []),
    ],
    { x: plot.x, y: 0, width: width - plot.x },
  )

  const stepLine = families.height + 10
  const tickLine = stepLine + 15
  let y = tickLine + 10
  const lanes: LaneLayout[] = []
  for (const lane of shown) {
    const leads = lanes.at(-1)?.lane.rank !== lane.rank
    if (leads && lanes.length > 0) y += RANK_GAP
    lanes.push({ lane, leads, x: plot.x, y, width: plot.width, height: LANE })
    y += LANE + LANE_GAP + (predicted ? BAND.gap + BAND.height : 0)
  }

  const hiddenRanks = shown.length === run.lanes.length ? 0 : run.ranks.length - 1
  const hiddenLine = y + 8
  if (hiddenRanks > 0) y += 18

  const stacks = TIERS.flatMap((tier) => stackFor(run, view.rank, tier) ?? [])
  y += 8
  const stacked = (['earlier', ...CATEGORIES] as const).filter((category) => stacks.some(({ categories }) => categories.includes(category)))
  const categories = layOutLegend(
    surface,
    stacked.map((category) => ({ words: CATEGORY_WORDS[category], colour: surface.theme.categories[category] })),
    { x: plot.x, y, width: width - plot.x },
  )
  y += categories.height
  const charts = stacks.map((stack): ChartLayout => {
    const peak = stack.totals[stack.peak]
    const budget_bytes = run.head.tiers.find(({ tier }) => tier === stack.tier)?.budget_bytes ?? null
    const inReach = budget_bytes !== null && budget_bytes <= FARTHEST_BUDGET * peak
    const height = CHART_HEIGHTS[stack.tier]
    const top = Math.max(peak, inReach ? budget_bytes : 0, 1) / (1 - HEADROOM / height)
    const chart = {
      stack,
      top,
      budget_bytes,
      ticks: byteTicks(top, height / 20),
      title: `${stack.tier} memory of rank ${stack.rank}`,
      x: plot.x,
      y: y + CHART_TITLE,
      width: plot.width,
      height,
    }
    y += CHART_TITLE + height + 6
    return chart
  })
  return {
    width,
    height: Math.ceil(y + 4),
    plot,
    families,
    categories,
    stepLine,
    tickLine,
    lanes,
    charts,
    hiddenRanks,
    hiddenLine,
  }
}

/** Where the plot of a run begins when nothing else decides: right of the names of its lanes and of the marks of its memory. */
export function leftOf(surface: Surface, run: Run): number {
  // The last rank has the longest number. A list of all lanes may be longer than a call has room for arguments.
  const rankWidth = textWidth(surface, `rank ${run.ranks.at(-1) ?? 0}`, { bold: true })
  const streamWidth = Math.max(0, ...[...new Set(run.lanes.map(({ stream }) => stream))].map((stream) => textWidth(surface, stream)))
  return Math.ceil(Math.max(rankWidth + 10 + streamWidth, textWidth(surface, '1000 MiB')) + 8)
}

export function timeAt({ plot }: Pick<Layout, 'plot'>, view: View, x: number): number {
  return view.start_ns + ((x - plot.x) / plot.width) * (view.end_ns - view.start_ns)
}

export function xOf({ plot }: Pick<Layout, 'plot'>, view: View, time_ns: number): number {
  return plot.x + ((time_ns - view.start_ns) / (view.end_ns - view.start_ns)) * plot.width
}

export function yOf(chart: ChartLayout, amount: number): number {
  return chart.y + chart.height - (amount / chart.top) * chart.height
}

const FAMILY_WORDS: Readonly<Record<Family, string>> = {
  attention: 'attention',
  projection: 'projection (GEMM)',
  elementwise: 'elementwise',
  loss: 'loss head',
  optimizer: 'optimizer',
  collective: 'collective',
  offload: 'offload to host',
  fetch: 'fetch to device',
  disk: 'disk',
}
