/** Into attention and out of it: norm, query/key/value projection, Ulysses' all-to-all, rotary positions; and the way back. */
import type { Phase } from '../trace/schema.js'
import type { StepConfig } from './config.js'
import { at, compute, free, type Ops, toHeads, toTokens } from './emit.js'
import type { StepValues } from './step-values.js'

/**
 * Roughly: q[l,i], k[l,i], v[l,i] = rotary(allToAll(norm(x[l,i]) Wqkv)). From c local tokens of all heads to C tokens of
 * this rank's heads; the three travel in one exchange. `exchanged` is emitted right after it.
 */
export function* projectQkv(config: StepConfig, b: StepValues, phase: Phase, l: number, i: number, exchanged: Ops): Ops {
  const place = at(phase, l, i)
  const w = b.layer(l)
  const [x, n1, qkv, q, k, v] = [b.x(l, i), b.n1(l, i), b.qkv(l, i), b.q(l, i), b.k(l, i), b.v(l, i)]
  yield compute(place, 'norm', { out: n1, x, weight: w.weight('norm1') }, { eps: config.model.normEps })
  yield compute(place, 'project', { out: qkv, a: n1, weight: w.weight('qkv') })
  yield* free(place, 'device', n1)
  yield toHeads(place, qkv, [q, k, v])
  yield* free(place, 'device', qkv)
  yield* exchanged
  yield compute(place, 'rotary', { q, k }, { theta: config.model.theta })
}

/** Roughly: y[l,i] = x[l,i] + oLocal[l,i] Wo. */
export function* projectOut(b: StepValues, phase: Phase, l: number, i: number): Ops {
  const operands = { out: b.y(l, i), a: b.oLocal(l, i), weight: b.layer(l).weight('out'), residual: b.x(l, i) }
  yield compute(at(phase, l, i), 'project', operands)
}

/** Roughly, of y = x + oLocal Wo: dWo += dyᵀ oLocal; dO[l,i] = allToAll(dy Wo). */
export function* projectOutBackward(b: StepValues, l: number, i: number): Ops {
  const place = at('backward', l, i)
  const w = b.layer(l)
  yield compute(place, 'weightGradient', { dweight: w.dweight('out'), dout: b.dy(l, i), a: b.oLocal(l, i) }, { first: i === 0 ? 1 : 0 })
  yield* free(place, 'device', b.oLocal(l, i))
  yield compute(place, 'projectBackward', { da: b.dOLocal(l, i), dout: b.dy(l, i), weight: w.weight('out') })
  yield toHeads(place, b.dOLocal(l, i), [b.dO(l, i)])
  yield* free(place, 'device', b.dOLocal(l, i))
}

/** Roughly: dqkv[l,j] = allToAll(rotate(dq, -), rotate(dk, -), dv): final gradients of chunk j leave the head-sharded world. */
export function* exchangeGradients(config: StepConfig, b: StepValues, l: number, j: number): Ops {
  const place = at('backward', l, null, j)
  const [dq, dk, dv, dqOut, dkOut, dvOut] = [b.dq(l, j), b.dk(l, j), b.dv(l, j), b.dqT(l, j), b.dkT(l, j), b.dvT(l, j)]
  yield compute(place, 'rotaryBackward', { dqOut, dkOut, dvOut, dq, dk, dv }, { theta: config.model.theta })
  yield* free(place, 'device', dq, dk, dv)
  yield toTokens(place, [dqOut, dkOut, dvOut], b.dqkv(l, j))
  yield* free(place, 'device', dqOut, dkOut, dvOut)
}

/** Roughly, of qkv = norm(x) Wqkv: dWqkv += dqkvᵀ n1; dx[l,j] = dy[l,j] + normBackward(dqkv Wqkv). n1 is computed again. */
export function* projectQkvBackward(config: StepConfig, b: StepValues, l: number, j: number): Ops {
  const place = at('backward', l, null, j)
  const w = b.layer(l)
  const eps = config.model.normEps
  const first = j === 0 ? 1 : 0
  yield compute(place, 'norm', { out: b.n1(l, j), x: b.x(l, j), weight: w.weight('norm1') }, { eps })
  yield compute(place, 'weightGradient', { dweight: w.dweight('qkv'), dout: b.dqkv(l, j), a: b.n1(l, j) }, { first })
  yield* free(place, 'device', b.n1(l, j))
  yield compute(place, 'projectBackward', { da: b.dn1(l, j), dout: b.dqkv(l, j), weight: w.weight('qkv') })
  yield* free(place, 'device', b.dqkv(l, j))
  const operands = { dx: b.dx(l, j), dweight: w.dweight('norm1'), dout: b.dn1(l, j), x: b.x(l, j), weight: w.weight('norm1'), residual: b.dy(l, j) }
  yield compute(place, 'normBackward', operands, { eps, first })
  yield* free(place, 'device', b.dn1(l, j), b.x(l, j), b.dy(l, j))
}
