/** Models in Hugging Face layout: to read, to write, and from one to the other. Knows nothing of runs and their state. */
import { copyFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { FpdtError } from '../errors.js'
import { type LoadedModel, loadHuggingFace } from './huggingface-load.js'
import { type SaveOptions, saveHuggingFace } from './huggingface-save.js'

export { type LoadedModel, loadHuggingFace, type ReadGroup } from './huggingface-load.js'
export { type SaveOptions, saveHuggingFace } from './huggingface-save.js'

/** Files beside the model that belong to it, copied as they are. */
const COMPANIONS = [
  ...['tokenizer.json', 'tokenizer.model', 'tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json', 'vocab.json', 'merges.txt'],
  ...['chat_template.jinja', 'generation_config.json'],
]

export type ConvertOptions = Omit<SaveOptions, 'carried'>

/**
 * Saves the model of one folder into another with another dtype or other shards, its tokenizer with it. The dtype stays bf16 where
 * all tensors have it, and is f32 otherwise, unless `options` say which. Throws as `loadHuggingFace` and `saveHuggingFace` do.
 */
export async function convert(from: string, to: string, options: ConvertOptions = {}): Promise<LoadedModel> {
  if (resolve(from) === resolve(to)) throw new FpdtError('config', `convert would write ${to} over the model that it reads; give another folder.`)
  const loaded = await loadHuggingFace(from)
  await saveHuggingFace(to, loaded.model, loaded.values, { dtype: loaded.dtype, ...options, carried: loaded.carried })
  for (const name of COMPANIONS) {
    try {
      await copyFile(join(from, name), join(to, name))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
  return loaded
}
