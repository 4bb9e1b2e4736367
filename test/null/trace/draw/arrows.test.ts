import { createCanvas } from '@napi-rs/canvas'
import { describe, expect, it } from 'vitest'
import { stallsOf } from '../../../../kernel/src/trace/ask/stall.js'
import { endOf } from '../../../../kernel/src/trace/ask/waiting.js'
import { arrowsOf, chainOf, drawArrows, stallsInView } from '../../../../kernel/src/trace/draw/arrows.js'
import { type Layout, layOut, xOf } from '../../../../kernel/src/trace/draw/layout.js'
import { drawPointer } from '../../../../kernel/src/trace/draw/picture.js'
import type { Context2D } from '../../../../kernel/src/trace/draw/surface.js'
import { LIGHT_PAGE, themeFor } from '../../../../kernel/src/trace/draw/theme.js'
import { openRun, type Run } from '../../../../kernel/src/trace/model/run.js'
import type { View } from '../../../../kernel/src/trace/model/view.js'
import { fixture } from '../fixture.js'

const theme = themeFor({ ...LIGHT_PAGE, font: 'sans-serif' })
const run = openRun(fixture({ ranks: 1 }))

function laidOut(of: Run, view: View): Layout {
  return layOut({ context: createCanvas(1, 1).getContext('2d') as Context2D, theme, labels: [] }, of, view, 1000)
}
/** A window about the beginning of an op, a few times as long as it waited. */
function about(row: number, waited_ns: number): View {
  return { rank: 0, start_ns: run.spans.start_ns[row] - 3 * waited_ns, end_ns: run.spans.start_ns[row] + waited_ns }
}
const [longest] = stallsOf(run, 1).filter(({ on }) => on !== null)

describe('arrows', () => {
  it('begin where the awaited op ends and end where the op that waited begins', () => {
    const view = about(longest.row, longest.waited_ns)
    const layout = laidOut(run, view)
    const [arrow] = arrowsOf(run, view, layout, [longest])
    expect(arrow.from.x).toBeCloseTo(xOf(layout, view, endOf(run.spans, longest.on as number)))
    expect(arrow.to.x).toBeCloseTo(xOf(layout, view, run.spans.start_ns[longest.row]))
    const [source, target] = [longest.on as number, longest.row].map((row) => layout.lanes.find(({ lane }) => lane.rows.includes(row)))
    if (!source || !target) throw new Error('a lane is missing')
    expect([source.y, source.y + source.height]).toContain(arrow.from.y)
    expect(arrow.to.y).toBeGreaterThanOrEqual(target.y)
    expect(arrow.to.y).toBeLessThanOrEqual(target.y + target.height)
  })

  it('follow what the awaited op had waited for, and not for ever', () => {
    for (const row of run.spans.op.keys()) {
      const chain = chainOf(run, row)
      expect(chain.length).toBeLessThanOrEqual(3)
      for (const [i, stall] of chain.slice(1).entries()) expect(stall.row).toBe(chain[i].on)
    }
    expect([...run.spans.op.keys()].some((row) => chainOf(run, row).length > 1)).toBe(true)
  })

  it('are left out where both ends are on one side of the window', () => {
    const view = about(longest.row, longest.waited_ns)
    const { end_ns } = view
    const later = { ...view, start_ns: end_ns + longest.waited_ns, end_ns: end_ns + 2 * longest.waited_ns }
    expect(arrowsOf(run, later, laidOut(run, later), [longest])).toEqual([])
    expect(stallsInView(run, view).some(({ row }) => row === longest.row)).toBe(true)
    expect(stallsInView(run, later).some(({ row }) => row === longest.row)).toBe(false)
  })

  it('are painted in the colour of marks, with a head at the op', () => {
    const view = about(longest.row, longest.waited_ns)
    const layout = laidOut(run, view)
    const context = createCanvas(layout.width, layout.height).getContext('2d')
    const arrows = arrowsOf(run, view, layout, [longest])
    drawArrows(context as Context2D, theme, arrows)
    const colourAt = (x: number, y: number): string =>
      `#${[...context.getImageData(Math.round(x), Math.round(y), 1, 1).data.subarray(0, 3)].map((value) => value.toString(16).padStart(2, '0')).join('')}`
    const [{ from, to }] = arrows
    const bends = to.x - from.x > 10
    const inHead = bends ? colourAt(to.x - 3, to.y) : colourAt(to.x, to.y + (to.y > from.y ? -3 : 3))
    expect(inHead).toBe(theme.marker)
  })

  it('are drawn for what is pointed at, and for the longest waits when they are asked for', () => {
    const view = { ...run.extent, rank: 0, end_ns: run.head.steps[0].duration_ns }
    const layout = laidOut(run, view)
    const inked = (targets: Parameters<typeof drawPointer>[5]['targets'], stalls: boolean): number => {
      const context = createCanvas(layout.width, layout.height).getContext('2d')
      drawPointer(context as Context2D, theme, run, view, layout, { pointer_ns: null, cursor_ns: null, targets, stalls })
      return context.getImageData(0, 0, layout.width, layout.height).data.reduce((count, value, i) => count + (i % 4 === 3 && value > 0 ? 1 : 0), 0)
    }
    const unwaiting = [...run.spans.op.keys()].find((row) => chainOf(run, row).length === 0) as number
    expect(inked([], false)).toBe(0)
    expect(inked([], true)).toBeGreaterThan(200)
    expect(inked([{ kind: 'span', row: longest.row }], false)).toBeGreaterThan(inked([{ kind: 'span', row: unwaiting }], false))
  })
})
