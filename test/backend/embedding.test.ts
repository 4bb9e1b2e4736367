import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PATHS, run, runOnThreads, runsOf } from './reference/run.js'
import { DTYPES, type Dtypes, flagOf, flagsOf, numbers, poison, random, randomIntegers, tensor } from './reference/tensor.js'

interface Case extends Dtypes {
  readonly rows: number
  readonly width: number
  readonly vocabulary: number
  readonly seed: number
}
const sizes = fc
  .record({
    rows: fc.integer({ min: 1, max: 200 }),
    width: fc.integer({ min: 1, max: 100 }),
    vocabulary: fc.integer({ min: 1, max: 600 }), // fewer than rows: tokens repeat
    dtypes: fc.constantFrom(...DTYPES),
    seed: fc.integer({ min: 0, max: 1000 }),
  })
  .map(({ dtypes, ...sizes }): Case => ({ ...sizes, ...dtypes }))
const shape = ({ rows, width, vocabulary, dtype, hidden }: Case) => ({ rows, width, vocabulary, positions: 0, ...flagsOf({ dtype, hidden }) })

function checkForward(c: Case, path: string): void {
  const { rows, width, vocabulary, dtype, hidden, seed } = c
  const table = random(seed, vocabulary * width, dtype)
  const tokens = randomIntegers(seed, rows, vocabulary)
  const { x } = runOnThreads('embed', shape(c), { x: poison(rows * width, hidden), tokens, table }, { path })
  const values = numbers(table)
  const expected = [...tokens].flatMap((token) => [...values.subarray(token * width, (token + 1) * width)])
  expect(x).toEqual(tensor(expected, hidden))
}

function checkPositions(c: Case, path: string): void {
  const { rows, width, vocabulary, dtype, hidden, seed } = c
  const count = 1 + (seed % 90) // fewer than rows: packed documents begin at 0 again
  const [table, positionTable] = [random(seed, vocabulary * width, dtype), random(seed + 1, count * width, dtype)]
  const [tokens, positions] = [randomIntegers(seed, rows, vocabulary), randomIntegers(seed + 2, rows, count)]
  const operands = { x: poison(rows * width, hidden), tokens, table, positions, positionTable }
  const { x } = runOnThreads('embed', { ...shape(c), positions: count }, operands, { path })
  const row = (memory: Float64Array, index: number | undefined) => memory.subarray((index as number) * width, ((index as number) + 1) * width)
  const [ofTokens, ofPositions] = [numbers(table), numbers(positionTable)]
  const sums = [...tokens].flatMap((token, t) => [...row(ofTokens, token)].map((v, i) => v + (row(ofPositions, positions[t])[i] as number)))
  expect(x).toEqual(tensor(sums, hidden))
}

function checkBackward(c: Case, path: string): void {
  const { rows, width, vocabulary, hidden, seed } = c
  const dx = random(seed, rows * width, hidden)
  const tokens = randomIntegers(seed, rows, vocabulary)
  const before = random(seed + 1, vocabulary * width, 'f32') as Float32Array
  for (const first of [1, 0]) {
    const dtable = first ? poison(vocabulary * width, 'f32') : before
    const result = runOnThreads('embedBackward', { rows, width, vocabulary, first, bf16: flagOf(hidden) }, { dtable, dx, tokens }, { path })
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
      { numRuns: runsOf(20) },
    )
  })
  it('adds the rows of positions, in f32, and rounds once', () => {
    fc.assert(
      fc.property(sizes, (c) => checkPositions(c, path)),
      { numRuns: runsOf(20) },
    )
  })
  it('adds the gradients of equal tokens in their order, to the bit', () => {
    fc.assert(
      fc.property(sizes, (c) => checkBackward(c, path)),
      { numRuns: runsOf(20) },
    )
  })
})

describe('embedding', () => {
  it.each([100, -1])('refuses token %i of a vocabulary of 100, and says where', (token) => {
    const tokens = Int32Array.of(5, 99, token, 7)
    const numbersOf = { rows: 4, width: 2, vocabulary: 100, positions: 0, hiddenF32: 1, bf16: 0 }
    const refusal = expect.objectContaining({ code: 'token', message: expect.stringContaining(`token ${token} in row 2 is not in the vocabulary 0 .. 99`) })
    expect(() => run('embed', numbersOf, { x: new Float32Array(8), tokens, table: new Float32Array(200) })).toThrow(refusal)
    expect(() => run('embedBackward', { ...numbersOf, first: 0 }, { dtable: new Float32Array(200), dx: new Float32Array(8), tokens })).toThrow(refusal)
  })
  it.each([30, -1])('refuses position %i of a table of 30, and says where', (position) => {
    const numbersOf = { rows: 4, width: 2, vocabulary: 100, positions: 30, hiddenF32: 1, bf16: 0 }
    const operands = {
      tokens: Int32Array.of(1, 2, 3, 4),
      table: new Float32Array(200),
      positions: Int32Array.of(0, 29, 0, position),
      positionTable: new Float32Array(60),
    }
    const message = expect.stringContaining(`position ${position} in row 3 is not in the table of positions 0 .. 29`)
    expect(() => run('embed', numbersOf, { x: new Float32Array(8), ...operands })).toThrow(expect.objectContaining({ code: 'token', message }))
  })
  it('refuses a table of positions without positions', () => {
    const operands = { x: new Float32Array(8), tokens: new Int32Array(4), table: new Float32Array(200), positionTable: new Float32Array(60) }
    expect(() => run('embed', { rows: 4, width: 2, vocabulary: 100, positions: 30, hiddenF32: 1, bf16: 0 }, operands)).toThrow('embed: operand 3')
  })
})
