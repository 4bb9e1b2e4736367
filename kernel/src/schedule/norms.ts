/** The norms of a layer and of the head, RMSNorm or LayerNorm: what differs between families. */
import type { Context } from './context.js'
import { compute, type Ops } from './emit.js'
import type { Place } from './ops.js'
import type { GroupValues } from './step-values.js'
import type { Value } from './values.js'

/** Roughly: out = norm(x), with the weights of part `name` of a group. */
export function* norm({ config }: Context, place: Place, group: GroupValues, name: string, out: Value, x: Value): Ops {
  const flags = { eps: config.model.normEps }
  const weight = group.weight(name)
  if (config.model.norm === 'rms') yield compute(place, 'norm', { out, x, weight }, flags)
  else yield compute(place, 'layerNorm', { out, x, weight, bias: group.weight(`${name}Bias`) }, flags)
}

/** Roughly: dx = residual + (dnorm/dx)ᵀ dout; the gradients of the norm's weights grow. */
export function* normBackward(ctx: Context, place: Place, group: GroupValues, name: string, o: { dx: Value; dout: Value; x: Value; residual?: Value }): Ops {
  const { norm, normEps: eps } = ctx.config.model
  const dweight = group.dweight(name)
  const flags = { eps, first: ctx.first(dweight) }
  if (norm === 'rms') yield compute(place, 'normBackward', { ...o, dweight, weight: group.weight(name) }, flags)
  else yield compute(place, 'layerNormBackward', { ...o, dweight, dbias: group.dweight(`${name}Bias`), weight: group.weight(name) }, flags)
}
