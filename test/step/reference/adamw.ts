/** AdamW in fp64, as PyTorch does it after clipping to a global norm. */
import type { Weights } from './transformer.js'

export interface AdamWState {
  readonly m: Weights
  readonly v: Weights
}
export function adamWState(weights: Weights): AdamWState {
  const zeros = (): Weights => new Map([...weights].map(([name, values]) => [name, new Float64Array(values.length)]))
  return { m: zeros(), v: zeros() }
}

/** Step number `step` (from 1). Matrices decay, norm weights and biases do not, nor do tables unless `decayEmbeddings`. Updates weights and state in place; returns the gradient's norm. */
export function adamW(
  weights: Weights,
  { m, v }: AdamWState,
  gradients: Weights,
  step: number,
  o: { rate: number; beta1: number; beta2: number; eps: number; decay: number; decayEmbeddings: boolean; maxNorm: number },
): number {
  const norm = Math.sqrt([...gradients.values()].reduce((sum, values) => values.reduce((square, x) => square + x * x, sum), 0))
  const scale = Math.min(1, o.maxNorm / norm)
  for (const [name, values] of weights) {
    const decay = /norm\d?$|Bias$/.test(name) || (name.endsWith('/table') && !o.decayEmbeddings) ? 0 : o.decay
    const [gs, ms, vs] = [gradients.get(name)!, m.get(name)!, v.get(name)!]
    for (let i = 0; i < values.length; i++) {
      const x = gs[i]! * scale
      ms[i] = o.beta1 * ms[i]! + (1 - o.beta1) * x
      vs[i] = o.beta2 * vs[i]! + (1 - o.beta2) * x * x
      const mHat = ms[i]! / (1 - o.beta1 ** step)
      const vHat = vs[i]! / (1 - o.beta2 ** step)
      values[i] = values[i]! - o.rate * (mHat / (Math.sqrt(vHat) + o.eps) + decay * values[i]!)
    }
  }
  return norm
}
