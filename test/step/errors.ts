/** How far two gradients are from each other. */
import type { Weights } from './reference/transformer.js'

/** Largest norm-wise relative error over tensors; the denominator is at least 1e-3 of the rms gradient norm, for gradients that are all but zero. */
export function gradientError(actual: Weights, expected: Weights): { error: number; tensor: string } {
  const norms = [...expected.values()].map((values) => Math.sqrt(square(values)))
  const floor = 1e-3 * Math.sqrt(norms.reduce((sum, norm) => sum + norm * norm, 0) / norms.length)
  let worst = { error: 0, tensor: '' }
  for (const [name, values] of expected) {
    const found = actual.get(name)!
    const difference = Math.sqrt(square(values.map((value, i) => value - found[i]!)))
    const error = difference / Math.max(Math.sqrt(square(values)), floor)
    if (Number.isNaN(error)) return { error, tensor: name }
    if (error > worst.error) worst = { error, tensor: name }
  }
  return worst
}
/** Relative error of the gradient as one long vector. */
export function wholeError(actual: Weights, expected: Weights): number {
  let [difference, whole] = [0, 0]
  for (const [name, values] of expected) {
    const found = actual.get(name)!
    difference += square(values.map((value, i) => value - found[i]!))
    whole += square(values)
  }
  return Math.sqrt(difference / whole)
}
/** Of the gradient as one long vector. */
export function normOf(gradients: Weights): number {
  return Math.sqrt([...gradients.values()].reduce((sum, values) => sum + square(values), 0))
}
/** Σ x² */
export function square(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value * value, 0)
}
