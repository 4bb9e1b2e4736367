import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ModelConfig } from '../../kernel/src/model/config.js'
import { groupsOf, parameterLayout } from '../../kernel/src/model/parameters.js'
import { rotaryOf } from '../../kernel/src/model/rotary.js'
import { gradientError } from './errors.js'
import { anyStep, exactly } from './generated.js'
import { hasPyTorch, pytorch } from './pytorch/pytorch.js'
import { rotaryTurns } from './reference/rotary.js'
import { randomBf16 } from './reference/rounding.js'
import { type Sequence, transformerStep, type Weights } from './reference/transformer.js'

const llama: ModelConfig = {
  family: 'llama',
  layers: 2,
  width: 6,
  heads: 4,
  kvHeads: 2,
  headSize: 8,
  feedForward: 5,
  vocabulary: 9,
  tied: false,
  positions: { kind: 'rotary', theta: 100 },
  norm: 'rms',
  normEps: 1e-5,
  activation: 'swiglu',
  bias: { attention: false, feedForward: false },
}
const gpt2: ModelConfig = {
  ...llama,
  family: 'gpt2',
  kvHeads: 4,
  tied: true,
  positions: { kind: 'learned', length: 8 },
  norm: 'layer',
  activation: 'gelu',
  bias: { attention: true, feedForward: true },
}
const yarn = { kind: 'yarn', factor: 4, betaFast: 4, betaSlow: 1, original: 64, magnitude: 1.14 } as const
const llama3 = { kind: 'llama3', factor: 8, lowFrequency: 1, highFrequency: 4, original: 32 } as const

const weightsOf = (model: ModelConfig): Weights =>
  new Map(
    groupsOf(parameterLayout(model, 1)).flatMap((group, g) =>
      group.parts.map(({ name, shape }, p) => [
        `${group.name}/${name}`,
        Float64Array.from({ length: shape.reduce((product, extent) => product * extent, 1) }, (_, i) => Math.sin(7 * g + 3 * p + 1.3 * i) * 0.6),
      ]),
    ),
  )
const sequences: Sequence[] = [
  { tokens: [3, 1, 4, 1, 5, 8, 2], labels: [1, 4, 1, 5, -1, 2, -1] },
  { tokens: [0, 0, 7, 3, 6], labels: [0, -1, 3, 6, -1], starts: [0, 0, 2, 2, 2] },
]

describe('the oracle', () => {
  it.each([
    ['Llama', llama],
    ['Llama with tied head, biases and YaRN', { ...llama, kvHeads: 1, tied: true, positions: { kind: 'rotary', theta: 100, scaling: yarn }, bias: gpt2.bias }],
    ['GPT-2', gpt2],
    ['GPT-2 with its own head, SwiGLU and no biases', { ...gpt2, tied: false, activation: 'swiglu', bias: llama.bias }],
  ] as [string, ModelConfig][])('has the gradient of its own loss, by central differences: %s', (_, model) => {
    const weights = weightsOf(model)
    const { gradients } = transformerStep(model, weights, sequences)
    for (const [name, values] of weights) {
      for (const i of new Set([0, 1, Math.floor(values.length / 2), values.length - 1])) {
        const lossAt = (delta: number): number => transformerStep(model, new Map(weights).set(name, values.with(i, values[i]! + delta)), sequences).loss
        expect(gradients.get(name)![i], `${name} ${i}`).toBeCloseTo((lossAt(1e-5) - lossAt(-1e-5)) / 2e-5, 8)
      }
    }
    // A gradient that is zero everywhere would prove little.
    for (const [name, values] of gradients) expect(Math.hypot(...values), name).toBeGreaterThan(1e-4)
  })

  it.skipIf(!hasPyTorch)('is PyTorch in fp64, to its last bits: two programs that share no line', () => {
    const steps = fc.sample(anyStep, 40)
    const found = pytorch(steps.map(({ model, weights, sequences }) => ({ model, weights, run: 'fp64', steps: [sequences] })))
    for (const [i, { model, weights, sequences }] of steps.entries()) {
      const { loss, gradients } = transformerStep(model, exactly(weights), sequences)
      expect(Math.abs(found[i]!.losses[0]! / loss - 1)).toBeLessThanOrEqual(1e-12)
      const worst = gradientError(found[i]!.result, gradients)
      expect(worst.error, `${worst.tensor} of ${JSON.stringify(model)}`).toBeLessThanOrEqual(1e-12)
    }
  })

  it.each([llama, gpt2])('packed documents are as good as sequences of their own: $family', (model) => {
    const weights = weightsOf(model)
    const packed: Sequence = { tokens: [3, 1, 4, 1, 5, 8, 2], labels: [1, 4, -1, 5, 8, -1, 2], starts: [0, 0, 0, 3, 3, 3, 6] }
    const apart = [
      [0, 3],
      [3, 6],
      [6, 7],
    ].map(([from, to]) => ({ tokens: Array.from(packed.tokens).slice(from, to), labels: Array.from(packed.labels).slice(from, to) }))
    const [one, three] = [transformerStep(model, weights, [packed]), transformerStep(model, weights, apart)]
    expect(one.loss).toBeCloseTo(three.loss, 13)
    for (const [name, values] of one.gradients) for (const [i, value] of values.entries()) expect(value, name).toBeCloseTo(three.gradients.get(name)![i]!, 13)
  })

  it('with rotary positions knows distances alone: where a document begins in its sequence changes nothing', () => {
    const model: ModelConfig = { ...llama, positions: { kind: 'rotary', theta: 100, scaling: llama3 } }
    const [head, tail] = [
      [3, 1, 4, 1],
      [5, 8, 2],
    ] as const
    const after = { tokens: [...head, ...tail], labels: [-1, -1, -1, -1, 8, 2, -1], starts: [0, 0, 0, 0, 4, 4, 4] }
    const alone = { tokens: [...tail], labels: [8, 2, -1] }
    const weights = weightsOf(model)
    expect(transformerStep(model, weights, [after]).loss).toBeCloseTo(transformerStep(model, weights, [alone]).loss, 13)
  })
})

describe('rounding to bf16 at random', () => {
  // 1 + 2^-7 is the bf16 after 1.
  const [below, above] = [1, 1 + 2 ** -7]
  const roundings = Array.from({ length: 4000 }, (_, seed) => randomBf16(seed))

  it.each([0.125, 0.5, 0.75])('goes up as often as the value is near the upper neighbour: %d', (share) => {
    const value = below + share * (above - below)
    const ups = roundings.map((round) => round(value)).filter((found) => found !== below)
    expect(new Set(ups)).toEqual(new Set([above]))
    // Fixed seeds; four standard deviations of so many throws.
    expect(Math.abs(ups.length / roundings.length - share)).toBeLessThanOrEqual(4 * Math.sqrt((share * (1 - share)) / roundings.length))
  })
  it('keeps what bf16 holds, and of one seed treats a value and its negative always alike', () => {
    for (const round of roundings.slice(0, 50)) {
      for (const value of [0, below, above, -3, 2 ** -100]) expect(round(value)).toBe(value)
      expect(round(-1.003)).toBe(-round(1.003))
    }
  })
})

// A ramp of Llama 3 leaves a 64th of numbers that cancel: 1e-13 is 64 roundings of f64 and a few.
describe('rotary frequencies', () => {
  it('of the product are those of the papers, to the last bits of f64', () => {
    const sizes = fc.record({ headSize: fc.integer({ min: 4, max: 32 }).map((n) => 8 * n), theta: fc.constantFrom(500, 10_000, 500_000, 1e6) })
    const factor = fc.double({ min: 1, max: 64, noNaN: true })
    const original = fc.constantFrom(2048, 4096, 8192, 32768)
    const scaling = fc.oneof(
      fc.constant(undefined),
      fc.record({ kind: fc.constant('linear' as const), factor }),
      fc.record({ kind: fc.constant('llama3' as const), factor, lowFrequency: fc.constantFrom(1, 2), highFrequency: fc.constantFrom(4, 8), original }),
      fc.record({
        kind: fc.constant('yarn' as const),
        factor,
        betaFast: fc.constantFrom(16, 32),
        betaSlow: fc.constantFrom(1, 2),
        original,
        magnitude: fc.double({ min: 1, max: 2, noNaN: true }),
      }),
    )
    fc.assert(
      fc.property(sizes, scaling, ({ headSize, theta }, chosen) => {
        const positions = { kind: 'rotary' as const, theta, ...(chosen ? { scaling: chosen } : {}) }
        const [found, expected] = [rotaryOf(positions, headSize)!, rotaryTurns(positions, headSize)]
        expect(found.magnitude).toBe(expected.magnitude)
        expect(found.frequencies.length).toBe(headSize / 2)
        for (const [pair, turn] of expected.turns.entries()) expect(Math.abs(found.frequencies[pair]! / turn - 1), `pair ${pair}`).toBeLessThan(1e-13)
      }),
      { numRuns: 300 },
    )
  })

  it('of Llama 3.1 8B: fast pairs as they are, slow ones an eighth, a ramp between', () => {
    const { turns } = rotaryTurns({ kind: 'rotary', theta: 500_000, scaling: { ...llama3, original: 8192 } }, 128)
    const plain = rotaryTurns({ kind: 'rotary', theta: 500_000 }, 128).turns
    const kept = turns.map((turn, pair) => turn / plain[pair]!)
    // Waves of 8192 / 4 positions and fewer are kept, of 8192 / 1 and more stretched: 2π 500000^(m/64) is 2048 at pair 28.2, 8192 at 34.98.
    expect(kept.map((share) => (share === 1 ? 'kept' : Math.abs(share - 1 / 8) < 1e-12 ? 'stretched' : 'ramp')).join(' ')).toMatch(
      /^(kept ){29}(ramp ){6}(stretched ?){29}$/,
    )
  })
})
