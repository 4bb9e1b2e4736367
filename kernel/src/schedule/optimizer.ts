/**
 * Global-norm clipping and AdamW on this rank's partitions. The clip factor stays on the device: there is no host
 * synchronise. It is 0 when the norm or the loss is not finite, and then no parameter and no state is touched.
 */

import type { StepConfig } from './config.js'
import { allReduce, at, compute, free, moveToHost, type Ops } from './emit.js'
import type { StepValues } from './step-values.js'

/** Ends all gradients. Leaves `loss` and `gradientNorm` (squared) on the host. */
export function* optimizer(config: StepConfig, b: StepValues): Ops {
  const place = at('optimizer')
  for (const [index, group] of b.groups.entries()) {
    yield compute(place, 'squaredNorm', { sum: b.gradientNorm, gradient: group.gradientPart }, { first: index === 0 ? 1 : 0 })
  }
  if (config.ranks > 1) {
    yield allReduce(place, b.gradientNorm)
    yield allReduce(place, b.loss)
  }
  const { beta1, beta2, eps, decay, maxNorm } = config.adamW
  yield compute(place, 'clip', { scale: b.clipScale, sum: b.gradientNorm, loss: b.loss }, { maxNorm })
  for (const group of b.groups) {
    const { master, m, v, weightsPart, gradientPart: gradient } = group
    const state = { master, m, v, gradient, scale: b.clipScale }
    const flags = { beta1, beta2, eps, decay, undecayed: group.group.undecayed }
    yield compute(place, 'adamW', weightsPart === master ? state : { ...state, weight: weightsPart }, flags)
    yield* free(place, 'device', gradient)
  }
  yield* free(place, 'device', b.clipScale)
  yield* moveToHost(place, b.loss, b.gradientNorm)
}
