import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bits, expectWithin, PATHS, runOnThreads } from './reference/run.js'
import { type ComputeDtype, flagOf, type Memory, numbers, poison, random, UNIT } from './reference/tensor.js'

interface Case {
  readonly rows: number
  readonly heads: number
  readonly kvHeads: number
  readonly headSize: number
  readonly start: number
  readonly dtype: ComputeDtype
  readonly seed: number
}
const cases = fc
  .record({
    rows: fc.integer({ min: 1, max: 200 }),
    kvHeads: fc.integer({ min: 1, max: 3 }),
    group: fc.integer({ min: 1, max: 3 }),
    headSize: fc.integer({ min: 1, max: 64 }).map((half) => 2 * half),
    start: fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 1 << 21 })),
    dtype: fc.constantFrom('bf16' as const, 'f32' as const),
    seed: fc.integer({ min: 0, max: 1000 }),
  })
  .map(({ group, ...rest }): Case => ({ ...rest, heads: group * rest.kvHeads }))
const RUNS = { numRuns: 25 }
const theta = 10_000
const numbersOf = (c: Case) => ({ rows: c.rows, heads: c.heads, kvHeads: c.kvHeads, headSize: c.headSize, start: c.start, theta, bf16: flagOf(c.dtype) })
const qCount = (c: Case): number => c.rows * c.heads * c.headSize
const kvCount = (c: Case): number => c.rows * c.kvHeads * c.headSize

/** (a + ib) e^(±i position theta^(-2m/D)) of the elements m and m + D/2 of each head, in f64. */
function rotated({ rows, headSize: D, start }: Case, heads: number, x: Float64Array, direction: 1 | -1): Float64Array {
  const out = new Float64Array(x.length)
  for (let row = 0; row < rows; row++)
    for (let h = 0; h < heads; h++)
      for (let m = 0; m < D / 2; m++) {
        const at = (row * heads + h) * D + m
        const angle = direction * (start + row) * theta ** ((-2 * m) / D)
        const [a, b] = [x[at] as number, x[at + D / 2] as number]
        out[at] = a * Math.cos(angle) - b * Math.sin(angle)
        out[at + D / 2] = b * Math.cos(angle) + a * Math.sin(angle)
      }
  return out
}
/** Cosine, sine, two products and a sum, each rounded to f32, of numbers up to `largest`; then the dtype's rounding. An angle of 2^21 is exact to 2^-31 in f64. */
const bound = (largest: number, dtype: ComputeDtype) => () => largest * (8 * UNIT.f32 + 2 ** -30 + (dtype === 'bf16' ? 2 * UNIT.bf16 : 0))

function rotate(c: Case, path: string, q = random(c.seed, qCount(c), c.dtype), k = random(c.seed + 1, kvCount(c), c.dtype)): { q: Memory; k: Memory } {
  return runOnThreads('rotary', numbersOf(c), { q, k }, { path })
}

describe.each(PATHS)('rotary on %s', (path) => {
  it('turns pairs of elements by angles of their position', () => {
    fc.assert(
      fc.property(cases, (c) => {
        const { q, k } = rotate(c, path)
        expectWithin('q', numbers(q), rotated(c, c.heads, numbers(random(c.seed, qCount(c), c.dtype)), 1), bound(2, c.dtype))
        expectWithin('k', numbers(k), rotated(c, c.kvHeads, numbers(random(c.seed + 1, kvCount(c), c.dtype)), 1), bound(2, c.dtype))
      }),
      RUNS,
    )
  })
  it('gives a token the same bits however the sequence is cut into chunks', () => {
    const c: Case = { rows: 150, heads: 2, kvHeads: 1, headSize: 64, start: 1000, dtype: 'f32', seed: 1 }
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
        const { dqOut, dkOut, dvOut } = runOnThreads('rotaryBackward', numbersOf(c), { ...out, dq, dk, dv }, { path })
        expectWithin('dq', numbers(dqOut), rotated(c, c.heads, numbers(dq), -1), bound(2, c.dtype))
        expectWithin('dk', numbers(dkOut), rotated(c, c.kvHeads, numbers(dk), -1), bound(2, c.dtype))
        expectWithin('dv', numbers(dvOut), numbers(dv), (i) => (c.dtype === 'bf16' ? UNIT.bf16 * Math.abs(dv[i] as number) : 0))
      }),
      RUNS,
    )
  })
})
