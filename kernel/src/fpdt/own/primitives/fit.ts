/**
 * What a primitive asks of its tensors, and what it says when one does not fit: in the words of the call, before anything runs.
 *
 *   fit('norm', { x: [x, 'T rows width'], weight: [weight, 'T width'] })
 *
 * T is bf16 or f32, the same for every T of a call; H, of the hidden state, is T or f32, the same for every H. Other dtypes are meant literally. An extent is a name, the same number wherever
 * it stands, or `2*name`, `name+2`, `name/2`. A trailing `?`: may be left out.
 */
import { FpdtError } from '../../../errors.js'
import { DTYPE_BYTES, type Dtype } from '../../../schedule/values.js'
import { counted } from '../../../trace/words/format.js'
import { describe, Tensor } from '../tensor.js'

export type Asked = Readonly<Record<string, readonly [given: Tensor | undefined, what: string]>>
export interface Fitting {
  readonly T: 'bf16' | 'f32'
  readonly H: 'bf16' | 'f32'
  /** Extents by name. */
  readonly n: Readonly<Record<string, number>>
}

/** Throws FpdtError `shape`, `dtype`. */
export function fit(call: string, asked: Asked): Fitting {
  const operands = Object.entries(asked).flatMap(([role, [given, what]]): Operand[] => {
    if (given === undefined && what.endsWith('?')) return []
    const [kind, ...axes] = what.replace('?', '').split(' ')
    const expected = `${call} takes ${role} as ${axes.length ? `(${axes.join(', ')})` : 'a tensor of any shape'}`
    if (!(given instanceof Tensor))
      throw new FpdtError('dtype', `${expected}; got ${given === undefined ? 'nothing' : typeof given}. tensor([[1, 2], [3, 4]]) makes a tensor.`)
    return [{ role, given, kind: kind as Kind, axes, expected }]
  })
  return { ...dtypesOf(operands), n: extentsOf(operands) }
}

type Kind = Dtype | 'T' | 'H'
interface Operand {
  readonly role: string
  readonly given: Tensor
  readonly kind: Kind
  readonly axes: readonly string[]
  /** How its complaint begins. */
  readonly expected: string
}

function dtypesOf(operands: readonly Operand[]): Pick<Fitting, 'T' | 'H'> {
  const [compute, hidden] = (['T', 'H'] as const).map((kind) => operands.find((operand) => operand.kind === kind))
  const refuse = ({ expected, given, role }: Operand, wanted: string, as?: Operand): never => {
    const reason = as ? `, as ${as.role} is` : ''
    throw new FpdtError('dtype', `${expected} of ${wanted}${reason}; got ${describe(given)}. ${role}.to('${wanted}') converts.`)
  }
  for (const operand of operands) {
    const { kind, given, expected } = operand
    const free = kind === 'T' || kind === 'H'
    if (free && given.dtype !== 'bf16' && given.dtype !== 'f32') throw new FpdtError('dtype', `${expected} of bf16 or f32; got ${describe(given)}.`)
    const as = kind === 'T' ? compute : hidden
    const wanted = free && as ? as.given.dtype : kind
    if (given.dtype !== wanted) refuse(operand, wanted, free ? as : undefined)
  }
  if (hidden?.given.dtype === 'bf16' && compute?.given.dtype === 'f32') refuse(hidden, 'f32', compute)
  const T = (compute ?? hidden)?.given.dtype === 'bf16' ? 'bf16' : 'f32'
  return { T, H: hidden?.given.dtype === 'f32' ? 'f32' : T }
}

function extentsOf(operands: readonly Operand[]): Record<string, number> {
  const bound = new Map<string, { readonly size: number; readonly where: string }>()
  for (const { role, given, axes, expected } of operands) {
    if (axes.length === 0) continue
    if (axes.length !== given.shape.length)
      throw new FpdtError('shape', `${expected}; got ${describe(given)}, which has ${counted(given.shape.length, 'extent')}.`)
    for (const [axis, extent] of axes.entries()) {
      const { name, of, solve } = parse(extent)
      const known = bound.get(name)
      if (!known) {
        const size = solve(given.shape[axis])
        if (!Number.isInteger(size) || size < 1)
          throw new FpdtError('shape', `${expected}; got ${describe(given)}, and ${given.shape[axis]} is not ${extent} for a whole ${name}.`)
        bound.set(name, { size, where: `${role} ${describe(given)}` })
      } else if (of(known.size) !== given.shape[axis]) {
        throw new FpdtError('shape', `${expected}, where ${name} is ${known.size} as in ${known.where}; got ${describe(given)}.`)
      }
    }
  }
  return Object.fromEntries([...bound].map(([name, { size }]) => [name, size]))
}

/** A dtype that kernels compute in. Throws FpdtError `dtype`. */
export function computeDtype(call: string, dtype: Dtype): 'bf16' | 'f32' {
  if (dtype === 'bf16' || dtype === 'f32') return dtype
  throw new FpdtError('dtype', `${call} gives bf16 or f32, not ${Object.hasOwn(DTYPE_BYTES, dtype) ? dtype : JSON.stringify(dtype)}.`)
}

interface Extent {
  readonly name: string
  /** The extent, by the number that the name stands for, and back. */
  readonly of: (size: number) => number
  readonly solve: (extent: number) => number
}
function parse(extent: string): Extent {
  const [, factor, name, operator, number] = /^(?:(\d+)\*)?([A-Za-z]\w*)(?:([+/])(\d+))?$/.exec(extent) as unknown as string[]
  const [times, by] = [Number(factor ?? 1), Number(number ?? 0)]
  if (operator === '/') return { name, of: (size) => size / by, solve: (length) => length * by }
  return { name, of: (size) => times * size + by, solve: (length) => (length - by) / times }
}
