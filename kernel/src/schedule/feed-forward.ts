/**
 * The feed-forward layer, in parts of a chunk's rows: its intermediate values (2f wide) are the widest of a layer, and the
 * part, not the chunk, decides how much of them is alive.
 */
import type { Phase } from '../trace/schema.js'
import { localChunk, parts } from './config.js'
import type { Context } from './context.js'
import { at, compute, free, type Ops } from './emit.js'
import { linear, linearBackward } from './linear.js'
import { norm, normBackward } from './norms.js'
import type { Place } from './ops.js'
import { rows, type Value } from './values.js'

interface Part {
  readonly s: number
  readonly first: number
  readonly count: number
}
function partsOf({ config }: Context): Part[] {
  return parts(localChunk(config), config.feedForwardRows).map(([first, count], s) => ({ s, first, count }))
}

/** The matrix into the layer: gate and up side by side, or up alone. */
function innerOf({ config }: Context): 'gateUp' | 'up' {
  return config.model.activation === 'swiglu' ? 'gateUp' : 'up'
}

/** Roughly: n2 = norm(y); inner = n2 Wgu; act = swiglu(inner), or n2 Wup and gelu, for rows `first ..` of chunk i. */
function* activate(ctx: Context, place: Place, l: number, i: number, { s, count }: Part, y: Value): Ops {
  const { b } = ctx
  const w = b.layer(l)
  const [n2, inner, act] = [b.n2(l, i, s, count), b.inner(l, i, s, count), b.act(l, i, s, count)]
  yield* norm(ctx, place, w, 'norm2', n2, y)
  yield* linear(place, w, innerOf(ctx), inner, n2)
  if (ctx.config.model.activation === 'swiglu') yield compute(place, 'swiglu', { out: act, gateUp: inner })
  else yield compute(place, 'gelu', { out: act, up: inner })
}

/** Roughly: x[l+1,i] = y[l,i] + act Wdown. `keep`: n2, inner and act stay for the backward. */
export function* feedForward(ctx: Context, phase: Phase, l: number, i: number, keep: boolean): Ops {
  const { b } = ctx
  const place = at(phase, l, i)
  for (const part of partsOf(ctx)) {
    const { s, first, count } = part
    const y = rows(b.y(l, i), `${s}`, first, count)
    const [n2, inner, act] = [b.n2(l, i, s, count), b.inner(l, i, s, count), b.act(l, i, s, count)]
    yield* activate(ctx, place, l, i, part, y)
    if (!keep) yield* free(place, 'device', n2, inner)
    yield* linear(place, b.layer(l), 'down', rows(b.x(l + 1, i), `${s}`, first, count), act, y)
    if (!keep) yield* free(place, 'device', act)
  }
}

/** Roughly: dy[l,i] = dx[l+1,i] + its way through the feed-forward layer; its weights' gradients grow. `kept`: see `feedForward`. */
export function* feedForwardBackward(ctx: Context, l: number, i: number, kept: boolean): Ops {
  const { b } = ctx
  const place = at('backward', l, i)
  const w = b.layer(l)
  for (const part of partsOf(ctx)) {
    const { s, first, count } = part
    const [y, dout, dy] = [rows(b.y(l, i), `${s}`, first, count), rows(b.dx(l + 1, i), `${s}`, first, count), rows(b.dy(l, i), `${s}`, first, count)]
    const [n2, inner, act] = [b.n2(l, i, s, count), b.inner(l, i, s, count), b.act(l, i, s, count)]
    const [dAct, dInner, dn2] = [b.dAct(l, i, s, count), b.dInner(l, i, s, count), b.dn2(l, i, s, count)]
    if (!kept) yield* activate(ctx, at('recompute', l, i), l, i, part, y)
    yield* linearBackward(ctx, place, w, 'down', { da: dAct, dout, doutT: b.dxT?.(l + 1, i, s, count), a: act, freeing: act })
    if (ctx.config.model.activation === 'swiglu') yield compute(place, 'swigluBackward', { dGateUp: dInner, dout: dAct, gateUp: inner })
    else yield compute(place, 'geluBackward', { dUp: dInner, dout: dAct, up: inner })
    yield* free(place, 'device', dAct, inner)
    yield* linearBackward(ctx, place, w, innerOf(ctx), { da: dn2, dout: dInner, a: n2, freeing: n2 })
    yield* free(place, 'device', dInner)
    yield* normBackward(ctx, place, w, 'norm2', { dx: dy, dout: dn2, x: y, residual: dout })
    yield* free(place, 'device', dn2)
  }
}
