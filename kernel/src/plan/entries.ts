/**
 * The ops that run, as columns: what a walk over the schedule leaves, so that no list of op objects is ever held. Operands
 * name residencies; `plan/lower.ts` turns them into offsets once the arena is laid out.
 */
import { KERNEL_NAMES, type Kernel, kernelSpec } from '../schedule/kernels.js'
import { accesses, bytesMoved, flopsOf, type Op, streamOf } from '../schedule/ops.js'
import { bytesOf, DTYPE_BYTES, elements } from '../schedule/values.js'
import { KINDS, NONE, PHASES, STREAMS } from '../trace/schema.js'
import type { Lifetimes } from './lifetimes.js'
import { OPCODES } from './program.js'

/** Bytes of scratch that a kernel needs for these parameters: an upper bound, published by the backend. */
export type WorkspaceBytes = (kernel: Kernel, parameters: readonly number[]) => number

/** Bits of `operandAccess`. */
export const READS = 1
export const WRITES = 2
/** `operandResidency` of an operand that is not there. */
export const ABSENT = -1

/** Columns as in `Program`, one row an op that runs; operands of row e lie at operandStart[e] .. operandStart[e + 1]. */
export interface Entries {
  readonly length: number
  readonly op: Uint32Array
  readonly code: Uint16Array
  readonly stream: Uint8Array
  readonly kind: Uint8Array
  readonly kernel: Uint8Array
  readonly phase: Uint8Array
  readonly layer: Uint16Array
  readonly q: Uint16Array
  readonly kv: Uint16Array
  readonly flops: Float64Array
  readonly bytes: Float64Array
  readonly parameterStart: Uint32Array
  readonly parameters: Float64Array
  readonly operandStart: Uint32Array
  readonly operandResidency: Int32Array
  /** Byte range inside the residency. */
  readonly operandFrom: Float64Array
  readonly operandTo: Float64Array
  readonly operandAccess: Uint8Array
}

export class EntryRecorder {
  private readonly op: number[] = []
  private readonly code: number[] = []
  private readonly stream: number[] = []
  private readonly kind: number[] = []
  private readonly kernel: number[] = []
  private readonly phase: number[] = []
  private readonly layer: number[] = []
  private readonly q: number[] = []
  private readonly kv: number[] = []
  private readonly flops: number[] = []
  private readonly bytes: number[] = []
  private readonly parameterStart = [0]
  private readonly parameters: number[] = []
  private readonly operandStart = [0]
  private readonly operandResidency: number[] = []
  private readonly operandFrom: number[] = []
  private readonly operandTo: number[] = []
  private readonly operandAccess: number[] = []

  constructor(
    private readonly ranks: number,
    private readonly lifetimes: Lifetimes,
    private readonly workspace: WorkspaceBytes,
  ) {}

  /** Records an op; a `free` only ends its residency. */
  add(op: Op, line: number): void {
    const stream = streamOf(op)
    if (op.kind === 'free' || stream === null) {
      if (op.kind === 'free') this.lifetimes.free(op.value, op.tier, line)
      return
    }
    this.op.push(line)
    this.stream.push(STREAMS.indexOf(stream))
    this.kind.push(KINDS.indexOf(op.kind))
    this.phase.push(PHASES.indexOf(op.place.phase))
    this.layer.push(op.place.layer ?? NONE)
    this.q.push(op.place.q ?? NONE)
    this.kv.push(op.place.kv ?? NONE)
    this.flops.push(flopsOf(op))
    this.bytes.push(bytesMoved(op, this.ranks))
    const touched = accesses(op)
    if (op.kind === 'compute') {
      const spec = kernelSpec(op.kernel)
      const parameters = spec.parameters(op.operands, op.flags)
      this.code.push(spec.code)
      this.kernel.push(KERNEL_NAMES.indexOf(op.kernel))
      this.parameters.push(...parameters)
      let next = 0
      for (const { role } of spec.operands) op.operands[role] ? this.operand(touched[next++], line) : this.absent()
      this.addWorkspace(op.kernel, parameters, line)
    } else {
      this.code.push(OPCODES[op.kind])
      this.kernel.push(0xff)
      this.parameters.push(...collectiveParameters(op, this.ranks))
      for (const access of touched) this.operand(access, line)
    }
    this.parameterStart.push(this.parameters.length)
    this.operandStart.push(this.operandResidency.length)
  }

  entries(): Entries {
    return {
      length: this.op.length,
      op: new Uint32Array(this.op),
      code: new Uint16Array(this.code),
      stream: new Uint8Array(this.stream),
      kind: new Uint8Array(this.kind),
      kernel: new Uint8Array(this.kernel),
      phase: new Uint8Array(this.phase),
      layer: new Uint16Array(this.layer),
      q: new Uint16Array(this.q),
      kv: new Uint16Array(this.kv),
      flops: new Float64Array(this.flops),
      bytes: new Float64Array(this.bytes),
      parameterStart: new Uint32Array(this.parameterStart),
      parameters: new Float64Array(this.parameters),
      operandStart: new Uint32Array(this.operandStart),
      operandResidency: new Int32Array(this.operandResidency),
      operandFrom: new Float64Array(this.operandFrom),
      operandTo: new Float64Array(this.operandTo),
      operandAccess: new Uint8Array(this.operandAccess),
    }
  }

  private operand({ value, tier, range, reads, writes }: ReturnType<typeof accesses>[number], line: number): void {
    this.push(this.lifetimes.touch(value, tier, line), range[0], range[1], (reads ? READS : 0) | (writes ? WRITES : 0))
  }
  private absent(): void {
    this.push(ABSENT, 0, 0, 0)
  }
  private addWorkspace(kernel: Kernel, parameters: readonly number[], line: number): void {
    const bytes = this.workspace(kernel, parameters)
    if (bytes > 0) this.push(this.lifetimes.workspace(`workspace of ${kernel}`, bytes, line), 0, bytes, READS | WRITES)
    else this.absent()
  }
  private push(residency: number, from: number, to: number, access: number): void {
    this.operandResidency.push(residency)
    this.operandFrom.push(from)
    this.operandTo.push(to)
    this.operandAccess.push(access)
  }
}

/** `COLLECTIVE_PARAMETERS` of a collective; copies have none. */
function collectiveParameters(op: Op, ranks: number): number[] {
  switch (op.kind) {
    case 'allToAll': {
      const [rows, , headSize] = op.parts[0].shape
      const direction = op.direction === 'toHeads' ? 0 : 1
      return [rows / ranks, headSize, DTYPE_BYTES[op.local.dtype], direction, ...(op.heads ?? op.parts.map((part) => part.shape[1] * ranks))]
    }
    case 'gather':
      return [bytesOf(op.part)]
    case 'reduceScatter':
      return [elements(op.part), op.first ? 1 : 0]
    case 'allReduce':
      return [elements(op.value)]
    default:
      return []
  }
}
