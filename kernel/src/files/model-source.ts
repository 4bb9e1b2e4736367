/** Where a model is from: what a save carries on besides its weights, and in whose words it thinks. */
import { copyFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { ModelConfig } from '../model/config.js'
import { GPT2_VOCABULARY } from '../text/tokens.js'
import type { Json } from './huggingface-config.js'

/** Plain JSON: a checkpoint keeps it. */
export interface ModelSource {
  /** Absolute path of the folder that it was loaded from. */
  readonly folder: string
  /** Keys of `config.json` that take no part in the computation. */
  readonly carried: Json
  /** The narrowest dtype of ours that holds all values: bf16 when all tensors are. */
  readonly dtype: 'bf16' | 'f32'
  /** Whether text that is cut into GPT-2's tokens is in its words. */
  readonly gpt2Words: boolean
}

/** Files beside the model that belong to it, copied as they are. */
const COMPANIONS = [
  ...['tokenizer.json', 'tokenizer.model', 'tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json', 'vocab.json', 'merges.txt'],
  ...['chat_template.jinja', 'generation_config.json'],
]
/** GPT-2's vocabulary rounded up, as tables often are so that GEMMs run well. */
const PADDED_VOCABULARY = 50304

/**
 * GPT-2's words are those of its family, and of what was trained here on text, which leaves no tokenizer beside it; with any other size of
 * vocabulary the ids mean something else.
 */
export function hasGpt2Words({ family, vocabulary }: ModelConfig, ownTokenizer: boolean): boolean {
  return vocabulary >= GPT2_VOCABULARY && vocabulary <= PADDED_VOCABULARY && (family === 'gpt2' || !ownTokenizer)
}

/** In words, that a text was cut for another model than the one it is to train. */
export function foreignWords(text: string, { folder }: ModelSource): string {
  return `${text} is cut into GPT-2's tokens, and the model of ${folder} has words of its own: to it these ids are other words. Give token files that its own tokenizer wrote`
}

/** Copies what there is of the files that belong to a model, unless it stays in its folder. */
export async function copyCompanions(from: string, to: string, into = to): Promise<void> {
  if (resolve(from) === resolve(to)) return
  for (const name of COMPANIONS) {
    try {
      await copyFile(join(from, name), join(into, name))
    } catch (error) {
      if (!['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    }
  }
}

export function isModelSource(value: unknown): value is ModelSource {
  const { folder, carried, dtype, gpt2Words } = Object(value)
  const isJson = typeof carried === 'object' && carried !== null && !Array.isArray(carried)
  return typeof folder === 'string' && isJson && ['bf16', 'f32'].includes(dtype) && typeof gpt2Words === 'boolean'
}
