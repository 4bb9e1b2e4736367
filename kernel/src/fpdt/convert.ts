/** A model into Hugging Face layout, from that layout or from a checkpoint of a run: what other tools are to read. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { LIST } from '../checkpoint/folder.js'
import { MANIFEST } from '../checkpoint/manifest.js'
import { type ConvertOptions, convert as convertModel, saveHuggingFace } from '../files/huggingface.js'
import { checkModel } from '../model/check.js'
import type { ModelConfig } from '../model/config.js'
import { openCheckpoint } from './run/checkpoint.js'
import { parseTokens } from './sizes.js'

export interface Converted {
  readonly model: ModelConfig
  /** What a reader should know of the model. */
  readonly notes: readonly string[]
}

/**
 * Writes the model of `from` into the folder `to`. `from` is a model in Hugging Face layout, whose tokenizer goes with it and whose
 * dtype stays unless `options` say which; or what `run.save` was given, or one checkpoint of it, whose master weights are written in
 * f32, or as the model that the run began with was, whose tokenizer goes with it too. Throws as `load`, `device.resume` and `run.saveModel` do.
 */
export async function convert(from: string, to: string, options: ConvertOptions = {}): Promise<Converted> {
  if (![LIST, MANIFEST].some((file) => existsSync(join(from, file)))) return convertModel(from, to, options)
  const { model, options: trained, start } = await openCheckpoint(from)
  checkModel(model)
  await saveHuggingFace(to, model, async (group) => (await start.states(group)).master, {
    ...options,
    ...(start.source ? { source: start.source } : {}),
    sequence: parseTokens(trained.sequence, 'sequence'),
  })
  return { model, notes: [] }
}
