/** Into attention and out of it: norm, query/key/value projection, Ulysses' all-to-all, rotary positions; and the way back. */
import type { Phase } from '../trace/schema.js'
import type { StepConfig } from './config.js'
import type { Context } from './context.js'
import { at, compute, free, type Ops, toHeads, toTokens } from './emit.js'
import { linear, linearBackward } from './linear.js'
import { norm, normBackward } from './norms.js'
import { rotation } from './rotation.js'

/**
 * Roughly: q[l,i], k[l,i], v[l,i] = rotary(allToAll(norm(x[l,i]) Wqkv)). From c local tokens of all heads to C tokens of
 * this rank's heads; the three travel in one exchange. `exchanged` is emitted right after it.
 */
export function* projectQkv(ctx: Context, phase: Phase, l: number, i: number, exchanged: Ops): Ops {
  const { config, b } = ctx
  const place = at(phase, l, i)
  const w = b.layer(l)
  const [x, n1, qkv, q, k, v] = [b.x(l, i), b.n1(l, i), b.qkv(l, i), b.q(l, i), b.k(l, i), b.v(l, i)]
  yield* norm(ctx, place, w, 'norm1', n1, x)
  yield* linear(place, w, 'qkv', qkv, n1)
  yield* free(place, 'device', n1)
  yield toHeads(place, qkv, [q, k, v], headsOf(config))
  yield* free(place, 'device', qkv)
  yield* exchanged
  const { operands, flags } = rotation(ctx)
  if (operands.frequencies) yield compute(place, 'rotary', { q, k, ...operands }, flags)
}

/** Roughly: y[l,i] = x[l,i] + oLocal[l,i] Wo. */
export function projectOut({ b }: Context, phase: Phase, l: number, i: number): Ops {
  return linear(at(phase, l, i), b.layer(l), 'out', b.y(l, i), b.oLocal(l, i), b.x(l, i))
}

/** Roughly, of y = x + oLocal Wo: dWo += dyᵀ oLocal; dO[l,i] = allToAll(dy Wo). */
export function* projectOutBackward(ctx: Context, l: number, i: number): Ops {
  const { b } = ctx
  const place = at('backward', l, i)
  const dO = b.dOLocal(l, i)
  const [dout, doutT, a] = [b.dy(l, i), b.dyT?.(l, i), b.oLocal(l, i)]
  yield* linearBackward(ctx, place, b.layer(l), 'out', { da: dO, dout, doutT, a, freeing: a })
  yield toHeads(place, dO, [b.dO(l, i)])
  yield* free(place, 'device', dO)
}

/** Roughly: dqkv[l,j] = allToAll(rotate(dq, -), rotate(dk, -), dv): final gradients of chunk j leave the head-sharded world. */
export function* exchangeGradients(ctx: Context, l: number, j: number): Ops {
  const { config, b } = ctx
  const place = at('backward', l, null, j)
  const [dq, dk, dv, dqOut, dkOut, dvOut] = [b.dq(l, j), b.dk(l, j), b.dv(l, j), b.dqT(l, j), b.dkT(l, j), b.dvT(l, j)]
  const { operands, flags } = rotation(ctx)
  yield compute(place, 'rotaryBackward', { dqOut, dkOut, dvOut, dq, dk, dv, ...operands }, flags)
  yield* free(place, 'device', dq, dk, dv)
  yield toTokens(place, [dqOut, dkOut, dvOut], b.dqkv(l, j), headsOf(config))
  yield* free(place, 'device', dqOut, dkOut, dvOut)
}

/** Roughly, of qkv = norm(x) Wqkv: dWqkv += dqkvᵀ n1; dx[l,j] = dy[l,j] + normBackward(dqkv Wqkv). n1 is computed again. */
export function* projectQkvBackward(ctx: Context, l: number, j: number): Ops {
  const { b } = ctx
  const place = at('backward', l, null, j)
  const w = b.layer(l)
  const [x, n1, dn1, dqkv] = [b.x(l, j), b.n1(l, j), b.dn1(l, j), b.dqkv(l, j)]
  yield* norm(ctx, place, w, 'norm1', n1, x)
  yield* linearBackward(ctx, place, w, 'qkv', { da: dn1, dout: dqkv, a: n1, freeing: n1 })
  yield* free(place, 'device', dqkv)
  yield* normBackward(ctx, place, w, 'norm1', { dx: b.dx(l, j), dout: dn1, x, residual: b.dy(l, j) })
  yield* free(place, 'device', dn1, x, b.dy(l, j))
}

/** Heads of q, k and v over all ranks, where key/value heads are fewer than ranks and each goes to several. */
function headsOf({ model, ranks }: StepConfig): readonly number[] | undefined {
  return model.kvHeads < ranks ? [model.heads, model.kvHeads, model.kvHeads] : undefined
}
