/** Where documents begin in a text: said in positions, or by the token that ends or begins each. */
import { FpdtError } from '../errors.js'
import type { LongText } from './tokens.js'

/** How the documents of a text are told apart: one of the three, or none for a text that is one document. */
export interface DocumentOptions {
  /** Positions of the documents' first tokens, ascending from 0. The end of the text is not among them. */
  readonly documents?: ArrayLike<number>
  /** The token that ends a document, and belongs to it: 50256 (`<|endoftext|>`) where nanoGPT wrote the file. */
  readonly separator?: number
  /** The token that begins a document, and belongs to it: 128000 (`<|begin_of_text|>`) for Llama 3, and 50256 where llm.c wrote the file. */
  readonly beginning?: number
}
export const DOCUMENT_OPTIONS = ['documents', 'separator', 'beginning'] as const

/** Tokens looked through at a time: 4 MiB, a few milliseconds. */
const PIECE = 2 ** 20

/** Refuses two answers to one question, and separators that no token can be. Throws FpdtError `text`. */
export function checkDocumentOptions(word: string, options: DocumentOptions): void {
  const given = DOCUMENT_OPTIONS.filter((name) => options[name] !== undefined)
  if (given.length > 1) throw new FpdtError('text', `${word} has ${given.join(' and ')}: either alone says where documents begin; leave out the others.`)
  for (const name of ['separator', 'beginning'] as const) {
    const token = options[name]
    if (token !== undefined && !(Number.isInteger(token) && token >= 0 && token < 2 ** 32))
      throw new FpdtError('text', `${word} has ${name} ${String(token)}, which is no token: tokens are whole numbers from 0.`)
  }
}

/** Positions as they were given, once they are known to ascend from 0 inside the text. Throws FpdtError `text`, naming the first that does not. */
export function givenDocuments(text: LongText, documents: ArrayLike<number>): Float64Array {
  if (!(documents.length > 0)) throw new FpdtError('text', `documents of ${text.source} is empty; the first document begins at 0.`)
  for (let d = 0; d < documents.length; d++) {
    const least = d === 0 ? 0 : documents[d - 1] + 1
    const begin = documents[d]
    if (Number.isInteger(begin) && begin >= least && begin < text.length && (d > 0 || begin === 0)) continue
    throw new FpdtError(
      'text',
      `documents[${d}] of ${text.source} is ${String(begin)}; give the positions of the documents' first tokens: 0, then ascending, all below its ${text.length} tokens.`,
    )
  }
  return Float64Array.from(documents)
}

/**
 * Looks through a text for its documents; undefined when nothing tells them apart. Yields the share that is done after every piece, so
 * that the caller decides whether other work may go on meanwhile. Throws FpdtError `text` when the token to look for never occurs.
 */
export function* findDocuments(text: LongText, { separator, beginning }: DocumentOptions): Generator<number, Float64Array | undefined, void> {
  const token = separator ?? beginning
  if (token === undefined) return undefined
  const begins = [0]
  let occurs = false
  for (let from = 0; from < text.length; from += PIECE) {
    const piece = text.read(from, Math.min(PIECE, text.length - from))
    for (let k = piece.indexOf(token); k !== -1; k = piece.indexOf(token, k + 1)) {
      occurs = true
      const begin = from + k + (separator === undefined ? 0 : 1)
      if (begin > 0 && begin < text.length) begins.push(begin)
    }
    yield (from + piece.length) / text.length
  }
  if (occurs) return Float64Array.from(begins)
  throw new FpdtError(
    'text',
    `token ${token} occurs nowhere in ${text.source}, so it tells no documents apart; leave it out for a text that is one document, or look which token does.`,
  )
}

/** Index of the first of ascending numbers that is `value` or more. */
export function firstAtLeast(ascending: ArrayLike<number>, value: number): number {
  let [low, high] = [0, ascending.length]
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if (ascending[middle] < value) low = middle + 1
    else high = middle
  }
  return low
}
