import { createCanvas } from '@napi-rs/canvas'
import { describe, expect, it } from 'vitest'
import { predictedRun } from '../../../../kernel/src/trace/ask/predicted.js'
import { BAND, type Layout, layOut, xOf } from '../../../../kernel/src/trace/draw/layout.js'
import { draw } from '../../../../kernel/src/trace/draw/picture.js'
import type { Context2D } from '../../../../kernel/src/trace/draw/surface.js'
import { LIGHT_PAGE, themeFor } from '../../../../kernel/src/trace/draw/theme.js'
import { openRun, type Run } from '../../../../kernel/src/trace/model/run.js'
import type { View } from '../../../../kernel/src/trace/model/view.js'
import { FAMILIES, STREAMS } from '../../../../kernel/src/trace/schema.js'
import { fixture } from '../fixture.js'

const run = openRun(fixture({ layers: 1, chunks: 4, steps: 2, predicted: 0.5 }))
const prediction = predictedRun(run) as Run
const theme = themeFor({ ...LIGHT_PAGE, font: 'sans-serif' })
const families: readonly string[] = Object.values(theme.families)

interface Drawn {
  layout: Layout
  view: View
  words: string[]
  pixel(x: number, y: number): string
}
function drawn(view: View, predicted: Run | null = prediction): Drawn {
  const ruler = { context: createCanvas(1, 1).getContext('2d') as Context2D, theme, labels: [] }
  const layout = layOut(ruler, run, view, 1160, { predicted: predicted !== null })
  const context = createCanvas(1160, layout.height).getContext('2d')
  const { labels } = draw({ context: context as Context2D, theme, labels: [] }, run, view, layout, predicted)
  const pixel = (x: number, y: number): string =>
    `#${[...context.getImageData(Math.floor(x), Math.floor(y), 1, 1).data.subarray(0, 3)].map((v) => v.toString(16).padStart(2, '0')).join('')}`
  return { layout, view, words: labels.map(({ text }) => text), pixel }
}
/** Columns of a lane's band that are painted, of [from, to) in time. */
function painted({ layout, view, pixel }: Drawn, lane: number, from_ns: number, to_ns: number): number {
  const at = layout.lanes[lane]
  let count = 0
  for (let x = Math.ceil(xOf(layout, view, from_ns)); x < xOf(layout, view, to_ns) - 1; x++)
    if (families.includes(pixel(x, at.y + at.height + BAND.gap + BAND.height / 2))) count++
  return count
}
const whole: View = { ...run.extent, rank: 0 }
const [first, second] = run.head.steps
const foretold_ns = prediction.head.steps[0].duration_ns

describe('a prediction below its run', () => {
  it('begins with each step and ends where it says, half way through', () => {
    const picture = drawn(whole)
    expect(foretold_ns / first.duration_ns).toBeCloseTo(0.5, 3)
    for (const { start_ns, duration_ns } of [first, second]) {
      expect(painted(picture, 0, start_ns, start_ns + foretold_ns)).toBeGreaterThan(100)
      expect(painted(picture, 0, start_ns + foretold_ns + duration_ns / 50, start_ns + duration_ns)).toBe(0)
    }
    expect(painted(picture, 0, first.start_ns + first.duration_ns, second.start_ns)).toBe(0)
  })

  it('has the colour of the family where the family was to run', () => {
    const { spans } = prediction
    const row = spans.op.findIndex(
      (_, i) => spans.rank[i] === 0 && STREAMS[spans.stream[i]] === 'compute' && FAMILIES[prediction.families[i]] === 'attention' && spans.start_ns[i] > 0,
    )
    const middle = second.start_ns + spans.start_ns[row] + spans.duration_ns[row] / 2
    const length = spans.duration_ns[row]
    const picture = drawn({ start_ns: middle - 2 * length, end_ns: middle + 2 * length, rank: 0 })
    const [lane] = picture.layout.lanes
    const x = xOf(picture.layout, picture.view, second.start_ns + spans.start_ns[row])
    expect(picture.pixel(x + 2, lane.y + lane.height + BAND.gap + 1)).toBe(theme.families.attention)
    // Dashed: a hole after each dash.
    const band = Array.from({ length: 16 }, (_, i) => picture.pixel(x + 2 + i, lane.y + lane.height + BAND.gap + 1))
    expect(new Set(band)).toEqual(new Set([theme.families.attention, theme.background]))
  })

  it('is named in the legend and beside its step; without it nothing is', () => {
    expect(drawn(whole).words).toContain('predicted')
    expect(
      drawn({ start_ns: second.start_ns, end_ns: second.start_ns + second.duration_ns, rank: 0 }).words.some((text) => /^step 2 · .*, predicted /.test(text)),
    ).toBe(true)
    const without = drawn(whole, null)
    expect(without.words.filter((text) => text.includes('predicted'))).toEqual([])
    expect(without.layout.height).toBeLessThan(drawn(whole).layout.height)
  })

  it('is refused in words where it breaks the format', () => {
    const reason = (change: (predicted: NonNullable<Run['predicted']>) => void): string => {
      const tables = structuredClone(fixture({ layers: 1, chunks: 2, steps: 1, predicted: 1 }))
      if (!tables.predicted) throw new Error('asked for a prediction')
      change(tables.predicted)
      try {
        openRun(tables)
        return 'drawn'
      } catch (error) {
        return (error as Error).message
      }
    }
    expect(reason(() => {})).toBe('drawn')
    expect(reason((predicted) => predicted.rank.fill(9, 0, 1))).toMatch(/predicted span 0 is of rank 9, and ranks to 1 have run/)
    expect(reason((predicted) => predicted.start_ns.fill(1e15, 0, 1))).toMatch(/predicted span \d+ starts before the one before it/)
    expect(reason((predicted) => predicted.stream.fill(200, 0, 1))).toMatch(/stream of predicted span row 0 is code 200/)
  })
})
