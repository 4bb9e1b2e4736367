/** Steps with weights and tokens: what the engine, the oracle and PyTorch are all given. */
import fc from 'fast-check'
import { fromBf16, toBf16 } from '../../kernel/src/model/bf16.js'
import type { ModelConfig } from '../../kernel/src/model/config.js'
import { initialGroup } from '../../kernel/src/model/initialise.js'
import { groupsOf, parameterLayout } from '../../kernel/src/model/parameters.js'
import { fillNormal, randomSource } from '../../kernel/src/model/random.js'
import { type AnySizes, anySizes } from '../null/schedule/arbitrary.js'
import { IS_WHOLE } from './draws.js'
import type { NamedTensor } from './pytorch/pytorch.js'
import type { Sequence, Weights } from './reference/transformer.js'

export interface GeneratedStep extends AnySizes {
  readonly seed: number
  readonly weights: readonly NamedTensor[]
  readonly sequences: readonly Sequence[]
}

/** Small enough for an oracle of explicit loops, whose time grows with the square of the rows; with more rows in test/long. */
export const anyStep: fc.Arbitrary<GeneratedStep> = fc
  .tuple(anySizes({ layers: 2, chunks: 5, local: IS_WHOLE ? 11 : 6 }), fc.integer({ min: 1, max: 1e6 }))
  .map(([sizes, seed]) => stepOfSizes(sizes, seed))
/** All of a generated step, from what a failure prints of it. */
export function stepOfSizes(sizes: AnySizes, seed: number): GeneratedStep {
  const { model, options } = sizes
  return { ...sizes, seed, weights: randomWeights(model, seed), sequences: randomSequences(model, options, seed) }
}

/**
 * Weights of variance 1 / inputs: activations and scores are of order one, so attention is far from uniform and every path
 * matters, and f32 still resolves every gradient.
 */
export function randomWeights(model: ModelConfig, seed: number, deviation = 1): NamedTensor[] {
  const next = randomSource(seed)
  return groupsOf(parameterLayout(model, 1)).flatMap((group) =>
    group.parts.map(({ name, shape }) => {
      const values = new Float32Array(shape.reduce((product, extent) => product * extent, 1))
      fillNormal(values, shape.length === 1 ? 0.2 : deviation / Math.sqrt(shape[1]!), next)
      if (/^norm\d?$/.test(name)) for (let i = 0; i < values.length; i++) values[i]! += 1
      return { name: `${group.name}/${name}`, shape, values }
    }),
  )
}
/** Weights as training begins. */
export function firstWeights(model: ModelConfig, seed: number): NamedTensor[] {
  return groupsOf(parameterLayout(model, 1)).flatMap((group) => {
    const all = initialGroup(model, group, seed)
    return group.parts.map(({ name, shape, offset }) => ({
      name: `${group.name}/${name}`,
      shape,
      values: all.slice(offset, offset + shape.reduce((product, extent) => product * extent, 1)),
    }))
  })
}
/** The nearest weights that bf16 holds: neither the engine nor a reference rounds them again. */
export function bf16Exact({ name, shape, values }: NamedTensor): NamedTensor {
  return { name, shape, values: fromBf16(toBf16(values)) }
}
export function exactly(weights: readonly NamedTensor[]): Weights {
  return new Map(weights.map(({ name, values }) => [name, Float64Array.from(values)]))
}

/** Sequences of a step: the next word to foretell, some words ignored, documents of any length where they are packed. */
export function randomSequences(
  { vocabulary }: ModelConfig,
  { sequence, batch = 1, accumulate = 1, documents = false }: { sequence: number; batch?: number; accumulate?: number; documents?: boolean },
  seed: number,
): Sequence[] {
  const next = randomSource(seed + 1)
  const oneOf = (n: number): boolean => next() % n === 0
  return Array.from({ length: batch * accumulate }, (_, s) => {
    const tokens = Int32Array.from({ length: sequence }, () => next() % vocabulary)
    const starts = new Int32Array(sequence)
    for (let t = 1; t < sequence; t++) starts[t] = documents && oneOf(7) ? t : starts[t - 1]!
    // The first word of a step counts always: without any label there is no loss.
    const labels = tokens.map((_, t) => (t + 1 < sequence && starts[t + 1] !== t + 1 && !oneOf(9) ? tokens[t + 1]! : -1))
    if (s === 0) labels[0] = tokens[1]!
    return { tokens, labels, starts }
  })
}
