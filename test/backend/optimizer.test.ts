import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type AdamW, adamW } from './reference/optimizer.js'
import { expectWithin, PATHS, run, runOnThreads, runsOf } from './reference/run.js'
import { numbers, poison, random, tensor, UNIT } from './reference/tensor.js'

// More than one tile of 16384 elements, and a short last one.
const counts = fc.oneof(fc.integer({ min: 1, max: 200 }), fc.constantFrom(16384, 40_001))
const seeds = fc.integer({ min: 0, max: 1000 })
const OPTIMIZER = { beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: 0.1 }
const stepOf = ({ rate, beta1, beta2, time }: AdamW) => [rate, 1 - beta1 ** time, 1 - beta2 ** time, 1] as const

function state(seed: number, count: number) {
  const [master, m, gradient] = [0, 1, 2].map((k) => random(seed + k, count, 'f32')) as [Float32Array, Float32Array, Float32Array]
  return { master, m, v: random(seed + 3, count, 'f32').map(Math.abs) as Float32Array, gradient }
}

describe.each(PATHS)('optimizer on %s', (path) => {
  it('updates as AdamW does, each rank its partition in slices, without decay of the leading elements', () => {
    fc.assert(
      fc.property(
        counts,
        seeds,
        fc.integer({ min: 0, max: 3 }),
        fc.double({ min: 0, max: 5, noNaN: true }),
        fc.boolean(),
        fc.integer({ min: 1, max: 4 }),
        (count, seed, rank, boundary, bf16, slices) => {
          const { master, m, v, gradient } = state(seed, count)
          // A rank's partition in slices, of which this call is one.
          const [partition, offset] = [slices * count + (seed % 7), (seed % slices) * count]
          const undecayed = Math.floor(boundary * partition)
          const optimizer = { ...OPTIMIZER, rate: 0.01, time: 1 + (seed % 20) }
          const operands = { master, m, v, ...(bf16 ? { weight: poison(count, 'bf16') } : {}), gradient, scale: Float32Array.of(0.25) }
          const result = runOnThreads('adamW', { count, ...OPTIMIZER, undecayed, partition, offset }, operands, { path, rank, step: stepOf(optimizer) })
          const expected = Array.from(master, (_, i) => {
            const decays = rank * partition + offset + i >= undecayed
            return adamW(
              { ...optimizer, decay: decays ? optimizer.decay : 0 },
              { master: master[i] as number, m: m[i] as number, v: v[i] as number },
              0.25 * (gradient[i] as number),
            )
          })
          // m and v are two products and a sum; the direction is at most some 10 and known to a dozen roundings, except where m cancels.
          expectWithin(
            'm',
            result.m,
            expected.map((e) => e.m),
            (i) => 4 * UNIT.f32 * (Math.abs(m[i] as number) + 1),
          )
          expectWithin(
            'v',
            result.v,
            expected.map((e) => e.v),
            (i) => 4 * UNIT.f32 * (expected[i] as { v: number }).v,
          )
          expectWithin(
            'master',
            result.master,
            expected.map((e) => e.master),
            (i) => {
              const largest =
                (Math.abs(m[i] as number) + 1) / (1 - 0.9 ** optimizer.time) / Math.sqrt((expected[i] as { v: number }).v / (1 - 0.999 ** optimizer.time))
              return UNIT.f32 * (2 + 0.01 * 20 * (1 + largest))
            },
          )
          if (bf16) expect(result.weight, 'the weight is the rounded master').toEqual(tensor(result.master, 'bf16'))
        },
      ),
      { numRuns: runsOf(25) },
    )
  })
  it('touches nothing at scale 0', () => {
    const before = { ...state(1, 100), weight: poison(100, 'bf16'), scale: Float32Array.of(0) }
    before.gradient.fill(Number.NaN)
    expect(run('adamW', { count: 100, ...OPTIMIZER, undecayed: 0, partition: 100, offset: 0 }, before, { path, step: [0.01, 1, 1, 1] })).toEqual(before)
  })
  it('sums squares in f64', () => {
    fc.assert(
      fc.property(counts, seeds, (count, seed) => {
        const gradient = random(seed, count, 'f32', 1e3)
        const squares = numbers(gradient).reduce((sum, g) => sum + g * g, 0)
        for (const [first, before] of [
          [1, Number.NaN],
          [0, 5],
        ] as const) {
          const { sum } = runOnThreads('squaredNorm', { count, first }, { sum: Float64Array.of(before), gradient }, { path })
          expectWithin('sum', sum, [squares + (first ? 0 : before)], () => count * 2 ** -53 * (squares + 5))
        }
      }),
      { numRuns: runsOf(20) },
    )
  })
  it('writes zeros to the last byte', () => {
    const out = new Float32Array(300_001).fill(1)
    const { out: zeroed } = runOnThreads('zero', { bytes: 4 * 300_000 }, { out }, { path })
    expect(zeroed.subarray(0, 300_000).every((x) => x === 0)).toBe(true)
    expect(zeroed[300_000]).toBe(1)
  })
})

describe('clip', () => {
  const scale = (sum: number, loss: number, maxNorm = 2): number =>
    run('clip', { maxNorm }, { scale: poison(1, 'f32'), sum: Float64Array.of(sum), loss: Float64Array.of(loss) }).scale[0] as number

  it('scales a norm above the bound down to it', () => expect(scale(64, 1)).toBe(0.25))
  it('leaves a norm below the bound, or none at all, as it is', () => expect([scale(1, 1), scale(0, 1)]).toEqual([1, 1]))
  it.each([
    [Number.NaN, 1],
    [Infinity, 1],
    [1, Number.NaN],
    [1, -Infinity],
  ])('gives 0 for the sum %d and the loss %d', (sum, loss) => expect(scale(sum, loss)).toBe(0))
})
