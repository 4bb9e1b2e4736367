/**
 * The baseline: Ulysses (arXiv 2309.14509) without chunks, in the same ops. The whole local sequence is one chunk, nothing
 * leaves the device, and every activation the backward needs is kept, as an autograd framework without checkpointing does:
 * x, q, k, v, o, oLocal, lse, y and the feed-forward layer's n2, gateUp, act of every layer, and the logits in one piece.
 */

import { attendChunk } from './attention-forward.js'
import type { StepConfig } from './config.js'
import { at, compute, fetch, free, nothing, type Ops, toTokens } from './emit.js'
import { feedForward, feedForwardBackward } from './feed-forward.js'
import { lossChunk } from './loss.js'
import { optimizer } from './optimizer.js'
import { exchangeGradients, projectOut, projectOutBackward, projectQkv, projectQkvBackward } from './projection.js'
import { type StepValues, stepValues } from './step-values.js'
import { gatherWeights, reduceGradient, releaseWeights } from './weights.js'

/** The configuration of the baseline for the same model and sequence: one chunk, parts as large as it; `lossRows` cuts its logits all the same. */
export function unchunked(config: StepConfig, lossRows?: number): StepConfig {
  const chunk = Math.ceil(config.tokens / config.ranks) * config.ranks
  const local = chunk / config.ranks
  return { ...config, chunk, chunks: 1, lookAhead: 0, prefetch: 0, feedForwardRows: local, lossRows: Math.min(lossRows ?? local, local) }
}

/** One training step. `config` is made by `unchunked`. */
export function* ulyssesStep(config: StepConfig, b: StepValues = stepValues(config)): Ops {
  const L = config.model.layers
  const tied = config.model.tied

  yield* gatherWeights(config, at('embedding'), b.embedding)
  yield fetch(at('embedding', null, 0), b.tokens(0))
  yield compute(at('embedding', null, 0), 'embed', { x: b.x(0, 0), tokens: b.tokens(0), table: b.embedding.weight('table') })
  yield* releaseWeights(config, at('embedding'), b.embedding)

  for (let l = 0; l < L; l++) {
    const place = at('forward', l, 0)
    yield* gatherWeights(config, place, b.layer(l))
    yield* projectQkv(config, b, 'forward', l, 0, nothing())
    yield* attendChunk(config, b, 'forward', l, 0, nothing())
    yield toTokens(place, [b.o(l, 0)], b.oLocal(l, 0))
    yield* projectOut(b, 'forward', l, 0)
    yield* feedForward(config, b, 'forward', l, 0, true)
    yield* releaseWeights(config, place, b.layer(l))
  }

  yield* gatherWeights(config, at('loss'), b.head)
  if (tied) yield* gatherWeights(config, at('loss'), b.embedding)
  yield fetch(at('loss', null, 0), b.labels(0))
  yield* lossChunk(config, b, 0)
  yield* free(at('loss', null, 0), 'device', b.x(L, 0), b.labels(0))
  yield* releaseWeights(config, at('loss'), b.head)
  yield* reduceGradient(config, at('loss'), b.head, true)
  if (tied) yield* releaseWeights(config, at('loss'), b.embedding)
  if (tied && config.ranks > 1) yield* reduceGradient(config, at('loss'), b.embedding, true)

  for (let l = L - 1; l >= 0; l--) {
    const place = at('backward', l, 0)
    yield* gatherWeights(config, place, b.layer(l))
    yield* feedForwardBackward(config, b, l, 0, true)
    yield* free(place, 'device', b.y(l, 0), b.dx(l + 1, 0))
    yield* projectOutBackward(b, l, 0)
    yield compute(place, 'delta', { delta: b.delta(l, 0), dO: b.dO(l, 0), o: b.o(l, 0) })
    yield* free(place, 'device', b.o(l, 0))
    const [dq, dk, dv, q, k, v] = [b.dq(l, 0), b.dk(l, 0), b.dv(l, 0), b.q(l, 0), b.k(l, 0), b.v(l, 0)]
    const operands = { dq, dk, dv, q, k, v, dO: b.dO(l, 0), lse: b.lse(l, 0), delta: b.delta(l, 0) }
    yield compute(at('backward', l, 0, 0), 'attendBackward', operands, { firstQ: 1, firstKv: 1 })
    yield* free(place, 'device', q, k, v, b.dO(l, 0), b.lse(l, 0), b.delta(l, 0))
    yield* exchangeGradients(config, b, l, 0)
    yield* projectQkvBackward(config, b, l, 0)
    yield* releaseWeights(config, place, b.layer(l))
    yield* reduceGradient(config, place, b.layer(l), true)
  }

  const first = tied && config.ranks === 1 ? 0 : 1
  yield compute(at('backward', null, 0), 'embedBackward', { dtable: b.embedding.dweight('table'), dx: b.dx(0, 0), tokens: b.tokens(0) }, { first })
  yield* free(at('backward', null, 0), 'device', b.dx(0, 0), b.tokens(0))
  yield* reduceGradient(config, at('backward'), b.embedding, !tied)
  yield* optimizer(config, b)
}
