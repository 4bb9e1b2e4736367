/** Generated training steps with odd sizes of everything: chunks and parts that do not divide, grouped heads, 1 to 4 ranks. */
import fc from 'fast-check'
import type { ModelConfig } from '../../../kernel/src/model/config.js'
import { llama } from '../../../kernel/src/model/llama.js'
import { type StepConfig, type StepOptions, stepConfig } from '../../../kernel/src/schedule/config.js'

interface Most {
  readonly layers: number
  readonly chunks: number
  /** Rows of a rank in a chunk. */
  readonly local: number
}

/** A model and the options of a step of it, dtype left open. */
export function anySizes(most: Most): fc.Arbitrary<{ model: ModelConfig; options: Omit<StepOptions, 'model' | 'dtype'> & { chunk: number; ranks: number } }> {
  const upTo = (n: number): fc.Arbitrary<number> => fc.integer({ min: 1, max: n })
  return fc
    .record({
      layers: upTo(most.layers),
      width: fc.constantFrom(12, 20, 32),
      group: fc.constantFrom(1, 2, 3),
      kvPerRank: fc.constantFrom(1, 2),
      headSize: fc.constantFrom(8, 16, 24),
      feedForward: fc.integer({ min: 5, max: 40 }),
      vocab: fc.integer({ min: 7, max: 60 }),
      tied: fc.boolean(),
      ranks: upTo(4),
      local: upTo(most.local),
      chunks: upTo(most.chunks),
      missing: fc.integer({ min: 0, max: 5 }),
      lookAhead: fc.constantFrom(0 as const, 1 as const),
      prefetch: fc.integer({ min: 0, max: 3 }),
      feedForwardRows: upTo(most.local),
      lossRows: upTo(most.local),
    })
    .map(({ group, kvPerRank, ranks, local, chunks, missing, lookAhead, prefetch, feedForwardRows, lossRows, ...sizes }) => {
      const kvHeads = kvPerRank * ranks
      const chunk = local * ranks
      const sequence = Math.max(2, chunk * (chunks - 1) + 1, chunk * chunks - missing)
      const rows = { feedForwardRows: Math.min(feedForwardRows, local), lossRows: Math.min(lossRows, local) }
      return { model: llama({ ...sizes, heads: kvHeads * group, kvHeads }), options: { sequence, chunk, ranks, lookAhead, prefetch, ...rows } }
    })
}

/** Small enough to plan hundreds of them. */
export const anyConfig: fc.Arbitrary<StepConfig> = fc
  .tuple(anySizes({ layers: 3, chunks: 6, local: 9 }), fc.constantFrom('bf16' as const, 'f32' as const))
  .map(([{ model, options }, dtype]) => stepConfig({ model, dtype, ...options }))
