/**
 * attendBackward on tensor cores adds to dq from several blocks, one after the other: a block waits at a counter in global memory for the key tiles before its
 * own. With several blocks at a time it does wait, and which block is where differs from seed to seed; the bits of dq must not. Then the order is broken in the
 * PTX that ships, one instruction at a time, and each time something must tell.
 */
import './emulated.js'
import { beforeEach, describe, expect, it } from 'vitest'
import { type AttentionSizes, attention, attentionBackward, rowSums } from '../backend/reference/attention.js'
import { numbers, poison, random, UNIT } from '../backend/reference/tensor.js'
import { emulator } from './emulated.js'

process.env.FPDT_TEST_BACKEND = 'cuda'
const { bits, expectWithin, run } = await import('../backend/reference/run.js')

/** Key tiles of 128: four whole ones and one of 8 keys. All rows see all of the first tiles, and some of the last two. */
const sizesOf = (headSize: number): AttentionSizes => ({ rows: 520, columns: 520, heads: 2, kvHeads: 1, headSize, qStart: 0, kvStart: 0 })
const SEEDS = [0, 1, 2, 3]

function caseOf(sizes: AttentionSizes) {
  const { rows, columns, heads, kvHeads, headSize } = sizes
  const [q, dO] = [1, 4].map((seed) => random(seed, rows * heads * headSize, 'bf16')) as [Uint16Array, Uint16Array]
  const [k, v] = [2, 3].map((seed) => random(seed, columns * kvHeads * headSize, 'bf16')) as [Uint16Array, Uint16Array]
  const [exactQ, exactK, exactV, exactDO] = [q, k, v, dO].map(numbers) as [Float64Array, Float64Array, Float64Array, Float64Array]
  const reference = attention(sizes, exactQ, exactK, exactV)
  const [lse, delta] = [Float32Array.from(reference.lse), Float32Array.from(rowSums(sizes, exactDO, reference.o))]
  const expected = attentionBackward(sizes, exactQ, exactK, exactV, exactDO, numbers(lse), numbers(delta))
  const operands = { dq: poison(q.length, 'f32'), dk: poison(k.length, 'f32'), dv: poison(v.length, 'f32'), q, k, v, dO, lse, delta }
  // As in test/backend/attention.test.ts: p or ds are off by their scores' rounding and their own, sums by a rounding a term.
  const relative = (8 * reference.scoreMagnitude + 16) * UNIT.f32 + 3e-6 + UNIT.bf16
  const terms = { dq: columns, dk: (rows * heads) / kvHeads, dv: (rows * heads) / kvHeads }
  return {
    back: (threads: number, seed: number) => {
      emulator.configure({ seed, threads })
      return run('attendBackward', { ...sizes, bf16: 1, firstQ: 1, firstKv: 1 }, operands)
    },
    expectRight: (found: typeof operands): void => {
      for (const role of ['dq', 'dk', 'dv'] as const)
        expectWithin(
          role,
          numbers(found[role]),
          expected[role],
          (i) => 2 ** -110 + (relative + (terms[role] + 16) * UNIT.f32) * (expected[`${role}Magnitude`][i] as number),
        )
    },
  }
}

beforeEach(() => {
  emulator.reset()
  emulator.configure({ seed: 0, policy: null, driver: 13000, devices: 1, checks: ['order', 'race', 'initialised'], threads: 1 })
})

describe.each([64, 128])('the sum over key tiles, heads of %i', (headSize) => {
  const { back, expectRight } = caseOf(sizesOf(headSize))

  it('has the same bits with one block at a time and with four, in any order, without a race', { timeout: 240_000 }, () => {
    const alone = back(1, 0)
    expectRight(alone)
    for (const seed of SEEDS) {
      const together = back(4, seed)
      for (const role of ['dq', 'dk', 'dv'] as const) expect(bits(together[role]).equals(bits(alone[role])), `${role}, seed ${seed}`).toBe(true)
    }
    const { faults, unordered, launches } = emulator.report()
    expect({ faults, unordered }).toEqual({ faults: [], unordered: [] })
    expect(
      Object.entries(launches)
        .filter(([name]) => name.includes('attend_backward_kernel'))
        .map(([, count]) => count),
    ).toEqual([1 + SEEDS.length])
  })
})
