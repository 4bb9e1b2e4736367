import fc from 'fast-check'
import { expect, it } from 'vitest'
import { linksOfStep } from '../../../kernel/src/fpdt/plan/step-links.js'
import { planTraining } from '../../../kernel/src/fpdt/plan/training-plan.js'
import { llama } from '../../../kernel/src/model/llama.js'
import { linksAreForetoldWithPrefetch, linksOfALongStepAreForetold } from '../schedule/laws.js'

it('three short walks foretell what a long step moves, to the byte, under any policy', () => fc.assert(linksOfALongStepAreForetold, { numRuns: 30 }))

it('however many chunks are fetched ahead', () => fc.assert(linksAreForetoldWithPrefetch(24), { numRuns: 20 }))

it('are the totals of the plan', () => {
  const model = llama({ layers: 2, width: 32, heads: 4, kvHeads: 2, headSize: 16, feedForward: 40, vocab: 97 })
  const { config, plan } = planTraining(model, { sequence: 500, chunk: 64, ranks: 2 }, { budgets: {}, threads: 1 })
  const { compute: _, ...links } = plan.totals.bytes
  expect(linksOfStep(config)).toEqual(links)
  expect(links.fetch).toBeGreaterThan(0)
})
