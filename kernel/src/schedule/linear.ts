/** A matrix of a parameter group applied to rows, with its bias where the model has one; and the way back. */
import type { Context } from './context.js'
import { compute, free, type Ops } from './emit.js'
import type { Place } from './ops.js'
import type { GroupValues } from './step-values.js'
import type { Value } from './values.js'

/** Roughly: out = residual + a Wᵀ + bias, of part `name`. */
export function* linear(place: Place, group: GroupValues, name: string, out: Value, a: Value, residual?: Value): Ops {
  const bias = biasOf(group, name)
  const optional = { ...(residual ? { residual } : {}), ...(bias ? { bias: group.weight(bias) } : {}) }
  yield compute(place, 'project', { out, a, weight: group.weight(name), ...optional })
}

/**
 * Roughly: dW += doutᵀ a; dbias += Σ dout; then `a` is freed unless it stays; da = dout W. Where dout is of an f32 hidden state and products
 * are of bf16, they take it as `doutT`, rounded; the bias takes all its digits.
 */
export function* linearBackward(
  ctx: Context,
  place: Place,
  group: GroupValues,
  name: string,
  { da, dout, doutT, a, freeing }: { da: Value; dout: Value; doutT?: Value | undefined; a: Value; freeing?: Value },
): Ops {
  const dweight = group.dweight(name)
  if (doutT) yield compute(place, 'round', { out: doutT, x: dout })
  yield compute(place, 'weightGradient', { dweight, dout: doutT ?? dout, a }, { first: ctx.first(dweight) })
  if (freeing) yield* free(place, 'device', freeing)
  const bias = biasOf(group, name)
  if (bias) {
    const dbias = group.dweight(bias)
    yield compute(place, 'biasGradient', { dbias, dout }, { first: ctx.first(dbias) })
  }
  yield compute(place, 'projectBackward', { da, dout: doutT ?? dout, weight: group.weight(name) })
  if (doutT) yield* free(place, 'device', doutT)
}

function biasOf(group: GroupValues, name: string): string | undefined {
  const bias = `${name}Bias`
  return group.group.parts.some((part) => part.name === bias) ? bias : undefined
}
