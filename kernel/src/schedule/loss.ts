/**
 * The loss head, in parts of a chunk's rows: the logits of a part are the only ones that ever exist, and their gradient
 * overwrites them in the same visit. Nothing is saved and there is no second pass over the vocabulary.
 */

import { localChunk, parts } from './config.js'
import type { Context } from './context.js'
import { at, compute, fetch, free, type Ops } from './emit.js'
import { norm, normBackward } from './norms.js'
import { rows } from './values.js'
import { beginGradient, finishGradient, gatherWeights, releaseWeights } from './weights.js'

/** Roughly: loss = mean crossEntropy(norm(x[L,·]) Wᵀ, labels); dx[L,·] waiting; dW and dnorm of the head. */
export function* lossHead(ctx: Context, gathering: Ops): Ops {
  const { b, config, chunks } = ctx
  const place = at('loss')
  const groups = config.model.tied ? [b.head, b.embedding] : [b.head]
  for (const group of groups) yield* gatherWeights(ctx, place, group)
  yield* gathering
  for (const group of groups) yield* beginGradient(ctx, place, group)
  for (let i = 0; i < chunks; i++) {
    if (i === 0) yield* takeChunk(ctx, 0)
    if (i + 1 < chunks) yield* takeChunk(ctx, i + 1)
    yield* lossChunk(ctx, i)
    yield* free(at('loss', null, i), 'device', b.x(config.model.layers, i), b.labels(ctx.input(i)))
    yield* ctx.waiting.put(at('loss', null, i), b.dx(config.model.layers, i))
  }
  for (const group of groups) yield* releaseWeights(ctx, place, group)
  for (const group of groups) yield* finishGradient(ctx, place, group)
}

function* takeChunk(ctx: Context, i: number): Ops {
  const place = at('loss', null, i)
  yield* ctx.checkpoints.take(place, ctx.b.x(ctx.config.model.layers, i))
  yield fetch(place, ctx.b.labels(ctx.input(i)))
}

/** Roughly, for each part: logits = norm(x) Wᵀ; loss += ...; logits = dlogits; dW += dlogitsᵀ n; dx = normBackward(dlogits W). */
function* lossChunk(ctx: Context, i: number): Ops {
  const { b, config } = ctx
  const place = at('loss', null, i)
  const L = config.model.layers
  const [matrix, name] = config.model.tied ? ([b.embedding, 'table'] as const) : ([b.head, 'matrix'] as const)
  const weight = matrix.weight(name)
  const dweight = matrix.dweight(name)
  for (const [s, [from, count]] of parts(localChunk(config), config.lossRows).entries()) {
    const part = (whole: ReturnType<typeof b.labels>) => rows(whole, `loss${s}`, from, count)
    const [x, dx, labels] = [part(b.x(L, i)), part(b.dx(L, i)), part(b.labels(ctx.input(i)))]
    const [n, logits, dn] = [b.nHead(i, s, count), b.logits(i, s, count), b.dnHead(i, s, count)]
    yield* norm(ctx, place, b.head, 'norm', n, x)
    yield compute(place, 'project', { out: logits, a: n, weight })
    yield compute(place, 'crossEntropy', { logits, loss: b.loss, labels }, { first: ctx.first(b.loss), bf16: config.dtype === 'bf16' ? 1 : 0 })
    yield compute(place, 'weightGradient', { dweight, dout: logits, a: n }, { first: ctx.first(dweight) })
    yield* free(place, 'device', n)
    yield compute(place, 'projectBackward', { da: dn, dout: logits, weight })
    yield* free(place, 'device', logits)
    yield* normBackward(ctx, place, b.head, 'norm', { dx, dout: dn, x })
    yield* free(place, 'device', dn)
  }
}
