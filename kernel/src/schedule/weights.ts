/**
 * Weights come and go by layer (ZeRO-3): gathered one layer ahead, freed after the last chunk; gradients are reduced to
 * partitions as soon as a layer's are complete. With one rank the partition is the whole, and all of this is nothing.
 */
import type { Tier } from '../trace/schema.js'
import type { StepConfig } from './config.js'
import { compute, free, gather, type Ops, reduceScatter } from './emit.js'
import type { Place } from './ops.js'
import { type GroupValues, PAD } from './step-values.js'

const DEVICE: Tier = 'device'

/** Roughly: w = concatenation of every rank's wPart. */
export function* gatherWeights(config: StepConfig, place: Place, group: GroupValues): Ops {
  if (config.ranks > 1) yield gather(place, group.weightsPart, group.weights)
}
export function* releaseWeights(config: StepConfig, place: Place, group: GroupValues): Ops {
  if (config.ranks > 1) yield* free(place, DEVICE, group.weights)
}
/** Roughly: dwPart (+)= this rank's partition of the sum of dw over ranks. Ends the full gradient. */
export function* reduceGradient(config: StepConfig, place: Place, group: GroupValues, first: boolean): Ops {
  if (group.group.padded > group.group.count) yield compute(place, 'zero', { out: group.dweight(PAD) })
  if (config.ranks === 1) return
  yield reduceScatter(place, group.gradient, group.gradientPart, first)
  yield* free(place, DEVICE, group.gradient)
}
