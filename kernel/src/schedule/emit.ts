/** Constructors of ops, so that a generator reads like the algorithm it writes down. */
import type { Phase, Tier } from '../trace/schema.js'
import type { Flags, Kernel, Operands } from './kernels.js'
import type { AllReduce, AllToAll, Compute, Fetch, Free, Gather, Load, Offload, Op, Place, ReduceScatter, Spill } from './ops.js'
import type { Value } from './values.js'

/** A stretch of schedule. One-way: nothing is sent back into it. */
export type Ops = Generator<Op, void, undefined>

/** A stretch without ops. */
export function* nothing(): Ops {}

export function at(phase: Phase, layer: number | null = null, q: number | null = null, kv: number | null = null): Place {
  return { phase, layer, q, kv }
}
export function compute(place: Place, kernel: Kernel, operands: Operands, flags: Flags = {}): Compute {
  return { kind: 'compute', place, kernel, operands, flags }
}
/** `heads`: of each part over all ranks, where some has fewer than there are ranks. */
export function toHeads(place: Place, local: Value, parts: readonly Value[], heads?: readonly number[]): AllToAll {
  return { kind: 'allToAll', place, direction: 'toHeads', local, parts, ...(heads ? { heads } : {}) }
}
export function toTokens(place: Place, parts: readonly Value[], local: Value, heads?: readonly number[]): AllToAll {
  return { kind: 'allToAll', place, direction: 'toTokens', local, parts, ...(heads ? { heads } : {}) }
}
export function gather(place: Place, part: Value, full: Value): Gather {
  return { kind: 'gather', place, part, full }
}
export function reduceScatter(place: Place, full: Value, part: Value, first: boolean): ReduceScatter {
  return { kind: 'reduceScatter', place, full, part, first }
}
export function allReduce(place: Place, value: Value): AllReduce {
  return { kind: 'allReduce', place, value }
}
export function offload(place: Place, value: Value): Offload {
  return { kind: 'offload', place, value }
}
export function fetch(place: Place, value: Value): Fetch {
  return { kind: 'fetch', place, value }
}
export function spill(place: Place, value: Value): Spill {
  return { kind: 'spill', place, value }
}
export function load(place: Place, value: Value): Load {
  return { kind: 'load', place, value }
}
/** Ends residencies of several values on one tier. */
export function* free(place: Place, tier: Tier, ...values: readonly Value[]): Ops {
  for (const value of values) yield { kind: 'free', place, value, tier } satisfies Free
}
