import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ModelConfig } from '../../kernel/src/model/config.js'
import { gpt } from '../../kernel/src/model/gpt.js'
import { llama } from '../../kernel/src/model/llama.js'
import { gradientError, normOf, wholeError } from './errors.js'
import { anyStep, firstWeights, randomSequences, randomWeights } from './generated.js'
import { closeDevices, deviceOf, engine, type Given, type Outcome, oracle, trainOptions } from './harness.js'
import { type Case, type CaseResult, hasPyTorch, pytorch } from './pytorch/pytorch.js'
import { inRoundings, MOST_ROUNDINGS, worstOf } from './roundings.js'

const generated = fc.sample(anyStep, 40)

const size = { width: 64, heads: 4, vocab: 131 }
const llamaOf = (layers: number): ModelConfig => llama({ ...size, layers, kvHeads: 2, headSize: 32, feedForward: 112, tied: false })
const gptOf = (layers: number): ModelConfig => gpt({ ...size, layers, positions: 150 })
const options = { sequence: 150, chunk: 64, ranks: 2, documents: true, dtype: 'bf16' as const }
const trials: [string, ModelConfig, (model: ModelConfig, seed: number) => Given['weights']][] = [
  ['Llama with activations of order one', llamaOf(3), randomWeights],
  ['Llama as training begins', llamaOf(3), firstWeights],
  ['Llama of 12 layers as training begins', llamaOf(12), firstWeights],
  ['GPT-2 with activations of order one', gptOf(3), randomWeights],
  ['GPT-2 as training begins', gptOf(3), firstWeights],
  ['GPT-2 of 12 layers as training begins', gptOf(12), firstWeights],
]
/** One draw is a coin flip, since roundings add up at random: errors are means over these. */
const DRAWS = 6
const draws = trials.map(([, model, weights]) =>
  Array.from({ length: DRAWS }, (_, seed) => ({ model, weights: weights(model, seed), sequences: randomSequences(model, options, seed) })),
)

/** Found by generation with weights half as large again: rounding alone puts norm1 of layer 0 beyond 2e-5. */
const edge: Given = (() => {
  const model = llama({ layers: 2, width: 20, heads: 2, kvHeads: 1, headSize: 8, feedForward: 8, vocab: 24 })
  const sequence = { tokens: [6, 10, 7, 17, 0, 0, 15, 15, 15], labels: [10, 7, 17, 0, 0, 15, 15, 15, -1] }
  return { model, weights: randomWeights(model, 577194, 1.5), sequences: [sequence] }
})()

/** Every case of this file goes through PyTorch at once: to start it takes seconds. */
const asked: Case[] = []
let answers: CaseResult[] = []
const ask = (given: Given, run: Case['run']): (() => CaseResult) => {
  const at = asked.push({ model: given.model, weights: given.weights, steps: [given.sequences], run }) - 1
  return () => answers[at]!
}
const answerAtEdge = ask(edge, 'fp32')
const exactOfGenerated = generated.map((step) => ask(step, 'fp64'))
const answersOfDraws = draws.map((each) => each.map((draw) => ({ exact: ask(draw, 'fp64'), autocast: ask(draw, 'autocast'), bf16: ask(draw, 'bf16') })))

describe.skipIf(!hasPyTorch)('PyTorch', () => {
  beforeAll(() => {
    answers = pytorch(asked)
  }, 120_000)
  afterAll(closeDevices)

  it('in fp64 is as far from our f32 step as rounding takes it, in loss and every gradient: any model, any sizes, any policy', async () => {
    for (const [i, step] of generated.entries()) {
      const words = JSON.stringify({ model: step.model, options: step.options, seed: step.seed })
      const found = await engine({ ...step, options: { ...trainOptions(step.options), dtype: 'f32' } })
      const { losses, result } = exactOfGenerated[i]!()
      const exact: Outcome = { loss: losses[0]!, gradients: result, gradientNorm: normOf(result) }
      const { part, error } = worstOf(inRoundings(found, exact, step, { dtype: 'f32' }))
      expect(error, `${part}: ${words}`).toBeLessThanOrEqual(MOST_ROUNDINGS.f32)
    }
  }, 120_000)

  it('in fp32 is about as far from fp64 as our f32 step where f32 itself is at its edge', async () => {
    const { gradients } = oracle(edge)
    const theirs = gradientError(answerAtEdge().result, gradients).error
    expect(theirs).toBeGreaterThan(1e-5) // the draw is what it is said to be
    for (const path of ['scalar', 'avx2', undefined]) {
      const options = { sequence: 9, dtype: 'f32' as const, chunk: 3, lookAhead: 0 as const, prefetch: 0, feedForwardRows: 1, lossRows: 1 }
      const ours = gradientError((await engine({ ...edge, options }, deviceOf(2, path))).gradients, gradients).error
      expect(ours / theirs, path).toBeLessThanOrEqual(1.5)
    }
  })

  /**
   * All get the same f32 weights, tokens and labels, and are held against fp64 of those very weights, so each pays for its own
   * roundings: to bf16 go, under autocast, inputs, weights and results of products and attention, while hidden state, norms, embeddings
   * and gradients of weights stay in f32; in plain bf16 everything; here everything that leaves an op, but for gradients of weights and,
   * where it is asked for in f32, the hidden state. In bf16, half the bytes to keep and to move, the hidden state is rounded twice a layer,
   * which shows in deep models whose branches are small beside it, as when training begins: at 12 layers that is 1.6 (Llama) and 1.9
   * (GPT-2) times autocast's error, and always below plain bf16, which is how such models are trained.
   */
  const hiddenTrials = trials.flatMap(([name, model], i) => (['f32', 'bf16'] as const).map((hidden) => [hidden, name, model.layers, i] as const))
  it.each(hiddenTrials)('in bf16 is about as far from fp64 as our bf16 step with its hidden state in %s: %s', async (hidden, _, layers, i) => {
    const squares = { ours: 0, autocast: 0, bf16: 0 }
    for (const [n, draw] of draws[i]!.entries()) {
      const { exact, autocast, bf16 } = answersOfDraws[i]![n]!
      const ours: Outcome = await engine({ ...draw, options: { ...options, hidden } })
      const error = (gradients: Outcome['gradients']): number => wholeError(gradients, exact().result) ** 2
      squares.ours += error(ours.gradients)
      squares.autocast += error(autocast().result)
      squares.bf16 += error(bf16().result)
    }
    expect(Math.sqrt(squares.ours / squares.bf16), 'beside plain bf16').toBeLessThanOrEqual(1.1)
    // Measured: 0.95 to 1.14 in f32; in bf16 1.16 to 1.25 at 3 layers.
    if (hidden === 'f32') expect(Math.sqrt(squares.ours / squares.autocast), 'beside autocast').toBeLessThanOrEqual(1.25)
    else if (layers <= 3) expect(Math.sqrt(squares.ours / squares.autocast), 'beside autocast').toBeLessThanOrEqual(1.5)
  })
})
