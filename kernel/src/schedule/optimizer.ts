/**
 * Global-norm clipping and AdamW on this rank's partitions. The clip factor stays on the device: there is no host
 * synchronise. It is 0 when the norm or the loss is not finite, and then no parameter and no state is touched.
 *
 * Where states live on the host or on disk they come in slices, the next one while this one is updated.
 */

import type { Context } from './context.js'
import { allReduce, at, compute, free, nothing, type Ops, offload } from './emit.js'
import type { GroupValues, StateSlice } from './step-values.js'
import type { Value } from './values.js'

/** Ends all gradients. Leaves `loss` and `gradientNorm` (squared) on the host. */
export function* optimizer(ctx: Context): Ops {
  const { b, config } = ctx
  const place = at('optimizer')
  yield* ahead(
    b.groups,
    (group) => ctx.gradients.bring(place, group.gradientPart),
    function* (group) {
      yield compute(place, 'squaredNorm', { sum: b.gradientNorm, gradient: group.gradientPart }, { first: ctx.first(b.gradientNorm) })
      yield* ctx.gradients.release(place, group.gradientPart)
    },
  )
  if (config.ranks > 1) {
    yield allReduce(place, b.gradientNorm)
    yield allReduce(place, b.loss)
  }
  // No clipping is a norm that no gradient reaches: numbers of an op are finite.
  const maxNorm = Math.min(config.adamW.maxNorm, Number.MAX_VALUE)
  yield compute(place, 'clip', { scale: b.clipScale, sum: b.gradientNorm, loss: b.loss }, { maxNorm })
  const slices = b.groups.flatMap((group) => group.slices.map((slice, s) => ({ group, slice, first: s === 0, last: s === group.slices.length - 1 })))
  yield* ahead(
    slices,
    ({ group, slice, first }) => bringSlice(ctx, group, slice, first),
    ({ group, slice, last }) => update(ctx, group, slice, last),
  )
  yield* free(place, 'device', b.clipScale)
  for (const result of [b.loss, b.gradientNorm]) {
    yield offload(place, result)
    yield* free(place, 'device', result)
  }
}

/** With the first slice of a group come its gradient and, where they live on the host, its weights. */
function* bringSlice(ctx: Context, group: GroupValues, slice: StateSlice, first: boolean): Ops {
  const place = at('optimizer')
  if (first) yield* ctx.gradients.take(place, group.gradientPart)
  if (first && ctx.config.dtype === 'f32') yield* ctx.parameters.bring(place, group.weightsPart)
  yield* ctx.states.bring(place, ...statesOf(ctx, slice))
}

function* update(ctx: Context, group: GroupValues, slice: StateSlice, last: boolean): Ops {
  const place = at('optimizer')
  const { beta1, beta2, eps, decay, decayEmbeddings } = ctx.config.adamW
  const { master, m, v, gradient, offset } = slice
  const layout = group.group
  const undecayed = !decayEmbeddings && (group === ctx.b.embedding || group === ctx.b.positionTable) ? layout.padded : layout.undecayed
  const flags = { beta1, beta2, eps, decay, undecayed, partition: layout.padded / ctx.config.ranks, offset }
  const operands = { master, m, v, gradient, scale: ctx.b.clipScale }
  yield compute(place, 'adamW', ctx.config.dtype === 'f32' ? operands : { ...operands, weight: slice.weight }, flags)
  yield* ctx.states.put(place, ...statesOf(ctx, slice))
  if (!last) return
  yield* ctx.parameters.put(place, group.weightsPart)
  yield* free(place, 'device', group.gradientPart)
}

/** In f32 the master weights are the weights themselves, and live where those do. */
function statesOf(ctx: Context, { master, m, v }: StateSlice): Value[] {
  return ctx.config.dtype === 'f32' ? [m, v] : [master, m, v]
}

/** Emits `bring` of each item before `use` of the one before it. */
function* ahead<T>(items: readonly T[], bring: (item: T) => Ops, use: (item: T) => Ops): Ops {
  for (const [n, item] of items.entries()) {
    if (n === 0) yield* bring(item)
    const next = items[n + 1]
    yield* next ? bring(next) : nothing()
    yield* use(item)
  }
}
