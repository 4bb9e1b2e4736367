import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import type { TrainOptions } from '../../kernel/src/fpdt/plan/training-plan.js'
import type { ModelConfig } from '../../kernel/src/model/config.js'
import { gpt } from '../../kernel/src/model/gpt.js'
import { llama } from '../../kernel/src/model/llama.js'
import { SYSTEM_NAMES, SYSTEMS } from '../../kernel/src/schedule/systems.js'
import { IS_WHOLE, untilTold } from './draws.js'
import { gradientError, normOf, wholeError } from './errors.js'
import { anyStep, bf16Exact, type GeneratedStep, randomSequences, randomWeights, stepOfSizes } from './generated.js'
import { closeDevices, deviceOf, engine, type Given, type Outcome, oracle, trainOptions } from './harness.js'
import { inRoundings, inUnits, MOST_ROUNDINGS, roundingErrors, worstOf } from './roundings.js'

afterAll(closeDevices)

/** A step of a model with random weights and tokens. */
const stepOf = (model: ModelConfig, options: TrainOptions & { sequence: number }, seed: number, deviation = 1) => ({
  model,
  options,
  weights: randomWeights(model, seed, deviation),
  sequences: randomSequences(model, options, seed),
})
const words = ({ model, hidden, options, seed }: GeneratedStep): string => JSON.stringify({ model, hidden, options, seed })
/** Compute dtypes, and in bf16 both of the hidden state. */
const DTYPES = [{ dtype: 'f32' }, { dtype: 'bf16', hidden: 'bf16' }, { dtype: 'bf16', hidden: 'f32' }] as const

describe('a step in f32', () => {
  it('errs as rounding alone does, in its loss and in each tensor of its gradient: any model, any sizes, any policy', async () => {
    await fc.assert(
      fc.asyncProperty(
        anyStep,
        untilTold(async (step) => {
          const found = await engine({ ...step, options: { ...trainOptions(step.options), dtype: 'f32' } })
          const expected = oracle(step)
          const { part, error } = worstOf(inRoundings(found, expected, step, { dtype: 'f32' }))
          expect(error, `${part}: ${words(step)}`).toBeLessThanOrEqual(MOST_ROUNDINGS.f32)
          expect(Math.abs(found.gradientNorm / normOf(found.gradients) - 1), words(step)).toBeLessThanOrEqual(1e-12)
        }),
      ),
      { numRuns: 80 },
    )
  }, 120_000)
})

describe.each(
  [
    ['Llama, one key/value head', llama({ layers: 2, width: 36, heads: 12, kvHeads: 1, headSize: 8, feedForward: 44, vocab: 67 }), [1, 2, 3, 4]],
    ['Llama, two key/value heads', llama({ layers: 2, width: 36, heads: 8, kvHeads: 2, headSize: 16, feedForward: 44, vocab: 67, tied: false }), [1, 2, 4]],
    ['GPT-2', gpt({ layers: 2, width: 36, heads: 12, headSize: 8, feedForward: 44, vocab: 67, positions: 93 }), [1, 2, 3, 4]],
  ].map((each, i) => [...each, i] as [string, ModelConfig, number[], number]),
)('%s', (_, model, allRanks, i) => {
  const shared = { sequence: 93, batch: 2, documents: true, dtype: 'f32' as const }
  const step = stepOf(model, shared, 5)

  it(`is the same on ${allRanks.join(', ')} ranks, under all five systems`, async () => {
    const reference = await engine({ ...step, options: { ...shared, system: 'ulysses' } })
    for (const ranks of allRanks) {
      for (const system of SYSTEM_NAMES) {
        for (const chunk of SYSTEMS[system].chunked ? [12, 36] : [undefined]) {
          const found = await engine({ ...step, options: { ...shared, ranks, system, ...(chunk ? { chunk } : {}) } })
          const name = `${system} with chunk ${chunk} on ${ranks} ranks`
          expect(Math.abs(found.loss / reference.loss - 1), name).toBeLessThanOrEqual(1e-6)
          const worst = gradientError(found.gradients, reference.gradients)
          // Two results, each within 1e-5 of the exact one (sums in another order).
          expect(worst.error, `${name}: ${worst.tensor}`).toBeLessThanOrEqual(2e-5)
        }
      }
    }
  })

  // Each model in a dtype of its own: what a policy moves knows of the model and the dtype only how many bytes they make. In test/long in all.
  it.each(IS_WHOLE ? DTYPES : [DTYPES[i]!])(
    'has the same bits in %o wherever things wait, however early they are fetched, whatever is kept',
    async (dtypes) => {
      const options = { ...shared, ...dtypes, chunk: 24, ranks: 2, feedForwardRows: 5, lossRows: 7 }
      for (const backwardOrder of ['kv', 'q'] as const) {
        const run = (policy: Partial<TrainOptions>) => engine({ ...step, options: { ...options, backwardOrder, ...policy } })
        const expected = await run({})
        const policies: Partial<TrainOptions>[] = [
          { offload: 'device', checkpoints: 'device' },
          { checkpoints: 'disk' },
          { keep: 'device' },
          { keep: 'host' },
          { keep: 'disk' },
          { offload: 'device', checkpoints: 'device', keep: 'all' },
          { parameters: 'host' },
          { lookAhead: 0 },
          { prefetch: 0 },
          { prefetch: 3 },
        ]
        for (const policy of policies) expect(await run(policy), JSON.stringify({ backwardOrder, ...policy })).toEqual(expected)
      }
    },
  )
})

/** Found by generation. Its 5 tokens leave a gradient that rounding moves by 3 to 40 %: PyTorch's autocast errs by 13 %, all in bf16 by 19 %, this engine by 10 %. */
const illConditioned = stepOfSizes(
  {
    model: llama({
      ...{ layers: 2, width: 12, heads: 6, kvHeads: 2, headSize: 16, feedForward: 11, vocab: 9, tied: false },
      ...{ theta: 500, scaling: { kind: 'linear', factor: 3.5 }, bias: { attention: true, feedForward: false } },
    }),
    hidden: 'bf16',
    options: { sequence: 5, chunk: 10, ranks: 2, feedForwardRows: 1, lossRows: 1, batch: 1, accumulate: 1, lookAhead: 0, prefetch: 0 },
  },
  273682,
)

describe('a step in bf16', () => {
  const rounded = <Step extends Given>(step: Step): Step => ({ ...step, weights: step.weights.map(bf16Exact) })
  const dtypesOf = ({ hidden }: GeneratedStep) => ({ dtype: 'bf16', hidden }) as const
  const run = (step: GeneratedStep): Promise<Outcome> => engine({ ...step, options: { ...trainOptions(step.options), ...dtypesOf(step) } })

  it('errs as rounding alone does, in its loss and in each tensor of its gradient: any model, any sizes, any policy', async () => {
    const [errors, ratios]: [number[], number[]] = [[], []]
    await fc.assert(
      fc.asyncProperty(
        anyStep,
        untilTold(async (given) => {
          const step = rounded(given)
          const [found, exact] = [await run(step), oracle(step)]
          const parts = inRoundings(found, exact, step, dtypesOf(step))
          const { part, error } = worstOf(parts)
          expect(error, `${part}: ${words(step)}`).toBeLessThanOrEqual(MOST_ROUNDINGS.bf16)
          ratios.push(parts.get('gradient')!)
          errors.push(wholeError(found.gradients, exact.gradients))
        }),
      ),
      { numRuns: 40 },
    )
    // Roundings err by 1 % in the middle, and this engine by 0.7 %.
    const median = (values: number[]): number => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!
    expect(median(ratios)).toBeLessThanOrEqual(1)
    expect(median(errors)).toBeLessThanOrEqual(0.012)
  }, 120_000)

  it('errs as far as rounding takes it where a gradient is a small difference of large numbers', async () => {
    const step = rounded(illConditioned)
    const [found, exact] = [await run(step), oracle(step)]
    expect(wholeError(found.gradients, exact.gradients)).toBeGreaterThan(0.07) // the draw is what it is said to be
    const { part, error } = worstOf(inUnits(found, exact, dtypesOf(step), roundingErrors(exact, step, dtypesOf(step), 64)))
    expect(error, part).toBeLessThanOrEqual(MOST_ROUNDINGS.bf16)
  })

  it('is found out by its roundings when its loss is 2 % too large, or one tensor of its gradient 10 %', async () => {
    const model = llama({ layers: 2, width: 20, heads: 4, kvHeads: 2, headSize: 8, feedForward: 24, vocab: 30, tied: false, bias: true })
    const step = rounded(stepOfSizes({ model, hidden: 'bf16', options: { sequence: 40, chunk: 20, ranks: 2, batch: 1, accumulate: 1 } }, 1))
    const [found, exact] = [await run(step), oracle(step)]
    const rounding = roundingErrors(exact, step, dtypesOf(step), 16)
    const worst = (wrong: Partial<Outcome>) => worstOf(inUnits({ ...found, ...wrong }, exact, dtypesOf(step), rounding))
    expect(worst({}).error).toBeLessThanOrEqual(MOST_ROUNDINGS.bf16)
    expect(worst({ loss: 1.02 * found.loss }).error).toBeGreaterThan(MOST_ROUNDINGS.bf16)
    for (const [name, values] of found.gradients) {
      const larger = values.map((value) => 1.1 * value)
      const { part, error } = worst({ gradients: new Map(found.gradients).set(name, larger) })
      expect(part).toBe(name)
      expect(error, name).toBeGreaterThan(MOST_ROUNDINGS.bf16)
    }
  })

  it.for([
    ['avx512bf16', 64, 2, 'bf16'],
    ['avx512bf16', 128, 1, 'f32'],
    ['avx2', 64, 2, 'f32'],
    ['scalar', 64, 1, 'bf16'],
  ] as const)(
    'is right tensor by tensor on the %s path at head size %i, %i key/value heads, hidden state in %s',
    async ([path, headSize, kvHeads, hidden], { skip }) => {
      skip(path === 'avx512bf16' && deviceOf().info().path !== path, 'this processor has no bf16 dot products')
      const model = llama({ layers: 2, width: 96, heads: 4, kvHeads, headSize, feedForward: 136, vocab: 211 })
      const step = stepOf(model, { sequence: 331, chunk: 120, ranks: kvHeads, dtype: 'bf16' as const, hidden }, 12)
      const weights = step.weights.map(bf16Exact)
      const found = await engine({ ...step, weights }, deviceOf(2, path))
      const expected = oracle({ ...step, weights })
      expect(Math.abs(found.loss / expected.loss - 1)).toBeLessThanOrEqual(2e-3)
      const worst = gradientError(found.gradients, expected.gradients)
      // Hundreds of tokens average the roundings out: what is left is theirs, 1.2 to 1.7 %, and no tensor is wrong.
      expect(worst.error, worst.tensor).toBeLessThanOrEqual(0.025)
    },
  )
})

describe('determinism', () => {
  it.each(DTYPES.map((dtypes, i) => [dtypes, i] as const))('gives the same bits in %o with 1, 2 and 3 threads, and again', async (dtypes, i) => {
    const both = [
      llama({ layers: 2, width: 48, heads: 4, kvHeads: 1, headSize: 64, feedForward: 72, vocab: 101 }),
      gpt({ layers: 2, width: 48, heads: 4, headSize: 64, feedForward: 72, vocab: 101, positions: 700 }),
    ]
    // Threads share the rows of an op, whatever the model: one a dtype, by turns, and in test/long both.
    for (const model of IS_WHOLE ? both : [both[i % 2]!]) {
      const step = stepOf(model, { sequence: 700, chunk: 256, ranks: 2, ...dtypes, documents: true }, 9)
      const first = await engine(step, deviceOf(1))
      for (const threads of [1, 2, 3]) expect(await engine(step, deviceOf(threads))).toEqual(first)
    }
  })
})
