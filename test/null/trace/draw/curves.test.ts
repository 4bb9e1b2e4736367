import { createCanvas } from '@napi-rs/canvas'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type CurveAxis,
  type CurvesLayout,
  curvesOf,
  type DrawnCurve,
  drawCurves,
  drawCurvesPointer,
  layOutCurves,
  placesOf,
  smoothed,
  stepAtPoint,
} from '../../../../kernel/src/trace/draw/curves.js'
import { type Context2D, type Label, overlaps } from '../../../../kernel/src/trace/draw/surface.js'
import { contrastOf, DARK_PAGE, LIGHT_PAGE, themeFor } from '../../../../kernel/src/trace/draw/theme.js'
import type { RunHead, StepSummary } from '../../../../kernel/src/trace/schema.js'
import { fixture } from '../fixture.js'

const { head: real } = fixture({ layers: 1, chunks: 4, steps: 2 })
/** The same run with as many steps as wanted, each changed as wanted. */
function many(count: number, change: (i: number) => Partial<StepSummary> = () => ({})): RunHead {
  const [first] = real.steps
  return {
    ...real,
    steps: Array.from({ length: count }, (_, i) => ({ ...first, step: i + 1, start_ns: i * 2 * first.duration_ns, loss: 10 - i / count, ...change(i) })),
  }
}

interface Drawn {
  layout: CurvesLayout
  curves: DrawnCurve[]
  labels: Label[]
  /** Points of all lines. */
  points: number
  pixel(x: number, y: number): string
}
function drawn(
  head: RunHead,
  options: { axis?: CurveAxis; smoothing?: number; width?: number; page?: typeof LIGHT_PAGE; hover?: number; picked?: number } = {},
): Drawn {
  const { axis = 'step', smoothing = 0, width = 1100, page = LIGHT_PAGE, hover = null, picked = null } = options
  const theme = themeFor({ ...page, font: 'sans-serif' })
  const ruler = { context: createCanvas(1, 1).getContext('2d') as Context2D, theme, labels: [] }
  const layout = layOutCurves(ruler, head, axis, width)
  const context = createCanvas(width, Math.max(1, layout.height)).getContext('2d')
  const surface = { context: context as Context2D, theme, labels: [] as Label[] }
  let points = 0
  const lineTo = context.lineTo.bind(context)
  context.lineTo = (...point) => {
    points++
    lineTo(...point)
  }
  const curves = drawCurves(surface, head, layout, smoothing)
  drawCurvesPointer(surface, head, layout, smoothing, { hover, picked })
  const pixel = (x: number, y: number): string =>
    `#${[...context.getImageData(Math.floor(x), Math.floor(y), 1, 1).data.subarray(0, 3)].map((v) => v.toString(16).padStart(2, '0')).join('')}`
  return { layout, curves, labels: surface.labels, points, pixel }
}
const chartOf = ({ layout }: Drawn, name: string): CurvesLayout['charts'][number] => {
  const found = layout.charts.find(({ curve }) => curve.name === name)
  if (!found) throw new Error(`no curve ${name}`)
  return found
}
/** Whether a column of a chart holds anything of the line, between two heights from 0 (bottom) to 1. */
function touches(picture: Drawn, name: string, x: number, from: number, to: number): boolean {
  const chart = chartOf(picture, name)
  const { families, background, grid } = themeFor(LIGHT_PAGE)
  for (let y = chart.y + chart.height * (1 - to); y <= chart.y + chart.height * (1 - from); y++) {
    const found = picture.pixel(x, y)
    if (found === families.attention || (found !== background && found !== grid)) return true
  }
  return false
}

describe('curves', () => {
  it('has loss, speed, MFU with its formula and the hidden share of copies; of what has no value nothing', () => {
    expect(curvesOf(real).map(({ name }) => name)).toEqual(['loss', 'speed', 'mfu', 'hidden'])
    expect(curvesOf(real)[2].hint).toBe(real.steps[0].mfu_formula)
    expect(curvesOf(many(3, () => ({ loss: null, mfu: null, accounts: [] }))).map(({ name }) => name)).toEqual(['speed'])
    expect(curvesOf(many(3, () => ({ loss: null, mfu: null, accounts: [], tokens: 0 }))).map(({ name }) => name)).toEqual(['duration'])
    expect(curvesOf(many(0))).toEqual([])
  })

  it('takes the hidden share of all ranks together', () => {
    const accounts = real.steps[0].accounts
    const hidden = accounts.reduce((sum, one) => sum + one.hidden_copy_ns, 0)
    const copied = accounts.reduce((sum, { busy_ns }) => sum + busy_ns.fetch + busy_ns.offload + busy_ns.load + busy_ns.spill, 0)
    expect(curvesOf(real)[3].values[0]).toBe(hidden / copied)
  })

  it('has steps, tokens or time to the right', () => {
    const head = many(3)
    expect([...placesOf(head, 'step')]).toEqual([1, 2, 3])
    expect([...placesOf(head, 'tokens')]).toEqual([2048, 4096, 6144])
    expect([...placesOf(head, 'time')]).toEqual(head.steps.map(({ start_ns, duration_ns }) => start_ns + duration_ns))
  })

  it('smooths by weights that add up to 1, and knows its limits', () => {
    const values = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 50 })
    fc.assert(
      fc.property(values, fc.double({ min: 0, max: 0.99, noNaN: true }), (list, weight) => {
        const found = smoothed(Float64Array.from(list), weight)
        for (const [i, value] of found.entries()) {
          const weights = list.slice(0, i + 1).map((_, j) => weight ** (i - j))
          const whole = weights.reduce((sum, w) => sum + w, 0)
          expect(value).toBeCloseTo(weights.reduce((sum, w, j) => sum + w * list[j], 0) / whole, 3)
        }
        expect(smoothed(Float64Array.from(list), 0).every((value, i) => value === list[i])).toBe(true)
      }),
    )
    expect([...smoothed(Float64Array.of(4, Number.NaN, 4), 0.9)]).toEqual([4, Number.NaN, 4])
  })

  it('leaves a gap where a step has no value', () => {
    const whole = drawn(many(100))
    const broken = drawn(many(100, (i) => (i > 40 && i < 60 ? { loss: null } : {})))
    const parts = ({ curves }: Drawn): Record<string, number> => Object.fromEntries(curves.map(({ name, parts: found }) => [name, found]))
    expect([parts(whole).loss, parts(broken).loss, parts(broken).speed]).toEqual([1, 2, 1])
    const middle = (picture: Drawn): number => chartOf(picture, 'loss').x + chartOf(picture, 'loss').width * 0.5
    expect(touches(whole, 'loss', middle(whole), 0.05, 0.95)).toBe(true)
    expect(touches(broken, 'loss', middle(broken), 0.05, 0.95)).toBe(false)
  })

  it('draws a hundred thousand steps with a few points a column, and loses no spike among them', () => {
    const spike = 54_321
    const head = many(100_000, (i) => ({ loss: i === spike ? 50 : 5 }))
    const picture = drawn(head, { smoothing: 0 })
    const chart = chartOf(picture, 'loss')
    const x = chart.x + (spike / 100_000) * chart.width
    expect([-2, 0, 2].map((dx) => touches(picture, 'loss', x + dx, 0.5, 0.9))).toEqual([false, true, false])
    // Four points a column, of the line and of what lies pale below it, however many steps there are.
    const { layout, points } = drawn(head, { smoothing: 0.9 })
    expect(points).toBeLessThan(2 * 4 * layout.charts.reduce((sum, { width }) => sum + width + 1, 0) + 200)
  })

  it('shows one step as a dot and its value', () => {
    const picture = drawn(many(1))
    const chart = chartOf(picture, 'loss')
    expect(touches(picture, 'loss', chart.x + chart.width / 2, 0.4, 0.6)).toBe(true)
    expect(picture.labels.filter(({ role }) => role === 'figure').map(({ text }) => text)).toContain('step 1: 10.000')
  })

  it('finds the step under a point, and says its values', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 400 }), fc.nat(), fc.constantFrom<CurveAxis>('step', 'tokens', 'time'), (count, pick, axis) => {
        const { layout } = drawn(many(count), { axis })
        const index = pick % count
        for (const chart of layout.charts) {
          const x = chart.x + ((layout.places[index] - layout.from) / (layout.to - layout.from)) * chart.width
          expect(stepAtPoint(layout, x, chart.y + 5)).toBe(index)
        }
      }),
      { numRuns: 30 },
    )
    const { layout } = drawn(many(10))
    expect(stepAtPoint(layout, 3, layout.charts[0].y)).toBeNull()
    const told = drawn(many(10), { hover: 4, picked: 9 }).labels.filter(({ role }) => role === 'figure')
    expect(told[0].text).toBe('step 4: 9.700')
  })

  it('keeps what was measured visible below the smoothed line', () => {
    const head = many(200, (i) => ({ loss: i % 2 === 0 ? 2 : 8 }))
    const raw = drawn(head, { smoothing: 0.95 })
    const chart = chartOf(raw, 'loss')
    expect(touches(raw, 'loss', chart.x + chart.width * 0.7, 0.8, 0.95)).toBe(true)
  })

  it('says where a run failed', () => {
    const failed = { ...many(5), state: 'failed' as const }
    expect(
      drawn(failed)
        .labels.filter(({ role }) => role === 'note')
        .map(({ text }) => text),
    ).toContain('failed after this step')
    expect(drawn(many(5)).labels.filter(({ role }) => role === 'note')).toEqual([])
  })

  const scenes: [string, () => Drawn][] = [
    ['two steps', () => drawn(real)],
    ['dark', () => drawn(many(300), { page: DARK_PAGE, smoothing: 0.6, hover: 30, picked: 200 })],
    ['narrow', () => drawn(many(300), { width: 320, smoothing: 0.6 })],
    [
      'tokens of a long run',
      () =>
        drawn(
          many(5000, () => ({ tokens: 2 ** 21 })),
          { axis: 'tokens' },
        ),
    ],
    ['time', () => drawn(many(77), { axis: 'time', hover: 7 })],
    ['one step', () => drawn(many(1))],
    ['failed at once', () => drawn({ ...many(2), state: 'failed' })],
    ['small losses', () => drawn(many(40, (i) => ({ loss: 0.001 + i / 1e7 })))],
    ['equal losses', () => drawn(many(40, () => ({ loss: 0 })))],
  ]
  it.each(scenes)('%s: no words overlap, none are cut, all can be read', (_, scene) => {
    const { layout, labels } = scene()
    expect(labels.length).toBeGreaterThan(10)
    for (const [i, label] of labels.entries()) {
      expect(label.x, label.text).toBeGreaterThanOrEqual(0)
      expect(label.y, label.text).toBeGreaterThanOrEqual(0)
      expect(label.x + label.width, label.text).toBeLessThanOrEqual(layout.width + 0.5)
      expect(label.y + label.height, label.text).toBeLessThanOrEqual(layout.height)
      expect(contrastOf(label.colour, label.on), label.text).toBeGreaterThanOrEqual(4.5)
      for (const other of labels.slice(i + 1)) expect(overlaps(label, other), `${label.text} / ${other.text}`).toBe(false)
    }
  })
})
