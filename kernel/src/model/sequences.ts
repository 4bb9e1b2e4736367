/** Tokens as what a step takes: sequences with shifted labels, documents and positions, padded and dealt to ranks. */
import { FpdtError } from '../errors.js'
import type { LongText } from './tokens.js'

/** A label that counts for nothing. */
export const IGNORE = -1

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
 * The sequences of a step from `position` of a text on. A text shorter than that is repeated from its start. Throws FpdtError
 * `token` for a token or label outside the vocabulary, naming where it stands; `text` when no label counts or a document is too long.
 */
export function stepTokens(text: LongText, position: number, shape: SequenceShape): StepTokens {
  const { sequences, tokens: count, padded } = shape
  const all = (fill = 0): Int32Array => new Int32Array(sequences * padded).fill(fill)
  const out = { tokens: all(), labels: all(IGNORE), positions: all(), starts: all() }
  const stretches: number[] = []
  let valid = 0
  for (let s = 0; s < sequences; s++) {
    const from = s * padded
    const one = { ...shape, at: (position + s * count) % text.length }
    const into = (array: Int32Array): Int32Array => array.subarray(from, from + padded)
    valid += fillSequence(text, one, into(out.tokens), into(out.labels), into(out.positions), into(out.starts), stretches)
  }
  if (valid === 0) throw new FpdtError('text', `${text.source} has no label that counts in the tokens from ${position} on, so there is nothing to learn there.`)
  return { ...out, valid, stretches, repeated: position + sequences * count > text.length }
}

function fillSequence(
  text: LongText,
  { tokens: count, padded, documents, vocabulary, positions: longest, at }: SequenceShape & { at: number },
  tokens: Int32Array,
  labels: Int32Array,
  positions: Int32Array,
  starts: Int32Array,
  stretches: number[],
): number {
  let valid = 0
  let start = 0
  const place = (t: number): number => (at + t) % text.length
  const wrong = (what: string, value: number, t: number): FpdtError =>
    new FpdtError(
      'token',
      `${what} ${value} at position ${place(t)} of ${text.source} is outside the model's vocabulary of ${vocabulary} words; give the model vocab: ${value + 1} or more, or other tokens.`,
    )
  for (let t = 0; t < count; ) {
    const piece = Math.min(count - t, text.length - place(t))
    const read = text.read(place(t), piece)
    const given = text.labels?.(place(t), piece)
    const begins = documents ? beginnings(text, place(t), piece) : []
    let next = 0
    for (let k = 0; k < piece; k++, t++) {
      const token = read[k]
      if (!(token >= 0 && token < vocabulary)) throw wrong('token', token, t)
      if (documents && t > 0 && (begins[next] === place(t) || place(t) === 0)) {
        stretches.push(t - start)
        start = t
      }
      if (begins[next] === place(t)) next++
      tokens[t] = token
      starts[t] = start
      positions[t] = t - start
      if (positions[t] >= longest)
        throw new FpdtError(
          'text',
          `a document of ${text.source} has more than the model's ${longest} learned positions, at position ${place(t)}; cut it, or use a model with more.`,
        )
      if (given) {
        const label = given[k]
        if (label === IGNORE || label === -100) continue
        if (!(label >= 0 && label < vocabulary)) throw wrong('label', label, t)
        labels[t] = label
      } else if (t > start) labels[t - 1] = token
    }
  }
  stretches.push(count - start)
  for (let t = 0; t < count; t++) if (labels[t] !== IGNORE) valid++
  for (let t = count; t < padded; t++) starts[t] = t // a pad sees itself alone
  return valid
}

/** Beginnings of documents in positions `from` .. `from + count` of a text. */
function beginnings({ documents }: LongText, from: number, count: number): number[] {
  if (!documents) return []
  let [low, high] = [0, documents.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (documents[middle] < from) low = middle + 1
    else high = middle
  }
  const found: number[] = []
  for (let d = low; d < documents.length && documents[d] < from + count; d++) found.push(documents[d])
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
