/**
 * Ops as text and back: `parseOp(printOp(op))` gives the op. One short line an op:
 *
 *   attend state[0,3] += q[0,3] k[0,1] v[0,1] @compute      what is written, then what is read
 *   project y[0,3] = oLocal[0,3] w[0].out x[0,3] @compute   `=` written, `+=` added to or updated in place
 *   fetch k[0,2] @fetch                                     the word after @ is the stream
 *   allToAll qkv[0,3] -> q[0,3] k[0,3] v[0,3] @collective
 *   free k[0,1]@device                                      ends a residency, runs nowhere
 *
 *   project qkv[0,3] = n1[0,3] w[0].qkv bias:w[0].qkvBias @compute   an optional operand bears its role
 *
 * Flags that say whether an operand is written or added to are told by `=` and `+=`; others follow as `eps=1e-5`.
 * A line does not say where in the algorithm the op stands: in a listing, headings do. A listing is complete: it declares
 * its values, so it can be read back with nothing else.
 */
import { FpdtError } from '../errors.js'
import { CATEGORIES, type Category, PHASES, type Phase, TIERS, type Tier } from '../trace/schema.js'
import { type Flags, KERNEL_NAMES, type Kernel, type KernelSpec, kernelSpec, type OperandSpec } from './kernels.js'
import { type Compute, type Op, type Place, presentOperands, streamOf } from './ops.js'
import { DTYPE_BYTES, type Dtype, type Value } from './values.js'

/** One line, without the op's place. */
export function printOp(op: Op): string {
  const stream = `@${streamOf(op)}`
  switch (op.kind) {
    case 'compute':
      return printCompute(op)
    case 'allToAll': {
      const [from, to] = op.direction === 'toHeads' ? [[op.local], op.parts] : [op.parts, [op.local]]
      const heads = op.heads ? ` heads=${op.heads.join(',')}` : ''
      return `allToAll ${names(from)} -> ${names(to)}${op.direction === 'toTokens' ? ' toTokens' : ''}${heads} ${stream}`
    }
    case 'gather':
      return `gather ${op.part.name} -> ${op.full.name} ${stream}`
    case 'reduceScatter':
      return `reduceScatter ${op.full.name} ${op.first ? '->' : '+>'} ${op.part.name} ${stream}`
    case 'allReduce':
    case 'offload':
    case 'fetch':
    case 'spill':
    case 'load':
      return `${op.kind} ${op.value.name} ${stream}`
    case 'free':
      return `free ${op.value.name}@${op.tier}`
    default:
      return op satisfies never
  }
}

/** `forward · layer 0 · q 3 · kv 1`: the heading under which an op stands. */
export function printPlace({ phase, layer, q, kv }: Place): string {
  const parts: string[] = [phase]
  if (layer !== null) parts.push(`layer ${layer}`)
  if (q !== null) parts.push(`q ${q}`)
  if (kv !== null) parts.push(`kv ${kv}`)
  return parts.join(' · ')
}

/** The ops under headings, one line each; a heading stands where the place changes. */
export function* printOps(ops: Iterable<Op>): Generator<string, void, undefined> {
  let heading = ''
  for (const op of ops) {
    const here = `-- ${printPlace(op.place)}`
    if (here !== heading) yield here
    heading = here
    yield printOp(op)
  }
}

/** A whole listing: its values, then its ops. */
export function printListing(ops: Iterable<Op>): string {
  const values = new Map<string, Value>()
  const lines: string[] = []
  const declared = each(ops, (op) => {
    for (const value of valuesOf(op)) declare(values, value)
  })
  for (const line of printOps(declared)) lines.push(line)
  return [...[...values.values()].map(printValue), ...lines, ''].join('\n')
}

/** Reads a listing back. Throws FpdtError `schedule` with the line. */
export function parseListing(text: string): Op[] {
  const values = new Map<string, Value>()
  const ops: Op[] = []
  let place: Place | null = null
  for (const [number, raw] of text.split('\n').entries()) {
    const line = raw.trim()
    try {
      if (line === '') continue
      else if (line.startsWith('value ')) declare(values, parseValue(line, values))
      else if (line.startsWith('-- ')) place = parsePlace(line.slice(3))
      else if (place) ops.push(parseOp(line, values, place))
      else refuse('an op stands before the first heading (`-- forward · layer 0`)')
    } catch (error) {
      if (error instanceof FpdtError) throw new FpdtError('schedule', `line ${number + 1}: ${error.message}\n  ${line}`)
      throw error
    }
  }
  return ops
}

/** Values an op names, views as they are. */
export function valuesOf(op: Op): readonly Value[] {
  switch (op.kind) {
    case 'compute':
      return presentOperands(op).map(({ value }) => value)
    case 'allToAll':
      return [op.local, ...op.parts]
    case 'gather':
    case 'reduceScatter':
      return [op.part, op.full]
    case 'allReduce':
    case 'offload':
    case 'fetch':
    case 'spill':
    case 'load':
    case 'free':
      return [op.value]
    default:
      return op satisfies never
  }
}

const NOWHERE: Place = { phase: 'forward', layer: null, q: null, kv: null }

/** The op that a line prints. Throws FpdtError `schedule` for what is no op or names no value of `values`. */
export function parseOp(line: string, values: ReadonlyMap<string, Value>, place: Place = NOWHERE): Op {
  const words = line.trim().split(/\s+/)
  const verb = words[0]
  const known = (name: string | undefined): Value => values.get(name ?? '') ?? refuse(`${name ? `no value is named ${name}` : `${verb} lacks an operand`}`)
  if (verb === 'free') {
    const [name, tier] = (words[1] ?? '').split('@')
    if (!TIERS.includes(tier as Tier)) refuse(`free names a residency, e.g. k[0,1]@device; the tier is one of ${TIERS.join(', ')}`)
    return { kind: 'free', place, value: known(name), tier: tier as Tier }
  }
  const op = parseRunning()
  const stream = `@${streamOf(op)}`
  if (words.at(-1) !== stream) refuse(`${verb} runs on ${stream}, which ends its line`)
  return op

  function parseRunning(): Op {
    const operands = words.slice(1, -1)
    switch (verb) {
      case 'allToAll': {
        const heads = operands.at(-1)?.startsWith('heads=') ? operands.pop()?.slice('heads='.length).split(',').map(parseNumber) : undefined
        const direction = operands.at(-1) === 'toTokens' ? 'toTokens' : 'toHeads'
        const [from, to] = sides(direction === 'toTokens' ? operands.slice(0, -1) : operands, '->', known)
        const [locals, parts] = direction === 'toHeads' ? [from, to] : [to, from]
        if (locals.length !== 1 || parts.length === 0) refuse('allToAll is `local -> parts` or `parts -> local toTokens`')
        return { kind: 'allToAll', place, direction, local: locals[0] as Value, parts, ...(heads ? { heads } : {}) }
      }
      case 'gather': {
        const [from, to] = sides(operands, '->', known)
        return { kind: 'gather', place, part: only(from), full: only(to) }
      }
      case 'reduceScatter': {
        const first = operands.includes('->')
        const [from, to] = sides(operands, first ? '->' : '+>', known)
        return { kind: 'reduceScatter', place, full: only(from), part: only(to), first }
      }
      case 'allReduce':
      case 'offload':
      case 'fetch':
      case 'spill':
      case 'load':
        return { kind: verb, place, value: only(operands.map(known)) }
      default:
        if (!KERNEL_NAMES.includes(verb as Kernel)) refuse(`${verb} is no op`)
        return parseCompute(verb as Kernel, operands, known, place)
    }
  }
  function only(list: readonly Value[]): Value {
    return list.length === 1 ? (list[0] as Value) : refuse(`${verb} takes one value on a side, not ${list.length}`)
  }
}

// ---- compute -------------------------------------------------------------------------------------------------------

/** How an operand stands in the line. */
type Side = 'written' | 'added' | 'read'
function sideOf(spec: OperandSpec, flags: Flags): Side {
  if (spec.access === 'read' || spec.access === 'write') return spec.access === 'read' ? 'read' : 'written'
  return typeof spec.access === 'object' && flags[spec.access.first] ? 'written' : 'added'
}
/** Flags that `=` and `+=` tell. */
function toldFlags(spec: KernelSpec): string[] {
  return [...new Set(spec.operands.flatMap(({ access }) => (typeof access === 'object' ? [access.first] : [])))]
}

function printCompute(op: Compute): string {
  const sides: Record<Side, string[]> = { written: [], added: [], read: [] }
  for (const { spec, value } of presentOperands(op)) sides[sideOf(spec, op.flags)].push(spec.optional ? `${spec.role}:${value.name}` : value.name)
  const told = toldFlags(kernelSpec(op.kernel))
  const parts: string[] = [op.kernel]
  if (sides.written.length) parts.push(...sides.written, '=')
  if (sides.added.length) parts.push(...sides.added, '+=')
  parts.push(...sides.read)
  for (const [name, number] of Object.entries(op.flags)) if (!told.includes(name)) parts.push(`${name}=${printNumber(number)}`)
  parts.push('@compute')
  return parts.join(' ')
}

function parseCompute(kernel: Kernel, words: readonly string[], known: (name: string) => Value, place: Place): Compute {
  const spec = kernelSpec(kernel)
  const sides: Record<Side, Value[]> = { written: [], added: [], read: [] }
  const flags: Record<string, number> = {}
  const optional: Record<string, Value> = {}
  const pending: Value[] = []
  for (const word of words) {
    const flag = /^([A-Za-z]\w*)=(.+)$/.exec(word)
    if (word === '=' || word === '+=') sides[word === '=' ? 'written' : 'added'] = pending.splice(0)
    else if (flag) flags[flag[1]] = parseNumber(flag[2])
    else if (word.includes(':')) optional[word.slice(0, word.indexOf(':'))] = known(word.slice(word.indexOf(':') + 1))
    else pending.push(known(word))
  }
  sides.read = pending
  const shape = shapesOf(kernel).find((s) => SIDES.every((side) => s[side].length === sides[side].length))
  if (!shape)
    refuse(`${kernel} does not take ${sides.written.length} written, ${sides.added.length} added to and ${sides.read.length} read operands: ${spec.roughly}`)
  for (const role of Object.keys(optional))
    if (!spec.operands.some((operand) => operand.optional && operand.role === role)) refuse(`${kernel} has no optional operand ${role}: ${spec.roughly}`)
  const operands: Record<string, Value> = { ...optional }
  for (const side of SIDES) for (const [i, role] of shape[side].entries()) operands[role] = sides[side][i]
  return { kind: 'compute', place, kernel, operands, flags: { ...flags, ...shape.flags } }
}

const SIDES: readonly Side[] = ['written', 'added', 'read']
type Shape = Record<Side, string[]> & { flags: Record<string, number> }
const shapes = new Map<Kernel, Shape[]>()

/** Every way a kernel's line can look: each told flag 0 or 1. The counts of required operands tell them apart. */
export function shapesOf(kernel: Kernel): readonly Shape[] {
  const spec = kernelSpec(kernel)
  let made = shapes.get(kernel)
  if (!made) {
    made = subsets(toldFlags(spec)).map((on) => {
      const flags = Object.fromEntries(toldFlags(spec).map((name) => [name, on.includes(name) ? 1 : 0]))
      const shape: Shape = { written: [], added: [], read: [], flags }
      for (const operand of spec.operands) if (!operand.optional) shape[sideOf(operand, flags)].push(operand.role)
      return shape
    })
    shapes.set(kernel, made)
  }
  return made
}
function subsets(names: readonly string[]): string[][] {
  let sets: string[][] = [[]]
  for (const name of names) sets = [...sets, ...sets.map((set) => [...set, name])]
  return sets
}

// ---- values and places ---------------------------------------------------------------------------------------------

/** `value k[0,1] bf16 (512, 2, 64) attention start 512`, `value w[0].qkv bf16 (384, 256) parameters in w[0] at 512`. */
function printValue({ name, dtype, shape, category, start, of }: Value): string {
  const parts = [`value ${name} ${dtype} (${shape.join(', ')}) ${category}`]
  if (start !== undefined) parts.push(`start ${start}`)
  if (of) parts.push(`in ${of.value.name} at ${of.offset}`)
  return parts.join(' ')
}

function parseValue(line: string, values: ReadonlyMap<string, Value>): Value {
  const match = /^value (\S+) (\w+) \(([\d, ]*)\) (\w+)(?: start (\d+))?(?: in (\S+) at (\d+))?$/.exec(line)
  if (!match) return refuse('a value is declared as `value NAME DTYPE (EXTENTS) CATEGORY [start TOKEN] [in WHOLE at ELEMENT]`')
  const [, name, dtype, extents, category, start, whole, offset] = match as unknown as string[]
  if (!((dtype as string) in DTYPE_BYTES)) refuse(`dtype ${dtype} is not one of ${Object.keys(DTYPE_BYTES).join(', ')}`)
  if (!CATEGORIES.includes(category as Category)) refuse(`category ${category} is not one of ${CATEGORIES.join(', ')}`)
  const of = whole ? { value: values.get(whole) ?? refuse(`no value is named ${whole}`), offset: Number(offset) } : undefined
  const shape = extents?.trim() ? extents.split(',').map(Number) : []
  return {
    name: name as string,
    dtype: dtype as Dtype,
    shape,
    category: category as Category,
    ...(start ? { start: Number(start) } : {}),
    ...(of ? { of } : {}),
  }
}

function parsePlace(text: string): Place {
  const [phase, ...rest] = text.split('·').map((part) => part.trim())
  if (!PHASES.includes(phase as Phase)) refuse(`${phase} is not one of the phases ${PHASES.join(', ')}`)
  const place: { -readonly [K in keyof Place]: Place[K] } = { phase: phase as Phase, layer: null, q: null, kv: null }
  for (const part of rest) {
    const match = /^(layer|q|kv) (\d+)$/.exec(part)
    if (!match) refuse(`${part} in a heading is not \`layer N\`, \`q N\` or \`kv N\``)
    else place[match[1] as 'layer' | 'q' | 'kv'] = Number(match[2])
  }
  return place
}

/** Adds a value and, before it, the value it is a view of. */
function declare(values: Map<string, Value>, value: Value): void {
  if (value.of) declare(values, value.of.value)
  if (!values.has(value.name)) values.set(value.name, value)
}

// ---- words ---------------------------------------------------------------------------------------------------------

function names(values: readonly Value[]): string {
  return values.map(({ name }) => name).join(' ')
}
function sides(words: readonly string[], arrow: string, known: (name: string) => Value): [Value[], Value[]] {
  const at = words.indexOf(arrow)
  if (at < 0) refuse(`the line lacks ${arrow}`)
  return [words.slice(0, at).map(known), words.slice(at + 1).map(known)]
}
/** Exact either way: 10000, 1e-5. */
function printNumber(number: number): string {
  return number !== 0 && Math.abs(number) < 1e-3 ? number.toExponential() : String(number)
}
function parseNumber(text: string): number {
  const number = Number(text)
  return Number.isFinite(number) ? number : refuse(`${text} is not a number`)
}
function* each<T>(items: Iterable<T>, visit: (item: T) => void): Generator<T, void, undefined> {
  for (const item of items) {
    visit(item)
    yield item
  }
}
function refuse(message: string): never {
  throw new FpdtError('schedule', message)
}
