import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { rowSums } from './reference/attention.js'
import { expectWithin, PATHS, runOnThreads, runsOf } from './reference/run.js'
import { flagOf, numbers, poison, random, UNIT, uniform } from './reference/tensor.js'

const shapes = fc.record({
  rows: fc.integer({ min: 1, max: 200 }),
  heads: fc.integer({ min: 1, max: 5 }),
  headSize: fc.integer({ min: 1, max: 80 }),
  dtype: fc.constantFrom('bf16' as const, 'f32' as const),
  seed: fc.integer({ min: 0, max: 1000 }),
})
const RUNS = { numRuns: runsOf(25) }

/** One row of one head: what `merge` makes of an output of ones and one of twos with these lse. */
function mergeOne(lse: number, lseB: number, path: string): { o: number; lse: number } {
  const operands = { o: Float32Array.of(1), lse: Float32Array.of(lse), oB: Float32Array.of(2), lseB: Float32Array.of(lseB) }
  const merged = runOnThreads('merge', { rows: 1, heads: 1, headSize: 1 }, operands, { path })
  return { o: merged.o[0] as number, lse: merged.lse[0] as number }
}

describe.each(PATHS)('finish on %s', (path) => {
  it('divides by the sum and takes the logarithm of sum and maximum', () => {
    fc.assert(
      fc.property(shapes, ({ rows, heads, headSize, dtype, seed }) => {
        // acc (rows, heads, D), m in powers of two and sums (heads, rows); every third row saw nothing
        const acc = uniform(seed, rows * heads * headSize, 100)
        const m = uniform(seed + 1, heads * rows, 300)
        const sum = uniform(seed + 2, heads * rows).map((x, i) => (i % 3 === 2 ? 0 : Math.abs(x) * 1000 + 0.5))
        const state = Float32Array.of(...acc, ...m, ...sum)
        const [acc32, m32, sum32] = [state.subarray(0, acc.length), state.subarray(acc.length, acc.length + m.length), state.subarray(acc.length + m.length)]
        const empty = { o: poison(acc.length, dtype), lse: poison(heads * rows, 'f32') }
        const { o, lse } = runOnThreads('finish', { rows, heads, headSize, bf16: flagOf(dtype) }, { ...empty, state }, { path })
        const sumOf = (i: number): number => sum32[(Math.floor(i / headSize) % heads) * rows + Math.floor(i / headSize / heads)] as number
        const expected = Float64Array.from(acc32, (x, i) => (sumOf(i) ? x / sumOf(i) : 0))
        // a reciprocal and a product, then the rounding to the dtype
        expectWithin('o', numbers(o), expected, (i) => (2 * UNIT.f32 + UNIT[dtype]) * Math.abs(expected[i] as number))
        sum32.forEach((s, i) => {
          if (s === 0) expect(lse[i]).toBe(-Infinity)
          else expectWithin('lse', [lse[i] as number], [(m32[i] as number) * Math.LN2 + Math.log(s)], () => UNIT.f32 * 300)
        })
      }),
      RUNS,
    )
  })
})

describe.each(PATHS)('merge on %s', (path) => {
  it('weighs two outputs by what their rows saw', () => {
    fc.assert(
      fc.property(shapes, ({ rows, heads, headSize, seed }) => {
        const [o, oB] = [random(seed, rows * heads * headSize, 'f32'), random(seed + 1, rows * heads * headSize, 'f32')]
        const [lse, lseB] = [random(seed + 2, heads * rows, 'f32', 20), random(seed + 3, heads * rows, 'f32', 20)]
        const merged = runOnThreads('merge', { rows, heads, headSize }, { o, lse, oB, lseB }, { path })
        const total = Float64Array.from(lse, (x, i) => Math.log(Math.exp(x) + Math.exp(lseB[i] as number)))
        expectWithin('lse', merged.lse, total, () => 4 * UNIT.f32 * 20)
        const statistic = (i: number): number => (Math.floor(i / headSize) % heads) * rows + Math.floor(i / headSize / heads)
        const share = (i: number): number => Math.exp((lse[statistic(i)] as number) - (total[statistic(i)] as number))
        // The difference of two lse is exact to a rounding of it, up to 40; the rest is a few roundings of numbers up to 1.
        expectWithin(
          'o',
          merged.o,
          Float64Array.from(o, (x, i) => share(i) * x + (1 - share(i)) * (oB[i] as number)),
          () => 48 * UNIT.f32,
        )
      }),
      RUNS,
    )
  })
  it('keeps the side that saw something', () => {
    expect(mergeOne(-Infinity, 3, path)).toEqual({ o: 2, lse: 3 })
    expect(mergeOne(3, -Infinity, path)).toEqual({ o: 1, lse: 3 })
    expect(mergeOne(-Infinity, -Infinity, path)).toEqual({ o: 1, lse: -Infinity })
  })
  it('does not overflow where lse are far apart', () => {
    expect(mergeOne(-5000, 5000, path)).toEqual({ o: 2, lse: 5000 })
    expect(mergeOne(5000, -5000, path)).toEqual({ o: 1, lse: 5000 })
    expect(mergeOne(-3e38, 3e38, path)).toEqual({ o: 2, lse: Math.fround(3e38) })
  })
  it('does not hide a NaN', () => {
    expect(mergeOne(Number.NaN, 1, path).lse).toBeNaN()
    expect(mergeOne(1, Number.NaN, path).lse).toBeNaN()
    expect(mergeOne(1, Number.NaN, path).o).toBeNaN()
  })
})

describe.each(PATHS)('delta on %s', (path) => {
  it('sums dO o over each head', () => {
    fc.assert(
      fc.property(shapes, ({ rows, heads, headSize, dtype, seed }) => {
        const [dO, o] = [random(seed, rows * heads * headSize, dtype), random(seed + 1, rows * heads * headSize, dtype)]
        const { delta } = runOnThreads('delta', { rows, heads, headSize, bf16: flagOf(dtype) }, { delta: poison(heads * rows, 'f32'), dO, o }, { path })
        const [a, b] = [numbers(dO), numbers(o)]
        const magnitude = rowSums({ rows, heads, headSize }, a.map(Math.abs), b.map(Math.abs))
        expectWithin('delta', delta, rowSums({ rows, heads, headSize }, a, b), (i) => headSize * UNIT.f32 * (magnitude[i] as number))
      }),
      RUNS,
    )
  })
})
