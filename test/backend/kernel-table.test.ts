/** The three twins between TypeScript and C++ hold the same rows: a kernel added on one side alone fails here. */
import { kernels, opcodes } from '@fpdt/native'
import { describe, expect, it } from 'vitest'
import { OPCODES } from '../../kernel/src/plan/program.js'
import { KERNEL_NAMES, KERNELS } from '../../kernel/src/schedule/kernels.js'

describe('kernel table', () => {
  it('has the same names, codes, operand and parameter counts in TypeScript and in the addon', () => {
    const ours = KERNEL_NAMES.map((name) => {
      const { code, operands, parameterNames } = KERNELS[name]
      return { name, code, operands: operands.length, parameters: parameterNames.length }
    })
    expect(kernels).toEqual(ours)
  })
  it('has the same codes of copies and collectives', () => {
    expect(opcodes).toEqual(OPCODES)
  })
})
