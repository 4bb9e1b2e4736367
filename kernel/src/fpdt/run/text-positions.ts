/** How far a run has read each text. A text is known by its tokens, so that it is found again in another process, or under another path. */
import { createHash } from 'node:crypto'
import type { TextPosition } from '../../checkpoint/manifest.js'
import type { LongText } from '../../text/tokens.js'

/** A text is known by these many stretches of this many tokens, the first and the last among them: all of it up to 64 Ki tokens. */
const STRETCHES = 16
const STRETCH = 4096

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
    this.#read.set(keyOf(now), now)
  }
  /** In words, when there are texts of a checkpoint and this is none of them. */
  strange(text: LongText): string | undefined {
    if (this.#saved.length === 0 || this.#find(text)) return undefined
    const known = this.#saved.map(({ source, position }) => `${source} to token ${position}`).join(', ')
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
  const whole = text.length <= STRETCHES * STRETCH
  for (let s = 0; s < (whole ? 1 : STRETCHES); s++) {
    const from = Math.floor(((text.length - STRETCH) * s) / (STRETCHES - 1))
    const tokens = whole ? text.read(0, text.length) : text.read(from, STRETCH)
    hash.update(new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength))
  }
  const made = hash.digest('hex')
  checksums.set(text, made)
  return made
}
