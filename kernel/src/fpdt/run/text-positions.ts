/**
 * How far a run has read each text. A text is known by its tokens, labels and documents, so that it is found again in another process, or
 * under another path: by all of them in memory; in files by a sample, as to read a terabyte before a step is to wait for hours.
 */
import { createHash } from 'node:crypto'
import type { TextPosition } from '../../checkpoint/manifest.js'
import type { LongText } from '../../text/tokens.js'

/** A text in files is known by these many stretches of this many tokens, the first and the last among them: all of it up to 64 Ki tokens. */
const STRETCHES = 16
const STRETCH = 4096
/** Tokens of a text in memory that are read at a time. */
const PIECE = 2 ** 20
/** Texts that a run remembers, those read last: a data loader gives another array at every step, for ever. */
export const REMEMBERED = 1024
/** Texts that a message names. */
const NAMED = 3

const checksums = new WeakMap<LongText, string>()

export class TextPositions {
  readonly #read: Map<string, TextPosition>
  readonly #saved: readonly TextPosition[]

  /** `saved`: as a checkpoint has them. */
  constructor(saved: readonly TextPosition[] = []) {
    this.#saved = saved
    this.#read = new Map(saved.map((text) => [keyOf(text), text]))
  }

  /** Tokens read of a text. */
  of(text: LongText): number {
    return this.#find(text)?.position ?? 0
  }
  advance(text: LongText, tokens: number): void {
    const { source, length } = text
    const now: TextPosition = { source, length, sha256: checksumOf(text), position: this.of(text) + tokens }
    const key = keyOf(now)
    this.#read.delete(key) // so that the one read last is forgotten last
    this.#read.set(key, now)
    for (const oldest of this.#read.keys()) {
      if (this.#read.size <= REMEMBERED) break
      this.#read.delete(oldest)
    }
  }
  /** In words, when there are texts of a checkpoint and this is none of them. */
  strange(text: LongText): string | undefined {
    if (this.#saved.length === 0 || this.#find(text)) return undefined
    const last = this.#saved.slice(-NAMED).map(({ source, position }) => `${source} to token ${position}`)
    const more = this.#saved.length - last.length
    const known = `${last.join(', ')}${more > 0 ? ` and ${more} before` : ''}`
    return `${text.source} is none of the texts that the checkpoint had read (${known}), so it is read from its start`
  }
  list(): TextPosition[] {
    return [...this.#read.values()]
  }

  #find(text: LongText): TextPosition | undefined {
    return this.#read.get(keyOf({ length: text.length, sha256: checksumOf(text) }))
  }
}

function keyOf({ length, sha256 }: Pick<TextPosition, 'length' | 'sha256'>): string {
  return `${length} ${sha256}`
}

function checksumOf(text: LongText): string {
  const known = checksums.get(text)
  if (known) return known
  const hash = createHash('sha256')
  for (const [from, count] of stretchesOf(text)) {
    hash.update(bytesOf(text.read(from, count)))
    if (text.labels) hash.update('labels').update(bytesOf(text.labels(from, count)))
  }
  if (text.documents) hash.update('documents').update(bytesOf(Float64Array.from(text.documents)))
  const made = hash.digest('hex')
  checksums.set(text, made)
  return made
}
/** What is read of a text to know it: up to 64 Ki tokens the same in memory and in files. */
function stretchesOf({ length, inMemory }: LongText): [from: number, count: number][] {
  if (length <= STRETCHES * STRETCH) return [[0, length]]
  if (inMemory) return Array.from({ length: Math.ceil(length / PIECE) }, (_, p) => [p * PIECE, Math.min(PIECE, length - p * PIECE)])
  return Array.from({ length: STRETCHES }, (_, s) => [Math.floor(((length - STRETCH) * s) / (STRETCHES - 1)), STRETCH])
}
function bytesOf({ buffer, byteOffset, byteLength }: Uint32Array | Int32Array | Float64Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}
