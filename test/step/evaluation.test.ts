/** Held-out loss: that of a step which changes nothing, at no cost in memory and without a trace in the training. */
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { Device } from '../../kernel/src/fpdt/device.js'
import { adamW } from '../../kernel/src/fpdt/plan/optimizer.js'
import { checkHeldOut } from '../../kernel/src/fpdt/run/evaluation.js'
import { gpt } from '../../kernel/src/model/gpt.js'
import { llama } from '../../kernel/src/model/llama.js'
import { longText } from '../../kernel/src/text/tokens.js'
import { randomTokens } from './harness.js'
import { unmeasured } from './unmeasured.mjs'

unmeasured(Device)
const device = await Device.cpu({ memory: '128 MiB', host: '128 MiB', threads: 2 })
afterAll(() => device.close())
const model = llama({ layers: 2, width: 32, heads: 4, kvHeads: 2, headSize: 16, feedForward: 40, vocab: 97 })
const text = randomTokens(3000, 97, 2)
const still = adamW({ rate: 0 })

describe('an evaluation', () => {
  it('is the loss that a step of the same tokens reports, to the bit, whatever the system and its sizes', async () => {
    const any = fc.record({
      dtype: fc.constantFrom('f32' as const, 'bf16' as const),
      ranks: fc.constantFrom(1, 2),
      batch: fc.integer({ min: 1, max: 3 }),
      documents: fc.boolean(),
      keep: fc.constantFrom('recompute' as const, 'host' as const, 'disk' as const),
      lookAhead: fc.constantFrom(0 as const, 1 as const),
      sequence: fc.integer({ min: 20, max: 64 }),
      family: fc.constantFrom(model, gpt({ layers: 1, width: 32, heads: 2, feedForward: 56, vocab: 97, positions: 64 })),
      from: fc.integer({ min: 0, max: 5000 }),
    })
    const packed = longText([text.slice(0, 700), text.slice(700, 730), text.slice(730)])
    await fc.assert(
      fc.asyncProperty(any, async ({ family, from, ...sizes }) => {
        const run = await device.train(family, { chunk: 16, ...sizes, optimizer: still })
        const rest = { source: 'the rest', length: packed.length, read: (at: number, count: number) => packed.read(at, count) }
        const moved = sizes.documents ? packed : rest
        const { loss, labels, sequences, repeated } = await run.evaluate(moved, { from: sizes.documents ? 0 : from })
        const step = sizes.documents ? moved : around(moved, from)
        expect((await run.step(step)).loss).toBe(loss)
        expect([sequences, repeated]).toEqual([sizes.batch, !sizes.documents && from + sizes.batch * sizes.sequence > packed.length])
        expect(labels).toBeGreaterThanOrEqual(sizes.batch * (sizes.sequence - 3))
        await run.close()
      }),
      { numRuns: 30 },
    )
  }, 120_000)

  it('of accumulated batches and of several is the mean over labels', async () => {
    const run = await device.train(model, { sequence: 40, chunk: 16, ranks: 2, batch: 2, accumulate: 3, dtype: 'f32', optimizer: still })
    const { loss } = await run.step(text)
    const all = await run.evaluate(text, { sequences: 6 })
    expect(Math.abs(all.loss / loss! - 1)).toBeLessThan(1e-12)
    const losses: number[] = []
    for (const from of [0, 80, 160]) losses.push((await run.evaluate(text, { from })).loss)
    expect(Math.abs(losses.reduce((sum, part) => sum + part, 0) / 3 / loss! - 1)).toBeLessThan(1e-12)
    await run.close()
  })

  it('counts no label of a stretch that has none, and is refused where no stretch has one', async () => {
    const run = await device.train(model, { sequence: 40, chunk: 16, ranks: 2, dtype: 'f32', optimizer: still })
    const words = Array.from(text.slice(0, 120))
    const next = words.map((_, t) => words[(t + 1) % 120]!)
    const labelled = longText(words, { labels: next.map((label, t) => (t >= 40 && t < 80 ? -100 : label)) })
    const parts = [await run.evaluate(labelled), await run.evaluate(labelled, { from: 80 })]
    const all = await run.evaluate(labelled, { sequences: 3 })
    expect(all.labels).toBe(80)
    expect(Math.abs(all.loss / ((parts[0]!.loss + parts[1]!.loss) / 2) - 1)).toBeLessThan(1e-12)
    expect(() => checkHeldOut(run.training, labelled, { from: 40, sequences: 2 })).not.toThrow()
    const refusal = { code: 'text', message: expect.stringMatching(/^120 tokens has no label that counts in the 40 tokens from 40 on; evaluate more/) }
    await expect(run.evaluate(labelled, { from: 40 })).rejects.toMatchObject(refusal)
    expect(() => checkHeldOut(run.training, labelled, { from: 40 })).toThrow(/no label that counts/)
    await run.close()
  })

  it('is not of training, which reads on past what has no label that counts, and is refused only where the text has none', async () => {
    const run = await device.train(model, { sequence: 40, chunk: 16, ranks: 2, dtype: 'f32', optimizer: still })
    const words = Array.from(text.slice(0, 200))
    const labels = words.map((word, t) => (t >= 40 && t < 120 ? -100 : word))
    const labelled = longText(words, { labels })
    const at = async (from: number): Promise<number> => (await run.evaluate(labelled, { from })).loss
    const expected = [await at(0), await at(120), await at(160), await at(0)]
    const messages: string[] = []
    const losses: number[] = []
    for (let i = 0; i < 4; i++) {
      losses.push((await run.step(labelled)).loss!)
      messages.push(run.head.message)
    }
    expect(losses).toEqual(expected)
    expect(messages.slice(0, 3)).toEqual(['', 'no label counts in the 80 tokens of 200 tokens from 40 on: they were passed over', ''])
    const none = longText(words, { labels: labels.map(() => -100) })
    await expect(run.step(none)).rejects.toMatchObject({
      code: 'text',
      message: '200 tokens has no label that counts in all its 200 tokens, so there is nothing to learn.',
    })
    await run.close()
  })

  it('changes nothing: training goes on to the bit, from where it was in the same text, and bytes stay those of a step', async () => {
    const options = { sequence: 50, chunk: 16, ranks: 2, optimizer: adamW({ rate: 1e-2 }) }
    const [run, other] = [await device.train(model, options), await device.train(model, options)]
    const losses: number[] = []
    for (let i = 0; i < 3; i++) {
      await run.evaluate(text, { sequences: 2, from: 100 })
      losses.push((await run.step(text)).loss!)
    }
    for (const loss of losses) expect((await other.step(text)).loss).toBe(loss)
    expect(await run.parameters()).toEqual(await other.parameters())
    for (const tier of ['device', 'host'] as const) expect(run.memory(tier).touched).toBe(run.memory(tier).predicted)
    expect(run.memory().arenaAllocationsDuringSteps).toBe(0)
    const [first, second] = [await run.evaluate(text), await run.evaluate(text)]
    expect(second).toEqual(first)
    await Promise.all([run.close(), other.close()])
  })

  it('refuses what it cannot take, and stands in line', async () => {
    const run = await device.train(model, { sequence: 50, chunk: 16, batch: 2 })
    await expect(run.evaluate(text, { sequences: 3 })).rejects.toMatchObject({
      code: 'config',
      message: expect.stringMatching(/sequences 3 is not a multiple of this run's batch of 2; try 4/),
    })
    await expect(run.evaluate(text, { from: -1 })).rejects.toMatchObject({ code: 'config' })
    await expect(run.evaluate(text, { steps: 1 } as never)).rejects.toMatchObject({
      message: expect.stringMatching(/^evaluate\(\{ steps \}\) is not known; known are sequences, from/),
    })
    await expect(run.evaluate([1, 2, 300])).rejects.toMatchObject({ code: 'token' })
    const at = await run.stepper(text)
    await expect(run.evaluate(text)).rejects.toMatchObject({ code: 'busy' })
    await at.close()
    expect(run.stepsDone).toBe(0)
    const evaluating = run.evaluate(text, { sequences: 20 })
    await run.close()
    await expect(evaluating).rejects.toMatchObject({ code: expect.stringMatching(/stopped|closed/) })
  })

  it('is timed like a step is: times() has the share of copies under compute of any kept step', async () => {
    const run = await device.train(model, { sequence: 64, chunk: 16, ranks: 2 })
    expect(() => run.times()).toThrow(/step 0 is not kept; there was none yet/)
    const { duration_ns } = await run.step(text)
    await run.step(text)
    expect(Math.abs(run.times(1).duration_ns - duration_ns)).toBeLessThan(2)
    const share = run.times().hiddenCopyShare as number
    expect(share).toBeGreaterThanOrEqual(0)
    expect(share).toBeLessThanOrEqual(1)
    expect(() => run.times(3)).toThrow(/step 3 is not kept; steps 1 to 2 are/)
    await run.close()
  })
})

/** A text that begins elsewhere. */
function around(text: { source: string; length: number; read: (at: number, count: number) => ArrayLike<number> }, from: number): Int32Array {
  return Int32Array.from({ length: text.length }, (_, i) => text.read((from + i) % text.length, 1)[0]!)
}
