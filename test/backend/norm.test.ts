import fc from 'fast-check'
import { describe, it } from 'vitest'
import { derivative, dot } from './reference/derivative.js'
import { norm, normBackward } from './reference/norm.js'
import { expectWithin, PATHS, runOnThreads } from './reference/run.js'
import { type ComputeDtype, flagOf, numbers, poison, random, tensor, UNIT, uniform } from './reference/tensor.js'

interface Case {
  readonly rows: number
  readonly width: number
  readonly dtype: ComputeDtype
  readonly seed: number
}
const sizes = fc.record<Case>({
  rows: fc.integer({ min: 1, max: 70 }),
  width: fc.integer({ min: 1, max: 300 }),
  dtype: fc.constantFrom('bf16' as const, 'f32' as const),
  seed: fc.integer({ min: 0, max: 1000 }),
})
// Many tiles of rows, with more than 64 of them merged into longer ones, and a last one that is short.
const LONG: Case = { rows: 1101, width: 48, dtype: 'bf16', seed: 3 }
const eps = 1e-5

// n sums of f32 are off by at most n roundings of their absolute terms; root, division and products add a few.
const sums = (n: number): number => (n + 16) * UNIT.f32

function checkForward({ rows, width, dtype, seed }: Case, path: string): void {
  const x = random(seed, rows * width, dtype, 3)
  const weight = random(seed + 1, width, dtype)
  const { out } = runOnThreads('norm', { rows, width, eps, bf16: flagOf(dtype) }, { out: poison(rows * width, dtype), x, weight }, { path })
  const expected = norm({ rows, width, eps }, numbers(x), numbers(weight))
  expectWithin('out', numbers(out), expected, (i) => (sums(width) + UNIT[dtype]) * Math.abs(expected[i] as number))
}

function checkBackward({ rows, width, dtype, seed }: Case, path: string): void {
  const [x, dout, residual] = [0, 1, 2].map((k) => random(seed + k, rows * width, dtype, 2)) as [Float32Array, Float32Array, Float32Array]
  const weight = random(seed + 3, width, dtype)
  const before = random(seed + 4, width, 'f32')
  const expected = normBackward({ rows, width, eps }, numbers(dout), numbers(x), numbers(weight))
  for (const first of [1, 0]) {
    for (const added of [undefined, numbers(residual)]) {
      const operands = { dx: poison(rows * width, dtype), dweight: first ? poison(width, 'f32') : before, dout, x, weight, ...(added ? { residual } : {}) }
      const { dx, dweight } = runOnThreads('normBackward', { rows, width, eps, first, bf16: flagOf(dtype) }, operands, { path })
      const dxExpected = expected.dx.map((v, i) => v + (added?.[i] ?? 0))
      expectWithin(
        'dx',
        numbers(dx),
        dxExpected,
        (i) => sums(width) * ((expected.dxMagnitude[i] as number) + Math.abs(added?.[i] ?? 0)) + UNIT[dtype] * Math.abs(dxExpected[i] as number),
      )
      const start = first ? new Float64Array(width) : numbers(before)
      const dweightExpected = expected.dweight.map((v, i) => v + (start[i] as number))
      expectWithin(
        'dweight',
        numbers(dweight),
        dweightExpected,
        (i) => sums(rows + width) * ((expected.dweightMagnitude[i] as number) + Math.abs(start[i] as number)),
      )
    }
  }
}

describe.each(PATHS)('norm on %s', (path) => {
  it('norms rows of any size', () => {
    fc.assert(
      fc.property(sizes, (c) => checkForward(c, path)),
      { numRuns: 25 },
    )
    checkForward(LONG, path)
  })
  it('takes a norm back, with and without a residual, writing and adding the gradient of its weight', () => {
    fc.assert(
      fc.property(sizes, (c) => checkBackward(c, path)),
      { numRuns: 25 },
    )
    checkBackward(LONG, path)
    checkBackward({ ...LONG, dtype: 'f32' }, path)
  })
  it('leaves a row of zeros zero', () => {
    const { out } = runOnThreads(
      'norm',
      { rows: 1, width: 3, eps, bf16: 0 },
      { out: poison(3, 'f32'), x: new Float32Array(3), weight: tensor([1, 2, 3], 'f32') },
      { path },
    )
    expectWithin('out', out, [0, 0, 0], () => 0)
  })
})

describe('the reference of norm', () => {
  it('has the gradient that its forward has', () => {
    const sizes = { rows: 3, width: 5, eps }
    const [x, dout, weight] = [uniform(1, 15), uniform(2, 15), uniform(3, 5)] as const
    const { dx, dweight } = normBackward(sizes, dout, x, weight)
    expectWithin(
      'dx',
      dx,
      derivative((moved) => dot(norm(sizes, moved, weight), dout), x),
      () => 1e-7,
    )
    expectWithin(
      'dweight',
      dweight,
      derivative((moved) => dot(norm(sizes, x, moved), dout), weight),
      () => 1e-7,
    )
  })
})
