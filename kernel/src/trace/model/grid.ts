/**
 * Values of a tensor as a grid of cells that fits a screen. Dimensions before the last become rows, one below the other. Where
 * a cell stands for many values it shows the one that stands out most, so no outlier is lost however far the grid is reduced:
 * one that is not finite before all others, else the farthest from the middle.
 *
 *   shape (2, 3, 4)  ->  6 rows of 4          1 1 9 1   in cells of 2 x 2:   1 9
 *                                             1 1 1 1
 */
export interface Grid {
  readonly shape: readonly number[]
  /** Of the values. */
  readonly rows: number
  readonly columns: number
  /** Values of a cell, down and across. */
  readonly block: readonly [number, number]
  /** Of the cells, row by row in `values`. */
  readonly cellRows: number
  readonly cellColumns: number
  readonly values: Float64Array
  readonly summary: GridSummary
}
/** Of all values; minimum, maximum and mean are of the finite ones, 0 where there are none. */
export interface GridSummary {
  readonly count: number
  readonly finite: number
  readonly nan: number
  readonly infinite: number
  readonly minimum: number
  readonly maximum: number
  readonly mean: number
  /** What a cell's values are measured from: 0 where signs differ, else the mean. */
  readonly middle: number
}

/** As many as a screen shows apart. */
export const MOST_CELLS = { rows: 120, columns: 220 } as const
/** A vector longer than this is broken into rows. */
const LONGEST_ROW = 1024

export function gridOf(values: ArrayLike<number>, shape: readonly number[], most: { readonly rows: number; readonly columns: number } = MOST_CELLS): Grid {
  const [rows, columns] = matrixOf(shape, values.length)
  const summary = summaryOf(values)
  const block = [Math.max(1, Math.ceil(rows / most.rows)), Math.max(1, Math.ceil(columns / most.columns))] as const
  const cellRows = Math.ceil(rows / block[0])
  const cellColumns = Math.ceil(columns / block[1])
  const cells = new Float64Array(cellRows * cellColumns).fill(summary.middle)
  const seen = new Uint8Array(cells.length)
  for (let i = 0; i < values.length; i++) {
    const cell = Math.floor(Math.floor(i / columns) / block[0]) * cellColumns + Math.floor((i % columns) / block[1])
    if (seen[cell] && !standsOut(values[i], cells[cell], summary.middle)) continue
    cells[cell] = values[i]
    seen[cell] = 1
  }
  return { shape, rows, columns, block, cellRows, cellColumns, values: cells, summary }
}

/** Rows and columns of a tensor laid out flat. */
function matrixOf(shape: readonly number[], count: number): [number, number] {
  const columns = shape.at(-1) ?? 1
  if (shape.length > 1) return [columns > 0 ? Math.ceil(count / columns) : 0, columns]
  if (count <= LONGEST_ROW) return [count > 0 ? 1 : 0, count]
  const row = 2 ** Math.ceil(Math.log2(Math.sqrt(count)))
  return [Math.ceil(count / row), row]
}

/** Whether a value shall be seen rather than the other. */
function standsOut(value: number, other: number, middle: number): boolean {
  if (!Number.isFinite(other)) return Number.isNaN(value) && !Number.isNaN(other)
  return !Number.isFinite(value) || Math.abs(value - middle) > Math.abs(other - middle)
}

function summaryOf(values: ArrayLike<number>): GridSummary {
  let [nan, infinite, finite, minimum, maximum, sum] = [0, 0, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0]
  for (let i = 0; i < values.length; i++) {
    const value = values[i]
    if (Number.isNaN(value)) nan++
    else if (!Number.isFinite(value)) infinite++
    else {
      finite++
      sum += value
      if (value < minimum) minimum = value
      if (value > maximum) maximum = value
    }
  }
  if (finite === 0) return { count: values.length, finite, nan, infinite, minimum: 0, maximum: 0, mean: 0, middle: 0 }
  const mean = sum / finite
  return { count: values.length, finite, nan, infinite, minimum, maximum, mean, middle: minimum < 0 && maximum > 0 ? 0 : mean }
}
