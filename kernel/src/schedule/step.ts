/**
 * One training step of FPDT: embedding, layers, loss head, layers backward, embedding backward, optimizer.
 *
 *   host   tokens  x[0,·]  x[1,·] ... x[L,·]  dx[L,·] ... dx[0,·]       every chunk of the hidden state, between uses
 *   device one or two chunks of one layer, this layer's weights and the next one's, this rank's optimizer state
 */

import type { StepConfig } from './config.js'
import { embeddingBackward, embeddingForward } from './embedding.js'
import { at, nothing, type Ops } from './emit.js'
import { layerBackward, layerForward } from './layer.js'
import { lossHead } from './loss.js'
import { optimizer } from './optimizer.js'
import type { Standing } from './standing.js'
import { type StepValues, stepValues } from './step-values.js'
import { gatherWeights, reduceGradient, releaseWeights } from './weights.js'

/**
 * The ops of one training step, in emission order. Needs what `standing` lists, on every rank; leaves new parameters and
 * optimizer state on the device, `loss` and `gradientNorm` on the host, and nothing else. Source: FPDT (arXiv 2408.16978), section 4.
 */
export function* fpdtStep(config: StepConfig, b: StepValues = stepValues(config)): Ops {
  const L = config.model.layers
  const gatherLayer = (phase: 'embedding' | 'forward' | 'loss' | 'backward', l: number): Ops =>
    l >= 0 && l < L ? gatherWeights(config, at(phase, l), b.layer(l)) : nothing()

  yield* embeddingForward(config, b, gatherLayer('embedding', 0))
  for (let l = 0; l < L; l++) {
    yield* layerForward(config, b, l, gatherLayer('forward', l + 1))
    yield* releaseWeights(config, at('forward', l), b.layer(l))
  }
  yield* lossHead(config, b, gatherLayer('loss', L - 1))
  for (let l = L - 1; l >= 0; l--) {
    yield* layerBackward(config, b, l, gatherLayer('backward', l - 1))
    yield* releaseWeights(config, at('backward', l), b.layer(l))
    yield* reduceGradient(config, at('backward', l), b.layer(l), true)
  }
  yield* embeddingBackward(config, b)
  yield* optimizer(config, b)
}

/** What stands between steps: parameters and optimizer state on the device, inputs and results on the host. */
export function standing(config: StepConfig, b: StepValues): Standing[] {
  const parameters = b.groups.flatMap(({ weightsPart, master, m, v }) => [...new Set([weightsPart, master, m, v])])
  const chunks = Array.from({ length: config.chunks }, (_, i) => i)
  return [
    ...parameters.map((value) => ({ value, tier: 'device' as const, written: true })),
    ...chunks.flatMap((i) => [b.tokens(i), b.labels(i)]).map((value) => ({ value, tier: 'host' as const, written: true })),
    ...[b.loss, b.gradientNorm].map((value) => ({ value, tier: 'host' as const, written: false })),
  ]
}
