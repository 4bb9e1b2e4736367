/**
 * One training step: for each batch embedding, layers, loss head, layers backward, embedding backward; then the optimizer.
 *
 *   host   tokens  x[0,·]  x[1,·] ... x[L,·]  dx[L,·] ... dx[0,·]       every chunk of the hidden state, between uses
 *   device one or two chunks of one layer, this layer's weights and the next one's, this rank's optimizer state
 *
 * That is FPDT; the other systems are the same ops under another policy (`systems.ts`).
 */

import { batchChunks, type StepConfig } from './config.js'
import { type Context, contextOf } from './context.js'
import { embeddingBackward, embeddingForward } from './embedding.js'
import { at, nothing, type Ops } from './emit.js'
import { layerBackward, layerForward } from './layer.js'
import { lossHead } from './loss.js'
import { optimizer } from './optimizer.js'
import type { Standing } from './standing.js'
import { type StepValues, stepValues } from './step-values.js'
import { beginGradient, finishGradient, gatherWeights, releaseWeights } from './weights.js'

/**
 * The ops of one training step, in emission order. Needs what `standing` lists, on every rank; leaves new parameters and
 * optimizer state where they were, `loss` and `gradientNorm` on the host, and nothing else. Source: FPDT (arXiv 2408.16978), section 4.
 */
export function* trainingStep(config: StepConfig, b: StepValues = stepValues(config)): Ops {
  const ctx = contextOf(config, b)
  for (let batch = 0; batch < config.accumulate; batch++) {
    yield* forwardAndBackward(ctx)
    ctx.nextBatch()
  }
  yield* optimizer(ctx)
}

function* forwardAndBackward(ctx: Context): Ops {
  const { b } = ctx
  const L = ctx.config.model.layers
  const gatherLayer = (phase: 'embedding' | 'forward' | 'loss' | 'backward', l: number): Ops =>
    l >= 0 && l < L ? gatherWeights(ctx, at(phase, l), b.layer(l)) : nothing()

  yield* embeddingForward(ctx, gatherLayer('embedding', 0))
  for (let l = 0; l < L; l++) {
    yield* layerForward(ctx, l, gatherLayer('forward', l + 1))
    yield* releaseWeights(ctx, at('forward', l), b.layer(l))
  }
  yield* lossHead(ctx, gatherLayer('loss', L - 1))
  for (let l = L - 1; l >= 0; l--) {
    yield* beginGradient(ctx, at('backward', l), b.layer(l))
    yield* layerBackward(ctx, l, gatherLayer('backward', l - 1))
    yield* releaseWeights(ctx, at('backward', l), b.layer(l))
    yield* finishGradient(ctx, at('backward', l), b.layer(l))
  }
  yield* embeddingBackward(ctx)
}

/** What stands between steps: parameters and optimizer state where the policy keeps them, inputs and results on the host. */
export function standing(config: StepConfig, b: StepValues): Standing[] {
  const states = b.groups.flatMap(({ slices }) => slices.flatMap(({ master, m, v }) => (config.dtype === 'f32' ? [m, v] : [master, m, v])))
  const inputs = Array.from({ length: batchChunks(config) * config.accumulate }, (_, n) => [
    b.tokens(n),
    b.labels(n),
    ...(config.model.positions.kind === 'learned' ? [b.positions(n)] : []),
    ...(config.documents ? [b.starts(n)] : []),
  ]).flat()
  return [
    ...b.groups.map(({ weightsPart }) => ({ value: weightsPart, tier: config.parameters, written: true })),
    ...states.map((value) => ({ value, tier: config.states, written: true })),
    ...(config.model.positions.kind === 'rotary' ? [{ value: b.frequencies, tier: 'device' as const, written: true }] : []),
    ...inputs.map((value) => ({ value, tier: 'host' as const, written: true })),
    ...[b.loss, b.gradientNorm].map((value) => ({ value, tier: 'host' as const, written: false })),
  ]
}
