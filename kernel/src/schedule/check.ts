/**
 * Dry run of a schedule: which bytes of which residency mean something, op by op. Refuses what would compute with garbage,
 * overrun an operand or leak, and shows the ops around with the bad one marked. Knows nothing of bytes in an arena or of time.
 *
 *   reading            bytes that nothing wrote, that were freed, or that are stale (written since on another tier)
 *   freeing            what is not there, a view, or what must stand after the step
 *   at the end         what was not freed, and standing residencies left stale: the next step would read old bytes
 *   of one op          operands missing or unknown, extents and dtypes that do not fit the kernel, an operand written while
 *                      another names the same bytes, collectives whose sizes do not match over the ranks
 */
import { FpdtError } from '../errors.js'
import type { Tier } from '../trace/schema.js'
import { EXTENTS } from './extents.js'
import { type KernelSpec, kernelSpec } from './kernels.js'
import { type Access, type AllToAll, accesses, type Compute, isCopy, type Op, presentOperands } from './ops.js'
import { printOp, valuesOf } from './print.js'
import { covers, exclude, include, overlap, type Range } from './ranges.js'
import type { Standing } from './standing.js'
import { bytesOf, DTYPE_BYTES, elements, type Value } from './values.js'

/** Checks a whole schedule. Throws FpdtError `schedule`. `ranks` is read off the first collective when not given. */
export function check(ops: Iterable<Op>, initial: Iterable<Standing>, ranks?: number): void {
  for (const _ of checked(ops, initial, ranks));
}

/** The same ops, each checked before it is passed on; the end is checked when they are exhausted. */
export function* checked(ops: Iterable<Op>, initial: Iterable<Standing>, ranks?: number): Generator<Op, void, undefined> {
  const source = ops[Symbol.iterator]()
  const standing = [...initial]
  const state = new Residencies(standing)
  const shapes = new Shapes(standing, ranks)
  const before: Op[] = [] // printed only where something is wrong: most schedules are sound
  let line = 0
  try {
    for (let next = source.next(); !next.done; next = source.next(), line++) {
      const op = next.value
      try {
        shapes.check(op)
        state.apply(op, line)
      } catch (error) {
        if (!(error instanceof Mistake)) throw error
        throw new FpdtError('schedule', `op ${line}: ${error.message}\n${context(before, line, op, source)}`)
      }
      before.push(op)
      if (before.length > CONTEXT) before.shift()
      yield op
    }
    const mistake = state.atEnd()
    if (mistake) throw new FpdtError('schedule', `after the last op: ${mistake}`)
  } finally {
    source.return?.()
  }
}

/** What is wrong with an op, in words; `checked` adds where it stands. */
class Mistake extends Error {}
function refuse(message: string): never {
  throw new Mistake(message)
}

/** Ops shown before and after a bad one. */
const CONTEXT = 3
function context(before: readonly Op[], line: number, op: Op, rest: Iterator<Op>): string {
  const rows = before.map((sound, i) => [line - before.length + i, printOp(sound)])
  rows.push([line, `${printBad(op)}   <-- here`])
  for (let i = 1; i <= CONTEXT; i++) {
    const next = rest.next()
    if (next.done) break
    rows.push([line + i, printBad(next.value)])
  }
  return rows.map(([number, text]) => `${String(number).padStart(6)}  ${text}`).join('\n')
}
/** A bad op may be too bad to print. */
function printBad(op: Op): string {
  try {
    return printOp(op)
  } catch {
    return JSON.stringify(op)
  }
}

// ---- residencies ---------------------------------------------------------------------------------------------------

interface State {
  readonly value: Value
  readonly tier: Tier
  readonly persistent: boolean
  /** The op that made it; none: it stands before the first. */
  readonly born?: { readonly op: Op; readonly line: number }
  /** Bytes that hold the value. */
  valid: readonly Range[]
  /** Bytes that held it until another residency was written. */
  stale: readonly Range[]
}

class Residencies {
  private readonly byValue = new Map<string, State[]>()
  private readonly freed = new Map<string, number>()

  constructor(initial: Iterable<Standing>) {
    for (const { value, tier, written, persistent } of initial) {
      if (value.of) throw new FpdtError('schedule', `${value.name} stands before the first op but is a view; name ${value.of.value.name}`)
      if (this.find(value, tier)) throw new FpdtError('schedule', `${value.name}@${tier} stands before the first op twice`)
      this.add({ value, tier, persistent: persistent ?? true, valid: written ? [[0, bytesOf(value)]] : [], stale: [] })
    }
  }

  apply(op: Op, line: number): void {
    if (op.kind === 'free') this.free(op.value, op.tier, line)
    const touched = accesses(op)
    for (const access of touched) if (access.reads) this.read(access)
    for (const access of touched) if (access.writes) this.write(access, op, line)
  }

  /** What is wrong when no op is left, or null. */
  atEnd(): string | null {
    for (const residencies of this.byValue.values()) {
      for (const { value, tier, persistent, born, stale } of residencies) {
        if (!persistent) return `${value.name}@${tier} is never freed (made at ${born ? `op ${born.line}: ${printOp(born.op)}` : 'before the first op'})`
        if (stale.length > 0) return `${value.name}@${tier} stands for the next step but is stale: its value was written on another tier and not brought back`
      }
    }
    return null
  }

  private read({ value, tier, range }: Access): void {
    const here = this.find(value, tier)
    if (!here) {
      const elsewhere = this.byValue.get(value.name)?.map((other) => other.tier) ?? []
      const line = this.freed.get(`${value.name}@${tier}`)
      if (line !== undefined) refuse(`${value.name}@${tier} is read after it was freed at op ${line}`)
      refuse(`${value.name}@${tier} is read before it is written${elsewhere.length ? `; it is on the ${elsewhere.join(' and ')} tier: bring it` : ''}`)
    } else if (!covers(here.valid, range)) {
      const stale = here.stale.some((part) => overlap(part, range))
      refuse(
        `${value.name}@${tier} ${stale ? 'is stale: it was written on another tier since' : `is read before it is written (bytes ${range[0]} .. ${range[1]})`}`,
      )
    }
  }

  private write({ value, tier, range }: Access, op: Op, line: number): void {
    let here = this.find(value, tier)
    if (!here) {
      here = { value, tier, persistent: false, born: { op, line }, valid: [], stale: [] }
      this.add(here)
    }
    here.valid = include(here.valid, range)
    here.stale = exclude(here.stale, range)
    if (isCopy(op)) return
    for (const other of this.byValue.get(value.name) ?? []) {
      if (other === here || !other.valid.some((part) => overlap(part, range))) continue
      other.valid = exclude(other.valid, range)
      other.stale = include(other.stale, range)
    }
  }

  private free(value: Value, tier: Tier, line: number): void {
    if (value.of) refuse(`${value.name} is a view: it ends with ${value.of.value.name}`)
    const here = this.find(value, tier)
    const key = `${value.name}@${tier}`
    const earlier = this.freed.get(key)
    if (!here) refuse(earlier === undefined ? `${key} is freed but was never there` : `${key} is freed again; it was freed at op ${earlier}`)
    if (here.persistent) refuse(`${key} stands between steps and is freed`)
    const residencies = this.byValue.get(value.name) as State[]
    residencies.splice(residencies.indexOf(here), 1)
    this.freed.set(key, line)
  }

  private find(value: Value, tier: Tier): State | undefined {
    return this.byValue.get(value.name)?.find((residency) => residency.tier === tier)
  }
  private add(state: State): void {
    const residencies = this.byValue.get(state.value.name)
    if (residencies) residencies.push(state)
    else this.byValue.set(state.value.name, [state])
  }
}

// ---- one op --------------------------------------------------------------------------------------------------------

class Shapes {
  private readonly values = new Map<string, Value>()

  constructor(
    standing: readonly Standing[],
    private ranks: number | undefined,
  ) {
    for (const { value } of standing) this.values.set(value.name, value)
  }

  check(op: Op): void {
    if (op.kind === 'compute') this.computeOperands(op)
    for (const value of valuesOf(op)) this.value(value)
    const touched = accesses(op)
    for (const [i, a] of touched.entries()) for (const b of touched.slice(0, i)) distinct(a, b)
    switch (op.kind) {
      case 'compute':
        this.extents(op)
        break
      case 'allToAll':
        this.allToAll(op)
        break
      case 'gather':
        this.partition(op.part, op.full)
        break
      case 'reduceScatter':
        if (op.full.dtype !== 'f32') refuse(`reduceScatter sums f32, and ${op.full.name} is ${op.full.dtype}`)
        this.partition(op.part, op.full)
        break
      case 'allReduce':
        if (op.value.dtype !== 'f64') refuse(`allReduce sums f64, and ${op.value.name} is ${op.value.dtype}`)
        break
      case 'offload':
      case 'fetch':
      case 'spill':
      case 'load':
        if (op.value.of) refuse(`${op.value.name} is a view: ${op.kind} moves whole values; name ${op.value.of.value.name}`)
        break
      case 'free':
        break
      default:
        op satisfies never
    }
  }

  /** A name stands for one value, and a view lies inside its whole. */
  private value(value: Value): void {
    const known = this.values.get(value.name)
    if (known === value) return
    if (known) {
      if (!alike(known, value)) refuse(`${value.name} names two values: ${describe(known)} and ${describe(value)}`)
      return
    }
    const { name, dtype, shape, of } = value
    if (!/^[A-Za-z][^\s@=]*$/.test(name)) refuse(`${JSON.stringify(name)} is no name of a value: a letter, then anything but blanks, @ and =`)
    if (!(dtype in DTYPE_BYTES)) refuse(`${name} has dtype ${dtype}, which is not one of ${Object.keys(DTYPE_BYTES).join(', ')}`)
    if (!shape.every((extent) => Number.isSafeInteger(extent) && extent > 0))
      refuse(`${name} has extents (${shape.join(', ')}): each is a whole number above 0`)
    if (of) {
      if (of.value.of) refuse(`${name} is a view of the view ${of.value.name}; make it of ${of.value.of.value.name}`)
      if (of.value.dtype !== dtype) refuse(`${name} is ${dtype} and a view of ${of.value.name}, which is ${of.value.dtype}`)
      const end = of.offset + elements(value)
      if (!Number.isSafeInteger(of.offset) || of.offset < 0 || end > elements(of.value)) {
        refuse(`${name} is elements ${of.offset} .. ${end} of ${of.value.name}, which has ${elements(of.value)}`)
      }
      this.value(of.value)
    }
    this.values.set(name, value)
  }

  private computeOperands(op: Compute): void {
    const spec: KernelSpec | undefined = kernelSpec(op.kernel)
    if (!spec) refuse(`${op.kernel} is no kernel`)
    const roles = spec.operands.map(({ role }) => role)
    for (const { role, optional } of spec.operands) if (!op.operands[role] && !optional) refuse(`${op.kernel} lacks its operand ${role}: ${spec.roughly}`)
    for (const role of Object.keys(op.operands)) if (!roles.includes(role)) refuse(`${op.kernel} has no operand ${role}, only ${roles.join(', ')}`)
    for (const name of spec.flags) if (!Number.isFinite(op.flags[name])) refuse(`${op.kernel} lacks its flag ${name}`)
    for (const [name, number] of Object.entries(op.flags)) {
      if (!spec.flags.includes(name)) refuse(`${op.kernel} has no flag ${name}${spec.flags.length ? `, only ${spec.flags.join(', ')}` : ''}`)
      if (name.startsWith('first') && number !== 0 && number !== 1) refuse(`${op.kernel} has ${name} = ${number}: 1 writes, 0 adds`)
    }
  }

  /** Each operand has the elements and the dtype that the kernel will touch. */
  private extents(op: Compute): void {
    const spec = kernelSpec(op.kernel)
    const numbers = parametersOf(op)
    const sizes = Object.fromEntries(spec.parameterNames.map((name, i) => [name, numbers[i]]))
    for (const [name, number] of Object.entries(sizes)) {
      if (!FRACTIONS.has(name) && (!Number.isSafeInteger(number) || number < 0))
        refuse(`${op.kernel} would run with ${name} = ${number}: its operands do not fit each other`)
    }
    if (sizes.kvHeads && sizes.heads % sizes.kvHeads !== 0)
      refuse(`${op.kernel} has ${sizes.heads} query heads, which ${sizes.kvHeads} key/value heads do not divide`)
    const shared: { T?: Value; H?: Value } = {}
    for (const {
      spec: { role },
      value,
    } of presentOperands(op)) {
      const extent = EXTENTS[op.kernel][role]
      if (!extent) continue
      const [dtype, count] = extent
      const wanted = count(sizes)
      if (elements(value) !== wanted)
        refuse(`${op.kernel} takes ${wanted} elements as ${role}, and ${value.name} has ${elements(value)} (${value.shape.join(', ')})`)
      if (dtype === 'any') continue
      if (dtype !== 'T' && dtype !== 'H') {
        if (value.dtype !== dtype) refuse(`${op.kernel} takes ${dtype} as ${role}, and ${value.name} is ${value.dtype}`)
        continue
      }
      shared[dtype] ??= value
      const { name, dtype: first } = shared[dtype]
      if (value.dtype !== first || (first !== 'bf16' && first !== 'f32')) {
        const what = dtype === 'T' ? 'the compute dtype' : 'the dtype of the hidden state'
        refuse(`${op.kernel} takes ${what} (${name} is ${first}) as ${role}, and ${value.name} is ${value.dtype}`)
      }
    }
    const { T, H } = shared
    if (T?.dtype === 'f32' && H?.dtype === 'bf16') refuse(`${op.kernel} computes in f32 (${T.name}), and ${H.name}, which is the compute dtype or f32, is bf16`)
  }

  private allToAll({ direction, local, parts, heads: given }: AllToAll): void {
    if (given && given.length !== parts.length) refuse(`allToAll has ${parts.length} parts, and the heads of ${given.length}`)
    for (const part of parts) {
      if (part.shape.length !== 3 || local.shape.length !== 3) refuse(`allToAll takes (tokens, heads, head size): ${describe(local)}, ${describe(part)}`)
      if (part.dtype !== local.dtype) refuse(`allToAll moves one dtype: ${local.name} is ${local.dtype}, ${part.name} is ${part.dtype}`)
      if (part.shape[2] !== local.shape[2]) refuse(`allToAll keeps the head size: ${local.name} has ${local.shape[2]}, ${part.name} has ${part.shape[2]}`)
      this.agree(part.shape[0] / local.shape[0], `${part.name} has ${part.shape[0]} tokens, ${local.name} ${local.shape[0]}`)
    }
    const ranks = this.ranks ?? 1
    const heads = given ?? parts.map((part) => part.shape[1] * ranks)
    for (const [p, part] of parts.entries()) {
      const share = heads[p] % ranks === 0 ? heads[p] / ranks : ranks % heads[p] === 0 ? 1 : Number.NaN
      if (share !== part.shape[1]) refuse(`allToAll splits ${heads[p]} heads over ${ranks} ranks, and ${part.name} has ${part.shape[1]} of them`)
    }
    const sum = heads.reduce((all, count) => all + count, 0)
    const side = direction === 'toHeads' ? 'gives' : 'gets'
    if (sum !== local.shape[1]) refuse(`allToAll ${side} ${local.shape[1]} heads in ${local.name}, and its parts over ${this.ranks} ranks have ${sum}`)
  }

  private partition(part: Value, full: Value): void {
    if (part.dtype !== full.dtype) refuse(`${part.name} is ${part.dtype}, and ${full.name}, of which it is a partition, is ${full.dtype}`)
    this.agree(elements(full) / elements(part), `${full.name} has ${elements(full)} elements, its partition ${part.name} ${elements(part)}`)
  }

  /** Every collective tells the number of ranks; all must tell the same. */
  private agree(ranks: number, why: string): void {
    if (!Number.isSafeInteger(ranks)) refuse(`no number of ranks matches the collective: ${why}`)
    this.ranks ??= ranks
    if (ranks !== this.ranks) refuse(`the collective matches ${ranks} ranks, and there are ${this.ranks}: ${why}`)
  }
}

/** Parameters that are not sizes. */
const FRACTIONS: ReadonlySet<string> = new Set(['eps', 'magnitude', 'maxNorm', 'beta1', 'beta2', 'decay'])

function parametersOf(op: Compute): readonly number[] {
  try {
    return kernelSpec(op.kernel).parameters(op.operands, op.flags)
  } catch (error) {
    return refuse(`${op.kernel}: ${(error as Error).message}`)
  }
}

function distinct(a: Access, b: Access): void {
  if ((a.writes || b.writes) && a.tier === b.tier && a.value.name === b.value.name && overlap(a.range, b.range)) {
    refuse(`${a.value.name}@${a.tier} is written by one operand while another names the same bytes`)
  }
}

function alike(a: Value, b: Value): boolean {
  const same = a.dtype === b.dtype && a.category === b.category && a.start === b.start && a.shape.join() === b.shape.join()
  return same && a.of?.value.name === b.of?.value.name && a.of?.offset === b.of?.offset
}
function describe({ name, dtype, shape, start, of }: Value): string {
  return `${name} ${dtype} (${shape.join(', ')})${start === undefined ? '' : ` from token ${start}`}${of ? ` in ${of.value.name} at ${of.offset}` : ''}`
}
