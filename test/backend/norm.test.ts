import fc from 'fast-check'
import { describe, it } from 'vitest'
import { derivative, dot } from './reference/derivative.js'
import { layerNorm, layerNormBackward, norm, normBackward, standardised } from './reference/norm.js'
import { expectWithin, PATHS, runOnThreads, runsOf } from './reference/run.js'
import { DTYPES, type Dtypes, flagsOf, numbers, poison, random, tensor, UNIT, uniform } from './reference/tensor.js'

interface Case extends Dtypes {
  readonly rows: number
  readonly width: number
  readonly seed: number
}
const sizes = fc
  .record({
    rows: fc.integer({ min: 1, max: 70 }),
    width: fc.integer({ min: 1, max: 300 }),
    dtypes: fc.constantFrom(...DTYPES),
    seed: fc.integer({ min: 0, max: 1000 }),
  })
  .map(({ dtypes, ...sizes }): Case => ({ ...sizes, ...dtypes }))
// Many tiles of rows, with more than 64 of them merged into longer ones, and a last one that is short.
const LONG: Case[] = DTYPES.map((dtypes) => ({ rows: 1101, width: 48, seed: 3, ...dtypes }))
const eps = 1e-5

// LayerNorm far from zero, where the mean costs an f32 sum of squares all of its digits; a bf16 row there is one of a few values.
const offset = fc.constantFrom(0, 3, -1000, 1e6)

// n sums of f32 are off by at most n roundings of their absolute terms; root, division and products add a few.
const sums = (n: number): number => (n + 16) * UNIT.f32

function checkForward({ rows, width, dtype, hidden, seed }: Case, path: string): void {
  const x = random(seed, rows * width, hidden, 3)
  const weight = random(seed + 1, width, dtype)
  const { out } = runOnThreads('norm', { rows, width, eps, ...flagsOf({ dtype, hidden }) }, { out: poison(rows * width, dtype), x, weight }, { path })
  const expected = norm({ rows, width, eps }, numbers(x), numbers(weight))
  expectWithin('out', numbers(out), expected, (i) => (sums(width) + UNIT[dtype]) * Math.abs(expected[i] as number))
}

function checkBackward({ rows, width, dtype, hidden, seed }: Case, path: string): void {
  const [x, residual] = [0, 2].map((k) => random(seed + k, rows * width, hidden, 2)) as [Float32Array, Float32Array]
  const dout = random(seed + 1, rows * width, dtype, 2)
  const weight = random(seed + 3, width, dtype)
  const before = random(seed + 4, width, 'f32')
  const expected = normBackward({ rows, width, eps }, numbers(dout), numbers(x), numbers(weight))
  for (const first of [1, 0]) {
    for (const added of [undefined, numbers(residual)]) {
      const operands = { dx: poison(rows * width, hidden), dweight: first ? poison(width, 'f32') : before, dout, x, weight, ...(added ? { residual } : {}) }
      const { dx, dweight } = runOnThreads('normBackward', { rows, width, eps, first, ...flagsOf({ dtype, hidden }) }, operands, { path })
      const dxExpected = expected.dx.map((v, i) => v + (added?.[i] ?? 0))
      expectWithin(
        'dx',
        numbers(dx),
        dxExpected,
        (i) => sums(width) * ((expected.dxMagnitude[i] as number) + Math.abs(added?.[i] ?? 0)) + UNIT[hidden] * Math.abs(dxExpected[i] as number),
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

const far = (c: Case, mean: number): Float32Array | Uint16Array =>
  tensor(
    uniform(c.seed, c.rows * c.width, 2).map((v) => v + mean),
    c.hidden,
  )

function checkLayerNorm(c: Case, mean: number, path: string): void {
  const { rows, width, dtype, hidden, seed } = c
  const x = far(c, mean)
  const [weight, bias] = [random(seed + 1, width, dtype), random(seed + 2, width, dtype)]
  const operands = { out: poison(rows * width, dtype), x, weight, bias }
  const { out } = runOnThreads('layerNorm', { rows, width, eps, ...flagsOf({ dtype, hidden }) }, operands, { path })
  const expected = layerNorm({ rows, width, eps }, numbers(x), numbers(weight), numbers(bias))
  const { values } = standardised({ rows, width, eps }, numbers(x))
  // Statistics are f64: no error grows with the width or with the mean, but for that of the f64 mean itself, 2^-53 of it.
  const scale = (i: number): number => (Math.abs(values[i] as number) + 2 ** -26 * Math.abs(mean)) * Math.abs(numbers(weight)[i % width] as number)
  expectWithin('out', numbers(out), expected, (i) => {
    return 6 * UNIT.f32 * (scale(i) + Math.abs(numbers(bias)[i % width] as number)) + UNIT[dtype] * Math.abs(expected[i] as number)
  })
}

function checkLayerNormBackward(c: Case, mean: number, path: string): void {
  const { rows, width, dtype, hidden, seed } = c
  const x = far(c, mean)
  const [dout, residual] = [random(seed + 1, rows * width, dtype, 2), random(seed + 2, rows * width, hidden, 2)]
  const weight = random(seed + 3, width, dtype)
  const before = { dweight: random(seed + 4, width, 'f32'), dbias: random(seed + 5, width, 'f32') }
  const expected = layerNormBackward({ rows, width, eps }, numbers(dout), numbers(x), numbers(weight))
  for (const first of [1, 0]) {
    for (const added of [undefined, numbers(residual)]) {
      const sum = (name: keyof typeof before) => (first ? poison(width, 'f32') : before[name])
      const operands = { dx: poison(rows * width, hidden), dweight: sum('dweight'), dbias: sum('dbias'), dout, x, weight, ...(added ? { residual } : {}) }
      const result = runOnThreads('layerNormBackward', { rows, width, eps, first, ...flagsOf({ dtype, hidden }) }, operands, { path })
      const dxExpected = expected.dx.map((v, i) => v + (added?.[i] ?? 0))
      expectWithin(
        'dx',
        numbers(result.dx),
        dxExpected,
        (i) => sums(width) * ((expected.dxMagnitude[i] as number) + Math.abs(added?.[i] ?? 0)) + UNIT[hidden] * Math.abs(dxExpected[i] as number),
      )
      for (const name of ['dweight', 'dbias'] as const) {
        const start = first ? new Float64Array(width) : numbers(before[name])
        const magnitude = expected[`${name}Magnitude`]
        expectWithin(
          name,
          numbers(result[name]),
          expected[name].map((v, i) => v + (start[i] as number)),
          (i) => sums(Math.min(rows, 64)) * ((magnitude[i] as number) + Math.abs(start[i] as number)), // 64 rows in f32, the rest in f64
        )
      }
    }
  }
}

describe.each(PATHS)('norm on %s', (path) => {
  it('norms rows of any size', () => {
    fc.assert(
      fc.property(sizes, (c) => checkForward(c, path)),
      { numRuns: runsOf(25) },
    )
    for (const long of LONG) checkForward(long, path)
  })
  it('takes a norm back, with and without a residual, writing and adding the gradient of its weight', () => {
    fc.assert(
      fc.property(sizes, (c) => checkBackward(c, path)),
      { numRuns: runsOf(25) },
    )
    for (const long of LONG) checkBackward(long, path)
  })
  it('norms rows about their mean, at any size and far from zero', () => {
    fc.assert(
      fc.property(sizes, offset, (c, mean) => checkLayerNorm(c, mean, path)),
      { numRuns: runsOf(25) },
    )
    for (const long of LONG) checkLayerNorm(long, 0, path)
  })
  it('takes a norm about the mean back, writing and adding the gradients of weight and bias', () => {
    fc.assert(
      fc.property(sizes, offset, (c, mean) => checkLayerNormBackward(c, mean, path)),
      { numRuns: runsOf(25) },
    )
    for (const long of LONG) checkLayerNormBackward(long, long.dtype === 'f32' ? 3 : 0, path)
  })
  it('leaves a row of zeros zero', () => {
    const { out } = runOnThreads(
      'norm',
      { rows: 1, width: 3, eps, ...flagsOf({ dtype: 'f32', hidden: 'f32' }) },
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

describe('the reference of norm about the mean', () => {
  it('has the gradient that its forward has', () => {
    const sizes = { rows: 3, width: 5, eps }
    const [x, dout, weight, bias] = [uniform(1, 15), uniform(2, 15), uniform(3, 5), uniform(4, 5)] as const
    const { dx, dweight, dbias } = layerNormBackward(sizes, dout, x, weight)
    const gradients = [
      ['dx', dx, derivative((moved) => dot(layerNorm(sizes, moved, weight, bias), dout), x)],
      ['dweight', dweight, derivative((moved) => dot(layerNorm(sizes, x, moved, bias), dout), weight)],
      ['dbias', dbias, derivative((moved) => dot(layerNorm(sizes, x, weight, moved), dout), bias)],
    ] as const
    for (const [name, actual, expected] of gradients) expectWithin(name, actual, expected, () => 1e-7)
  })
})
