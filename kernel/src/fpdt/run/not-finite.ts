/**
 * Where a step went wrong: the first value that is NaN or infinite, found by running the step again op by op.
 *
 * A step is deterministic, and one whose loss or gradient norm is not finite has changed no parameter and no state (`clip` gave
 * AdamW the factor 0), so the same inputs over the same parameters go wrong at the same op.
 */
import { FpdtError } from '../../errors.js'
import type { NativeStep } from '../../execute/native.js'
import type { Part } from '../../model/parameters.js'
import { type Compute, type Op, presentOperands } from '../../schedule/ops.js'
import { DTYPE_BYTES, elements, type Value } from '../../schedule/values.js'
import type { TrainingPlan } from '../plan/training-plan.js'

export interface Search {
  /** Of the step: rate, corrections, labels. */
  readonly parameters: Float64Array
  /** Last line to look at. */
  readonly until: number
  /** Asked between ops. */
  readonly stopped: () => boolean
  /** Share of the lines that are done, for whoever waits. */
  readonly progress?: (share: number) => void
}

/**
 * Runs the ops up to `until` one by one and says in words where the first value that is not finite came from: a parameter that was
 * there before, or an op. Undefined: there is none. The program stands before its first op, before and after. Throws FpdtError `stopped`.
 */
export async function whereNotFinite(
  native: NativeStep,
  training: TrainingPlan,
  { parameters, until, stopped, progress }: Search,
): Promise<string | undefined> {
  const before = brokenParameter(native, training)
  if (before) return before
  try {
    let line = -1
    for (const op of training.ops()) {
      if (++line > until) return undefined
      const written = writtenBy(op)
      if (written.length === 0) continue
      const reached = await native.run(parameters, line)
      native.takeSpans() // which nobody looks at
      if (reached.stopped || stopped()) throw new FpdtError('stopped', 'stopped while looking for the first value that is not finite.')
      progress?.(line / until)
      for (let rank = 0; rank < training.config.ranks; rank++)
        for (const one of written) {
          const found = search(native, one, rank, line)
          if (found) return `The first value that is not finite is ${found}, which op ${line} wrote, ${training.plan.words(line)}.`
        }
    }
    return undefined
  } finally {
    native.takeSpans()
    native.reset()
  }
}

/** Compute weights that are not finite before anything runs. */
function brokenParameter(native: NativeStep, training: TrainingPlan): string | undefined {
  const { ranks, parameters } = training.config
  for (const { group, weightsPart } of training.values.groups)
    for (let rank = 0; rank < ranks; rank++) {
      const index = native.firstNotFinite(weightsPart, parameters, rank)
      if (index < 0) continue
      const element = rank * (group.padded / ranks) + index
      const part = group.parts.findLast(({ offset }) => offset <= element) as Part
      const what = wordOf(native, stretch(weightsPart, index, 1), parameters, rank)
      return `Before its first op the parameter ${group.name}/${part.name} was ${what} at ${placeOf(part.shape, element - part.offset)}, so no step can be finite: resume from a checkpoint before that, or start again.`
    }
  return undefined
}

interface Written {
  readonly role: string
  readonly value: Value
}

/** Values that an op computes and leaves on the device. Copies and exchanges of what was looked at before are not among them. */
function writtenBy(op: Op): Written[] {
  switch (op.kind) {
    case 'compute':
      return presentOperands(op).flatMap(({ spec, value }) =>
        spec.access === 'read' || spec.role === OPAQUE ? [] : meaningOf(op, spec.role, value).map((value) => ({ role: spec.role, value })),
      )
    // Sums over ranks.
    case 'allReduce':
      return [{ role: 'value', value: op.value }]
    case 'reduceScatter':
      return [{ role: 'part', value: op.part }]
    case 'allToAll':
      return op.direction === 'toTokens' && op.heads ? [{ role: 'local', value: op.local }] : []
    case 'gather':
    case 'offload':
    case 'fetch':
    case 'spill':
    case 'load':
    case 'free':
      return []
    default:
      return op satisfies never
  }
}

/** Running sums of attention, and a reference exponent that is -infinity before a row has seen a key. `finish` makes values of them. */
const OPAQUE = 'state'

/** The values of an operand, as they are meant: `crossEntropy` leaves bf16 rows at the first bytes of f32 rows. */
function meaningOf({ kernel, flags }: Compute, role: string, value: Value): Value[] {
  if (kernel !== 'crossEntropy' || role !== 'logits' || !flags.bf16) return [value]
  const [rows, vocabulary] = value.shape as [number, number]
  const { value: owner, offset } = value.of ?? { value, offset: 0 }
  const rowOf = (row: number): Value => ({
    ...value,
    name: `${value.name} row ${row}`,
    dtype: 'bf16',
    shape: [vocabulary],
    of: { value: owner, offset: offset + row * vocabulary },
  })
  return Array.from({ length: rows }, (_, row) => rowOf(row))
}

/** In words, the first element that is not finite. A row that sees no key has lse = -infinity, rightly. */
function search(native: NativeStep, { role, value }: Written, rank: number, line: number): string | undefined {
  const count = elements(value)
  for (let from = 0; from < count; ) {
    const rest = from === 0 ? value : stretch(value, from, count - from)
    const index = native.firstNotFinite(rest, 'device', rank, line)
    if (index < 0) return undefined
    const what = wordOf(native, stretch(value, from + index, 1), 'device', rank, line)
    if (!(role === 'lse' && what === '-Infinity')) return `${what} at ${placeOf(value.shape, from + index)} of ${value.name} on rank ${rank}`
    from += index + 1
  }
  return undefined
}

/** `count` elements of a value from its element `from`, as a vector. */
function stretch(value: Value, from: number, count: number): Value {
  const { value: owner, offset } = value.of ?? { value, offset: 0 }
  // Offsets count elements of the owner, whose dtype may be wider.
  return { ...value, shape: [count], of: { value: owner, offset: offset + (from * DTYPE_BYTES[value.dtype]) / DTYPE_BYTES[owner.dtype] } }
}

/** `NaN`, `Infinity` or `-Infinity`. */
function wordOf(native: NativeStep, one: Value, tier: 'device' | 'host', rank: number, line?: number): string {
  const bytes = native.read(one, tier, rank, line)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const wide = new DataView(new ArrayBuffer(4))
  if (one.dtype === 'bf16') wide.setUint16(2, view.getUint16(0, true), true)
  return String(one.dtype === 'f64' ? view.getFloat64(0, true) : one.dtype === 'f32' ? view.getFloat32(0, true) : wide.getFloat32(0, true))
}

/** `[3, 17]`: indices of an element in row-major order. */
function placeOf(shape: readonly number[], element: number): string {
  const indices: number[] = []
  for (const extent of shape.toReversed()) {
    indices.unshift(element % extent)
    element = Math.floor(element / extent)
  }
  return `[${indices.join(', ')}]`
}
