/**
 * The loss head, in parts of a chunk's rows: the logits of a part are the only ones that ever exist, and their gradient
 * overwrites them in the same visit. Nothing is saved and there is no second pass over the vocabulary.
 */

import { localChunk, parts, type StepConfig } from './config.js'
import { at, compute, fetch, free, moveToDevice, moveToHost, type Ops } from './emit.js'
import type { StepValues } from './step-values.js'
import { rows } from './values.js'
import { gatherWeights, reduceGradient, releaseWeights } from './weights.js'

/** Roughly: loss = mean crossEntropy(norm(x[L,·]) Wᵀ, labels); dx[L,·] on the host; dW and dnorm of the head. */
export function* lossHead(config: StepConfig, b: StepValues, gathering: Ops): Ops {
  const place = at('loss')
  yield* gatherWeights(config, place, b.head)
  if (config.model.tied) yield* gatherWeights(config, place, b.embedding)
  yield* gathering
  for (let i = 0; i < config.chunks; i++) {
    const L = config.model.layers
    if (i === 0) yield* takeChunk(config, b, 0)
    if (i + 1 < config.chunks) yield* takeChunk(config, b, i + 1)
    yield* lossChunk(config, b, i)
    yield* free(at('loss', null, i), 'device', b.x(L, i), b.labels(i))
    yield* moveToHost(at('loss', null, i), b.dx(L, i))
  }
  yield* releaseWeights(config, place, b.head)
  yield* reduceGradient(config, place, b.head, true)
  if (!config.model.tied) return
  yield* releaseWeights(config, place, b.embedding)
  if (config.ranks > 1) yield* reduceGradient(config, place, b.embedding, true)
}

function* takeChunk(config: StepConfig, b: StepValues, i: number): Ops {
  const place = at('loss', null, i)
  yield* moveToDevice(place, b.x(config.model.layers, i))
  yield fetch(place, b.labels(i))
}

/** Roughly, for each part: logits = norm(x) Wᵀ; loss += ...; logits = dlogits; dW += dlogitsᵀ n; dx = normBackward(dlogits W). */
export function* lossChunk(config: StepConfig, b: StepValues, i: number): Ops {
  const place = at('loss', null, i)
  const L = config.model.layers
  const eps = config.model.normEps
  const matrix = config.model.tied ? b.embedding : b.head
  const part = config.model.tied ? 'table' : 'matrix'
  const norm = b.head.weight('norm')
  for (const [s, [from, count]] of parts(localChunk(config), config.lossRows).entries()) {
    const [x, dx, labels] = [rows(b.x(L, i), `loss${s}`, from, count), rows(b.dx(L, i), `loss${s}`, from, count), rows(b.labels(i), `loss${s}`, from, count)]
    const [n, logits, dn] = [b.nHead(i, s, count), b.logits(i, s, count), b.dnHead(i, s, count)]
    const first = i === 0 && s === 0 ? 1 : 0
    yield compute(place, 'norm', { out: n, x, weight: norm }, { eps })
    yield compute(place, 'project', { out: logits, a: n, weight: matrix.weight(part) })
    yield compute(place, 'crossEntropy', { logits, loss: b.loss, labels }, { first, bf16: config.dtype === 'bf16' ? 1 : 0 })
    yield compute(place, 'weightGradient', { dweight: matrix.dweight(part), dout: logits, a: n }, { first })
    yield* free(place, 'device', n)
    yield compute(place, 'projectBackward', { da: dn, dout: logits, weight: matrix.weight(part) })
    yield* free(place, 'device', logits)
    yield compute(place, 'normBackward', { dx, dweight: b.head.dweight('norm'), dout: dn, x, weight: norm }, { eps, first })
    yield* free(place, 'device', dn)
  }
}
