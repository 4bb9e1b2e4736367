/** Central difference of a scalar function in every coordinate: holds the references' gradients against their forward. */
export function derivative(f: (x: Float64Array) => number, at: Float64Array, step = 1e-5): Float64Array {
  return at.map((_, i) => {
    const moved = (by: number): number => f(at.map((v, j) => (j === i ? v + by : v)))
    return (moved(step) - moved(-step)) / (2 * step)
  })
}
export function dot(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, v, i) => sum + v * (b[i] as number), 0)
}
