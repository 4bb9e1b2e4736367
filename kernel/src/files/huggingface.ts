/** Models in Hugging Face layout: to read, to write, and from one to the other. Knows nothing of runs and their state. */
import { resolve } from 'node:path'
import { FpdtError } from '../errors.js'
import { type LoadedModel, loadHuggingFace } from './huggingface-load.js'
import { type SaveOptions, saveHuggingFace } from './huggingface-save.js'

export { type LoadedModel, loadHuggingFace, type ReadGroup } from './huggingface-load.js'
export { type SaveOptions, saveHuggingFace } from './huggingface-save.js'

export type { ModelSource } from './model-source.js'

export type ConvertOptions = Omit<SaveOptions, 'carried' | 'source' | 'sequence'>

/**
 * Saves the model of one folder into another with another dtype or other shards, its tokenizer with it. The dtype stays bf16 where
 * all tensors have it, and is f32 otherwise, unless `options` say which. Throws as `loadHuggingFace` and `saveHuggingFace` do.
 */
export async function convert(from: string, to: string, options: ConvertOptions = {}): Promise<LoadedModel> {
  if (resolve(from) === resolve(to)) throw new FpdtError('config', `convert would write ${to} over the model that it reads; give another folder.`)
  const loaded = await loadHuggingFace(from)
  await saveHuggingFace(to, loaded.model, loaded.values, { ...options, source: loaded.values.source })
  return loaded
}
