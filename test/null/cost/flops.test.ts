import { describe, expect, it } from 'vitest'
import { mfu, modelFlops } from '../../../kernel/src/cost/flops.js'
import { llama } from '../../../kernel/src/model/llama.js'

describe('modelFlops', () => {
  // 2 layers of: norms 2·16, qkv (2 + 2·1)·8·16, out 16·16, gateUp 2·24·16, down 16·24; table 50·16; last norm 16.
  const layer = 2 * 16 + 4 * 8 * 16 + 16 * 16 + 2 * 24 * 16 + 16 * 24
  const sizes = { layers: 2, width: 16, heads: 2, kvHeads: 1, headSize: 8, feedForward: 24, vocab: 50 }
  const attention = 6 * 2 * 100 * 100 * 2 * 8 // 6 L N² H D

  it('counts every parameter but the embedding table, and the head once, tied or not', () => {
    const expected = 6 * (2 * layer + 16 + 50 * 16) * 100 + attention
    expect(modelFlops(llama({ ...sizes, tied: true }), [100])).toBe(expected)
    expect(modelFlops(llama({ ...sizes, tied: false }), [100])).toBe(expected)
  })
  it('counts attention within each document', () => {
    const whole = modelFlops(llama(sizes), [100])
    expect(whole - modelFlops(llama(sizes), [50, 50])).toBe(attention / 2)
  })
})

describe('mfu', () => {
  it('is the share of the peak that useful work took', () => {
    expect(mfu(3e12, 2, 6e12)).toBe(0.25)
  })
})
