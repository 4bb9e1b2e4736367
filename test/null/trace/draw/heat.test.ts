import { createCanvas } from '@napi-rs/canvas'
import { describe, expect, it } from 'vitest'
import { luminance, parseColour, type Rgb } from '../../../../kernel/src/trace/draw/colour.js'
import { drawHeat, type HeatScale, heatWords, layOutHeat } from '../../../../kernel/src/trace/draw/heat.js'
import { type Context2D, type Label, overlaps, type Surface } from '../../../../kernel/src/trace/draw/surface.js'
import { contrastOf, DARK_PAGE, LIGHT_PAGE, themeFor } from '../../../../kernel/src/trace/draw/theme.js'
import { type Grid, gridOf } from '../../../../kernel/src/trace/model/grid.js'

const words = { title: 'k[0,1]', place: 'device of rank 0, after attend' }

function drawn(
  grid: Grid,
  { page = LIGHT_PAGE, scale = 'linear' as HeatScale, width = 560 } = {},
): { labels: readonly Label[]; cell(row: number, column: number): string; at(x: number, y: number): string; height: number } {
  const layout = layOutHeat(grid, words, width)
  const context = createCanvas(width, Math.ceil(layout.height)).getContext('2d')
  const surface: Surface = { context: context as Context2D, theme: themeFor(page), labels: [] }
  drawHeat(surface, grid, words, layout, scale)
  const at = (x: number, y: number): string =>
    `#${[...context.getImageData(Math.floor(x), Math.floor(y), 1, 1).data.subarray(0, 3)].map((v) => v.toString(16).padStart(2, '0')).join('')}`
  const { map, cell } = layout
  return { labels: surface.labels, at, height: layout.height, cell: (row, column) => at(map.x + (column + 0.5) * cell[0], map.y + (row + 0.5) * cell[1]) }
}
const light = (colour: string): number => luminance(parseColour(colour) as Rgb)

describe('a heat map', () => {
  it('grows brighter with values of one sign', () => {
    const { cell } = drawn(gridOf([0, 1, 2, 3, 4, 5, 6, 7], [2, 4]))
    const levels = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => light(cell(Math.floor(i / 4), i % 4)))
    expect(levels).toEqual([...levels].sort((a, b) => a - b))
    expect(new Set(levels).size).toBe(8)
  })

  for (const [name, page] of [
    ['light', LIGHT_PAGE],
    ['dark', DARK_PAGE],
  ] as const) {
    it(`has zero in the tone of a ${name} page, and signs in two hues that go away from it`, () => {
      const { cell } = drawn(gridOf([-2, -1, 0, 1, 2], [1, 5]), { page })
      const away = [0, 1, 2, 3, 4].map((i) => contrastOf(cell(0, i), page.background))
      expect(away[2]).toBeLessThan(1.6)
      expect(away[0]! > away[1]! && away[1]! > away[2]! && away[2]! < away[3]! && away[3]! < away[4]!).toBe(true)
      const [negative, positive] = [cell(0, 0), cell(0, 4)].map((colour) => parseColour(colour) as Rgb)
      expect(negative!.b > negative!.r && positive!.r > positive!.b).toBe(true)
    })

    it(`has words on a ${name} page that can be read and do not overlap`, () => {
      for (const grid of [
        gridOf(
          Float32Array.from({ length: 300 * 500 }, (_, i) => Math.sin(i)),
          [300, 500],
        ),
        gridOf([1, 2], [1, 2]),
        gridOf([5], []),
      ]) {
        const { labels, height } = drawn(grid, { page })
        for (const [i, label] of labels.entries()) {
          expect(label.x >= 0 && label.x + label.width <= 560 && label.y + label.height <= height, label.text).toBe(true)
          expect(contrastOf(label.colour, label.on), label.text).toBeGreaterThanOrEqual(4.5)
          for (const other of labels.slice(i + 1)) expect(overlaps(label, other), `${label.text} / ${other.text}`).toBe(false)
        }
      }
    })
  }

  it('marks what is not finite in a colour of its own, with a frame where cells are small, and counts it', () => {
    const values = Float32Array.from({ length: 120 * 220 }, (_, i) => i)
    values[50 * 220 + 100] = Number.NaN
    const grid = gridOf(values, [120, 220])
    const { cell, labels } = drawn(grid)
    expect(cell(50, 100)).toBe('#ff00c8')
    expect([0, 60, 119].flatMap((row) => [0, 219].map((column) => cell(row, column)))).not.toContain('#ff00c8')
    expect(labels.map(({ text }) => text)).toContain('Not finite: 1 NaN of 26,400 values')
    expect(heatWords(gridOf([Number.NaN, Infinity, 1], [3]), words)).toMatch(/Minimum 1, maximum 1, mean 1\. Not finite: 1 NaN, 1 infinite of 3 values$/)
    expect(() => drawn(gridOf([Number.NaN, Number.NaN], [2]))).not.toThrow()
  })

  it('tells small values apart on a log scale, which hide on a linear one', () => {
    const grid = gridOf([1e-4, 1e-3, 1e-2, 1, 1000], [1, 5])
    const apart = (scale: HeatScale): number => {
      const { cell } = drawn(grid, { scale })
      return new Set([0, 1, 2, 3, 4].map((i) => cell(0, i))).size
    }
    expect(apart('linear')).toBe(2)
    expect(apart('log')).toBe(5)
    const signed = drawn(gridOf([-100, -1, -0.01, 0, 0.01, 1, 100], [1, 7]), { scale: 'log' })
    expect(new Set([0, 1, 2, 3, 4, 5, 6].map((i) => signed.cell(0, i))).size).toBeGreaterThanOrEqual(5)
  })

  it('says what it shows: shape, how it is laid out, what a cell stands for', () => {
    const text = heatWords(gridOf(new Float32Array(300 * 4 * 250).fill(2), [300, 4, 250]), words)
    expect(text).toBe(
      'k[0,1], device of rank 0, after attend. Shape (300, 4, 250), drawn as 1,200 × 250. Minimum 2, maximum 2, mean 2. Each cell is the one of 10 × 2 values that is farthest from the mean',
    )
  })
})
