/** Texts are known again by what is in them, and only the last of them are remembered. */
import { describe, expect, it } from 'vitest'
import { REMEMBERED, TextPositions } from '../../../kernel/src/fpdt/run/text-positions.js'
import { type LongText, longText } from '../../../kernel/src/text/tokens.js'

/** More than a text in files is read of to know it. */
const LENGTH = 200_000
const words = (): Uint32Array => Uint32Array.from({ length: LENGTH }, (_, t) => t % 97)
const labels = (): Int32Array => new Int32Array(LENGTH).fill(3)
/** Tokens a saved position of one text gives for another. */
const found = (read: LongText, asked: LongText): number => {
  const positions = new TextPositions()
  positions.advance(read, 48)
  return new TextPositions(positions.list()).of(asked)
}
const inFile = (tokens: Uint32Array): LongText => ({ source: 'file.bin', length: tokens.length, read: (at, count) => tokens.slice(at, at + count) })

describe('a text is known again', () => {
  it('by its tokens, labels and documents, whatever it is called', () => {
    expect(found(longText(words()), longText(words()))).toBe(48)
    expect(found(longText(words(), { labels: labels() }), longText(words(), { labels: labels() }))).toBe(48)
    expect(found(longText(words(), { documents: [0, 5] }), longText(words(), { documents: [0, 5] }))).toBe(48)
    expect(found(longText([1, 2, 3]), inFile(Uint32Array.of(1, 2, 3)))).toBe(48)
  })
  it('in memory by all of them: any one token or label that is another makes another text', () => {
    for (const at of [0, 5000, 77_777, LENGTH - 1]) {
      const [tokens, others] = [words(), labels()]
      tokens[at] = 96 - tokens[at]!
      others[at] = 4
      expect(found(longText(words()), longText(tokens))).toBe(0)
      expect(found(longText(words(), { labels: labels() }), longText(words(), { labels: others }))).toBe(0)
      expect(found(longText([words(), [1, 2]]), longText([tokens, [1, 2]]))).toBe(0)
    }
    expect(found(longText(words()), longText(words(), { labels: labels() }))).toBe(0)
    expect(found(longText(words(), { documents: [0, 5] }), longText(words(), { documents: [0, 6] }))).toBe(0)
    expect(found(longText(words()), longText(words(), { documents: [0, 6] }))).toBe(0)
  })
  it('in files by a sample, of which not all is read', () => {
    let read = 0
    const tokens = words()
    const counted: LongText = {
      ...inFile(tokens),
      read: (at, count) => {
        read += count
        return tokens.slice(at, at + count)
      },
    }
    expect(found(inFile(words()), counted)).toBe(48)
    expect(read).toBeLessThan(LENGTH / 2)
  })
})

describe('of many texts', () => {
  const text = (n: number): LongText => longText([n, n + 1, n + 2])
  it('those read last are remembered, and a message names a few', () => {
    const positions = new TextPositions()
    for (let n = 0; n < REMEMBERED; n++) positions.advance(text(n), 3)
    positions.advance(text(0), 3) // read again, so the last
    positions.advance(text(REMEMBERED), 3)
    expect(positions.list()).toHaveLength(REMEMBERED)
    expect([0, 1, 2, REMEMBERED].map((n) => positions.of(text(n)))).toEqual([6, 0, 3, 3])
    const resumed = new TextPositions(positions.list())
    expect(resumed.of(text(0))).toBe(6)
    expect(resumed.strange(text(5000))).toBe(
      `3 tokens is none of the texts that the checkpoint had read (3 tokens to token 3, 3 tokens to token 6, 3 tokens to token 3 and ${REMEMBERED - 3} before), so it is read from its start`,
    )
  })
})
