import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PATHS, run, runOnThreads } from './reference/run.js'
import { type ComputeDtype, flagOf, numbers, poison, random, randomIntegers } from './reference/tensor.js'

interface Case {
  readonly rows: number
  readonly width: number
  readonly vocabulary: number
  readonly dtype: ComputeDtype
  readonly seed: number
}
const sizes = fc.record<Case>({
  rows: fc.integer({ min: 1, max: 200 }),
  width: fc.integer({ min: 1, max: 100 }),
  vocabulary: fc.integer({ min: 1, max: 600 }), // fewer than rows: tokens repeat
  dtype: fc.constantFrom('bf16' as const, 'f32' as const),
  seed: fc.integer({ min: 0, max: 1000 }),
})
const shape = ({ rows, width, vocabulary, dtype }: Case) => ({ rows, width, vocabulary, bf16: flagOf(dtype) })

function checkForward(c: Case, path: string): void {
  const { rows, width, vocabulary, dtype, seed } = c
  const table = random(seed, vocabulary * width, dtype)
  const tokens = randomIntegers(seed, rows, vocabulary)
  const { x } = runOnThreads('embed', shape(c), { x: poison(rows * width, dtype), tokens, table }, { path })
  const expected = [...tokens].flatMap((token) => [...table.subarray(token * width, (token + 1) * width)])
  expect([...x]).toEqual(expected)
}

function checkBackward(c: Case, path: string): void {
  const { rows, width, vocabulary, dtype, seed } = c
  const dx = random(seed, rows * width, dtype)
  const tokens = randomIntegers(seed, rows, vocabulary)
  const before = random(seed + 1, vocabulary * width, 'f32') as Float32Array
  for (const first of [1, 0]) {
    const dtable = first ? poison(vocabulary * width, 'f32') : before
    const result = runOnThreads('embedBackward', { ...shape(c), first }, { dtable, dx, tokens }, { path })
    // Additions in f32 in the order of tokens: every bit is known.
    const expected = first ? new Float32Array(vocabulary * width) : before.slice()
    numbers(dx).forEach((value, at) => {
      const i = (tokens[Math.floor(at / width)] as number) * width + (at % width)
      expected[i] = (expected[i] as number) + value
    })
    expect(result.dtable).toEqual(expected)
  }
}

describe.each(PATHS)('embedding on %s', (path) => {
  it('copies the rows of tokens', () => {
    fc.assert(
      fc.property(sizes, (c) => checkForward(c, path)),
      { numRuns: 20 },
    )
  })
  it('adds the gradients of equal tokens in their order, to the bit', () => {
    fc.assert(
      fc.property(sizes, (c) => checkBackward(c, path)),
      { numRuns: 20 },
    )
  })
})

describe('embedding', () => {
  it.each([100, -1])('refuses token %i of a vocabulary of 100, and says where', (token) => {
    const tokens = Int32Array.of(5, 99, token, 7)
    const numbersOf = { rows: 4, width: 2, vocabulary: 100, bf16: 0 }
    const refusal = expect.objectContaining({ code: 'token', message: expect.stringContaining(`token ${token} in row 2 is not in the vocabulary 0 .. 99`) })
    expect(() => run('embed', numbersOf, { x: new Float32Array(8), tokens, table: new Float32Array(200) })).toThrow(refusal)
    expect(() => run('embedBackward', { ...numbersOf, first: 0 }, { dtable: new Float32Array(200), dx: new Float32Array(8), tokens })).toThrow(refusal)
  })
})
