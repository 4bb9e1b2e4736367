/** How much of each operand a kernel touches is told twice, for the checker and for the executor: both say the same of any sizes. */
import { kernelExtents } from '@fpdt/native'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EXTENTS, type Sizes } from '../../kernel/src/schedule/extents.js'
import { KERNEL_NAMES, type Kernel, kernelSpec } from '../../kernel/src/schedule/kernels.js'
import { DTYPE_BYTES } from '../../kernel/src/schedule/values.js'

const FLAGS = ['first', 'firstQ', 'firstKv', 'bf16', 'hiddenF32', 'outF32']
const FROM_ZERO = ['positions', 'start', 'qStart', 'kvStart', 'undecayed', 'partition', 'offset', 'bytes']

/** Numbers that a kernel can be given, by name. */
function sizes(names: readonly string[]): fc.Arbitrary<Sizes> {
  const number = (name: string): fc.Arbitrary<number> => {
    if (FLAGS.includes(name)) return fc.integer({ min: 0, max: 1 })
    return fc.integer({ min: FROM_ZERO.includes(name) ? 0 : 1, max: 1000 })
  }
  return fc.record(Object.fromEntries(names.map((name) => [name, number(name)]))).map((n) => ({
    ...n,
    ...('kvHeads' in n ? { heads: n.heads * n.kvHeads } : {}),
    ...('headSize' in n ? { headSize: 2 * n.headSize } : {}),
    // A gradient lies densely, or in bf16 at the rows of the f32 logits that it replaces.
    ...('doutStride' in n ? { doutStride: n.outputs * (n.bf16 === 1 ? 1 + (n.doutStride % 2) : 1) } : {}),
  }))
}

/** Bytes of an operand by `EXTENTS`; the gap after the last of rows that lie apart is not touched. */
function expectedBytes(kernel: Kernel, role: string, n: Sizes): number {
  const extent = EXTENTS[kernel][role]
  if (!extent) return n.bytes // `zero` takes any value
  const [dtype, elements] = extent
  const compute = n.bf16 === 0 ? 4 : 2 // adamW writes weights in bf16 alone
  if (dtype === 'any') return (elements(n) + (n.rows - 1) * (n.doutStride - n.outputs)) * compute
  if (dtype === 'H') return elements(n) * (n.hiddenF32 === 1 || n.outF32 === 1 ? 4 : compute)
  return elements(n) * (dtype === 'T' ? compute : DTYPE_BYTES[dtype])
}

describe('extents', () => {
  it.each(KERNEL_NAMES)('%s', (kernel) => {
    const { code, operands, parameterNames } = kernelSpec(kernel)
    fc.assert(
      fc.property(sizes(parameterNames), (n) => {
        const numbers = Float64Array.from(parameterNames, (name) => n[name])
        const expected = operands.map(({ role, optional }) => ({
          bytes: expectedBytes(kernel, role, n),
          // Both or neither: told by the number of positions.
          optional: optional === true && !(kernel === 'embed' && n.positions > 0),
        }))
        expect(kernelExtents(code, numbers)).toEqual(expected)
      }),
    )
  })
  it('are refused for sizes that cannot be, by the name that the table has', () => {
    const { code, parameterNames } = kernelSpec('attendBackward')
    const numbers = (wrong: string): Float64Array => Float64Array.from(parameterNames, (name) => (name === wrong ? 2.5 : 1))
    for (const name of parameterNames) expect(() => kernelExtents(code, numbers(name)), name).toThrow(new RegExp(`^attendBackward: ${name} is 2.5`))
    expect(() => kernelExtents(9999, new Float64Array(1))).toThrow('no kernel has code 9999')
  })
})
