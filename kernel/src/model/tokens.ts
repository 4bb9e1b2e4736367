/** Long texts as tokens, and tokens as what a step takes: chunks dealt to ranks, with shifted labels. */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import encoding from 'gpt-tokenizer/encoding/r50k_base'
import { FpdtError } from '../errors.js'

/** Words of GPT-2's vocabulary, ids 0 .. 50256. */
export const GPT2_VOCABULARY = 50257
/** A label that counts for nothing. */
export const IGNORE = -1
/** The text that ships with a dependency: TypeScript's types of the browser, 2.3 MB, 757,634 GPT-2 tokens in TypeScript 7.0. */
export const BUILT_IN_TEXT = 'lib.dom.d.ts'
/** Texts are cut once: reading the same one again gives the same `LongText`, and with it its place in a run. */
const CACHED_TEXTS = 8
const cache = new Map<string | ArrayLike<number>, LongText>()

/** A string of this length or more, or with a line break, is a text and not a path. */
const LONGEST_PATH = 1024

const WHAT_TO_GIVE = `give the path of a text, the text itself (with a line break), an array of tokens, or '${BUILT_IN_TEXT}'.`

/** What can be read as a text. Tokens are whole numbers, ids of GPT-2's vocabulary unless the model has another. */
export type TextSource = string | readonly number[] | Uint32Array | Int32Array | Uint16Array | LongText

function isLongText(text: object | undefined): text is LongText {
  return typeof text === 'object' && text !== null && 'source' in text && 'tokens' in text
}
function isTokens(text: unknown): text is ArrayLike<number> & Iterable<number> {
  return Array.isArray(text) || text instanceof Uint32Array || text instanceof Int32Array || text instanceof Uint16Array
}

export interface LongText {
  /** Where it is from, in words. */
  readonly source: string
  readonly tokens: Uint32Array | Int32Array
}

/**
 * A long text: the path of a file, the text itself, its tokens, or `'lib.dom.d.ts'`, the real long document that ships with TypeScript.
 * Text is cut into GPT-2's tokens. Throws FpdtError `text` when there is none.
 */
export function longText(text: TextSource): LongText {
  if (typeof text !== 'string') {
    if (isLongText(text)) return text
    if (!isTokens(text)) throw new FpdtError('text', `longText(${String(text)}) is no text; ${WHAT_TO_GIVE}`)
    return cached(text, () => atLeastTwo({ source: `${text.length} tokens`, tokens: text instanceof Uint32Array ? text : Int32Array.from(text) }))
  }
  if (text === '') throw new FpdtError('text', `longText('') is empty; ${WHAT_TO_GIVE}`)
  if (text.length >= LONGEST_PATH || text.includes('\n')) return cached(text, () => tokenise(text, `${text.length} characters`))
  const path = text === BUILT_IN_TEXT && !existsSync(text) ? builtInText() : resolve(text)
  const file = statSync(path, { throwIfNoEntry: false })
  if (!file?.isFile()) {
    throw new FpdtError('text', `longText('${text}'): there is no file ${path}; ${WHAT_TO_GIVE}`)
  }
  return cached(`${path} ${file.size} ${file.mtimeMs}`, () => tokenise(readFileSync(path, 'utf8'), text))
}

function cached(key: string | ArrayLike<number>, make: () => LongText): LongText {
  const known = cache.get(key)
  if (known) return known
  const made = make()
  cache.set(key, made)
  for (const oldest of cache.keys()) {
    if (cache.size <= CACHED_TEXTS) break
    cache.delete(oldest)
  }
  return made
}

/** Words such as `<|endoftext|>` in a text are text: they are cut like any other. */
function tokenise(text: string, source: string): LongText {
  return atLeastTwo({ source, tokens: Uint32Array.from(encoding.encode(text, { disallowedSpecial: new Set() })) })
}
function atLeastTwo(text: LongText): LongText {
  const { length } = text.tokens
  if (length >= 2) return text
  throw new FpdtError(
    'text',
    `longText(): ${text.source} has ${length} token${length === 1 ? '' : 's'}; training needs at least 2, one to read and one to foretell.`,
  )
}

/** TypeScript 7 keeps its libraries in the package of the platform, earlier ones beside the compiler. */
function builtInText(): string {
  const require = createRequire(import.meta.url)
  const typescript = dirname(require.resolve('typescript/package.json'))
  const fromTypescript = createRequire(join(typescript, 'package.json'))
  const candidates = [join(typescript, 'lib', BUILT_IN_TEXT)]
  try {
    candidates.unshift(join(dirname(fromTypescript.resolve(`@typescript/typescript-${process.platform}-${process.arch}/package.json`)), 'lib', BUILT_IN_TEXT))
  } catch {
    // An earlier TypeScript has no such package.
  }
  return candidates.find((path) => existsSync(path)) ?? (candidates[0] as string)
}

/** Tokens and labels of one step. `label[t]` is the token after t; the last token and pads have none. */
export interface StepTokens {
  readonly tokens: Int32Array // padded length
  readonly labels: Int32Array
  /** Labels that count. */
  readonly valid: number
  /** The text was shorter than what has been read of it. */
  readonly repeated: boolean
}

/**
 * `count` tokens of a text from `position`, padded to `padded`. A text shorter than that is repeated from its start.
 * Throws FpdtError `token` for a token outside the vocabulary, naming where it stands.
 */
export function stepTokens(text: LongText, position: number, count: number, padded: number, vocabulary: number): StepTokens {
  const tokens = new Int32Array(padded)
  const labels = new Int32Array(padded).fill(IGNORE)
  const length = text.tokens.length
  for (let t = 0; t < count; t++) {
    const at = (position + t) % length
    const token = text.tokens[at] as number
    if (!(token >= 0 && token < vocabulary)) {
      throw new FpdtError(
        'token',
        `token ${token} at position ${at} of ${text.source} is outside the model's vocabulary of ${vocabulary} words; give the model vocab: ${token + 1} or more, or other tokens.`,
      )
    }
    tokens[t] = token
    if (t > 0) labels[t - 1] = token
  }
  return { tokens, labels, valid: count - 1, repeated: position + count > length }
}

/** Local tokens of chunk i on rank r: sub-chunk i P + r, so that after the all-to-all chunk i is one range of the sequence. */
export function dealt(all: Int32Array, chunk: number, ranks: number, i: number, rank: number): Int32Array {
  const c = chunk / ranks
  const start = i * chunk + rank * c
  return all.subarray(start, start + c)
}
