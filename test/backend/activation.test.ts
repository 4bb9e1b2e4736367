import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { swiglu, swigluBackward } from './reference/activation.js'
import { derivative } from './reference/derivative.js'
import { expectWithin, PATHS, run, runOnThreads } from './reference/run.js'
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

describe.each(PATHS)('activation on %s', (path) => {
  it('gates forward and backward at any size', () => {
    fc.assert(
      fc.property(sizes, (c) => check(c, path)),
      { numRuns: 30 },
    )
  })
  it('has e^x good to 2e-7 over all of its range', () => {
    // With up = 1 / gate the output is sigmoid(gate), which is e^gate to 1e-9 for a gate below -20.
    const count = 20_001
    const gates = Float32Array.from({ length: count }, (_, i) => -20 - (i / count) * 66)
    const gateUp = Float32Array.from([...gates, ...gates.map((gate) => 1 / gate)])
    const { out } = run('swiglu', { rows: 1, feedForward: count, bf16: 0 }, { out: poison(count, 'f32'), gateUp }, { path })
    const expected = Float64Array.from(gates, (gate) => swiglu(gate, Math.fround(1 / gate)))
    expectWithin('sigmoid', out, expected, (i) => ERROR * (expected[i] as number))
  })
  it('neither overflows nor loses a NaN', () => {
    const gates = [-1e30, -200, 0, 200, Number.NaN]
    const { out } = run('swiglu', { rows: 1, feedForward: 5, bf16: 0 }, { out: poison(5, 'f32'), gateUp: tensor([...gates, 1, 1, 1, 1, 1], 'f32') }, { path })
    expect([...out].map((x) => (Object.is(x, -0) ? 0 : x))).toEqual([0, 0, 0, 200, Number.NaN])
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
