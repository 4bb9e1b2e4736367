/** What holds for any training step. How many of them are drawn is for whoever asserts it: the quick suites draw few, those of test/long many. */
import fc from 'fast-check'
import { expect } from 'vitest'
import { linksOfStep } from '../../../kernel/src/fpdt/plan/step-links.js'
import { check } from '../../../kernel/src/schedule/check.js'
import { type StepConfig, stepConfig } from '../../../kernel/src/schedule/config.js'
import { standing, trainingStep } from '../../../kernel/src/schedule/step.js'
import { stepValues } from '../../../kernel/src/schedule/step-values.js'
import { SYSTEM_NAMES, under } from '../../../kernel/src/schedule/systems.js'
import { anyConfig, anySizes } from './arbitrary.js'

/** Read after written, freed once, collectives matched. */
function isCorrect(config: StepConfig): void {
  const values = stepValues(config)
  const initial = standing(config, values).map((standing) => ({ ...standing, persistent: true as const }))
  check(trainingStep(config, values), initial, config.ranks)
}

export const aStepIsCorrect = fc.property(anyConfig, isCorrect)

export const aStepIsCorrectUnderEverySystem = fc.property(anyConfig, fc.constantFrom(...SYSTEM_NAMES), (config, name) => isCorrect(under(config, name)))

/** Short walks over a step, or one over all of it. */
function linksAreForetold(config: StepConfig): void {
  expect(linksOfStep(config, 0)).toEqual(linksOfStep(config, Number.POSITIVE_INFINITY))
}

export const linksOfALongStepAreForetold = fc.property(
  anySizes({ layers: 2, chunks: 1, local: 8 }),
  fc.integer({ min: 9, max: 30 }),
  ({ model, options }, chunks) => linksAreForetold({ ...stepConfig({ ...options, model, dtype: 'bf16' }), chunks, tokens: chunks * options.chunk }),
)

/** A walk over all of it takes time as the square of what is fetched ahead. */
export const linksAreForetoldWithPrefetch = (most: number) =>
  fc.property(anySizes({ layers: 1, chunks: 1, local: 2 }), fc.integer({ min: 4, max: most }), fc.integer({ min: 9, max: 16 }), (sizes, prefetch, more) => {
    const { model, options } = sizes
    const chunks = prefetch + more
    linksAreForetold({ ...stepConfig({ ...options, model, prefetch, batch: 1, accumulate: 1, dtype: 'bf16' }), chunks, tokens: chunks * options.chunk })
  })
