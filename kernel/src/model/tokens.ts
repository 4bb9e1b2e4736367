/** Long texts as tokens. `sequences.ts` cuts them into what a step takes. */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import encoding from 'gpt-tokenizer/encoding/r50k_base'
import { FpdtError } from '../errors.js'

/** Words of GPT-2's vocabulary, ids 0 .. 50256. */
export const GPT2_VOCABULARY = 50257
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
  return typeof text === 'object' && text !== null && 'source' in text && 'read' in text
}
function isTokens(text: unknown): text is ArrayLike<number> & Iterable<number> {
  return Array.isArray(text) || text instanceof Uint32Array || text instanceof Int32Array || text instanceof Uint16Array
}

export interface LongText {
  /** Where it is from, in words. */
  readonly source: string
  /** Tokens there are. */
  readonly length: number
  /** `count` tokens from `position`; both lie inside the text. Texts in files are read as they are needed. */
  read(position: number, count: number): Uint32Array | Int32Array
  /** Labels of the same tokens, where they are given: the word to foretell at each, -1 or -100 where there is none. Else the next token is foretold. */
  labels?(position: number, count: number): Int32Array
  /** Positions of the first tokens of its documents, ascending from 0. A text without is one document. */
  readonly documents?: ArrayLike<number>
}

/** A text that lies in memory. */
function inMemory(source: string, tokens: Uint32Array | Int32Array, documents?: ArrayLike<number>): LongText {
  return { source, length: tokens.length, read: (position, count) => tokens.subarray(position, position + count), ...(documents ? { documents } : {}) }
}

/**
 * A long text: the path of a file, the text itself, its tokens, or `'lib.dom.d.ts'`, the real long document that ships with TypeScript.
 * Text is cut into GPT-2's tokens. Throws FpdtError `text` when there is none.
 */
export function longText(text: TextSource): LongText {
  if (typeof text !== 'string') {
    if (isLongText(text)) return text
    if (!isTokens(text)) throw new FpdtError('text', `longText(${String(text)}) is no text; ${WHAT_TO_GIVE}`)
    return cached(text, () => atLeastTwo(inMemory(`${text.length} tokens`, text instanceof Uint32Array ? text : Int32Array.from(text))))
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
  return atLeastTwo(inMemory(source, Uint32Array.from(encoding.encode(text, { disallowedSpecial: new Set() }))))
}
function atLeastTwo(text: LongText): LongText {
  const { length } = text
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
