import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { crossEntropy } from './reference/cross-entropy.js'
import { derivative } from './reference/derivative.js'
import { expectWithin, PATHS, run, runOnThreads, runsOf } from './reference/run.js'
import { type ComputeDtype, flagOf, numbers, randomIntegers, UNIT, uniform } from './reference/tensor.js'

interface Case {
  readonly rows: number
  readonly vocabulary: number
  readonly dtype: ComputeDtype
  /** Of the logits: at 1000, all but one probability is 0. */
  readonly scale: number
  readonly seed: number
}
const sizes = fc.record<Case>({
  rows: fc.integer({ min: 1, max: 20 }),
  vocabulary: fc.integer({ min: 1, max: 1500 }),
  dtype: fc.constantFrom('bf16' as const, 'f32' as const),
  scale: fc.constantFrom(0.1, 5, 30, 1000),
  seed: fc.integer({ min: 0, max: 1000 }),
})
const valid = 7

/** Row t of T lies at the first byte of row t of the f32 logits. */
function gradientIn(logits: Float32Array, rows: number, vocabulary: number, dtype: ComputeDtype): Float64Array {
  const memory = dtype === 'f32' ? logits : new Uint16Array(logits.buffer)
  const stride = dtype === 'f32' ? vocabulary : 2 * vocabulary
  const all = numbers(memory)
  return Float64Array.from({ length: rows * vocabulary }, (_, i) => all[Math.floor(i / vocabulary) * stride + (i % vocabulary)] as number)
}

function check({ rows, vocabulary, dtype, scale, seed }: Case, path: string): void {
  const logits = Float32Array.from(uniform(seed, rows * vocabulary, scale))
  const labels = randomIntegers(seed + 1, rows, vocabulary).map((label, t) => (t % 5 === 2 ? -1 : label))
  const expected = crossEntropy(rows, vocabulary, Float64Array.from(logits), labels, 1 / valid)
  for (const first of [1, 0]) {
    const loss = Float64Array.of(first ? Number.NaN : 3)
    const result = runOnThreads(
      'crossEntropy',
      { rows, vocabulary, first, bf16: flagOf(dtype) },
      { logits, loss, labels },
      { path, step: [0, 1, 1, 1 / valid] },
    )
    // x - max is rounded at the size of the logits (e^x then moves by that much), e^x is good to 2e-7, and its sums run over 512 in f32.
    const error = 2e-7 + (512 / 16 + 8) * UNIT.f32 + 2 * scale * UNIT.f32
    expectWithin('loss', result.loss, [expected.loss + (first ? 0 : 3)], () => (rows / valid) * error)
    // At the label, 1 is subtracted: its error is absolute.
    expectWithin('gradient', gradientIn(result.logits, rows, vocabulary, dtype), expected.gradient, (i) => {
      const atLabel = i % vocabulary === labels[Math.floor(i / vocabulary)] ? 1 / valid : 0
      const size = Math.abs(expected.gradient[i] as number)
      return error * (size + atLabel) + UNIT[dtype] * size + 1e-37 // below the normal numbers of f32 nothing is kept
    })
  }
}

describe.each(PATHS)('cross-entropy on %s', (path) => {
  it('writes loss and gradient over the logits, at any size', () => {
    fc.assert(
      fc.property(sizes, (c) => check(c, path)),
      { numRuns: runsOf(40) },
    )
  })
  it('gives an ignored row no loss and no gradient', () => {
    const logits = Float32Array.of(1, 2, 3, Number.NaN)
    const result = run('crossEntropy', { rows: 1, vocabulary: 4, first: 1, bf16: 0 }, { logits, loss: Float64Array.of(9), labels: Int32Array.of(-1) }, { path })
    expect([...result.loss, ...result.logits]).toEqual([0, 0, 0, 0, 0])
  })
  it.each([Number.NaN, Infinity])('lets %d among the logits reach the loss', (bad) => {
    const logits = Float32Array.from({ length: 100 }, (_, i) => (i === 37 ? bad : 0))
    const { loss } = run(
      'crossEntropy',
      { rows: 1, vocabulary: 100, first: 1, bf16: 1 },
      { logits, loss: Float64Array.of(0), labels: Int32Array.of(3) },
      { path },
    )
    expect(loss[0]).toBeNaN()
  })
})

describe('cross-entropy', () => {
  it.each([100, -2])('refuses label %i of a vocabulary of 100, and says where', (label) => {
    const operands = { logits: new Float32Array(300), loss: new Float64Array(1), labels: Int32Array.of(5, label, -1) }
    const refusal = expect.objectContaining({
      code: 'token',
      message: expect.stringContaining(`label ${label} in row 1 is not in the vocabulary 0 .. 99 and not -1`),
    })
    expect(() => run('crossEntropy', { rows: 3, vocabulary: 100, first: 1, bf16: 1 }, operands)).toThrow(refusal)
  })
  it('has a reference with the gradient that its forward has', () => {
    const logits = uniform(4, 12, 3)
    const labels = Int32Array.of(1, -1, 3)
    const { gradient } = crossEntropy(3, 4, logits, labels, 0.5)
    expectWithin(
      'gradient',
      gradient,
      derivative((moved) => crossEntropy(3, 4, moved, labels, 0.5).loss, logits),
      () => 1e-8,
    )
  })
})
