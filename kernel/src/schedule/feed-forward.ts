/**
 * The feed-forward layer, in parts of a chunk's rows: its intermediate values (2f wide) are the widest of a layer, and the
 * part, not the chunk, decides how much of them is alive.
 */
import type { Phase } from '../trace/schema.js'
import { localChunk, parts, type StepConfig } from './config.js'
import { at, compute, free, type Ops } from './emit.js'
import type { Place } from './ops.js'
import type { StepValues } from './step-values.js'
import { rows, type Value } from './values.js'

/** Roughly: n2 = norm(y); gateUp = n2 Wgu; act = swiglu(gateUp), for rows `first ..` of chunk i. */
function* activate(config: StepConfig, b: StepValues, place: Place, l: number, i: number, s: number, y: Value, count: number): Ops {
  const w = b.layer(l)
  const [n2, gateUp, act] = [b.n2(l, i, s, count), b.gateUp(l, i, s, count), b.act(l, i, s, count)]
  yield compute(place, 'norm', { out: n2, x: y, weight: w.weight('norm2') }, { eps: config.model.normEps })
  yield compute(place, 'project', { out: gateUp, a: n2, weight: w.weight('gateUp') })
  yield compute(place, 'swiglu', { out: act, gateUp })
}

/** Roughly: x[l+1,i] = y[l,i] + swiglu(norm(y) Wgu) Wdown. `keep`: n2, gateUp and act stay for the backward. */
export function* feedForward(config: StepConfig, b: StepValues, phase: Phase, l: number, i: number, keep = false): Ops {
  const place = at(phase, l, i)
  for (const [s, [first, count]] of parts(localChunk(config), config.feedForwardRows).entries()) {
    const y = rows(b.y(l, i), `${s}`, first, count)
    const [n2, gateUp, act] = [b.n2(l, i, s, count), b.gateUp(l, i, s, count), b.act(l, i, s, count)]
    yield* activate(config, b, place, l, i, s, y, count)
    if (!keep) yield* free(place, 'device', n2, gateUp)
    yield compute(place, 'project', { out: rows(b.x(l + 1, i), `${s}`, first, count), a: act, weight: b.layer(l).weight('down'), residual: y })
    if (!keep) yield* free(place, 'device', act)
  }
}

/** Roughly: dy[l,i] = dx[l+1,i] + its way through the feed-forward layer; dWdown, dWgu, dnorm2 grow. `kept`: see `feedForward`. */
export function* feedForwardBackward(config: StepConfig, b: StepValues, l: number, i: number, kept = false): Ops {
  const place = at('backward', l, i)
  const w = b.layer(l)
  for (const [s, [from, count]] of parts(localChunk(config), config.feedForwardRows).entries()) {
    const [y, dout, dy] = [rows(b.y(l, i), `${s}`, from, count), rows(b.dx(l + 1, i), `${s}`, from, count), rows(b.dy(l, i), `${s}`, from, count)]
    const [n2, gateUp, act] = [b.n2(l, i, s, count), b.gateUp(l, i, s, count), b.act(l, i, s, count)]
    const [dAct, dGateUp, dn2] = [b.dAct(l, i, s, count), b.dGateUp(l, i, s, count), b.dn2(l, i, s, count)]
    const first = i === 0 && s === 0 ? 1 : 0
    if (!kept) yield* activate(config, b, at('recompute', l, i), l, i, s, y, count)
    yield compute(place, 'weightGradient', { dweight: w.dweight('down'), dout, a: act }, { first })
    yield* free(place, 'device', act)
    yield compute(place, 'projectBackward', { da: dAct, dout, weight: w.weight('down') })
    yield compute(place, 'swigluBackward', { dGateUp, dout: dAct, gateUp })
    yield* free(place, 'device', dAct, gateUp)
    yield compute(place, 'weightGradient', { dweight: w.dweight('gateUp'), dout: dGateUp, a: n2 }, { first })
    yield* free(place, 'device', n2)
    yield compute(place, 'projectBackward', { da: dn2, dout: dGateUp, weight: w.weight('gateUp') })
    yield* free(place, 'device', dGateUp)
    const operands = { dx: dy, dweight: w.dweight('norm2'), dout: dn2, x: y, weight: w.weight('norm2'), residual: dout }
    yield compute(place, 'normBackward', operands, { eps: config.model.normEps, first })
    yield* free(place, 'device', dn2)
  }
}
