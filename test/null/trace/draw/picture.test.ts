import { createCanvas } from '@napi-rs/canvas'
import { describe, expect, it } from 'vitest'
import { type Layout, layOut, xOf } from '../../../../kernel/src/trace/draw/layout.js'
import { draw, type Picture, targetAt } from '../../../../kernel/src/trace/draw/picture.js'
import { type Context2D, overlaps } from '../../../../kernel/src/trace/draw/surface.js'
import { contrastOf, DARK_PAGE, LIGHT_PAGE, themeFor } from '../../../../kernel/src/trace/draw/theme.js'
import { openRun, type Run } from '../../../../kernel/src/trace/model/run.js'
import { type View, zoomed } from '../../../../kernel/src/trace/model/view.js'
import { fixture } from '../fixture.js'

interface Drawn {
  run: Run
  view: View
  layout: Layout
  picture: Picture
  pixel(x: number, y: number): string
}

function drawn(run: Run, { page = LIGHT_PAGE, width = 1160, view = { ...run.extent, rank: 0 } as View } = {}): Drawn {
  const theme = themeFor({ ...page, font: 'sans-serif' })
  const ruler = { context: createCanvas(1, 1).getContext('2d') as Context2D, theme, labels: [] }
  const layout = layOut(ruler, run, view, width)
  const context = createCanvas(width, layout.height).getContext('2d')
  const picture = draw({ context: context as Context2D, theme, labels: [] }, run, view, layout)
  const pixel = (x: number, y: number): string =>
    `#${[...context.getImageData(Math.floor(x), Math.floor(y), 1, 1).data.subarray(0, 3)].map((v) => v.toString(16).padStart(2, '0')).join('')}`
  return { run, view, layout, picture, pixel }
}

const measured = openRun(fixture())
const eightRanks = openRun(fixture({ ranks: 8, layers: 1, chunks: 2 }))
const within = (run: Run, from: number, share: number): View => {
  const length = run.extent.end_ns - run.extent.start_ns
  return { rank: 0, start_ns: run.extent.start_ns + from * length, end_ns: run.extent.start_ns + (from + share) * length }
}

const scenes: [string, () => Drawn][] = [
  ['two steps, light', () => drawn(measured)],
  ['two steps, dark', () => drawn(measured, { page: DARK_PAGE })],
  ['a fiftieth of it', () => drawn(measured, { view: within(measured, 0.3, 0.02) })],
  ['a few ops, late in the run', () => drawn(measured, { view: within(measured, 0.93, 0.0004) })],
  ['narrow', () => drawn(measured, { width: 480 })],
  ['wide', () => drawn(measured, { width: 2400 })],
  ['predicted, budget far above', () => drawn(openRun(fixture({ origin: 'predicted', steps: 1, budget_bytes: 2 ** 40 })))],
  ['no budget, one rank, ten steps', () => drawn(openRun(fixture({ ranks: 1, layers: 1, chunks: 2, steps: 10, budget_bytes: null })))],
  ['budget just above the peak', () => drawn(openRun(fixture({ budget_bytes: measured.head.peaks[0].bytes + 2 ** 19 })))],
  ['eight ranks', () => drawn(eightRanks)],
]

describe('picture', () => {
  it.each(scenes)('%s: no words overlap, none are cut, all can be read', (_, scene) => {
    const { layout, picture } = scene()
    expect(picture.labels.length).toBeGreaterThan(10)
    for (const [i, label] of picture.labels.entries()) {
      expect(label.x, label.text).toBeGreaterThanOrEqual(0)
      expect(label.y, label.text).toBeGreaterThanOrEqual(0)
      expect(label.x + label.width, label.text).toBeLessThanOrEqual(layout.width + 0.5)
      expect(label.y + label.height, label.text).toBeLessThanOrEqual(layout.height)
      expect(contrastOf(label.colour, label.on), label.text).toBeGreaterThanOrEqual(4.5)
      for (const other of picture.labels.slice(i + 1)) expect(overlaps(label, other), `${label.text} / ${other.text}`).toBe(false)
    }
  })

  it.each(scenes)('%s: names every lane, unit, budget and peak', (_, scene) => {
    const { run, view, picture } = scene()
    const words = (role: string): string[] => picture.labels.filter((label) => label.role === role).map(({ text }) => text)
    expect(words('lane')).toEqual(picture.lanes.map(({ stream }) => stream))
    const shown = run.ranks.filter((rank) => picture.lanes.some((lane) => lane.rank === rank))
    expect(words('rank')).toEqual(shown.map((rank) => `rank ${rank}`))
    expect(words('axis')[0]).toMatch(/\b(ns|µs|ms|s)\b/)
    expect(words('tick').some((text) => /^\d+ [KMG]iB$/.test(text))).toBe(true)
    expect(words('chart')).toEqual(picture.charts.map(({ tier }) => `${tier} memory of rank ${view.rank}`))
    expect(words('budget')).toHaveLength(picture.charts.filter(({ budget }) => budget).length)
    expect(words('peak')).toEqual(picture.charts.flatMap(({ peak }) => (peak ? [peak.words] : [])))
    for (const text of words('peak')) expect(text).toMatch(/^peak [\d.]+\u202f[KMG]iB/)
  })

  it('paints a bar in the colour of its family where it says it is', () => {
    const view = within(measured, 0.3, 0.02)
    const { layout, pixel } = drawn(measured, { view })
    const theme = themeFor(LIGHT_PAGE)
    const lane = layout.lanes[0]
    const row = lane.lane.rows.find(
      (candidate) => measured.spans.start_ns[candidate] > view.start_ns && measured.head.codes.kernels[measured.spans.kernel[candidate]].family === 'attention',
    ) as number
    const x = xOf(layout, view, measured.spans.start_ns[row] + measured.spans.duration_ns[row] / 2)
    expect(pixel(x, lane.y + 1)).toBe(theme.families.attention)
    expect(targetAt(measured, view, layout, x, lane.y + 5)).toEqual({ kind: 'span', row })
  })

  it('marks the peak of every step that comes to it', () => {
    const [first, second] = measured.head.steps.map(({ start_ns, duration_ns }) =>
      drawn(measured, { view: { start_ns, end_ns: start_ns + duration_ns, rank: 0 } }),
    )
    const peaks = [first, second].map(({ picture }) => picture.charts.map(({ peak }) => peak && [peak.bytes, peak.words.split(' · ')[0]]))
    expect(peaks[0]).not.toContain(null)
    expect(peaks[1]).toEqual(peaks[0])
  })

  it('shows a peak of one nanosecond among twenty thousand spans', () => {
    const tables = fixture({ ranks: 1, layers: 1, chunks: 2, steps: 1, budget_bytes: null })
    const rows = 20_000
    const at = 12_345
    const n = (make: (i: number) => number): Float64Array => Float64Array.from({ length: rows }, (_, i) => make(i))
    const zeros = Uint8Array.from({ length: rows })
    const total = n((i) => (i === at ? 2 ** 30 : 2 ** 20))
    const memory = { step: new Uint32Array(rows), op: new Uint32Array(rows), rank: new Uint16Array(rows), tier: zeros, category: zeros, time_ns: n((i) => (i === at + 1 ? at * 1000 + 1 : i * 1000)), delta_bytes: n((i) => total[i] - (i > 0 ? total[i - 1] : 0)), total_bytes: total, buffer: new Uint32Array(rows) } // biome-ignore format: one table
    const run = openRun({ ...tables, memory })
    const { picture, pixel } = drawn(run, { view: { start_ns: 0, end_ns: rows * 1000, rank: 0 } })
    const [chart] = picture.charts
    expect(chart.peak?.bytes).toBe(2 ** 30)
    const x = chart.x + Math.floor((at * 1000 * chart.width) / (rows * 1000))
    expect(pixel(x, chart.y + chart.height * 0.6)).not.toBe(themeFor(LIGHT_PAGE).background)
    expect(pixel(x + 3, chart.y + chart.height * 0.6)).toBe(themeFor(LIGHT_PAGE).background)
  })

  it('shows a copy of a microsecond in a view of seconds, four pixels high', () => {
    const tables = fixture({ ranks: 1, layers: 1, chunks: 1, steps: 1 })
    // No step: its boundary would stand in the same column.
    const run = openRun({ ...tables, head: { ...tables.head, steps: [] } })
    const { layout, pixel } = drawn(run, { view: { start_ns: 0, end_ns: 1e11, rank: 0 } })
    const lane = layout.lanes.find((at) => at.lane.stream === 'offload')
    if (!lane) throw new Error('no offload lane')
    const x = xOf(layout, { start_ns: 0, end_ns: 1e11, rank: 0 }, run.spans.start_ns[lane.lane.rows[0]])
    const colour = themeFor(LIGHT_PAGE).families.offload
    expect([1, 4, 5].map((up) => pixel(x, lane.y + lane.height - up) === colour)).toEqual([true, true, false])
  })

  it('marks a prediction in words and a measurement not', () => {
    const origins = (origin: 'predicted' | 'measured'): number =>
      drawn(openRun(fixture({ origin, steps: 1 }))).picture.labels.filter(({ role }) => role === 'origin').length
    expect([origins('predicted'), origins('measured')]).toEqual([1, 0])
  })

  it('names steps at their beginning, and at the left edge when they began before', () => {
    const steps = (view: View): string[] =>
      drawn(measured, { view })
        .picture.labels.filter(({ role }) => role === 'step')
        .map(({ text }) => text.split(' · ')[0])
    expect(steps({ ...measured.extent, rank: 0 })).toEqual(['step 1', 'step 2'])
    expect(steps(within(measured, 0.2, 0.1))).toEqual(['step 1'])
  })

  it('names the time between two steps, and names nothing where steps do not part', () => {
    const notes = (view: View): string[] =>
      drawn(measured, { view })
        .picture.labels.filter(({ role }) => role === 'note')
        .map(({ text }) => text)
    const [first] = measured.head.steps
    expect(notes({ ...measured.extent, rank: 0 })).toEqual(['between steps'])
    expect(notes({ start_ns: first.start_ns, end_ns: first.start_ns + first.duration_ns, rank: 0 })).toEqual([])
  })

  it('keeps to one rank when there are too many lanes for a screen, and says so', () => {
    const { layout, picture } = drawn(eightRanks, { view: { ...eightRanks.extent, rank: 3 } })
    expect(new Set(picture.lanes.map(({ rank }) => rank))).toEqual(new Set([3]))
    expect(layout.hiddenRanks).toBe(7)
    const note = picture.labels.find(({ text }) => text === 'lanes of rank 3; those of 7 more ranks are not drawn')
    expect(note?.y).toBeGreaterThan(picture.lanes[3].y + picture.lanes[3].height)
    expect(drawn(measured).picture.labels.some(({ text }) => text.startsWith('lanes of'))).toBe(false)
  })

  it('draws a run with nothing in it', () => {
    const tables = fixture({ ranks: 1, layers: 1, chunks: 1, steps: 1 })
    const none = <T extends object>(table: T): T => Object.fromEntries(Object.entries(table).map(([name, column]) => [name, column.slice(0, 0)])) as T
    const run = openRun({ ...tables, spans: none(tables.spans), memory: none(tables.memory), head: { ...tables.head, steps: [] } })
    expect(drawn(run).picture).toMatchObject({ lanes: [], charts: [] })
  })

  it('zooms about the pointer: what is under it stays under it', () => {
    const { layout, view } = drawn(measured)
    const about = measured.spans.start_ns[100]
    const next = zoomed(view, measured.extent, 0.1, about)
    expect(xOf(layout, next, about)).toBeCloseTo(xOf(layout, view, about), 6)
    expect(next.end_ns - next.start_ns).toBeCloseTo((view.end_ns - view.start_ns) / 10, 3)
  })
})
