import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { Device } from '../../kernel/src/fpdt/device.js'
import { adamW } from '../../kernel/src/fpdt/plan/optimizer.js'
import { planTraining, type TrainOptions } from '../../kernel/src/fpdt/plan/training-plan.js'
import { longestSequence, planThatFits } from '../../kernel/src/fpdt/plan/what-fits.js'
import type { ModelConfig } from '../../kernel/src/model/config.js'
import { gpt } from '../../kernel/src/model/gpt.js'
import { llama } from '../../kernel/src/model/llama.js'
import { SYSTEM_NAMES, SYSTEMS } from '../../kernel/src/schedule/systems.js'
import { anySizes } from '../null/schedule/arbitrary.js'
import { randomTokens, trainOptions } from './harness.js'
import { unmeasured } from './unmeasured.mjs'

unmeasured(Device)
const model = llama({ layers: 3, width: 64, heads: 4, kvHeads: 2, headSize: 16, feedForward: 96, vocab: 257 })
const text = randomTokens(5000, 257, 1)
const device = await Device.cpu({ memory: '64 MiB', host: '64 MiB', threads: 2 })
afterAll(() => device.close())

const gpt2 = gpt({ layers: 2, width: 48, heads: 4, headSize: 16, vocab: 131, positions: 1024 })
const oneKeyValueHead = llama({ layers: 2, width: 64, heads: 4, kvHeads: 1, headSize: 16, feedForward: 96, vocab: 257, tied: false })
const disk = { checkpoints: 'disk', keep: 'disk', optimizer: adamW({ tier: 'disk' }) } as const
const host = { parameters: 'host', keep: 'host', optimizer: adamW({ tier: 'host' }) } as const

/** Every system, every value of every policy, both loop orders, every part of a model that has values of its own. */
const cases: [ModelConfig, TrainOptions][] = [
  [model, { sequence: 1024, chunk: 128, ranks: 2 }],
  [model, { sequence: 1024, chunk: 128, ranks: 2, hidden: 'f32' }],
  [model, { sequence: 1000, chunk: 136, ranks: 1, dtype: 'f32' }],
  [model, { sequence: 1024, chunk: 128, ranks: 2, lookAhead: 0, prefetch: 0 }],
  [model, { sequence: 515, chunk: 64, ranks: 2, prefetch: 2, lossRows: 7 }],
  ...SYSTEM_NAMES.map((system): [ModelConfig, TrainOptions] => [
    model,
    { sequence: 515, ranks: 2, system, ...(SYSTEMS[system].chunked ? { chunk: 128 } : {}) },
  ]),
  [model, { sequence: 301, ranks: 1, system: 'ulysses', dtype: 'f32' }],
  [model, { sequence: 512, chunk: 128, ranks: 2, ...host, backwardOrder: 'kv' }],
  [model, { sequence: 512, chunk: 128, ranks: 2, ...host, backwardOrder: 'q', dtype: 'f32' }],
  [model, { sequence: 512, chunk: 128, ranks: 2, ...disk, backwardOrder: 'q' }],
  [model, { sequence: 512, chunk: 128, ...disk, backwardOrder: 'kv', batch: 2, accumulate: 2, documents: true }],
  [model, { sequence: 512, chunk: 128, keep: 'device', checkpoints: 'device' }],
  [gpt2, { sequence: 500, chunk: 128, ranks: 2, batch: 2, documents: true }],
  [gpt2, { sequence: 500, chunk: 100, ranks: 4, ...disk, hidden: 'f32' }],
  [oneKeyValueHead, { sequence: 512, chunk: 128, ranks: 4, accumulate: 3 }],
  [oneKeyValueHead, { sequence: 512, chunk: 128, ranks: 4, ...host }],
]

/** Bytes of each tier that a step uses: planned, allocated, and touched by a real run. */
async function expectEqualBytes(model: ModelConfig, options: TrainOptions): Promise<void> {
  const run = await device.train(model, options)
  await run.step(randomTokens(5000, model.vocabulary, 1))
  for (const { tier } of run.head.tiers) {
    const { predicted, allocated, touched, arenaAllocationsDuringSteps } = run.memory(tier)
    expect(allocated, tier).toBe(predicted)
    expect(touched, tier).toBe(predicted)
    expect(arenaAllocationsDuringSteps).toBe(0)
  }
  await run.close()
}

describe('bytes of a step', () => {
  for (const [model, options] of cases) {
    const words = `${model.family}, ${model.kvHeads} of ${model.heads} heads, ${JSON.stringify(options)}`
    it(`predicted = allocated = highest byte touched: ${words}`, () => expectEqualBytes(model, options))
  }

  it('are so for any model, sizes and policy', async () => {
    await fc.assert(
      fc.asyncProperty(anySizes({ layers: 2, chunks: 4, local: 12 }), fc.constantFrom('f32' as const, 'bf16' as const), ({ model, hidden, options }, dtype) =>
        expectEqualBytes(model, { ...trainOptions(options), dtype, ...(dtype === 'bf16' ? { hidden } : {}) }),
      ),
      { numRuns: 40 },
    )
  })

  it('are the same on the device for 4 chunks and 16, by real runs', async () => {
    const touched = async (sequence: number): Promise<number | null> => {
      const run = await device.train(model, { sequence, chunk: 128, ranks: 2 })
      await run.step(text)
      const bytes = run.memory('device').touched
      await run.close()
      return bytes
    }
    expect(await touched(16 * 128)).toBe(await touched(4 * 128))
  })

  it('shows a live peak that never exceeds the arena, and what it was made of', async () => {
    const run = await device.train(model, { sequence: 1024, chunk: 128, ranks: 2 })
    await run.step(text)
    const bundle = await run.bundle()
    const { peaks } = (bundle['application/vnd.fpdt.run.v1+json'] as { head: typeof run.head }).head
    expect(peaks.map(({ tier }) => tier)).toEqual(['device', 'host'])
    for (const peak of peaks) {
      expect(peak.bytes).toBeGreaterThan(0)
      expect(peak.bytes).toBeLessThanOrEqual(run.memory(peak.tier).predicted)
      expect(peak.buffers.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(peak.bytes)
      expect(peak.words).toMatch(/@(compute|fetch|offload|collective)/)
    }
    await run.close()
  })
})

describe('what does not fit', () => {
  const threads = 2
  const refused = (options: TrainOptions, budgets: { device?: number; host?: number }): string => {
    try {
      planThatFits(model, options, { budgets, threads })
      return 'it fits'
    } catch (error) {
      return (error as Error).message
    }
  }
  const bytes = (options: TrainOptions) => planTraining(model, options, { budgets: {}, threads }).plan.arenaBytes

  it('is refused before anything runs, with the op, the buffers and a chunk that fits', () => {
    const budgets = { device: 3 * 2 ** 20, host: 64 * 2 ** 20 }
    const message = refused({ sequence: 32768, chunk: 8192, ranks: 2 }, budgets)
    expect(message).toMatch(/the device tier needs \d+ bytes .* at op \d+.* the largest there: .*Chunk \d+ fits/s)
    // What the message proposes must be true.
    const chunk = Number(/Chunk (\d+) fits/.exec(message)?.[1])
    expect(bytes({ sequence: 16 * chunk, chunk, ranks: 2 }).device).toBeLessThanOrEqual(budgets.device)
  })
  it('proposes fewer rows of logits when those are in the way', () => {
    const options = { sequence: 4096, chunk: 1024, ranks: 1, lossRows: 1024 }
    const budgets = { device: bytes({ ...options, sequence: 16 * 1024, lossRows: 512 }).device }
    expect(refused(options, budgets)).toMatch(/lossRows: 512 fits \(1024 rows of logits at a time do not\)\.$/)
  })
  it('proposes a shorter sequence when only the host is short', () => {
    const budgets = { device: 2 ** 26, host: 1.5 * 2 ** 20 }
    const message = refused({ sequence: 12288, chunk: 256, ranks: 2 }, budgets)
    const tokens = Number(/With chunk 256 the longest sequence that fits is (\d+) tokens/.exec(message)?.[1])
    expect(bytes({ sequence: tokens, chunk: 256, ranks: 2 }).host).toBeLessThanOrEqual(budgets.host)
    expect(bytes({ sequence: tokens + 256, chunk: 256, ranks: 2 }).host).toBeGreaterThan(budgets.host)
  })
  it('says so when no chunk helps', () => {
    for (const ranks of [1, 2])
      expect(refused({ sequence: 4096, chunk: 512, ranks }, { device: 2 ** 16 })).toMatch(/No chunk fits: parameters, gradients and optimizer state alone take/)
  })
  it('never needs more device bytes for more chunks, whatever is fetched ahead', () => {
    for (const prefetch of [0, 1, 4, 16]) {
      const device = (chunks: number): number => bytes({ sequence: chunks * 16, chunk: 16, ranks: 2, prefetch }).device
      expect(device(2 * (prefetch + 8)), `prefetch ${prefetch}`).toBe(device(prefetch + 8))
    }
  })
  it('finds the longest sequence: one chunk more does not fit', () => {
    const budgets = { device: 8 * 2 ** 20, host: 6 * 2 ** 20 }
    const options = { chunk: 256, ranks: 2 } as const
    const longest = longestSequence(model, options, { budgets, threads })
    const host = (sequence: number): number => planTraining(model, { ...options, sequence }, { budgets: {}, threads }).plan.arenaBytes.host
    expect(longest).toBeGreaterThan(16 * 256)
    expect(host(longest)).toBeLessThanOrEqual(budgets.host)
    expect(host(longest + 256)).toBeGreaterThan(budgets.host)
    const whole = longestSequence(model, { ranks: 2, system: 'ulysses' }, { budgets, threads })
    const device = (sequence: number): number => planTraining(model, { ranks: 2, system: 'ulysses', sequence }, { budgets: {}, threads }).plan.arenaBytes.device
    expect(device(whole)).toBeLessThanOrEqual(budgets.device)
    expect(device(whole + 256)).toBeGreaterThan(budgets.device)
  })
})
