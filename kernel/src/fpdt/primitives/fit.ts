/**
 * What a primitive asks of its tensors, and what it says when one does not fit: in the words of the call, before anything runs.
 *
 *   fit('norm', { x: [x, 'T rows width'], weight: [weight, 'T width'] })
 *
 * T is bf16 or f32, the same for every T of a call; other dtypes are meant literally. An extent is a name, the same number wherever
 * it stands, or `2*name`, `name+2`, `name/2`. A trailing `?`: may be left out.
 */
import { FpdtError } from '../../errors.js'
import { DTYPE_BYTES, type Dtype } from '../../schedule/values.js'
import { describe, Tensor } from '../tensor.js'

export type Asked = Readonly<Record<string, readonly [given: Tensor | undefined, what: string]>>
export interface Fitting {
  readonly T: 'bf16' | 'f32'
  /** Extents by name. */
  readonly n: Readonly<Record<string, number>>
}

/** Throws FpdtError `shape`, `dtype`. */
export function fit(call: string, asked: Asked): Fitting {
  const bound = new Map<string, { readonly size: number; readonly where: string }>()
  let compute: { readonly dtype: Dtype; readonly role: string } | undefined
  for (const [role, [given, what]] of Object.entries(asked)) {
    if (given === undefined && what.endsWith('?')) continue
    const [dtype, ...axes] = what.replace('?', '').split(' ')
    const expected = `${call} takes ${role} as ${axes.length ? `(${axes.join(', ')})` : 'a tensor of any shape'}`
    if (!(given instanceof Tensor))
      throw new FpdtError('dtype', `${expected}; got ${given === undefined ? 'nothing' : typeof given}. tensor([[1, 2], [3, 4]]) makes a tensor.`)
    if (dtype === 'T' && given.dtype !== 'bf16' && given.dtype !== 'f32') throw new FpdtError('dtype', `${expected} of bf16 or f32; got ${describe(given)}.`)
    if (dtype === 'T') compute ??= { dtype: given.dtype, role }
    const wanted = dtype === 'T' ? (compute as { dtype: Dtype }).dtype : (dtype as Dtype)
    if (given.dtype !== wanted)
      throw new FpdtError(
        'dtype',
        `${expected} of ${wanted}${dtype === 'T' ? `, as ${compute?.role} is` : ''}; got ${describe(given)}. ${role}.to('${wanted}') converts.`,
      )
    if (axes.length === 0) continue
    if (axes.length !== given.shape.length)
      throw new FpdtError('shape', `${expected}; got ${describe(given)}, which has ${given.shape.length} extent${given.shape.length === 1 ? '' : 's'}.`)
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
  const T = compute?.dtype === 'bf16' ? 'bf16' : 'f32'
  return { T, n: Object.fromEntries([...bound].map(([name, { size }]) => [name, size])) }
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
