/** Constructors of ops, so that a generator reads like the algorithm it writes down. */
import type { Phase, Tier } from '../trace/schema.js'
import type { Flags, Kernel, Operands } from './kernels.js'
import type { AllReduce, AllToAll, Compute, Fetch, Free, Gather, Offload, Op, Place, ReduceScatter } from './ops.js'
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
export function toHeads(place: Place, local: Value, parts: readonly Value[]): AllToAll {
  return { kind: 'allToAll', place, direction: 'toHeads', local, parts }
}
export function toTokens(place: Place, parts: readonly Value[], local: Value): AllToAll {
  return { kind: 'allToAll', place, direction: 'toTokens', local, parts }
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
/** Ends residencies of several values on one tier. */
export function* free(place: Place, tier: Tier, ...values: readonly Value[]): Ops {
  for (const value of values) yield { kind: 'free', place, value, tier } satisfies Free
}
/** device -> host, and the device's bytes are given back. */
export function* moveToHost(place: Place, ...values: readonly Value[]): Ops {
  for (const value of values) {
    yield offload(place, value)
    yield* free(place, 'device', value)
  }
}
/** host -> device, and the host's bytes are given back: the value will not be needed there again. */
export function* moveToDevice(place: Place, ...values: readonly Value[]): Ops {
  for (const value of values) {
    yield fetch(place, value)
    yield* free(place, 'host', value)
  }
}
