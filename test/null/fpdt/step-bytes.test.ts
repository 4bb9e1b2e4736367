import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { adamW } from '../../../kernel/src/fpdt/plan/optimizer.js'
import type { StepBytes } from '../../../kernel/src/fpdt/plan/step-bytes.js'
import { aboutOps, PLANNED_OPS, planTraining, stepOf, type TrainOptions } from '../../../kernel/src/fpdt/plan/training-plan.js'
import { longestInMemory, longestPlanned, longestSequence, planThatFits } from '../../../kernel/src/fpdt/plan/what-fits.js'
import { llama } from '../../../kernel/src/model/llama.js'
import { namedModel } from '../../../kernel/src/model/named.js'
import { TIERS, type Tier } from '../../../kernel/src/trace/schema.js'
import { type AnySizes, anySizes } from '../schedule/arbitrary.js'
import { bytes, bytesAreForetoldWithPrefetch, threads, WHOLE, withChunks } from './laws.js'

const GIB = 2 ** 30

describe('bytes of a step', () => {
  it('are those of its plan, for any model, sizes and policy', () => {
    fc.assert(
      fc.property(anySizes({ layers: 3, chunks: 5, local: 9 }), fc.integer({ min: 1, max: 9 }), (sizes, chunks) => {
        const [model, options] = withChunks(sizes, chunks)
        const { plan, config } = planTraining(model, options, { budgets: {}, threads })
        expect(bytes(model, options)).toMatchObject({ ...plan.arenaBytes, walked: { chunks: config.chunks, of: config.chunks } })
      }),
      { numRuns: 20 },
    )
  })

  const longer = fc.tuple(anySizes({ layers: 3, chunks: 1, local: 9 }), fc.integer({ min: 18, max: 26 }))
  /** By a short walk and by a whole one. */
  function bothWays([sizes, chunks]: readonly [AnySizes, number]): [StepBytes, StepBytes] {
    const [model, options] = withChunks(sizes, chunks)
    const [foretold, walked] = [bytes(model, options, 0), bytes(model, options, WHOLE)]
    expect(foretold.walked.chunks).toBeLessThan(chunks)
    expect(walked.walked.chunks).toBe(chunks)
    expect(foretold.alive).toEqual(walked.alive)
    return [foretold, walked]
  }

  it('are foretold by short walks: what is alive to the byte', () => {
    fc.assert(
      fc.property(longer, (drawn) => void bothWays(drawn)),
      { numRuns: 10 },
    )
  })

  it('are foretold by short walks: the arenas but for gaps, in a fixed sample of 15 steps', () => {
    // Fixed, since nothing bounds a gap but the width of a buffer: some other draw breaks any bound that says something of the walk.
    // That what is alive is foretold holds for any draw (above), and gaps are none for sizes of published models (below).
    const apart = fc.sample(longer, { numRuns: 15, seed: 7 }).flatMap((drawn) => {
      const [foretold, walked] = bothWays(drawn)
      return TIERS.filter((tier) => walked[tier] > 0).map((tier) => Math.abs(foretold[tier] / walked[tier] - 1))
    })
    // Buffers of a few hundred bytes, as here, leave the widest gaps.
    expect(Math.max(...apart)).toBeLessThan(0.08)
    expect(apart.filter((share) => share === 0).length / apart.length).toBeGreaterThan(0.8)
  })

  it('are foretold to the byte however many chunks are fetched ahead', () => fc.assert(bytesAreForetoldWithPrefetch(20), { numRuns: 5 }), 60_000)

  it('are foretold exactly for sizes of published models', () => {
    const model = namedModel('llama-3.2-1b', { layers: 2 })
    const policies: Partial<TrainOptions>[] = [
      {},
      { ranks: 4 },
      { keep: 'host' },
      { keep: 'disk', checkpoints: 'disk', optimizer: adamW({ tier: 'disk' }) },
      { system: 'fpdt-device' },
    ]
    for (const policy of policies) {
      const options = { sequence: 29 * 4096, chunk: 4096, ...policy }
      const [foretold, walked] = [bytes(model, options, 0), bytes(model, options, WHOLE)]
      for (const tier of TIERS) expect(foretold[tier], `${tier} ${JSON.stringify(policy)}`).toBe(walked[tier])
    }
  })

  it('are known of steps that no plan could hold', () => {
    const { device, host, walked } = bytes(namedModel('llama-3-8b'), { sequence: '4M', chunk: 8192, ranks: 8 })
    expect(walked.chunks).toBeLessThan(20)
    expect(walked.of).toBe(512)
    // Checkpoints alone: 32 layers, 4 M / 8 tokens of a rank, 4096 bf16.
    expect(host).toBeGreaterThan(32 * 2 ** 19 * 4096 * 2)
    expect(host).toBeLessThan(1.2 * 32 * 2 ** 19 * 4096 * 2)
    expect(device).toBeLessThan(24 * GIB)
  })
})

describe('the longest sequence', () => {
  const model = llama({ layers: 2, width: 64, heads: 4, kvHeads: 2, feedForward: 96, vocab: 257 })
  const sizes = { chunk: 256, ranks: 2 } as const
  const MIB = 2 ** 20
  const cases: [string, Omit<TrainOptions, 'sequence'>, Partial<Record<Tier, number>>][] = [
    ['a host', sizes, { device: 8 * MIB, host: 4 * MIB }],
    ['a disk', { ...sizes, checkpoints: 'disk', keep: 'disk' }, { device: 8 * MIB, disk: 6 * MIB }],
    ['a host, with chunks on disk and states there', { ...sizes, keep: 'disk', optimizer: adamW({ tier: 'disk' }) }, { host: 5 * MIB }],
    ['a device where chunks wait', { ...sizes, system: 'fpdt-device' }, { device: 9 * MIB }],
    ['a device where q, k and v are kept', { ...sizes, keep: 'device' }, { device: 9 * MIB, host: 64 * MIB }],
    ['a batch', { ...sizes, batch: 3, accumulate: 2, documents: true }, { device: 16 * MIB, host: 8 * MIB }],
    ['Ulysses', { ranks: 2, system: 'ulysses' }, { device: 8 * MIB, host: 6 * MIB }],
    ['Ulysses with checkpoints', { ranks: 2, system: 'ulysses-checkpoint' }, { device: 8 * MIB }],
    ['Ulysses with offload', { ranks: 2, system: 'ulysses-offload' }, { device: 8 * MIB, host: MIB }],
  ]
  it.each(cases)('is right to the chunk: %s', (_, options, budgets) => {
    const fits = (sequence: number): boolean => {
      const needed = bytes(model, { ...options, sequence }, WHOLE)
      return TIERS.every((tier) => needed[tier] <= (budgets[tier] ?? Number.POSITIVE_INFINITY))
    }
    const longest = longestInMemory(model, options, { budgets, threads })
    expect(longest).toBeGreaterThan(0)
    expect(fits(longest)).toBe(true)
    expect(fits(longest + 256)).toBe(false)
  })

  it('is endless where nothing grows, nothing where not one chunk fits, and no longer than positions are learned', () => {
    expect(longestInMemory(model, sizes, { budgets: { device: 8 * MIB }, threads })).toBe(Number.POSITIVE_INFINITY)
    expect(longestInMemory(model, { system: 'ulysses' }, { budgets: {}, threads })).toBe(Number.POSITIVE_INFINITY)
    expect(longestInMemory(model, sizes, { budgets: { device: 2 ** 16 }, threads })).toBe(0)
    expect(longestInMemory({ ...model, positions: { kind: 'learned', length: 1000 } }, sizes, { budgets: {}, threads })).toBe(768)
  })

  it('can be trained: memory beyond what a plan holds is of no use, and one chunk more is refused', () => {
    const long = (sequence: number) => () => planTraining(model, { ...sizes, sequence }, { budgets: {}, threads })
    const planned = longestPlanned(model, sizes)
    expect(longestSequence(model, sizes, { budgets: { device: 8 * MIB }, threads })).toBe(planned)
    expect(long(planned + 256)).toThrow('more than a plan holds (2 million). Try chunk 288 or more.')
    expect(aboutOps(stepOf(model, { ...sizes, sequence: planned + 256, chunk: 288 }))).toBeLessThanOrEqual(PLANNED_OPS)
    expect(aboutOps(stepOf(model, { ...sizes, sequence: planned }))).toBeLessThanOrEqual(PLANNED_OPS)
    expect(longestPlanned(model, { ...sizes, chunk: 512 })).toBe(2 * planned)
    expect(longestSequence(model, sizes, { budgets: { device: 8 * MIB, host: 6 * MIB }, threads })).toBeLessThan(planned)
    expect(longestPlanned(model, { system: 'ulysses' })).toBe(Number.POSITIVE_INFINITY)
  })

  it('is one that the machine holds for all ranks together, and what it does not hold is refused', () => {
    const machine = { budgets: { device: 8 * MIB, host: 8 * MIB }, memory: 12 * MIB, threads }
    const longest = longestSequence(model, sizes, machine)
    expect(longest).toBeLessThan(longestSequence(model, sizes, { ...machine, memory: 32 * MIB }))
    const { device, host } = planThatFits(model, { ...sizes, sequence: longest }, machine).plan.arenaBytes
    expect(sizes.ranks * (device + host)).toBeLessThanOrEqual(machine.memory)
    expect(() => planThatFits(model, { ...sizes, sequence: longest + 256 }, machine)).toThrow(
      expect.objectContaining({
        code: 'out_of_memory',
        message: expect.stringMatching(
          new RegExp(
            `^2 ranks with .* each take 12\\.\\d\\sMiB, and the machine has 12\\.0\\sMiB for all of them\\. With chunk 256 the longest .* is ${longest} tokens`,
          ),
        ),
      }),
    )
  })

  it('is found for sequences far beyond what can be walked', () => {
    const budgets = { device: 40 * GIB, host: 240 * GIB }
    const options = { chunk: 65536, ranks: 4, optimizer: adamW({ tier: 'host' }) } as const
    const big = namedModel('llama-3-8b')
    const longest = longestInMemory(big, options, { budgets, threads })
    expect(stepOf(big, { ...options, sequence: longest }).chunks).toBeGreaterThan(16)
    expect(bytes(big, { ...options, sequence: longest }, 0).host).toBeLessThanOrEqual(budgets.host)
    expect(bytes(big, { ...options, sequence: longest + 65536 }, 0).host).toBeGreaterThan(budgets.host)
  })
})
