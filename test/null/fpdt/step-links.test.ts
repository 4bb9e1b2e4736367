import fc from 'fast-check'
import { expect, it } from 'vitest'
import { linksOfStep } from '../../../kernel/src/fpdt/plan/step-links.js'
import { planTraining } from '../../../kernel/src/fpdt/plan/training-plan.js'
import { llama } from '../../../kernel/src/model/llama.js'
import { stepConfig } from '../../../kernel/src/schedule/config.js'
import { anySizes } from '../schedule/arbitrary.js'

it('three short walks foretell what a long step moves, to the byte, under any policy', () => {
  fc.assert(
    fc.property(anySizes({ layers: 2, chunks: 1, local: 8 }), fc.integer({ min: 9, max: 30 }), ({ model, options }, chunks) => {
      const config = { ...stepConfig({ ...options, model, dtype: 'bf16' }), chunks, tokens: chunks * options.chunk }
      expect(linksOfStep(config, 0)).toEqual(linksOfStep(config, Number.POSITIVE_INFINITY))
    }),
    { numRuns: 60 },
  )
})

it('however many chunks are fetched ahead', () => {
  fc.assert(
    fc.property(anySizes({ layers: 1, chunks: 1, local: 2 }), fc.integer({ min: 4, max: 64 }), fc.integer({ min: 9, max: 16 }), (sizes, prefetch, more) => {
      const { model, options } = sizes
      const chunks = prefetch + more
      const config = { ...stepConfig({ ...options, model, prefetch, batch: 1, accumulate: 1, dtype: 'bf16' }), chunks, tokens: chunks * options.chunk }
      expect(linksOfStep(config, 0)).toEqual(linksOfStep(config, Number.POSITIVE_INFINITY))
    }),
    { numRuns: 20 },
  )
})

it('are the totals of the plan', () => {
  const model = llama({ layers: 2, width: 32, heads: 4, kvHeads: 2, headSize: 16, feedForward: 40, vocab: 97 })
  const { config, plan } = planTraining(model, { sequence: 500, chunk: 64, ranks: 2 }, { budgets: {}, threads: 1 })
  const { compute: _, ...links } = plan.totals.bytes
  expect(linksOfStep(config)).toEqual(links)
  expect(links.fetch).toBeGreaterThan(0)
})
