/** Generated step configurations with odd sizes, small enough to plan hundreds of them. */
import fc from 'fast-check'
import { llama } from '../../../kernel/src/model/llama.js'
import { type StepConfig, stepConfig } from '../../../kernel/src/schedule/config.js'

export const anyConfig: fc.Arbitrary<StepConfig> = fc
  .record({
    layers: fc.integer({ min: 1, max: 3 }),
    width: fc.constantFrom(16, 24, 40),
    group: fc.constantFrom(1, 2, 3),
    kvPerRank: fc.constantFrom(1, 2),
    headSize: fc.constantFrom(8, 16, 24),
    feedForward: fc.integer({ min: 5, max: 70 }),
    vocab: fc.integer({ min: 7, max: 99 }),
    tied: fc.boolean(),
    ranks: fc.constantFrom(1, 2, 3, 4),
    local: fc.integer({ min: 1, max: 9 }),
    chunks: fc.integer({ min: 1, max: 6 }),
    missing: fc.integer({ min: 0, max: 3 }),
    lookAhead: fc.constantFrom(0 as const, 1 as const),
    prefetch: fc.integer({ min: 0, max: 3 }),
    dtype: fc.constantFrom('bf16' as const, 'f32' as const),
    feedForwardRows: fc.integer({ min: 1, max: 9 }),
    lossRows: fc.integer({ min: 1, max: 9 }),
  })
  .map((o) => {
    const kvHeads = o.kvPerRank * o.ranks
    const model = llama({
      layers: o.layers,
      width: o.width,
      heads: kvHeads * o.group,
      kvHeads,
      headSize: o.headSize,
      feedForward: o.feedForward,
      vocab: o.vocab,
      tied: o.tied,
    })
    const chunk = o.local * o.ranks
    const sequence = Math.max(2, chunk * (o.chunks - 1) + 1, chunk * o.chunks - o.missing)
    const rows = (n: number): number => Math.min(n, o.local)
    const { ranks, lookAhead, prefetch, dtype } = o
    return stepConfig({ model, sequence, chunk, ranks, lookAhead, prefetch, dtype, feedForwardRows: rows(o.feedForwardRows), lossRows: rows(o.lossRows) })
  })
