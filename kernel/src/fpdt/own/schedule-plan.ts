/**
 * A schedule of the user's own, planned: ops as a generator yields them or as text says them, checked and laid out by the very
 * calls that plan a training step. Pure: no device is touched.
 *
 *   text | ops | generator -> ops that are well formed -> check -> plan
 */
import { FpdtError } from '../../errors.js'
import { type Plan, plan } from '../../plan/plan.js'
import { workspacesOf } from '../../plan/workspace.js'
import { MAX_RANKS } from '../../schedule/config.js'
import { KERNEL_NAMES, type Kernel } from '../../schedule/kernels.js'
import { type Op, presentOperands } from '../../schedule/ops.js'
import { parseListing, valuesOf } from '../../schedule/print.js'
import type { Standing } from '../../schedule/standing.js'
import { validTiers } from '../../schedule/validity.js'
import { DTYPE_BYTES, type Dtype, type Value, whole } from '../../schedule/values.js'
import { CATEGORIES, type Category, KINDS, NONE, PHASES, TIERS, type Tier } from '../../trace/schema.js'
import { counted } from '../../trace/words/format.js'
import { type Budgets, PLANNED_OPS } from '../plan/training-plan.js'
import { refuseUnknown } from '../sizes.js'
import { Tensor } from './tensor.js'

/** Ops in order: a listing as `printListing` prints it, ops, a generator of ops, or a function that returns one. */
export type OpSource = string | Iterable<Op> | (() => Iterable<Op>)

/** Values by the tier they are on, each itself or its name. */
export type ByTier = { readonly [T in Tier]?: readonly (Value | string)[] }

export interface ScheduleOptions {
  /** Every op runs on each of them, on that rank's own values. Default 1. */
  readonly ranks?: number
  /** What is there before the first op: given to every `run`. An input that the ops free ends there; any other stays. */
  readonly inputs?: ByTier
  /** What is there after the last op: what `run` gives back. Everything else has been freed by then. A result has its bytes from the beginning. */
  readonly results?: ByTier
  /** One line above the picture. */
  readonly title?: string
}

/** Where a value of the user's stands. */
export interface NamedPlace {
  readonly value: Value
  readonly tier: Tier
}

export interface SchedulePlan {
  readonly title: string
  readonly ops: () => Iterable<Op>
  readonly plan: Plan
  readonly standing: readonly Standing[]
  readonly inputs: readonly NamedPlace[]
  readonly results: readonly NamedPlace[]
  readonly values: { readonly known: ReadonlyMap<string, Value> }
  /** What its kernels compute in: what a prediction takes the rates of. */
  readonly dtype: 'bf16' | 'f32'
  /** No op changes what stays between runs: a run can be dropped at any op. */
  readonly firstUpdate: number
}

/**
 * A tensor of one rank, for ops to name: `value('q[0]', [8, 2, 16], { dtype: 'bf16', category: 'attention', start: 0 })`. `start`: position
 * in the sequence of the first row, which attention and rotary go by. `category`: the colour it has in the memory picture.
 */
export function value(name: string, shape: readonly number[], options: { dtype?: Dtype; category?: Category; start?: number } = {}): Value {
  refuseUnknown('value', options, ['dtype', 'category', 'start'])
  const { dtype = 'f32', category = 'hidden', start } = options
  const made: Value = { name, dtype, shape, category, ...(start === undefined ? {} : { start }) }
  const wrong = misshapenValue(made)
  if (wrong) throw new FpdtError('schedule', `value ${JSON.stringify(name)} ${wrong}.`)
  return made
}

/** Throws FpdtError `schedule` (what a training step would be refused for, in the same words), `config`, `out_of_memory`. */
export function planSchedule(source: OpSource, options: ScheduleOptions, { budgets, ...target }: Budgets): SchedulePlan {
  refuseUnknown('schedule', options, ['ranks', 'inputs', 'results', 'title'])
  const { ranks = 1, inputs: given = {}, results: asked = {} } = options
  if (!Number.isInteger(ranks) || ranks < 1 || ranks > MAX_RANKS)
    throw new FpdtError('config', `ranks ${String(ranks)} is not a whole number from 1 to ${MAX_RANKS}.`)
  const ops = collected(source)
  const known = new Map<string, Value>()
  for (const op of ops) for (const named of valuesOf(op)) if (!known.has(named.name)) known.set(named.name, named)
  const inputs = namedPlaces('inputs', given, known)
  const results = namedPlaces('results', asked, known)
  const standing = standingOf(ops, inputs, results)
  const made = plan(ops, { ranks, initial: standing, workspace: workspacesOf(target), budgets })
  refuseUnwritten(ops, standing, results)
  const bf16 = ops.some((op) => op.kind === 'compute' && presentOperands(op).some(({ value: { dtype } }) => dtype === 'bf16'))
  const title = options.title ?? `Schedule of ${counted(ops.length, 'op')} · ${counted(ranks, 'rank')}`
  return {
    title,
    ops: () => ops,
    plan: made,
    standing,
    inputs,
    results,
    values: { known },
    dtype: bf16 ? 'bf16' : 'f32',
    firstUpdate: Number.POSITIVE_INFINITY,
  }
}

/** Inputs and results in one list. An input is persistent unless an op frees it; a result always is. */
function standingOf(ops: readonly Op[], inputs: readonly NamedPlace[], results: readonly NamedPlace[]): Standing[] {
  const freed = new Set(ops.flatMap((op) => (op.kind === 'free' ? [nameOf(op)] : [])))
  const isInput = new Set(inputs.map(nameOf))
  const isResult = new Set(results.map(nameOf))
  return [
    ...inputs.map(({ value, tier }) => ({
      value,
      tier,
      written: true,
      persistent: isResult.has(nameOf({ value, tier })) || !freed.has(nameOf({ value, tier })),
    })),
    ...results.filter((result) => !isInput.has(nameOf(result))).map(({ value, tier }) => ({ value, tier, written: false })),
  ]
}

function namedPlaces(what: string, byTier: ByTier, known: Map<string, Value>): NamedPlace[] {
  if (typeof byTier !== 'object' || byTier === null || Array.isArray(byTier))
    throw new FpdtError('config', `${what} says what is on which tier: { host: ['q[0]'] }.`)
  refuseUnknown(what, byTier, TIERS)
  return (Object.entries(byTier) as [Tier, unknown][]).flatMap(([tier, values]) => {
    if (!Array.isArray(values)) throw new FpdtError('config', `${what}.${tier} is a list of values or of their names.`)
    return values.map((named) => {
      const found: unknown = typeof named === 'string' ? known.get(named) : named
      if (!found) throw new FpdtError('config', `${what}.${tier}: no op names a value ${named}; they name ${[...known.keys()].join(', ')}.`)
      const wrong = misshapenValue(found)
      if (wrong) throw new FpdtError('config', `${what}.${tier}: what stands there ${wrong}.`)
      const value = found as Value
      if (!known.has(value.name)) known.set(value.name, value)
      return { value, tier }
    })
  })
}

/** A result of which nothing was written would be read as whatever its bytes held. */
function refuseUnwritten(ops: readonly Op[], standing: readonly Standing[], results: readonly NamedPlace[]): void {
  const valid = validTiers(ops, standing)
  for (const { value, tier } of results) {
    const there = valid.get(whole(value).name)
    if (there?.has(tier)) continue
    const elsewhere = there?.size ? `it is on the ${[...there].join(' and ')} tier: bring it` : 'no op writes it'
    refuse(`after the last op: ${value.name}@${tier} is a result and is not there; ${elsewhere}`)
  }
}
/** `k[0]@host`. */
export function nameOf({ value, tier }: NamedPlace): string {
  return `${whole(value).name}@${tier}`
}

// ---- ops as a user gives them --------------------------------------------------------------------------------------

/** The ops of a source, each of a form that the checker can take: what it says beyond that is its to judge. */
function collected(source: OpSource): readonly Op[] {
  if (typeof source === 'string') return parseListing(source)
  const items: unknown = typeof source === 'function' ? source() : source
  if (!isIterable(items)) refuse(`a schedule is a listing, ops, or a generator of ops (function* () { yield fetch(…) }); got ${String(items)}`)
  const ops: Op[] = []
  for (const op of items) {
    if (ops.length >= PLANNED_OPS) refuse(`a plan holds at most ${PLANNED_OPS} ops, and this schedule goes on`)
    const wrong = misshapen(op)
    if (wrong) refuse(`op ${ops.length} ${wrong}`)
    ops.push(op as Op)
  }
  if (ops.length === 0) refuse('a schedule has at least one op')
  return ops
}

/** Fields of an op that name a value. */
const VALUE_FIELDS: Record<Exclude<Op['kind'], 'compute' | 'allToAll'>, readonly string[]> = {
  gather: ['part', 'full'],
  reduceScatter: ['full', 'part'],
  allReduce: ['value'],
  offload: ['value'],
  fetch: ['value'],
  spill: ['value'],
  load: ['value'],
  free: ['value'],
}

/** What keeps something from being an op at all, in words after `op 3`; undefined where it is one. */
function misshapen(given: unknown): string | undefined {
  if (isIterable(given)) return 'is several ops, not one: write yield* before a call that yields many, as free(…) does'
  if (typeof given !== 'object' || given === null) return `is ${String(given)}, not an op; make ops with compute(…), fetch(…), offload(…) and the others`
  const op = given as Record<string, unknown>
  if (!KINDS.includes(op.kind as (typeof KINDS)[number])) return `has kind ${JSON.stringify(op.kind)}, which is not one of ${KINDS.join(', ')}`
  const place = op.place as Record<string, unknown> | null | undefined
  if (!PHASES.includes(place?.phase as (typeof PHASES)[number]))
    return `is ${op.kind} at phase ${JSON.stringify(place?.phase)}, which is not one of ${PHASES.join(', ')}; at('forward', 0) makes a place`
  for (const axis of ['layer', 'q', 'kv'] as const) {
    const at = place?.[axis]
    if (at !== null && !(Number.isInteger(at) && (at as number) >= 0 && (at as number) < NONE))
      return `is ${op.kind} at ${axis} ${String(at)}, which is neither null nor a whole number below ${NONE}`
  }
  if (op.kind === 'compute' && !KERNEL_NAMES.includes(op.kernel as Kernel))
    return `computes ${JSON.stringify(op.kernel)}, which is none of the kernels ${KERNEL_NAMES.join(', ')}`
  if (op.kind === 'compute' && (typeof op.flags !== 'object' || op.flags === null))
    return `is ${op.kernel} without flags; compute(place, kernel, operands, flags) makes one`
  for (const [role, named] of valueFieldsOf(op)) {
    const wrong = misshapenValue(named)
    if (wrong) return `is ${op.kind === 'compute' ? op.kernel : op.kind}, whose ${role} ${wrong}`
  }
  return undefined
}
function valueFieldsOf(op: Record<string, unknown>): [string, unknown][] {
  // An operand that is left out is the checker's to name.
  if (op.kind === 'compute') return Object.entries((op.operands ?? {}) as object).filter(([, named]) => named !== undefined)
  if (op.kind === 'allToAll')
    return [['local', op.local], ...(Array.isArray(op.parts) ? op.parts : [undefined]).map((part, p): [string, unknown] => [`part ${p}`, part])]
  return VALUE_FIELDS[op.kind as keyof typeof VALUE_FIELDS].map((field) => [field, op[field]])
}
function misshapenValue(given: unknown): string | undefined {
  if (given instanceof Tensor) return `is a tensor, and ops name values: value('q[0]', [8, 2, 16]); tensors are given to run({ 'q[0]': … })`
  const { name, shape, dtype, category, start } = (given ?? {}) as Partial<Value>
  if (typeof name !== 'string') return `is ${String(given)}, not a value; value('q[0]', [8, 2, 16]) makes one`
  if (/[\p{Cc}\u2028\u2029]/u.test(name)) return 'has a line break or another control character in its name, which is printed in a line'
  if (!Array.isArray(shape)) return `has shape ${String(shape)}, which is not a list of extents`
  if (!Object.hasOwn(DTYPE_BYTES, String(dtype))) return `has dtype ${JSON.stringify(dtype)}, which is not one of ${Object.keys(DTYPE_BYTES).join(', ')}`
  if (!CATEGORIES.includes(category as Category)) return `has category ${JSON.stringify(category)}, which is not one of ${CATEGORIES.join(', ')}`
  if (start !== undefined && !(Number.isSafeInteger(start) && start >= 0)) return `has start ${String(start)}, which is not a position in a sequence`
  return undefined
}

function isIterable(given: unknown): given is Iterable<unknown> {
  return typeof given === 'object' && given !== null && Symbol.iterator in given
}
function refuse(message: string): never {
  throw new FpdtError('schedule', message)
}
