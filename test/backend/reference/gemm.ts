/** C (rows, columns) = all of `added` + A (rows, depth) B (depth, columns) in f64, and the sum of absolute terms for the error bound. */
export interface Matrix {
  readonly values: Float64Array
  /** Between rows; element (i, j) lies at i * stride + j, or at j * stride + i when transposed. */
  readonly stride: number
  readonly transposed?: boolean
}

export function product(
  rows: number,
  columns: number,
  depth: number,
  a: Matrix,
  b: Matrix,
  ...added: readonly Float64Array[]
): { sum: Float64Array; magnitude: Float64Array } {
  const sum = new Float64Array(rows * columns)
  const magnitude = new Float64Array(rows * columns)
  const aRows = lines(rows, depth, (i, k) => at(a, i, k))
  const bColumns = lines(columns, depth, (j, k) => at(b, k, j))
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      let total = 0
      let absolute = 0
      for (const matrix of added) {
        total += matrix[i * columns + j] as number
        absolute += Math.abs(matrix[i * columns + j] as number)
      }
      for (let k = 0; k < depth; k++) {
        const term = (aRows[i * depth + k] as number) * (bColumns[j * depth + k] as number)
        total += term
        absolute += Math.abs(term)
      }
      sum[i * columns + j] = total
      magnitude[i * columns + j] = absolute
    }
  }
  return { sum, magnitude }
}

/** `count` lines of `depth` elements, one after another: only to make the sums above quick. */
function lines(count: number, depth: number, element: (line: number, k: number) => number): Float64Array {
  return Float64Array.from({ length: count * depth }, (_, at) => element(Math.floor(at / depth), at % depth))
}

function at({ values, stride, transposed }: Matrix, i: number, j: number): number {
  return (transposed ? values[j * stride + i] : values[i * stride + j]) as number
}
