/** The tables that TypeScript and C++ both have hold the same rows: a kernel added on one side alone fails here. */
import { kernels, opcodes, streams, tiers } from '@fpdt/native'
import { describe, expect, it } from 'vitest'
import { OPCODES } from '../../kernel/src/plan/program.js'
import { KERNEL_NAMES, kernelSpec } from '../../kernel/src/schedule/kernels.js'
import { STREAMS, TIERS } from '../../kernel/src/trace/schema.js'

describe('kernel table', () => {
  it('has the same names, codes, operand and parameter counts in TypeScript and in the addon, and the same operands are written', () => {
    const ours = KERNEL_NAMES.map((name) => {
      const { code, operands, parameterNames } = kernelSpec(name)
      const written = operands.filter(({ access }) => access !== 'read').length
      return { name, code, operands: operands.length, written, parameters: parameterNames.length }
    })
    expect(kernels).toEqual(ours)
  })
  it('names the operands that are written before those that are only read', () => {
    for (const name of KERNEL_NAMES) {
      const written = kernelSpec(name).operands.map(({ access }) => access !== 'read')
      expect(written, name).toEqual(written.toSorted((a, b) => Number(b) - Number(a)))
    }
  })
  it('has the same codes of copies and collectives', () => {
    expect(opcodes).toEqual(OPCODES)
  })
  it('numbers streams and tiers alike', () => {
    expect(streams).toEqual(STREAMS)
    expect(tiers).toEqual(TIERS)
  })
})
