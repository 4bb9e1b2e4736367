/** Any preset by its whole name, where a program does not say which word makes it: `--model llama-3-8b`. */
import { FpdtError } from '../errors.js'
import { nearest } from '../nearest.js'
import type { ModelConfig } from './config.js'
import { type GptOptions, gpt } from './gpt.js'
import { type LlamaOptions, llama } from './llama.js'
import { normal, PRESETS } from './presets.js'

/** The model of a preset, with what shall differ. Throws FpdtError `preset` for an unknown name, naming the nearest. */
export function namedModel(name: string, changes: Partial<LlamaOptions & GptOptions> = {}): ModelConfig {
  const preset = PRESETS.find((candidate) => candidate.name === normal(name))
  if (preset) return preset.word === 'llama' ? llama(preset.name, changes) : gpt(preset.name, changes)
  const names = PRESETS.map((candidate) => candidate.name)
  throw new FpdtError('preset', `there is no preset ${name}; the nearest is ${nearest(normal(name), names)}. There are ${names.join(', ')}.`)
}
