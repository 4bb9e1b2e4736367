/** Text in words, as tokens of GPT-2. */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import encoding from 'gpt-tokenizer/encoding/r50k_base'
import { FpdtError } from '../errors.js'

/** The text that ships with a dependency: TypeScript's types of the browser, 2.3 MB, 757,634 GPT-2 tokens in TypeScript 7.0. */
const BUILT_IN_TEXT = 'lib.dom.d.ts'
/** A string of this length or more, or with a line break, is a text and not a path. */
const LONGEST_PATH = 1024
/** Texts whose tokens are kept: to cut a megabyte takes half a second. */
const CACHED_TEXTS = 8

export const WHAT_TO_GIVE = `give the path of a text, the text itself (with a line break), an array of tokens, an array of documents, or '${BUILT_IN_TEXT}'.`

interface CutText {
  /** Where it is from, in words. */
  readonly source: string
  readonly tokens: Uint32Array
}
const cache = new Map<string, CutText>()

/** Tokens of a text, or of the file that a path names; the same array for the same text. Throws FpdtError `text` when there is none. */
export function cutText(text: string): CutText {
  const { source, key, content } = findText('longText', text)
  return cached(key, () => ({ source, tokens: tokenise(content()) }))
}

/** A text, or the file that a path names, which is not read yet. `word`: whose argument it is. Throws FpdtError `text` when there is none. */
export function findText(word: string, text: string): { readonly source: string; readonly key: string; content(): string } {
  if (text === '') throw new FpdtError('text', `${word}('') is empty; ${WHAT_TO_GIVE}`)
  if (text.length >= LONGEST_PATH || text.includes('\n')) return { source: `${text.length} characters`, key: text, content: () => text }
  const path = text === BUILT_IN_TEXT && !existsSync(text) ? builtInText() : resolve(text)
  const file = statSync(path, { throwIfNoEntry: false })
  if (!file?.isFile()) throw new FpdtError('text', `${word}('${text}'): there is no file ${path}; ${WHAT_TO_GIVE}`)
  return { source: text, key: `${path} ${file.size} ${file.mtimeMs}`, content: () => readText(path) }
}

function readText(path: string): string {
  const bytes = readFileSync(path)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    throw new FpdtError('text', `${path} is no text in UTF-8; a file of tokens is read with await tokenFile('${path}', { dtype: 'uint16' }).`, { cause: error })
  }
}
/** Words such as `<|endoftext|>` in a text are text: they are cut like any other. */
function tokenise(text: string): Uint32Array {
  return Uint32Array.from(encoding.encode(text, { disallowedSpecial: new Set() }))
}

function cached(key: string, make: () => CutText): CutText {
  const text = cache.get(key) ?? make()
  cache.delete(key) // so that the one read last is let go last
  cache.set(key, text)
  for (const oldest of cache.keys()) {
    if (cache.size <= CACHED_TEXTS) break
    cache.delete(oldest)
  }
  return text
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
