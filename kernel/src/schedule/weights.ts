/**
 * Weights come and go by layer (ZeRO-3): gathered one layer ahead, freed after the last chunk; gradients are reduced to
 * partitions as soon as a layer's are complete. With one rank the partition is the whole, and nothing is gathered or reduced;
 * where parameters live on the host they are fetched instead.
 */
import type { Context } from './context.js'
import { compute, free, gather, type Ops, reduceScatter } from './emit.js'
import type { Place } from './ops.js'
import { type GroupValues, PAD } from './step-values.js'

/** Roughly: w = concatenation of every rank's wPart. */
export function* gatherWeights(ctx: Context, place: Place, group: GroupValues): Ops {
  yield* ctx.parameters.bring(place, group.weightsPart)
  if (ctx.config.ranks === 1) return
  yield gather(place, group.weightsPart, group.weights)
  yield* ctx.parameters.release(place, group.weightsPart)
}
export function* releaseWeights(ctx: Context, place: Place, group: GroupValues): Ops {
  if (ctx.config.ranks > 1) yield* free(place, 'device', group.weights)
  else yield* ctx.parameters.release(place, group.weightsPart)
}

/** Before the first contribution to a group's gradient: with one rank, what earlier batches have left is needed again. */
export function* beginGradient(ctx: Context, place: Place, group: GroupValues): Ops {
  if (ctx.config.ranks === 1 && ctx.begun(group.gradientPart)) yield* ctx.gradients.bring(place, group.gradientPart)
}
/** Roughly: dwPart (+)= this rank's partition of the sum of dw over ranks. Ends the full gradient. */
export function* finishGradient(ctx: Context, place: Place, group: GroupValues): Ops {
  const pad = group.dweight(PAD)
  if (group.group.padded > group.group.count && ctx.first(pad)) yield compute(place, 'zero', { out: pad })
  if (ctx.config.ranks > 1) {
    if (ctx.begun(group.gradientPart)) yield* ctx.gradients.bring(place, group.gradientPart)
    yield reduceScatter(place, group.gradient, group.gradientPart, ctx.first(group.gradientPart) === 1)
    yield* free(place, 'device', group.gradient)
    ctx.restart(group.gradient)
  } else ctx.first(group.gradientPart)
  yield* ctx.gradients.put(place, group.gradientPart)
}
