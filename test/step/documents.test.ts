/** What a step must not depend on: how documents are packed, what is ignored, pads, how sequences are grouped, how rows are cut. */
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import type { TrainOptions } from '../../kernel/src/fpdt/plan/training-plan.js'
import type { ModelConfig } from '../../kernel/src/model/config.js'
import { gpt } from '../../kernel/src/model/gpt.js'
import { llama } from '../../kernel/src/model/llama.js'
import { draws } from './draws.js'
import { gradientError } from './errors.js'
import { anyStep, randomSequences, randomWeights } from './generated.js'
import { closeDevices, Engine, engine, type Given, type Outcome, oracle, trainOptions } from './harness.js'
import type { Sequence, Weights } from './reference/transformer.js'
import { inRoundings, MOST_ROUNDINGS, worstOf } from './roundings.js'

afterAll(closeDevices)

const models: [string, ModelConfig][] = [
  ['Llama', llama({ layers: 2, width: 36, heads: 4, kvHeads: 2, headSize: 16, feedForward: 44, vocab: 67, tied: false })],
  ['GPT-2', gpt({ layers: 2, width: 36, heads: 4, headSize: 16, feedForward: 44, vocab: 67, positions: 96 })],
]
const countOf = ({ labels }: Sequence): number => Array.from(labels).filter((label) => label >= 0).length

/** Two results, each within 1e-5 of the exact one, and a loss within 1e-6. */
function expectSame(found: Outcome, expected: Pick<Outcome, 'loss' | 'gradients'>, name: string): void {
  expect(Math.abs(found.loss / expected.loss - 1), name).toBeLessThanOrEqual(2e-6)
  const worst = gradientError(found.gradients, expected.gradients)
  expect(worst.error, `${worst.tensor}: ${name}`).toBeLessThanOrEqual(2e-5)
}
/** No bit that counts differs: a gradient of 0 may have either sign. */
function expectEqual(found: Outcome, expected: Outcome): void {
  expect(found.loss).toBe(expected.loss)
  expect(gradientError(found.gradients, expected.gradients).error).toBe(0)
}

describe('packed documents', () => {
  /** Every document of a sequence as a sequence of its own. */
  const apart = ({ tokens, labels, starts }: Sequence): Sequence[] => {
    const begins = Array.from(tokens, (_, t) => t).filter((t) => (starts?.[t] ?? 0) === t)
    const cut = (array: ArrayLike<number>, d: number): number[] => Array.from(array).slice(begins[d], begins[d + 1])
    return begins.map((_, d) => ({ tokens: cut(tokens, d), labels: cut(labels, d) }))
  }
  /** The mean over all labels of steps on each alone, un-chunked and on one rank. */
  async function sum(given: Omit<Given, 'sequences'>, documents: readonly Sequence[]): Promise<Pick<Outcome, 'loss' | 'gradients'>> {
    const all = documents.reduce((sum, document) => sum + countOf(document), 0)
    let loss = 0
    const gradients: Weights = new Map(given.weights.map(({ name, values }) => [name, new Float64Array(values.length)]))
    const byLength = new Map<number, Engine>()
    for (const document of documents) {
      const share = countOf(document) / all
      if (share === 0) continue // nothing to learn, and alone refused
      // A sequence has two tokens at least; one that nothing looks at makes no difference.
      const [tokens, labels] =
        document.tokens.length > 1
          ? [document.tokens, document.labels]
          : [
              [document.tokens[0]!, 0],
              [document.labels[0]!, -1],
            ]
      const planned = byLength.get(tokens.length) ?? new Engine(given.model, { sequence: tokens.length, system: 'ulysses', dtype: 'f32' })
      byLength.set(tokens.length, planned)
      const one = await planned.step({ ...given, sequences: [{ tokens, labels }] })
      loss += share * one.loss
      for (const [name, values] of one.gradients) {
        const into = gradients.get(name)!
        for (let i = 0; i < into.length; i++) into[i]! += share * values[i]!
      }
    }
    for (const planned of byLength.values()) planned.close()
    return { loss, gradients }
  }

  it('are as good as steps on each document alone, weighted by their labels: any model, any sizes, any policy', async () => {
    await fc.assert(
      fc.asyncProperty(anyStep, async ({ model, options, seed, weights }) => {
        const packed = { ...options, documents: true }
        const sequences = randomSequences(model, packed, seed)
        const found = await engine({ model, weights, sequences, options: { ...trainOptions(packed), dtype: 'f32' } })
        const exact = oracle({ model, weights, sequences })
        const alone = { ...(await sum({ model, weights }, sequences.flatMap(apart))), gradientNorm: exact.gradientNorm }
        // Both as near to the exact step as rounding lets them be.
        for (const each of [found, alone]) {
          const { part, error } = worstOf(inRoundings(each, exact, { model, weights, sequences }, { dtype: 'f32' }))
          expect(error, `${part}: ${JSON.stringify({ model, packed, seed })}`).toBeLessThanOrEqual(MOST_ROUNDINGS.f32)
        }
      }),
      { numRuns: draws(6, 24) },
    )
  }, 120_000)
  it.each(models)('may end anywhere in a chunk, and be one token long or several chunks: %s', async (_, model) => {
    // Chunks of 12: documents that end with a chunk, one past it, one before it, that span three, of one token, and the rest.
    const lengths = [12, 1, 12, 10, 37, 1, 1, 6, 13]
    const sequence = lengths.reduce((sum, length) => sum + length, 0)
    const starts = lengths.flatMap((length, d) => Array<number>(length).fill(lengths.slice(0, d).reduce((sum, one) => sum + one, 0)))
    const [{ tokens }] = randomSequences(model, { sequence }, 3) as [Sequence]
    const labels = starts.map((start, t) => (starts[t + 1] === start ? tokens[t + 1]! : -1))
    const given = { model, weights: randomWeights(model, 3) }
    const packed: Sequence = { tokens, labels, starts }
    const expected = await sum(given, apart(packed))
    for (const backwardOrder of ['kv', 'q'] as const) {
      for (const ranks of [1, 2]) {
        const options: TrainOptions = { sequence, chunk: 12, ranks, backwardOrder, documents: true, dtype: 'f32' }
        expectSame(await engine({ ...given, options, sequences: [packed] }), expected, `${backwardOrder} on ${ranks} ranks`)
      }
    }
  })
})

describe.each(models)('%s', (_, model) => {
  const shared = { sequence: 93, chunk: 24, ranks: 2, documents: true, dtype: 'f32' as const }
  const stepOf = (options: TrainOptions & { sequence: number }, seed: number) => ({
    model,
    options,
    weights: randomWeights(model, seed),
    sequences: randomSequences(model, options, seed),
  })

  it.each([true, false])('does not see what is ignored: with documents %s', async (documents) => {
    const step = stepOf({ ...shared, documents }, 7)
    const [one] = step.sequences as [Sequence]
    const last = 70
    const with_ = (labels: (label: number, t: number) => number, tokens = (token: number, _t: number): number => token): Promise<Outcome> =>
      engine({ ...step, sequences: [{ ...one, tokens: Array.from(one.tokens, tokens), labels: Array.from(one.labels, labels) }] })
    const cut = (label: number, t: number): number => (t <= last ? label : -1)
    const expected = await with_(cut)
    expectEqual(await with_((label, t) => (cut(label, t) === -1 ? -100 : label)), expected)
    expectEqual(await with_(cut, (token, t) => (t <= last ? token : (token + 1 + t) % model.vocabulary)), expected)
    // What counts is seen, so that the above can fail: a label, and a token that later labels look back at.
    const counted = Array.from(one.labels).findIndex((label, t) => label >= 0 && one.labels[t + 1]! >= 0)
    expect((await with_((label, t) => (t === counted ? (label + 1) % model.vocabulary : cut(label, t)))).loss).not.toBe(expected.loss)
    expect((await with_(cut, (token, t) => (t === counted ? (token + 1) % model.vocabulary : token))).loss).not.toBe(expected.loss)
  })

  it.each([true, false])('does not see its pads: with documents %s, the bits are those of a longer sequence whose end is ignored', async (documents) => {
    const step = stepOf({ ...shared, documents, sequence: 53 }, 8)
    const [one] = step.sequences as [Sequence]
    for (const [chunk, padded] of [
      [24, 72],
      [54, 54],
      [60, 60],
    ] as const) {
      const longer = (array: ArrayLike<number>, fill: (t: number) => number): number[] => [
        ...Array.from(array),
        ...Array.from({ length: padded - array.length }, (_, k) => fill(k + array.length)),
      ]
      const extended: Sequence = {
        tokens: longer(one.tokens, (t) => (31 * t) % model.vocabulary),
        labels: longer(one.labels, () => -1),
        starts: longer(one.starts!, () => 53),
      }
      const found = await engine({ ...step, options: { ...step.options, chunk } })
      expectEqual(found, await engine({ ...step, options: { ...step.options, chunk, sequence: padded }, sequences: [extended] }))
    }
  })

  it('has the same gradient however its sequences are grouped: in one batch, one after the other, or both', async () => {
    const step = stepOf({ ...shared, batch: 4 }, 9)
    const expected = await engine(step)
    for (const [batch, accumulate] of [
      [2, 2],
      [1, 4],
    ] as const)
      expectSame(await engine({ ...step, options: { ...shared, batch, accumulate } }), expected, `batch ${batch}, accumulate ${accumulate}`)
  })
  it('weighs every label alike, also where one sequence of a step has few', async () => {
    const step = stepOf({ ...shared, batch: 2 }, 10)
    const [full, other] = step.sequences as [Sequence, Sequence]
    const sparse = { ...other, labels: Array.from(other.labels, (label, t) => (t < 9 ? label : -1)) }
    const one = { ...shared, batch: 1 }
    const [a, b] = [await engine({ ...step, options: one, sequences: [full] }), await engine({ ...step, options: one, sequences: [sparse] })]
    const share = countOf(full) / (countOf(full) + countOf(sparse))
    expect(share).toBeGreaterThan(0.8)
    const mean = (x: number, y: number): number => share * x + (1 - share) * y
    const gradients = new Map([...a.gradients].map(([name, values]) => [name, values.map((value, i) => mean(value, b.gradients.get(name)![i]!))]))
    for (const options of [
      { ...shared, batch: 2 },
      { ...shared, accumulate: 2 },
    ])
      expectSame(await engine({ ...step, options, sequences: [full, sparse] }), { loss: mean(a.loss, b.loss), gradients }, JSON.stringify(options))
  })

  it('has the same gradient however rows are cut in the feed-forward layer and the loss head', async () => {
    const step = stepOf({ ...shared, batch: 2 }, 11)
    const expected = await engine({ ...step, options: { ...step.options, feedForwardRows: 12, lossRows: 12 } })
    for (const [feedForwardRows, lossRows] of [
      [1, 12],
      [12, 1],
      [5, 7],
      [7, 5],
    ] as const) {
      const found = await engine({ ...step, options: { ...step.options, feedForwardRows, lossRows } })
      expectSame(found, expected, `${feedForwardRows} and ${lossRows} rows`)
    }
  })
})
