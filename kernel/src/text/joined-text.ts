/** Texts one after the other, read as one: the shards of a data set, or documents that are packed. Nothing is copied until it is read. */
import { firstAtLeast } from './documents.js'
import type { LongText } from './tokens.js'

/** One text of all parts. Where one part ends and the next begins is no end of a document unless `documents` says so. */
export function joinedText(source: string, parts: readonly LongText[], documents?: ArrayLike<number>): LongText {
  const begins = new Float64Array(parts.length)
  let length = 0
  for (const [p, part] of parts.entries()) {
    begins[p] = length
    length += part.length
  }
  const read = (position: number, count: number): Uint32Array => {
    const tokens = new Uint32Array(count)
    let p = firstAtLeast(begins, position + 1) - 1
    for (let done = 0; done < count; p++) {
      const from = position + done - begins[p]
      const piece = parts[p].read(from, Math.min(count - done, parts[p].length - from))
      tokens.set(piece, done)
      done += piece.length
    }
    return tokens
  }
  return { source, inMemory: parts.every((part) => part.inMemory), words: parts.some((part) => part.words), length, read, ...(documents ? { documents } : {}) }
}
