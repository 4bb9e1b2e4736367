/** What holds for the bytes of any training step. */
import fc from 'fast-check'
import { expect } from 'vitest'
import { adamW } from '../../../kernel/src/fpdt/plan/optimizer.js'
import { bytesOfStep, type StepBytes } from '../../../kernel/src/fpdt/plan/step-bytes.js'
import type { TrainOptions } from '../../../kernel/src/fpdt/plan/training-plan.js'
import type { ModelConfig } from '../../../kernel/src/model/config.js'
import { type AnySizes, anySizes } from '../schedule/arbitrary.js'

export const threads = 2
export const WHOLE = Number.POSITIVE_INFINITY
export const bytes = (model: ModelConfig, options: TrainOptions, mostOps?: number): StepBytes => bytesOfStep(model, options, { threads }, mostOps)

/** The same step with this many chunks. Positions are rotary: a learned table would end the sequence. */
export function withChunks({ model, options: { states, adamW: given, ...options } }: AnySizes, chunks: number): [ModelConfig, TrainOptions] {
  const optimizer = adamW({ ...given, ...(states ? { tier: states } : {}) })
  return [
    { ...model, positions: { kind: 'rotary', theta: 10_000 } },
    { ...options, optimizer, sequence: Math.max(2, chunks * options.chunk) },
  ]
}

/** A walk over all of a step takes time as the square of its chunks, which are twice those that are fetched ahead and some. */
export const bytesAreForetoldWithPrefetch = (most: number) =>
  fc.property(anySizes({ layers: 2, chunks: 1, local: 2 }), fc.integer({ min: 4, max: most }), fc.integer({ min: 1, max: 8 }), (sizes, prefetch, more) => {
    const small: AnySizes = { ...sizes, options: { ...sizes.options, prefetch, batch: 1, accumulate: 1 } }
    const chunks = 2 * prefetch + 11 + more
    const [model, options] = withChunks(small, chunks)
    const [foretold, walked] = [bytes(model, options, 0), bytes(model, options, WHOLE)]
    expect(foretold.walked.chunks).toBeLessThan(chunks)
    expect(foretold.alive).toEqual(walked.alive)
  })
