/**
 * Attention of one query chunk over the key/value chunks before it: FPDT's inner loop (paper, Figs. 2 and 3), diagonal last.
 *
 *   compute  attend q0        attend q1 k0  attend q1 k1       attend q2 k0  attend q2 k1  attend q2 k2
 *   fetch            k0 v0                  k0 v0  k1 v1 ──────^ one chunk ahead: hides under the attend before it
 *
 * Double buffering is not a mechanism here: the fetch of chunk j+1 is emitted before the attend of chunk j, and in a fixed
 * arena it may start as soon as the last reader of the bytes it takes over is done.
 */
import type { Phase } from '../trace/schema.js'
import type { Context } from './context.js'
import { at, compute, fetch, free, type Ops } from './emit.js'
import type { Operands } from './kernels.js'

/** The first key/value chunks of query chunk i, emitted early so that they hide under its projection. */
export function* prefetchKv(ctx: Context, phase: Phase, l: number, i: number): Ops {
  const from = ctx.firstOf(i)
  for (let j = from; j < Math.min(from + ctx.config.prefetch, i); j++) yield* bringKv(ctx, phase, l, i, j)
}

/**
 * Roughly: o[l,i], lse[l,i] = softmax(q[l,i] k[l,0..i]ᵀ/√D) v[l,0..i], over the chunks of its sequence. Needs q, k, v of chunk
 * i on the device, the others waiting, and `prefetchKv` emitted. `afterFirst` is emitted after the first attend: work whose
 * exchange hides under it.
 */
export function* attendChunk(ctx: Context, phase: Phase, l: number, i: number, afterFirst: Ops): Ops {
  const { b, config } = ctx
  const from = ctx.firstOf(i)
  const state = b.state(l, i)
  const mask = documentMask(ctx, i)
  if (mask.starts) yield fetch(at(phase, l, i), mask.starts)
  for (let j = from; j < i; j++) {
    const place = at(phase, l, i, j)
    if (j + config.prefetch < i) yield* bringKv(ctx, phase, l, i, j + config.prefetch)
    yield compute(place, 'attend', { state, q: b.q(l, i), k: b.k(l, j), v: b.v(l, j), ...mask }, { first: j === from ? 1 : 0 })
    yield* ctx.waiting.release(place, b.k(l, j), b.v(l, j))
    if (j === from) yield* afterFirst
  }
  const diagonal = at(phase, l, i, i)
  yield compute(diagonal, 'attend', { state, q: b.q(l, i), k: b.k(l, i), v: b.v(l, i), ...mask }, { first: i === from ? 1 : 0 })
  if (i === from) yield* afterFirst
  yield compute(diagonal, 'finish', { o: b.o(l, i), lse: b.lse(l, i), state })
  yield* free(diagonal, 'device', state)
  if (mask.starts) yield* free(diagonal, 'device', mask.starts)
}

/** Of packed documents: where each query row's document begins. */
export function documentMask(ctx: Context, i: number): Operands {
  return ctx.config.documents ? { starts: ctx.b.starts(ctx.input(i)) } : {}
}

function* bringKv(ctx: Context, phase: Phase, l: number, i: number, j: number): Ops {
  yield* ctx.waiting.bring(at(phase, l, i, j), ctx.b.k(l, j), ctx.b.v(l, j))
}
