/**
 * Arrows from the end of what an op waited for to the op, over the lanes.
 *
 *   compute  [ attend ]        ┌──>[ attend ]
 *   fetch         [==== k ====]┘
 */
import { type Stall, stallOf, stallsIn } from '../ask/stall.js'
import { endOf, streamOf } from '../ask/waiting.js'
import type { Run } from '../model/run.js'
import type { View } from '../model/view.js'
import { type LaneLayout, type Layout, xOf } from './layout.js'
import type { Context2D } from './surface.js'
import type { Theme } from './theme.js'

/** Where an arrow begins and ends, on the page. */
export interface Arrow {
  readonly stall: Stall
  readonly from: { readonly x: number; readonly y: number }
  readonly to: { readonly x: number; readonly y: number }
}

/** More arrows than this would hide what they explain. */
const MOST_ARROWS = 12
/** What the awaited op waited for, and that one: as far back as a reader follows. */
const LONGEST_CHAIN = 3
const HEAD = 5

/** Why an op waited, why what it waited for had waited, and so on. */
export function chainOf(run: Run, row: number): Stall[] {
  const chain: Stall[] = []
  for (let stall = stallOf(run, row); stall && chain.length < LONGEST_CHAIN; stall = stall.on === null ? null : stallOf(run, stall.on)) chain.push(stall)
  return chain
}

/** The longest waits of compute in view. */
export function stallsInView(run: Run, view: View): Stall[] {
  return stallsIn(run, view, MOST_ARROWS)
}

/** Arrows of those stalls whose ops both have lanes in the picture, and of which at least one end is in view. */
export function arrowsOf(run: Run, view: View, layout: Layout, stalls: readonly Stall[]): Arrow[] {
  const laneOf = (row: number): LaneLayout | undefined =>
    layout.lanes.find(({ lane }) => lane.rank === run.spans.rank[row] && lane.stream === streamOf(run.spans, row))
  return stalls.flatMap((stall) => {
    const [source, target] = [stall.on === null ? undefined : laneOf(stall.on), laneOf(stall.row)]
    if (stall.on === null || !source || !target) return []
    const [ended, began] = [endOf(run.spans, stall.on), run.spans.start_ns[stall.row]]
    if (began < view.start_ns || ended > view.end_ns) return []
    const within = (time_ns: number): number => Math.min(layout.plot.x + layout.plot.width, Math.max(layout.plot.x, xOf(layout, view, time_ns)))
    const down = source.y < target.y
    const from = { x: within(ended), y: down ? source.y + source.height : source.y }
    const x = within(began)
    // With no room for a bend the head stands on the edge of the lane, else at the op's left end.
    const bends = x - from.x > 2 * HEAD
    return [{ stall, from, to: { x, y: bends ? target.y + target.height / 2 : down ? target.y : target.y + target.height } }]
  })
}

/** `faint`: for arrows that nobody asked for. */
export function drawArrows(context: Context2D, theme: Theme, arrows: readonly Arrow[], faint = false): void {
  context.save()
  for (const [width, colour] of [
    [faint ? 2.5 : 4, theme.background],
    [faint ? 1 : 1.75, faint ? theme.mutedText : theme.marker],
  ] as const) {
    for (const arrow of arrows) {
      context.lineWidth = width
      context.strokeStyle = context.fillStyle = colour
      drawArrow(context, arrow)
    }
  }
  context.restore()
}

function drawArrow(context: Context2D, { from, to }: Arrow): void {
  const bends = to.x - from.x > 2 * HEAD
  const [dx, dy] = bends ? [-1, 0] : [0, to.y > from.y ? -1 : 1]
  const x = bends ? from.x : to.x
  context.beginPath()
  context.moveTo(x, from.y)
  context.lineTo(x, bends ? to.y : to.y + dy * HEAD)
  if (bends) context.lineTo(to.x - HEAD, to.y)
  context.stroke()
  context.beginPath()
  context.moveTo(to.x, to.y)
  context.lineTo(to.x + dx * HEAD * 1.4 - dy * HEAD * 0.7, to.y + dy * HEAD * 1.4 - dx * HEAD * 0.7)
  context.lineTo(to.x + dx * HEAD * 1.4 + dy * HEAD * 0.7, to.y + dy * HEAD * 1.4 + dx * HEAD * 0.7)
  context.closePath()
  context.stroke()
  context.fill()
}
