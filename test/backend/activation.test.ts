import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { gelu, geluArgument, geluDerivative, swiglu, swigluBackward } from './reference/activation.js'
import { derivative } from './reference/derivative.js'
import { expectWithin, PATHS, run, runOnThreads, runsOf } from './reference/run.js'
import { type ComputeDtype, flagOf, numbers, poison, random, tensor, UNIT } from './reference/tensor.js'

interface Case {
  readonly rows: number
  readonly feedForward: number
  readonly dtype: ComputeDtype
  readonly seed: number
}
const sizes = fc.record<Case>({
  rows: fc.integer({ min: 1, max: 60 }),
  feedForward: fc.integer({ min: 1, max: 130 }),
  dtype: fc.constantFrom('bf16' as const, 'f32' as const),
  seed: fc.integer({ min: 0, max: 1000 }),
})
// e^x is good to 2e-7, as exp.h promises; the operations around it add half a dozen roundings.
const ERROR = 2e-7 + 6 * UNIT.f32

function check({ rows, feedForward, dtype, seed }: Case, path: string): void {
  const gateUp = random(seed, 2 * rows * feedForward, dtype, 12)
  const dout = random(seed + 1, rows * feedForward, dtype)
  const shape = { rows, feedForward, bf16: flagOf(dtype) }
  const { out } = runOnThreads('swiglu', shape, { out: poison(rows * feedForward, dtype), gateUp }, { path })
  const { dGateUp } = runOnThreads('swigluBackward', shape, { dGateUp: poison(2 * rows * feedForward, dtype), dout, gateUp }, { path })

  const values = numbers(gateUp)
  const gradient = numbers(dout)
  const gates = gradient.map((_, i) => values[Math.floor(i / feedForward) * 2 * feedForward + (i % feedForward)] as number)
  const ups = gradient.map((_, i) => values[(Math.floor(i / feedForward) * 2 + 1) * feedForward + (i % feedForward)] as number)
  const expected = gates.map((gate, i) => swiglu(gate, ups[i] as number))
  expectWithin('out', numbers(out), expected, (i) => (ERROR + UNIT[dtype]) * Math.abs(expected[i] as number))

  const actual = numbers(dGateUp)
  const half = (part: 0 | 1) => gradient.map((_, i) => actual[(Math.floor(i / feedForward) * 2 + part) * feedForward + (i % feedForward)] as number)
  const backward = Array.from(gradient, (d, i) => swigluBackward(d, gates[i] as number, ups[i] as number))
  // silu′ has a zero near -1.28: its two terms cancel there, and their errors remain; sigmoid <= e^gate bounds both.
  const terms = (i: number): number =>
    Math.abs((gradient[i] as number) * (ups[i] as number)) * Math.min(1, Math.exp(gates[i] as number)) * (1 + Math.abs(gates[i] as number))
  expectWithin(
    'dgate',
    half(0),
    backward.map((b) => b.dgate),
    (i) => 2 * ERROR * terms(i) + UNIT[dtype] * Math.abs(backward[i]?.dgate as number),
  )
  expectWithin(
    'dup',
    half(1),
    backward.map((b) => b.dup),
    (i) => (ERROR + UNIT[dtype]) * Math.abs(backward[i]?.dup as number),
  )
}

/** Of GELU at a, apart from the rounding of its output: z is known to a few roundings, and e^-z as much worse as z is large. */
const geluError = (a: number): number => ERROR + 6 * UNIT.f32 * Math.abs(geluArgument(a))
/** Where e^-z is not a normal f32 it is 0. */
const FLUSHED = 2 ** -116

function checkGelu({ rows, feedForward, dtype, seed }: Case, path: string): void {
  const up = random(seed, rows * feedForward, dtype, 12)
  const dout = random(seed + 1, rows * feedForward, dtype)
  const shape = { rows, feedForward, bf16: flagOf(dtype) }
  const { out } = runOnThreads('gelu', shape, { out: poison(rows * feedForward, dtype), up }, { path })
  const { dUp } = runOnThreads('geluBackward', shape, { dUp: poison(rows * feedForward, dtype), dout, up }, { path })
  const [values, gradient] = [numbers(up), numbers(dout)]
  const expected = values.map(gelu)
  expectWithin('out', numbers(out), expected, (i) => (geluError(values[i] as number) + UNIT[dtype]) * Math.abs(expected[i] as number) + FLUSHED)
  // Its zero near -0.75: the terms cancel there, and their errors remain.
  const terms = Array.from(values, geluDerivative)
  const derivatives = terms.map(([s, slope], i) => (gradient[i] as number) * (s + slope))
  expectWithin('dUp', numbers(dUp), derivatives, (i) => {
    const [s, slope] = terms[i] as [number, number]
    const magnitude = Math.abs(gradient[i] as number) * (Math.abs(s) + Math.abs(slope))
    return 2 * geluError(values[i] as number) * magnitude + UNIT[dtype] * Math.abs(derivatives[i] as number) + FLUSHED
  })
}

describe.each(PATHS)('activation on %s', (path) => {
  it('gates forward and backward at any size', () => {
    fc.assert(
      fc.property(sizes, (c) => check(c, path)),
      { numRuns: runsOf(30) },
    )
  })
  it('takes GELU forward and backward at any size', () => {
    fc.assert(
      fc.property(sizes, (c) => checkGelu(c, path)),
      { numRuns: runsOf(30) },
    )
    checkGelu({ rows: 3, feedForward: 30_001, dtype: 'f32', seed: 2 }, path) // more than one tile
  })
  it('has GELU and its derivative at any magnitude, its left tail with the digits of its right', () => {
    const up = Float32Array.of(-3.4e38, -1e13, -100, -9, -1e-30, 0, 1e-30, 9, 100, 1e13, 3.4e38, Number.NaN)
    const shape = { rows: 1, feedForward: up.length, bf16: 0 }
    const { out } = run('gelu', shape, { out: poison(up.length, 'f32'), up }, { path })
    const { dUp } = run('geluBackward', shape, { dUp: poison(up.length, 'f32'), dout: new Float32Array(up.length).fill(1), up }, { path })
    const [tail, slope] = [gelu(-9), geluDerivative(-9)] // -9 sigmoid(-66), some 1e-28
    const within = (relative: number, expected: number) => expect.toSatisfy((x: number) => Math.abs(x / expected - 1) < relative)
    const positive = (memory: ArrayLike<number>): number[] => Array.from(memory, (x) => x + 0) // -0 is as good
    const [small, large] = [Math.fround(1e-30), Math.fround(1e13)]
    expect(positive(out)).toEqual([0, 0, 0, within(3e-5, tail), -small / 2, 0, small / 2, 9, 100, large, Math.fround(3.4e38), Number.NaN])
    expect(positive(dUp)).toEqual([0, 0, 0, within(3e-5, slope[0] + slope[1]), 0.5, 0.5, 0.5, 1, 1, 1, 1, Number.NaN])
  })
  it('has e^x good to 2e-7 as far as there are f32 for it', () => {
    // gate sigmoid(gate) is gate e^gate to 1e-9 for a gate below -20.
    const count = 20_001
    const last = 88.72283172607422 // e^x of the next f32 is infinity
    const gates = Float32Array.from({ length: count }, (_, i) => -20 - (i / (count - 1)) * (last - 20))
    const gateUp = Float32Array.from([...gates, ...gates.map(() => 1)])
    const { out } = run('swiglu', { rows: 1, feedForward: count, bf16: 0 }, { out: poison(count, 'f32'), gateUp }, { path })
    const expected = Float64Array.from(gates, (gate) => swiglu(gate, 1))
    expectWithin('swiglu', out, expected, (i) => ERROR * Math.abs(expected[i] as number))
  })
  it('neither overflows nor loses a NaN', () => {
    const gateUp = tensor([-1e30, -200, -88.73, 0, 200, Number.NaN, Number.NaN, ...Array<number>(7).fill(1)], 'f32')
    new Uint32Array(gateUp.buffer, gateUp.byteOffset)[6] = 0x7fc001ff // a NaN that carries a number
    const { out } = run('swiglu', { rows: 1, feedForward: 7, bf16: 0 }, { out: poison(7, 'f32'), gateUp }, { path })
    expect([...out].map((x) => (Object.is(x, -0) ? 0 : x))).toEqual([0, 0, 0, 0, 200, Number.NaN, Number.NaN])
  })
})

describe('the reference of swiglu', () => {
  it('has the gradient that its forward has', () => {
    for (const [gate, up] of [
      [0.3, -2],
      [-1.3, 0.7],
      [4, 1.5],
    ] as const) {
      const { dgate, dup } = swigluBackward(1.7, gate, up)
      expectWithin(
        'gradient',
        [dgate, dup],
        derivative(([g, u]) => 1.7 * swiglu(g as number, u as number), Float64Array.of(gate, up)),
        () => 1e-8,
      )
    }
  })
})

describe('the reference of GELU', () => {
  it('is the tanh form, and has the derivative that it has', () => {
    for (const a of [-5, -0.75, 0, 0.3, 1, 4]) {
      const tanh = (a / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (a + 0.044715 * a ** 3)))
      expectWithin('gelu', [gelu(a)], [tanh], () => 1e-15)
      const [s, slope] = geluDerivative(a)
      expectWithin(
        'derivative',
        [s + slope],
        derivative(([x]) => gelu(x as number), Float64Array.of(a)),
        () => 1e-9,
      )
    }
  })
})
