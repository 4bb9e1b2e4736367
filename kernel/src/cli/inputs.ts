/** The model and the texts that a configuration names, as the library takes them. */
import { existsSync } from 'node:fs'
import { FpdtError } from '../errors.js'
import { foreignWords, type ModelSource } from '../files/model-source.js'
import type { TrainOptions } from '../fpdt/plan/training-plan.js'
import { load } from '../fpdt/run/load.js'
import type { ModelConfig } from '../model/config.js'
import { type GptOptions, gpt } from '../model/gpt.js'
import { type LlamaOptions, llama } from '../model/llama.js'
import { namedModel } from '../model/named.js'
import { nearest } from '../nearest.js'
import { type TokenFileOptions, tokenFile } from '../text/token-file.js'
import { type LongText, longText } from '../text/tokens.js'
import type { TrainConfig } from './config.js'

type Path = (written: string) => string

export interface NamedModel {
  readonly model: ModelConfig
  /** Of a saved model. */
  readonly weights?: TrainOptions['weights']
  /** What a reader should know of it. */
  readonly notes: readonly string[]
}

const FAMILIES = ['llama', 'gpt', 'gpt2']

/** Throws FpdtError `config`, `preset`, and for a saved model what `load` throws. */
export async function modelOf(given: TrainConfig['model'], path: Path): Promise<NamedModel> {
  if (typeof given === 'string') return { model: namedModel(given), notes: [] }
  const { load: folder, preset, family, ...sizes } = given
  if ([folder, preset, family].filter((word) => word !== undefined).length !== 1)
    throw new FpdtError('config', 'model needs one of "preset", "family" and "load" to say what it is.')
  if (folder !== undefined) {
    const more = Object.keys(sizes)
    if (typeof folder !== 'string' || more.length > 0)
      throw new FpdtError(
        'config',
        `model { "load" } takes the path of a folder and nothing else; got ${more.length > 0 ? more.join(', ') : JSON.stringify(folder)}.`,
      )
    const { model, weights, notes } = await load(path(folder))
    return { model, weights, notes }
  }
  if (preset !== undefined) return { model: namedModel(String(preset), sizes), notes: [] }
  if (!FAMILIES.includes(String(family)))
    throw new FpdtError(
      'config',
      `model family ${JSON.stringify(family)} is not known; the nearest is "${nearest(String(family), FAMILIES)}". There are "llama" and "gpt".`,
    )
  return { model: family === 'llama' ? llama(sizes as unknown as LlamaOptions) : gpt(sizes as unknown as GptOptions), notes: [] }
}

const TOKEN_FILE = ['file', 'dtype', 'separator', 'beginning']
const WORDS = 'gpt2'

/** Throws FpdtError `text` or `config`. */
export async function textOf(given: TrainConfig['text'], path: Path): Promise<LongText> {
  if (typeof given === 'string') return longText(given.includes('\n') ? given : place(given, path))
  if (Array.isArray(given)) return longText(given.map((one) => place(one, path)))
  if (WORDS in given) return wordsOf(given as Readonly<Record<string, unknown>>, path)
  const { file, ...options } = given as Readonly<Record<string, unknown>>
  const unknown = Object.keys(given).find((name) => !TOKEN_FILE.includes(name))
  if (unknown !== undefined)
    throw new FpdtError(
      'config',
      `text { "${unknown}" } is not known; the nearest is "${nearest(unknown, TOKEN_FILE)}". There are ${TOKEN_FILE.join(', ')}, and ${WORDS} alone.`,
    )
  const files = Array.isArray(file) ? file : [file]
  if (files.length === 0 || !files.every((one) => typeof one === 'string'))
    throw new FpdtError('config', `text { "file": ${JSON.stringify(file)} } is neither a path nor a list of paths.`)
  return tokenFile(files.map(path), options as TokenFileOptions)
}

/** `{ "gpt2": "book.txt" }`: as `"book.txt"`, also for a model with words of its own. */
function wordsOf(given: Readonly<Record<string, unknown>>, path: Path): Promise<LongText> {
  const { [WORDS]: words, ...more } = given
  const isWords = typeof words === 'string' || (Array.isArray(words) && words.length > 0 && words.every((one) => typeof one === 'string'))
  if (isWords && Object.keys(more).length === 0) return textOf(words, path)
  throw new FpdtError('config', `text { "${WORDS}" } takes a path or a list of paths and nothing else; got ${JSON.stringify(given)}.`)
}

/** Text that is cut into GPT-2's tokens is noise to a model with words of its own. Throws FpdtError `config`. */
export function refuseForeignWords(given: TrainConfig['text'], text: LongText, source: ModelSource | undefined): void {
  if (source === undefined || source.gpt2Words || !(typeof given === 'string' || Array.isArray(given))) return
  throw new FpdtError(
    'config',
    `${foreignWords(text.source, source)}: { "file": "tokens.bin", "dtype": "uint32" }. To train on GPT-2's ids all the same, write { "${WORDS}": ${JSON.stringify(given)} }.`,
  )
}

/** The text that ships with TypeScript has a name and no path, unless there is a file of that name. */
function place(written: string, path: Path): string {
  return written === 'lib.dom.d.ts' && !existsSync(path(written)) ? written : path(written)
}
