import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { gridOf } from '../../../../kernel/src/trace/model/grid.js'

const number = fc.oneof(
  { weight: 20, arbitrary: fc.double({ min: -1e6, max: 1e6, noNaN: true }) },
  { weight: 1, arbitrary: fc.constantFrom(Number.NaN, Infinity, -Infinity) },
)
const tensor = fc
  .tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }))
  .chain(([rows, columns, mostRows, mostColumns]) =>
    fc.record({
      values: fc.array(number, { minLength: rows * columns, maxLength: rows * columns }),
      shape: fc.constant([rows, columns]),
      most: fc.constant({ rows: mostRows, columns: mostColumns }),
    }),
  )

describe('a grid of values', () => {
  it('is the values themselves where they fit, by the last dimension', () => {
    const { rows, columns, cellRows, cellColumns, values } = gridOf(
      Float32Array.from({ length: 24 }, (_, i) => i),
      [2, 3, 4],
    )
    expect([rows, columns, cellRows, cellColumns]).toEqual([6, 4, 6, 4])
    expect([...values]).toEqual(Array.from({ length: 24 }, (_, i) => i))
    expect(gridOf([7], []).values).toEqual(Float64Array.of(7))
    expect(gridOf([1, 2, 3], [3])).toMatchObject({ rows: 1, columns: 3 })
    expect(gridOf(new Float32Array(5000), [5000])).toMatchObject({ rows: 40, columns: 128 })
    expect(gridOf([], [0, 4]).values).toHaveLength(0)
  })

  it('shows of each block the value that is farthest from the middle, or one that is not finite', () => {
    fc.assert(
      fc.property(tensor, ({ values, shape, most }) => {
        const grid = gridOf(values, shape, most)
        expect(grid.cellRows).toBeLessThanOrEqual(most.rows)
        expect(grid.cellColumns).toBeLessThanOrEqual(most.columns)
        for (let r = 0; r < grid.cellRows; r++)
          for (let c = 0; c < grid.cellColumns; c++) {
            const block = values.filter(
              (_, i) => Math.floor(Math.floor(i / grid.columns) / grid.block[0]) === r && Math.floor((i % grid.columns) / grid.block[1]) === c,
            )
            const cell = grid.values[r * grid.cellColumns + c] as number
            expect(block.some((value) => Object.is(value, cell))).toBe(true)
            if (block.some(Number.isNaN)) expect(cell).toBeNaN()
            else if (!block.every(Number.isFinite)) expect(Number.isFinite(cell)).toBe(false)
            else {
              const away = (value: number): number => Math.abs(value - grid.summary.middle)
              expect(away(cell)).toBe(Math.max(...block.map(away)))
            }
          }
      }),
      { numRuns: 60 },
    )
  })

  it('keeps the minimum and the maximum of signed values, and counts what is not finite', () => {
    const values = Float32Array.from({ length: 10_000 }, (_, i) => Math.sin(i))
    values[5137] = 40
    values[77] = -30
    values[9000] = Number.NaN
    const { values: cells, summary } = gridOf(values, [100, 100], { rows: 4, columns: 4 })
    expect([Math.max(...cells.filter(Number.isFinite)), Math.min(...cells.filter(Number.isFinite))]).toEqual([40, -30])
    expect(summary).toMatchObject({ count: 10_000, finite: 9999, nan: 1, infinite: 0, minimum: -30, maximum: 40, middle: 0 })
  })
})
