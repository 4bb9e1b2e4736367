import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { rotaryOf } from '../../kernel/src/model/rotary.js'
import { bits, expectWithin, PATHS, runOnThreads, runsOf } from './reference/run.js'
import { type ComputeDtype, flagOf, type Memory, numbers, poison, random, tensor, UNIT } from './reference/tensor.js'

interface Case {
  readonly rows: number
  readonly heads: number
  readonly kvHeads: number
  readonly headSize: number
  readonly start: number
  readonly magnitude: number
  readonly dtype: ComputeDtype
  readonly seed: number
}
/** Here the rounding of an angle in f64 is 1e-4 of a radian: what is right is what an f64 product says, not the product itself. */
const FAR = 2 ** 40
const cases = fc
  .record({
    rows: fc.integer({ min: 1, max: 200 }),
    kvHeads: fc.integer({ min: 1, max: 3 }),
    group: fc.integer({ min: 1, max: 3 }),
    headSize: fc.integer({ min: 1, max: 64 }).map((half) => 2 * half),
    start: fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 1 << 21 }), fc.integer({ min: 0, max: FAR })),
    magnitude: fc.constantFrom(1, 0.8, 1.3),
    dtype: fc.constantFrom('bf16' as const, 'f32' as const),
    seed: fc.integer({ min: 0, max: 1000 }),
  })
  .map(({ group, ...rest }): Case => ({ ...rest, heads: group * rest.kvHeads }))
const RUNS = { numRuns: runsOf(25) }
const numbersOf = ({ rows, heads, kvHeads, headSize, start, magnitude, dtype }: Case) => ({
  rows,
  heads,
  kvHeads,
  headSize,
  start,
  magnitude,
  bf16: flagOf(dtype),
})
/** Those of Llama 3, which are not all powers of one theta. */
const frequenciesOf = ({ headSize }: Case): Float64Array => {
  const scaling = { kind: 'llama3', factor: 8, lowFrequency: 1, highFrequency: 4, original: 8192 } as const
  return rotaryOf({ kind: 'rotary', theta: 500_000, scaling }, headSize)?.frequencies as Float64Array
}
const qCount = (c: Case): number => c.rows * c.heads * c.headSize
const kvCount = (c: Case): number => c.rows * c.kvHeads * c.headSize

/** magnitude (a + ib) e^(±i position frequency) of the elements m and m + D/2 of each head, in f64. */
function rotated({ rows, headSize: D, start, magnitude, ...c }: Case, heads: number, x: Float64Array, direction: 1 | -1): Float64Array {
  const out = new Float64Array(x.length)
  const frequencies = frequenciesOf({ rows, headSize: D, start, magnitude, ...c })
  for (let row = 0; row < rows; row++)
    for (let h = 0; h < heads; h++)
      for (let m = 0; m < D / 2; m++) {
        const at = (row * heads + h) * D + m
        const angle = direction * ((start + row) * (frequencies[m] as number))
        const [a, b] = [x[at] as number, x[at + D / 2] as number]
        out[at] = magnitude * (a * Math.cos(angle) - b * Math.sin(angle))
        out[at + D / 2] = magnitude * (b * Math.cos(angle) + a * Math.sin(angle))
      }
  return out
}
/** Cosine, sine, two products and a sum, each rounded to f32, of numbers up to 2; then the dtype's rounding. */
const bound =
  ({ magnitude, dtype }: Case) =>
  () =>
    2 * magnitude * (8 * UNIT.f32 + (dtype === 'bf16' ? 2 * UNIT.bf16 : 0))

function rotate(c: Case, path: string, q = random(c.seed, qCount(c), c.dtype), k = random(c.seed + 1, kvCount(c), c.dtype)): { q: Memory; k: Memory } {
  return runOnThreads('rotary', numbersOf(c), { q, k, frequencies: frequenciesOf(c) }, { path })
}

describe.each(PATHS)('rotary on %s', (path) => {
  it('turns pairs of elements by angles of their position', () => {
    fc.assert(
      fc.property(cases, (c) => {
        const { q, k } = rotate(c, path)
        expectWithin('q', numbers(q), rotated(c, c.heads, numbers(random(c.seed, qCount(c), c.dtype)), 1), bound(c))
        expectWithin('k', numbers(k), rotated(c, c.kvHeads, numbers(random(c.seed + 1, kvCount(c), c.dtype)), 1), bound(c))
      }),
      RUNS,
    )
  })
  it.each([4_194_304, FAR, FAR - 77])('turns as f64 does at position %i', (start) => {
    const c: Case = { rows: 130, heads: 2, kvHeads: 1, headSize: 128, start, magnitude: 1, dtype: 'f32', seed: 4 }
    const { q, k } = rotate(c, path)
    expectWithin('q', numbers(q), rotated(c, c.heads, numbers(random(c.seed, qCount(c), c.dtype)), 1), bound(c))
    expectWithin('k', numbers(k), rotated(c, c.kvHeads, numbers(random(c.seed + 1, kvCount(c), c.dtype)), 1), bound(c))
  })
  it('only rounds gradients where there are no frequencies', () => {
    fc.assert(
      fc.property(cases, (c) => {
        const [dq, dk, dv] = [random(c.seed, qCount(c), 'f32'), random(c.seed + 1, kvCount(c), 'f32'), random(c.seed + 2, kvCount(c), 'f32')]
        const out = { dqOut: poison(qCount(c), c.dtype), dkOut: poison(kvCount(c), c.dtype), dvOut: poison(kvCount(c), c.dtype) }
        const { dqOut, dkOut, dvOut } = runOnThreads('rotaryBackward', numbersOf(c), { ...out, dq, dk, dv }, { path })
        expect([dqOut, dkOut, dvOut]).toEqual([dq, dk, dv].map((memory) => tensor(memory as Float32Array, c.dtype)))
      }),
      RUNS,
    )
  })
  it('gives a token the same bits however the sequence is cut into chunks', () => {
    const c: Case = { rows: 150, heads: 2, kvHeads: 1, headSize: 64, start: 1000, magnitude: 1, dtype: 'f32', seed: 1 }
    const whole = rotate(c, path).q
    const from = 77
    const before = random(c.seed, qCount(c), 'f32').slice(from * 128)
    const rest = rotate({ ...c, start: c.start + from, rows: c.rows - from }, path, before, random(2, (c.rows - from) * 64, 'f32')).q
    expect(bits(rest).equals(bits(whole.slice(from * 128)))).toBe(true)
  })
  it('turns gradients back and rounds them', () => {
    fc.assert(
      fc.property(cases, (c) => {
        const [dq, dk, dv] = [random(c.seed, qCount(c), 'f32'), random(c.seed + 1, kvCount(c), 'f32'), random(c.seed + 2, kvCount(c), 'f32')]
        const out = { dqOut: poison(qCount(c), c.dtype), dkOut: poison(kvCount(c), c.dtype), dvOut: poison(kvCount(c), c.dtype) }
        const { dqOut, dkOut, dvOut } = runOnThreads('rotaryBackward', numbersOf(c), { ...out, dq, dk, dv, frequencies: frequenciesOf(c) }, { path })
        expectWithin('dq', numbers(dqOut), rotated(c, c.heads, numbers(dq), -1), bound(c))
        expectWithin('dk', numbers(dkOut), rotated(c, c.kvHeads, numbers(dk), -1), bound(c))
        expectWithin('dv', numbers(dvOut), numbers(dv), (i) => (c.dtype === 'bf16' ? UNIT.bf16 * Math.abs(dv[i] as number) : 0))
      }),
      RUNS,
    )
  })
})
