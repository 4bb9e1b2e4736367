/** Long texts as tokens. `sequences.ts` cuts them into what a step takes; `token-file.ts` reads them from files. */
import { FpdtError } from '../errors.js'
import { nearest } from '../nearest.js'
import { counted } from '../trace/words/format.js'
import { cutText, WHAT_TO_GIVE } from './cut-text.js'
import { checkDocumentOptions, DOCUMENT_OPTIONS, type DocumentOptions, findDocuments, givenDocuments } from './documents.js'
import { joinedText } from './joined-text.js'
import { textInWords } from './words.js'

/** Words of GPT-2's vocabulary, ids 0 .. 50256. */
export const GPT2_VOCABULARY = 50257
/** `<|endoftext|>`: the word of GPT-2's vocabulary that ends a document. */
export const GPT2_END_OF_TEXT = 50256
/** Texts and arrays are read once: the same one again gives the same `LongText`, while what was copied from it is still in it. */
const knownArrays = new WeakMap<object, { readonly text: LongText; readonly unchanged: () => boolean }>()

/** Whole numbers from 0, ids of GPT-2's vocabulary unless the model has another. A typed array is read where it lies, others are copied. */
export type Tokens = readonly number[] | Uint32Array | Int32Array | Uint16Array
/** A path, a text itself, tokens, or a text that is already one. */
export type Document = string | Tokens | LongText
/** What can be read as a text: one, or documents to be packed one after the other. */
export type TextSource = Document | readonly Document[]

export interface LongText {
  /** Where it is from, in words. */
  readonly source: string
  /** All of it lies in memory, so that it costs little to read as a whole. */
  readonly inMemory?: boolean
  /** Some of it was words, and was cut into GPT-2's tokens. */
  readonly words?: boolean
  /** Tokens there are. */
  readonly length: number
  /** `count` tokens from `position`; both lie inside the text. Texts in files are read as they are needed. */
  read(position: number, count: number): Uint32Array | Int32Array
  /** Labels of the same tokens, where they are given: the word to foretell at each, -1 or -100 where there is none. Else the next token is foretold. */
  labels?(position: number, count: number): Int32Array
  /** Positions of the first tokens of its documents, ascending from 0. A text without is one document. */
  readonly documents?: ArrayLike<number>
}

/** What is known of a text besides its tokens. In a text of documents, `separator` and `beginning` are put around each; elsewhere they are looked for. */
export interface TextOptions extends DocumentOptions {
  /**
   * One for each token: the word to foretell after it, -1 or -100 where nothing is. They are not shifted again; `labels` of Hugging Face,
   * which name the token itself, become these by dropping the first and adding -100 at the end. Left out, the next token of the document is
   * foretold, and the last of a sequence or document has none.
   */
  readonly labels?: readonly number[] | Int32Array
}

/**
 * A long text: the path of a file, the text itself, its tokens, `'lib.dom.d.ts'`, the real long document that ships with TypeScript, or an
 * array of these, packed as documents one after the other. Text is cut into GPT-2's tokens; each document in words ends with
 * `<|endoftext|>` unless `separator` or `beginning` say otherwise. Attention and labels stay within documents when a run is asked to
 * (`documents: true`).
 *
 *   longText('book.txt')
 *   longText(tokens, { separator: 50256 })     // documents end with this token
 *   longText([first, second], { beginning: 1 }) // documents are given; 1 is put before each
 *
 * The same text or array gives the same `LongText` again, and a run reads it on from where it was; an array with other tokens in it is
 * another text (but a `Uint32Array` or `Int32Array` is not copied: it is the same text whatever is written into it). With options each call
 * makes a new one, to be kept in a variable. Throws FpdtError `text` when there is no text, or labels or documents do not fit it; `token` for what is no token.
 */
export function longText(text: TextSource, options?: TextOptions): LongText {
  if (options === undefined) return textInWords(atLeastTwo(isDocuments(text) ? knownList(text) : documentOf(text)))
  refuseUnknownOptions('longText', options, ['labels', ...DOCUMENT_OPTIONS])
  checkDocumentOptions('longText()', options)
  return textInWords(withLabels(atLeastTwo(isDocuments(text) ? packed(text, options) : withDocuments(documentOf(text), options)), options))
}

/** Refuses what is no text: training needs a token to read and one to foretell. Throws FpdtError `text`. */
export function atLeastTwo(text: LongText): LongText {
  const { length } = text
  if (length >= 2) return text
  throw new FpdtError('text', `longText(): ${text.source} has ${counted(length, 'token')}; training needs at least 2, one to read and one to foretell.`)
}

/** Refuses options that are misspelt: nothing is ignored in silence. Throws FpdtError `text`. */
export function refuseUnknownOptions(word: string, options: object, names: readonly string[]): void {
  if (typeof options !== 'object' || options === null)
    throw new FpdtError('text', `${word}() takes its options as an object, { ${names[0]}: … }; got ${String(options)}.`)
  for (const name of Object.keys(options))
    if (!names.includes(name))
      throw new FpdtError('text', `${word}({ ${name} }) is not known; the nearest is ${nearest(name, names)}. There are ${names.join(', ')}.`)
}

/** Of any length, also none. */
function documentOf(text: Document): LongText {
  if (typeof text === 'string') {
    const { source, tokens } = cutText(text)
    return knownTokens(source, tokens, true)
  }
  if (isLongText(text)) return text
  if (isTokens(text)) return knownTokens(`${text.length} tokens`, text)
  const hint = (text as unknown) instanceof Promise ? 'it is a promise; put await before it' : WHAT_TO_GIVE
  throw new FpdtError('text', `longText(${String(text)}) is no text; ${hint}`)
}
function isDocuments(text: TextSource): text is readonly Document[] {
  return Array.isArray(text) && text.some((one) => typeof one !== 'number')
}
function isLongText(text: object | undefined): text is LongText {
  return typeof text === 'object' && text !== null && 'source' in text && 'read' in text
}
function isTokens(text: unknown): text is Tokens {
  return Array.isArray(text) || text instanceof Uint32Array || text instanceof Int32Array || text instanceof Uint16Array
}

function inMemory(source: string, all: Uint32Array | Int32Array): LongText {
  return { source, inMemory: true, length: all.length, read: (position, count) => all.subarray(position, position + count) }
}
/** Whole numbers that 32 bits hold, or FpdtError `token`: to truncate 1.5 or 2^32 would train on other tokens in silence. */
function wordsOf(source: string, tokens: Tokens): Uint32Array | Int32Array {
  if (tokens instanceof Uint32Array || tokens instanceof Int32Array) return tokens
  if (tokens instanceof Uint16Array) return new Uint32Array(tokens)
  const wrong = tokens.findIndex((token) => !(Number.isInteger(token) && token >= 0 && token < 2 ** 32))
  if (wrong >= 0) throw new FpdtError('token', `token ${String(tokens[wrong])} at position ${wrong} of ${source} is no token: tokens are whole numbers from 0.`)
  return Uint32Array.from(tokens)
}

/** An array's text lives as long as the array, and until it is filled anew: then it is another text. */
function known(array: object, make: () => { text: LongText; unchanged: () => boolean }): LongText {
  const before = knownArrays.get(array)
  if (before?.unchanged()) return before.text
  const now = make()
  knownArrays.set(array, now)
  return now.text
}
function knownTokens(source: string, tokens: Tokens, words = false): LongText {
  return known(tokens, () => {
    const all = wordsOf(source, tokens)
    return { text: { ...inMemory(source, all), words }, unchanged: () => all === tokens || isSame(tokens, all) }
  })
}
/** Words are compared as they are written, all else as the text that it gives. */
function knownList(list: readonly Document[]): LongText {
  const parts = (): (string | LongText)[] => list.map((one) => (typeof one === 'string' ? one : documentOf(one)))
  return known(list, () => {
    const before = parts()
    return { text: packed(list, {}), unchanged: () => isSame(parts(), before) }
  })
}
/** A plain loop: it is run over a text at every step. */
function isSame<T>(a: ArrayLike<T>, b: ArrayLike<T>): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** Documents one after the other, each between the tokens that begin and end it. */
function packed(list: readonly Document[], { documents, separator, beginning }: TextOptions): LongText {
  if (documents) throw new FpdtError('text', 'longText([first, second, …]) has documents: the array says where they begin; leave out documents.')
  const parts: LongText[] = []
  const begins: number[] = []
  const mark = (token: number): LongText => inMemory('a separator', Uint32Array.of(token))
  let position = 0
  for (const [d, one] of list.entries()) {
    const document = documentOf(one)
    if (document.length === 0) throw new FpdtError('text', `document ${d} of longText([first, second, …]) has no tokens; leave it out.`)
    if (document.labels)
      throw new FpdtError(
        'text',
        `document ${d} of longText([first, second, …]) has labels of its own; give those of all documents: longText(list, { labels }).`,
      )
    const end = separator ?? (typeof one === 'string' && beginning === undefined ? GPT2_END_OF_TEXT : undefined)
    const own = [...(beginning === undefined ? [] : [mark(beginning)]), document, ...(end === undefined ? [] : [mark(end)])]
    begins.push(position)
    const inner = position + (beginning === undefined ? 0 : 1)
    for (let k = 1; k < (document.documents?.length ?? 0); k++) begins.push(inner + (document.documents as ArrayLike<number>)[k])
    position += own.reduce((sum, part) => sum + part.length, 0)
    parts.push(...own)
  }
  return joinedText(`${list.length} documents`, parts, Float64Array.from(begins))
}

function withDocuments(text: LongText, options: DocumentOptions): LongText {
  if (options.documents) return changedText(text, { documents: givenDocuments(text, options.documents) })
  const scan = findDocuments(text, options)
  let step = scan.next()
  while (!step.done) step = scan.next()
  return step.value ? changedText(text, { documents: step.value }) : text
}
function withLabels(text: LongText, { labels }: TextOptions): LongText {
  if (labels === undefined) return text
  if (labels.length !== text.length)
    throw new FpdtError(
      'text',
      `${text.source} has ${text.length} tokens and ${labels.length} labels; give one label for each token, -100 where nothing is foretold.`,
    )
  const wrong = labels instanceof Int32Array ? -1 : labels.findIndex((label) => label !== (label | 0))
  if (wrong >= 0)
    throw new FpdtError('token', `label ${String(labels[wrong])} at position ${wrong} of ${text.source} is no word: words are whole numbers from 0.`)
  const all = labels instanceof Int32Array ? labels : Int32Array.from(labels)
  return changedText(text, { labels: (position, count) => all.subarray(position, position + count) })
}
/** A text may be an object with a prototype: its methods are called, not copied. */
function changedText(text: LongText, changes: Partial<LongText>): LongText {
  const { source, inMemory = false, words = false, length, documents } = text
  const labels = text.labels && { labels: (position: number, count: number) => text.labels?.(position, count) as Int32Array }
  return { source, inMemory, words, length, read: (position, count) => text.read(position, count), ...labels, ...(documents ? { documents } : {}), ...changes }
}
