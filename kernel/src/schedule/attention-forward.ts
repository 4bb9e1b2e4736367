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
import type { StepConfig } from './config.js'
import { at, compute, fetch, free, type Ops } from './emit.js'
import type { StepValues } from './step-values.js'

/** The first key/value chunks of query chunk i, emitted early so that they hide under its projection. */
export function* prefetchKv(config: StepConfig, b: StepValues, phase: Phase, l: number, i: number): Ops {
  for (let j = 0; j < Math.min(config.prefetch, i); j++) yield* fetchKv(b, phase, l, i, j)
}

/**
 * Roughly: o[l,i], lse[l,i] = softmax(q[l,i] k[l,0..i]ᵀ/√D) v[l,0..i]. Needs q, k, v of chunk i on the device, the others
 * on the host, and `prefetchKv` emitted. `afterFirst` is emitted after the first attend: work whose exchange hides under it.
 */
export function* attendChunk(config: StepConfig, b: StepValues, phase: Phase, l: number, i: number, afterFirst: Ops): Ops {
  const state = b.state(l, i)
  for (let j = 0; j < i; j++) {
    const place = at(phase, l, i, j)
    if (j + config.prefetch < i) yield* fetchKv(b, phase, l, i, j + config.prefetch)
    yield compute(place, 'attend', { state, q: b.q(l, i), k: b.k(l, j), v: b.v(l, j) }, { first: j === 0 ? 1 : 0 })
    yield* free(place, 'device', b.k(l, j), b.v(l, j))
    if (j === 0) yield* afterFirst
  }
  const diagonal = at(phase, l, i, i)
  yield compute(diagonal, 'attend', { state, q: b.q(l, i), k: b.k(l, i), v: b.v(l, i) }, { first: i === 0 ? 1 : 0 })
  if (i === 0) yield* afterFirst
  yield compute(diagonal, 'finish', { o: b.o(l, i), lse: b.lse(l, i), state })
  yield* free(diagonal, 'device', state)
}

function* fetchKv(b: StepValues, phase: Phase, l: number, i: number, j: number): Ops {
  yield fetch(at(phase, l, i, j), b.k(l, j))
  yield fetch(at(phase, l, i, j), b.v(l, j))
}
