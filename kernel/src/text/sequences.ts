/** Tokens as what a step takes: sequences with shifted labels, documents and positions, padded and dealt to ranks. */
import { FpdtError } from '../errors.js'
import { firstAtLeast } from './documents.js'
import { GPT2_VOCABULARY, type LongText } from './tokens.js'

/** A label that counts for nothing. */
export const IGNORE = -1
/** The same as it is written by PyTorch and Hugging Face. */
const HUGGING_FACE_IGNORE = -100
/** Tokens read at a time, so that a text in a file costs one piece besides what it is read into. */
const PIECE = 2 ** 20

/** How a step takes tokens. */
export interface SequenceShape {
  /** Sequences of a step, each of `tokens` tokens, padded to `padded`. */
  readonly sequences: number
  readonly tokens: number
  readonly padded: number
  /** Attention stays within documents. */
  readonly documents: boolean
  readonly vocabulary: number
  /** Learned positions; Infinity where there are none. */
  readonly positions: number
}

/** Inputs of one step, its sequences one after the other, each of `padded` elements. */
export interface StepTokens {
  readonly tokens: Int32Array
  /** The word after each token; none at the end of a sequence or document, and on pads. */
  readonly labels: Int32Array
  /** Place of each token in its document, or in its sequence. */
  readonly positions: Int32Array
  /** Place in its sequence where each token's document begins. */
  readonly starts: Int32Array
  /** Labels that count. */
  readonly valid: number
  /** Lengths of the stretches within which attention stays, pads not counted. */
  readonly stretches: readonly number[]
  /** The text was shorter than what has been read of it. */
  readonly repeated: boolean
}

/**
 * The sequences of a step from `position` of a text on, each where the one before it ended. A text shorter than that is repeated from its
 * start, where a document begins. Throws FpdtError `token` for a token or label outside the vocabulary, naming where it stands; `text` when
 * a document is longer than the model's positions; and what the text throws when it cannot be read. There may be no label that counts.
 */
export function stepTokens(text: LongText, position: number, shape: SequenceShape): StepTokens {
  const { sequences, tokens: count, padded, vocabulary } = shape
  const size = sequences * padded
  const [tokens, labels, positions, starts] = [new Int32Array(size), new Int32Array(size).fill(IGNORE), new Int32Array(size), new Int32Array(size)]
  const stretches: number[] = []
  let valid = 0
  for (let s = 0; s < sequences; s++) {
    const at = (position + s * count) % text.length
    const own = (all: Int32Array): Int32Array => all.subarray(s * padded, (s + 1) * padded)
    const [words, next, places, begins] = [own(tokens), own(labels), own(positions), own(starts)]
    readAround(words.subarray(0, count), text, at, vocabulary, 'token')
    if (text.labels) valid += readAround(next.subarray(0, count), text, at, vocabulary, 'label')
    const bounds = [0, ...(shape.documents ? beginnings(text, at, count) : []), count]
    for (let d = 1; d < bounds.length; d++) {
      const [start, end] = [bounds[d - 1], bounds[d]]
      if (end - start > shape.positions)
        throw new FpdtError(
          'text',
          `a document of ${text.source} has more than the model's ${shape.positions} learned positions, at position ${(at + start + shape.positions) % text.length}; cut it, or use a model with more.`,
        )
      // Plain loops: a document may be three tokens long, and there may be hundreds of thousands.
      for (let t = start; t < end; t++) {
        begins[t] = start
        places[t] = t - start
      }
      if (!text.labels) for (let t = start + 1; t < end; t++) next[t - 1] = words[t]
      stretches.push(end - start)
    }
    if (!text.labels) valid += count - (bounds.length - 1)
    for (let t = count; t < padded; t++) begins[t] = t // a pad sees itself alone
  }
  return { tokens, labels, positions, starts, valid, stretches, repeated: position + sequences * count > text.length }
}

/**
 * As `stepTokens`, from the first place on, step by step, where a label counts: a long prompt has none. `skipped`: tokens passed over. Throws
 * FpdtError `text` when there is none in all the text.
 */
export function nextToLearn(text: LongText, position: number, shape: SequenceShape): { readonly inputs: StepTokens; readonly skipped: number } {
  for (let skipped = 0; skipped < text.length; skipped += shape.sequences * shape.tokens) {
    const inputs = stepTokens(text, position + skipped, shape)
    if (inputs.valid > 0) return { inputs, skipped }
  }
  throw new FpdtError('text', `${text.source} has no label that counts in all its ${text.length} tokens, so there is nothing to learn.`)
}

/**
 * Tokens or labels of a text from `at` on, from its start again after its end: each is read and checked once, and copied as often as it
 * takes. Returns how many count.
 */
function readAround(into: Int32Array, text: LongText, at: number, vocabulary: number, what: 'token' | 'label'): number {
  const once = Math.min(into.length, text.length)
  for (let done = 0; done < once; ) {
    const place = (at + done) % text.length
    const piece = Math.min(once - done, text.length - place, PIECE)
    const words = (what === 'token' ? text.read(place, piece) : text.labels?.(place, piece)) as Int32Array
    if (words.length !== piece) throw new FpdtError('text', `${text.source} gave ${words.length} ${what}s of the ${piece} from ${place} on.`)
    for (let k = 0; k < piece; k++) {
      const word = words[k]
      if (word >= 0 && word < vocabulary) into[done + k] = word
      else if (what === 'label' && (word === IGNORE || word === HUGGING_FACE_IGNORE)) into[done + k] = IGNORE
      else throw outside(what, word, place + k, text, vocabulary)
    }
    done += piece
  }
  for (let done = once; done < into.length; done *= 2) into.copyWithin(done, 0, into.length - done)
  let counted = 0
  for (let t = 0; t < into.length; t++) if (into[t] !== IGNORE) counted++
  return counted
}

function outside(what: string, word: number, place: number, { source, words }: LongText, vocabulary: number): FpdtError {
  const where = `${what} ${word} at position ${place} of ${source}`
  if (word < 0)
    return new FpdtError('token', `${where} is no word: words are whole numbers from 0${what === 'label' ? ', and -1 or -100 where nothing is foretold' : ''}.`)
  return new FpdtError(
    'token',
    `${where} is outside the model's vocabulary of ${vocabulary} words; give the model vocab: ${words ? GPT2_VOCABULARY : word + 1} or more, or other ${what}s.`,
  )
}

/** Where documents begin in the `count` tokens from `at` on, the first of these not counted. */
function beginnings({ documents = [0], length, source }: LongText, at: number, count: number): number[] {
  const found: number[] = []
  for (let lap = -at; lap < count; lap += length) {
    for (let d = firstAtLeast(documents, 1 - lap); d < documents.length && lap + documents[d] < count; d++) {
      const begin = lap + documents[d]
      // Attention would reach before its own beginning: whoever made the text is told.
      if (!(begin > (found.at(-1) ?? 0)))
        throw new FpdtError('text', `documents[${d}] of ${source} is ${documents[d]}; they ascend from 0, below its ${length} tokens.`)
      found.push(begin)
    }
  }
  return found
}

/**
 * Local tokens of chunk n on rank r: sub-chunk i P + r of its sequence, so that after the all-to-all chunk i is one range of the
 * sequence. A sequence is padded to whole chunks, so the chunks of all sequences of a step lie side by side.
 */
export function dealt(all: Int32Array, { chunk, ranks }: { readonly chunk: number; readonly ranks: number }, n: number, rank: number): Int32Array {
  const c = chunk / ranks
  const from = n * chunk + rank * c
  return all.subarray(from, from + c)
}
