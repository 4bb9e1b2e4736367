/** Device bytes do not grow with the sequence: planned for every published model. */
import { describe, expect, it } from 'vitest'
import { bytesOfStep } from '../../../kernel/src/fpdt/plan/step-bytes.js'
import { planTraining, type TrainOptions } from '../../../kernel/src/fpdt/plan/training-plan.js'
import type { ModelConfig } from '../../../kernel/src/model/config.js'
import { llama } from '../../../kernel/src/model/llama.js'
import { namedModel } from '../../../kernel/src/model/named.js'
import { PRESETS } from '../../../kernel/src/model/presets.js'

const K = 1024
const CHUNK = 16 * K
const threads = 2

/** Few layers, so that a walk of 64 chunks is affordable, and learned positions for as many tokens as are planned. */
function fewLayers(name: string, layers: number): ModelConfig {
  const model = namedModel(name, { layers })
  return model.positions.kind === 'learned' ? { ...model, positions: { ...model.positions, length: 1024 * K } } : model
}
/** Whole walks, however long. */
function deviceBytes(model: ModelConfig, options: TrainOptions): number {
  const { device, walked } = bytesOfStep(model, options, { threads }, Number.POSITIVE_INFINITY)
  expect(walked.chunks).toBe(walked.of)
  return device
}

describe('the device peak of FPDT', () => {
  it.each(PRESETS.map(({ name }) => name))('is the same at 1 M tokens as at 64 K: %s', (name) => {
    const model = fewLayers(name, 2)
    const [short, long] = [64 * K, 1024 * K].map((sequence) => deviceBytes(model, { sequence, chunk: CHUNK }))
    expect(long / short).toBe(1)
  })

  it('is the same over 4 ranks, with states and weights on the host, for several sequences and documents', () => {
    const model = fewLayers('llama-3-8b', 2)
    const options: Partial<TrainOptions>[] = [
      { ranks: 4 },
      { parameters: 'host' },
      { keep: 'host' },
      { batch: 2 },
      { documents: true },
      { backwardOrder: 'kv' },
    ]
    for (const option of options) {
      const [short, long] = [64 * K, 512 * K].map((sequence) => deviceBytes(model, { sequence, chunk: CHUNK, ...option }))
      expect(long / short, JSON.stringify(option)).toBe(1)
    }
  })

  it('is the same in a full plan of all layers of a small model', () => {
    const model = llama({ layers: 6, width: 64, heads: 4, kvHeads: 2, vocab: 512 })
    const [short, long] = [4, 64].map((chunks) => planTraining(model, { sequence: chunks * 256, chunk: 256 }, { budgets: {}, threads }).plan.arenaBytes.device)
    expect(long / short).toBe(1)
  })
})
