import { afterAll, describe, expect, it } from 'vitest'
import { Device } from '../../kernel/src/fpdt/device.js'
import { adamW, type Optimizer } from '../../kernel/src/fpdt/plan/optimizer.js'
import type { TrainOptions } from '../../kernel/src/fpdt/plan/training-plan.js'
import type { ModelConfig } from '../../kernel/src/model/config.js'
import { gpt } from '../../kernel/src/model/gpt.js'
import { llama } from '../../kernel/src/model/llama.js'
import { groupsOf } from '../../kernel/src/model/parameters.js'
import { square } from './errors.js'
import { randomSequences } from './generated.js'
import { asText, byTensor } from './harness.js'
import { type CaseResult, hasPyTorch, type NamedTensor, pytorch } from './pytorch/pytorch.js'
import { adamWState, adamW as oracleAdamW } from './reference/adamw.js'
import { type Sequence, transformerStep, type Weights } from './reference/transformer.js'
import { unmeasured } from './unmeasured.mjs'

unmeasured(Device)
const device = await Device.cpu({ memory: '256 MiB', host: '256 MiB', threads: 2 })
afterAll(() => device.close())

const STEPS = 5
const families: [string, ModelConfig][] = [
  ['Llama', llama({ layers: 2, width: 32, heads: 4, kvHeads: 2, headSize: 16, feedForward: 40, vocab: 97 })],
  ['GPT-2', gpt({ layers: 2, width: 32, heads: 4, headSize: 8, feedForward: 40, vocab: 97, positions: 61 })],
]
/** Warm-up over two steps, then a cosine that has all but ended; gradients of these models are longer than 0.5, so they are clipped. */
const optimizer = { rate: 3e-3, warmup: 2, steps: 6, floor: 0.1, decay: 0.1, maxNorm: 0.5 }
/** By the words of `adamW`: 1/2, 1, then (1 + cos) / 2 between the whole rate and a tenth of it. */
const rates = [0.5, 1, ...[1, 2, 3].map((step) => 0.1 + 0.45 * (1 + Math.cos((Math.PI * step) / 4)))].map((share) => share * optimizer.rate)

interface Trained {
  readonly losses: readonly number[]
  readonly norms: readonly number[]
  readonly before: readonly NamedTensor[]
  readonly after: Weights
  readonly steps: readonly (readonly Sequence[])[]
  readonly made: Optimizer
}

/** Five steps of ours. */
async function train(model: ModelConfig, changes: Partial<Optimizer> = {}, options: Partial<TrainOptions> = {}): Promise<Trained> {
  const made = adamW({ ...optimizer, ...changes })
  const sizes = { sequence: 61, batch: 2, documents: true }
  const run = await device.train(model, { ...sizes, chunk: 16, ranks: 2, dtype: 'f32', optimizer: made, seed: 7, ...options })
  const values = await run.parameters()
  const before = groupsOf(run.training.values.layout).flatMap((group) =>
    group.parts.map(({ name, shape, offset }) => ({
      name: `${group.name}/${name}`,
      shape,
      values: values.get(group.name)!.slice(offset, offset + shape.reduce((product, extent) => product * extent, 1)),
    })),
  )
  const steps = Array.from({ length: STEPS }, (_, step) => randomSequences(model, sizes, step))
  const [losses, norms]: [number[], number[]] = [[], []]
  for (const sequences of steps) {
    const { loss, gradient_norm } = await run.step(asText(sequences))
    losses.push(loss!)
    norms.push(gradient_norm!)
  }
  const after = byTensor(run.training, await run.parameters())
  await run.close()
  return { losses, norms, before, after, steps, made }
}

/**
 * Losses, gradient norms and parameters of two trainings. Adam divides by the root of the second moment: where a gradient is all but
 * zero, its rounding decides the direction, and that one element may be off by a whole rate. So tensors are compared by norm: what
 * the parameters are to 1e-5, and by how much they have changed, a thousandth of that, to 2e-3.
 */
function expectAlike(model: ModelConfig, found: Trained, expected: Pick<CaseResult, 'losses' | 'norms' | 'result'>): void {
  for (const [step, loss] of expected.losses.entries()) {
    expect(Math.abs(found.losses[step]! / loss - 1), `loss of step ${step + 1}`).toBeLessThanOrEqual(2e-6)
    expect(Math.abs(found.norms[step]! / expected.norms[step]! - 1), `gradient norm of step ${step + 1}`).toBeLessThanOrEqual(2e-5)
  }
  for (const { name, values } of found.before) {
    const [before, actual, exact] = [Float64Array.from(values), found.after.get(name)!, expected.result.get(name)!].map((all) => decided(model, name, all))
    const difference = square(minus(actual!, exact!))
    const moved = square(minus(exact!, before!))
    expect(moved, `${name} has moved`).toBeGreaterThan(0)
    expect(Math.sqrt(difference / square(exact!)), name).toBeLessThanOrEqual(1e-5)
    expect(Math.sqrt(difference / moved), `the change of ${name}`).toBeLessThanOrEqual(2e-3)
  }
}
const minus = (a: Float64Array, b: Float64Array): Float64Array => a.map((value, i) => value - b[i]!)

/**
 * The elements that have a gradient: without rotary a key's bias adds the same to all scores of a query, which softmax does not see,
 * so that its gradient is 0 and rounding alone moves it.
 */
function decided({ positions, heads, kvHeads, headSize }: ModelConfig, name: string, values: Float64Array): Float64Array {
  if (positions.kind === 'rotary' || !name.endsWith('qkvBias')) return values
  return values.filter((_, i) => i < heads * headSize || i >= (heads + kvHeads) * headSize)
}

type BesidePyTorch = Map<ModelConfig, { readonly found: Trained; readonly expected: CaseResult }>
let beside: Promise<BesidePyTorch> | undefined
/** Steps of every family, here and in one process of PyTorch, which takes seconds to start. */
function besidePyTorch(): Promise<BesidePyTorch> {
  beside ??= (async () => {
    const all: { model: ModelConfig; found: Trained }[] = []
    for (const [, model] of families) all.push({ model, found: await train(model) })
    const answers = pytorch(all.map(({ model, found: { before, steps, made } }) => ({ model, weights: before, run: 'fp64', steps, optimizer: made, rates })))
    return new Map(all.map(({ model, found }, i) => [model, { found, expected: answers[i]! }]))
  })()
  return beside
}

describe.each(families)('five AdamW steps of %s', (_, model) => {
  it.each([true, false])('follow the fp64 equations: warm-up and cosine, clipping, decay of matrices alone; of tables: %s', async (decayEmbeddings) => {
    const found = await train(model, { decayEmbeddings })
    const weights: Weights = new Map(found.before.map(({ name, values }) => [name, Float64Array.from(values)]))
    const state = adamWState(weights)
    const [losses, norms]: [number[], number[]] = [[], []]
    for (const [step, sequences] of found.steps.entries()) {
      const { loss, gradients } = transformerStep(model, weights, sequences)
      losses.push(loss)
      norms.push(oracleAdamW(weights, state, gradients, step + 1, { ...found.made, rate: rates[step]! }))
    }
    expect(Math.min(...norms), 'all are clipped').toBeGreaterThan(optimizer.maxNorm)
    expectAlike(model, found, { losses, norms, result: weights })
  })

  it.skipIf(!hasPyTorch)('follow torch.optim.AdamW in fp64', async () => {
    const { found, expected } = (await besidePyTorch()).get(model)!
    expectAlike(model, found, expected)
  })

  it('have the same bits wherever states, weights and gradients live', async () => {
    const { after, losses } = await train(model)
    for (const tier of ['host', 'disk'] as const) {
      const found = await train(model, { tier }, tier === 'disk' ? { parameters: 'host', keep: 'disk', checkpoints: 'disk' } : {})
      expect(found.losses).toEqual(losses)
      expect(found.after).toEqual(after)
    }
  })
})
