/**
 * The ops of a schedule, and the one function that says what an op reads and writes.
 *
 * A schedule is a generator of ops. Nothing is ever sent back into it, so a checker, a printer, the planner, the
 * simulator and the native executor all see the same list. Order between streams is not stated anywhere: it follows from
 * what ops read and write (`accesses`), and `plan/waits.ts` turns it into waits.
 *
 * One list serves all ranks: sizes are equal on every rank, and no op mentions a rank.
 */
import type { Phase, Stream, Tier } from '../trace/schema.js'
import { type Flags, type Kernel, kernelSpec, type OperandSpec, type Operands } from './kernels.js'
import { byteRange, bytesOf, DTYPE_BYTES, type Value, whole } from './values.js'

/** Where in the algorithm an op stands: what widgets filter by. `null` = does not apply. */
export interface Place {
  readonly phase: Phase
  readonly layer: number | null
  readonly q: number | null
  readonly kv: number | null
}

/** One native kernel on one rank's device. */
export interface Compute {
  readonly kind: 'compute'
  readonly place: Place
  readonly kernel: Kernel
  readonly operands: Operands
  readonly flags: Flags
}
/**
 * Ulysses' exchange. `toHeads`: every rank gives its c tokens of all heads (`local`, (c, Σ heads, D) with the parts side by
 * side in a row) and gets C tokens of its share of the heads of each part ((C, heads/P, D)). `toTokens` is the inverse.
 * Roughly: parts[p][r·c + t, h] on rank s = local[t, offset(p) + s·heads(p)/P + h] of rank r.
 * A part with fewer heads than ranks is replicated: each of its heads goes to P / heads(p) ranks, one a rank, and on the way
 * back their values are summed in rank order, in f32.
 */
export interface AllToAll {
  readonly kind: 'allToAll'
  readonly place: Place
  readonly direction: 'toHeads' | 'toTokens'
  readonly local: Value
  readonly parts: readonly Value[]
  /** Heads of each part over all ranks; given where a part is replicated, else they follow from the shapes. */
  readonly heads?: readonly number[]
}
/** ZeRO-3: every rank's partition, laid end to end in rank order, on every rank. (n/P) -> (n). */
export interface Gather {
  readonly kind: 'gather'
  readonly place: Place
  readonly part: Value
  readonly full: Value
}
/** Sum of every rank's `full` in rank order; rank r gets partition r. (n) f32 -> (n/P) f32. `first` writes, else adds. */
export interface ReduceScatter {
  readonly kind: 'reduceScatter'
  readonly place: Place
  readonly full: Value
  readonly part: Value
  readonly first: boolean
}
/** Sum over ranks in rank order, in place. Small f64 values only (loss, squared norm). */
export interface AllReduce {
  readonly kind: 'allReduce'
  readonly place: Place
  readonly value: Value
}
/** device -> host. Makes (or refreshes) `value@host`; the device residency stays until it is freed. */
export interface Offload {
  readonly kind: 'offload'
  readonly place: Place
  readonly value: Value
}
/** host -> device. Makes (or refreshes) `value@device`; the host residency stays. */
export interface Fetch {
  readonly kind: 'fetch'
  readonly place: Place
  readonly value: Value
}
/** host -> disk and disk -> host. */
export interface Spill {
  readonly kind: 'spill'
  readonly place: Place
  readonly value: Value
}
export interface Load {
  readonly kind: 'load'
  readonly place: Place
  readonly value: Value
}
/** Ends one residency: its bytes may be given to another from the end of its last user. Costs nothing, runs nowhere. */
export interface Free {
  readonly kind: 'free'
  readonly place: Place
  readonly value: Value
  readonly tier: Tier
}

export type Op = Compute | AllToAll | Gather | ReduceScatter | AllReduce | Offload | Fetch | Spill | Load | Free

/** The queue of its rank an op runs on; `free` runs on none. */
export function streamOf(op: Op): Stream | null {
  switch (op.kind) {
    case 'compute':
      return 'compute'
    case 'allToAll':
    case 'gather':
    case 'reduceScatter':
    case 'allReduce':
      return 'collective'
    case 'offload':
      return 'offload'
    case 'fetch':
      return 'fetch'
    case 'spill':
      return 'spill'
    case 'load':
      return 'load'
    case 'free':
      return null
    default:
      return op satisfies never
  }
}

/** One touch of one residency. `range` in bytes of the whole value. */
export interface Access {
  readonly value: Value // always a whole value
  readonly tier: Tier
  readonly range: readonly [number, number]
  readonly reads: boolean
  readonly writes: boolean
}

/** What an op touches, in operand order. `free` touches nothing. */
export function accesses(op: Op): Access[] {
  switch (op.kind) {
    case 'compute':
      return presentOperands(op).map(({ spec, value }) => {
        const mode = spec.access
        const accumulates = typeof mode === 'object' && !op.flags[mode.first]
        return touch(value, 'device', mode === 'read' || mode === 'update' || accumulates, mode !== 'read')
      })
    case 'allToAll': {
      const toHeads = op.direction === 'toHeads'
      return [touch(op.local, 'device', toHeads, !toHeads), ...op.parts.map((part) => touch(part, 'device', !toHeads, toHeads))]
    }
    case 'gather':
      return [touch(op.part, 'device', true, false), touch(op.full, 'device', false, true)]
    case 'reduceScatter':
      return [touch(op.full, 'device', true, false), touch(op.part, 'device', !op.first, true)]
    case 'allReduce':
      return [touch(op.value, 'device', true, true)]
    case 'offload':
      return [touch(op.value, 'device', true, false), touch(op.value, 'host', false, true)]
    case 'fetch':
      return [touch(op.value, 'host', true, false), touch(op.value, 'device', false, true)]
    case 'spill':
      return [touch(op.value, 'host', true, false), touch(op.value, 'disk', false, true)]
    case 'load':
      return [touch(op.value, 'disk', true, false), touch(op.value, 'host', false, true)]
    case 'free':
      return []
    default:
      return op satisfies never
  }
}

/** Operands of a compute op that are there, with their spec, in calling order. */
export function presentOperands(op: Compute): { spec: OperandSpec; value: Value }[] {
  const present: { spec: OperandSpec; value: Value }[] = []
  for (const spec of kernelSpec(op.kernel).operands) {
    const value = op.operands[spec.role]
    if (value) present.push({ spec, value })
  }
  return present
}

/** Bytes an op moves between tiers or ranks (per rank, sent); for compute ops the bytes of all operands. */
export function bytesMoved(op: Op, ranks: number): number {
  const away = (ranks - 1) / ranks
  switch (op.kind) {
    case 'compute':
      return presentOperands(op).reduce((sum, { value }) => sum + bytesOf(value), 0)
    case 'allToAll': {
      // To each other rank, either way: this chunk's local tokens of one rank's share of the heads, replicated ones included.
      const [tokens, , headSize] = op.local.shape
      const share = op.parts.reduce((heads, part) => heads + part.shape[1], 0)
      return tokens * share * headSize * DTYPE_BYTES[op.local.dtype] * (ranks - 1)
    }
    case 'gather':
      return bytesOf(op.full) * away
    case 'reduceScatter':
      return bytesOf(op.full) * away
    case 'allReduce':
      return bytesOf(op.value) * (ranks - 1)
    case 'offload':
    case 'fetch':
    case 'spill':
    case 'load':
      return bytesOf(op.value)
    case 'free':
      return 0
    default:
      return op satisfies never
  }
}

/** A copy makes two residencies alike: it leaves neither stale. */
export function isCopy(op: Op): boolean {
  return op.kind === 'offload' || op.kind === 'fetch' || op.kind === 'spill' || op.kind === 'load'
}

/** Useful floating-point operations of an op on one rank. */
export function flopsOf(op: Op): number {
  return op.kind === 'compute' ? kernelSpec(op.kernel).flops(op.operands, op.flags) : 0
}

function touch(value: Value, tier: Tier, reads: boolean, writes: boolean): Access {
  return { value: whole(value), tier, range: byteRange(value), reads, writes }
}
