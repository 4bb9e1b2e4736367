/**
 * The flat program: a plan lowered once to typed arrays, run by native threads (`native/core/program.h` is its twin) and by
 * the simulator. It holds every op that runs (frees do not), in list order; `op[i]` is the line of the
 * listing. All ranks run the same program; offsets are into each rank's own arenas.
 *
 * Variable-length fields are in compressed rows: those of entry i lie at `xStart[i] .. xStart[i + 1]`.
 */
import type { Tier } from '../trace/schema.js'

export interface Program {
  readonly ranks: number
  readonly length: number
  /** Line of the listing of each entry, ascending. */
  readonly op: Uint32Array
  /** `OPCODES`, or the kernel's code for compute. */
  readonly code: Uint16Array
  /** Index into `STREAMS`. */
  readonly stream: Uint8Array

  /** Operands in calling order; a missing optional operand has tier NO_TIER. A copy has two, from and to. A compute entry's last operand is its workspace (tier NO_TIER when it needs none). */
  readonly operandStart: Uint32Array
  readonly operandTier: Uint8Array
  /** Byte offset into the arena of that tier. */
  readonly operandOffset: Float64Array
  readonly operandBytes: Float64Array

  /** Numbers of the kernel (`KERNELS[k].parameterNames`) or of the collective (`COLLECTIVE_PARAMETERS`). */
  readonly parameterStart: Uint32Array
  readonly parameters: Float64Array

  /** Entries (by index) that must have ended first, at most one a stream; waits on the own stream are implied. */
  readonly waitStart: Uint32Array
  readonly waitEntry: Uint32Array

  /** Tags copied into spans: codes of `trace/schema.ts`. */
  readonly kind: Uint8Array
  readonly kernel: Uint8Array // index into KERNEL_NAMES, 0xFF for non-compute
  readonly phase: Uint8Array
  readonly layer: Uint16Array
  readonly q: Uint16Array
  readonly kv: Uint16Array
  readonly flops: Float64Array
  readonly bytes: Float64Array

  /** Bytes of each tier's arena, per rank: what is allocated, exactly. */
  readonly arenaBytes: Readonly<Record<Tier, number>>
}

/** Codes of the ops that are not compute kernels; kernels use 1 .. 99. */
export const OPCODES = { offload: 100, fetch: 101, spill: 102, load: 103, allToAll: 110, gather: 111, reduceScatter: 112, allReduce: 113 } as const

/**
 * Parameters of collectives. allToAll: local tokens c, head size D, bytes of an element, direction (0 toHeads, 1 toTokens),
 * then the heads (over all ranks) of each part. Operands: local, then parts. gather: bytes of a partition; operands part, full.
 * reduceScatter: elements (f32) of a partition, first; operands full, part. allReduce: elements (f64); operand value.
 */
export const COLLECTIVE_PARAMETERS = {
  allToAll: ['tokens', 'headSize', 'elementBytes', 'direction', 'heads…'],
  gather: ['partBytes'],
  reduceScatter: ['partElements', 'first'],
  allReduce: ['elements'],
} as const

/** `operandTier` of an operand that is not there. */
export const NO_TIER = 0xff

/**
 * What changes from step to step, read by kernels through the parameter block beside the program, in this order (f64):
 * rate of AdamW, 1 - beta1^t, 1 - beta2^t, 1 / valid labels of the step over all ranks.
 */
export const STEP_PARAMETERS = ['rate', 'correction1', 'correction2', 'inverseValid'] as const
