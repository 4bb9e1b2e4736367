import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { dealt, IGNORE, nextToLearn, type SequenceShape, type StepTokens, stepTokens } from '../../../kernel/src/text/sequences.js'
import { type LongText, longText } from '../../../kernel/src/text/tokens.js'

interface Given {
  readonly tokens: readonly number[]
  readonly labels?: readonly number[]
  readonly documents?: readonly number[]
}
const textOf = ({ tokens, labels, documents }: Given): LongText =>
  longText(Uint32Array.from(tokens), { ...(labels ? { labels } : {}), ...(documents ? { documents } : {}) })
const shapeOf = (given: Partial<SequenceShape>): SequenceShape => {
  const tokens = given.tokens ?? 4
  return { sequences: 1, tokens, padded: tokens, documents: false, vocabulary: 100, positions: Number.POSITIVE_INFINITY, ...given }
}
const plain = (found: StepTokens): object => ({
  ...found,
  tokens: [...found.tokens],
  labels: [...found.labels],
  positions: [...found.positions],
  starts: [...found.starts],
})

/** Token by token, from what each number means. */
function naive({ tokens, labels, documents = [0] }: Given, position: number, shape: SequenceShape): object {
  const out = { tokens: [] as number[], labels: [] as number[], positions: [] as number[], starts: [] as number[], stretches: [] as number[] }
  const at = (s: number, t: number): number => (position + s * shape.tokens + t) % tokens.length
  const begins = (s: number, t: number): boolean => t === 0 || (shape.documents && documents.includes(at(s, t)))
  for (let s = 0; s < shape.sequences; s++) {
    let start = 0
    for (let t = 0; t < shape.padded; t++) {
      const pad = t >= shape.tokens
      if (pad || begins(s, t)) start = t
      const given = labels?.[at(s, t)]
      const last = t + 1 === shape.tokens || begins(s, t + 1)
      out.tokens.push(pad ? 0 : tokens[at(s, t)]!)
      out.labels.push(pad || given === -100 || (given === undefined && last) ? IGNORE : (given ?? tokens[at(s, t + 1)]!))
      out.positions.push(t - start)
      out.starts.push(start)
      if (!pad && last) out.stretches.push(t + 1 - start)
    }
  }
  const valid = out.labels.filter((label) => label !== IGNORE).length
  return { ...out, valid, repeated: position + shape.sequences * shape.tokens > tokens.length }
}

const anyText: fc.Arbitrary<Given> = fc.array(fc.integer({ min: 0, max: 99 }), { minLength: 2, maxLength: 30 }).chain((tokens) =>
  fc.record(
    {
      tokens: fc.constant(tokens),
      labels: fc.array(fc.constantFrom(-100, -1, 0, 7, 99), { minLength: tokens.length, maxLength: tokens.length }),
      documents: fc.uniqueArray(fc.integer({ min: 1, max: tokens.length - 1 }), { maxLength: 8 }).map((begins) => [0, ...begins.sort((a, b) => a - b)]),
    },
    { requiredKeys: ['tokens'] },
  ),
)
const anyShape = fc
  .record({ sequences: fc.integer({ min: 1, max: 4 }), tokens: fc.integer({ min: 2, max: 70 }), pads: fc.integer({ min: 0, max: 5 }), documents: fc.boolean() })
  .map(({ pads, ...shape }) => shapeOf({ ...shape, padded: shape.tokens + pads }))

describe('the tokens of a step', () => {
  it('are those of the naive reading: any text, shape and place, repeated or not, with documents and labels or without', () => {
    fc.assert(
      fc.property(anyText, anyShape, fc.integer({ min: 0, max: 200 }), (given, shape, position) => {
        expect(plain(stepTokens(textOf(given), position, shape))).toEqual(naive(given, position, shape))
      }),
      { numRuns: 1000 },
    )
  })
  it('to learn from are the first with a label that counts, wherever the reading begins, and there are none only where the text has none', () => {
    fc.assert(
      fc.property(anyText, anyShape, fc.integer({ min: 0, max: 200 }), (given, shape, position) => {
        const text = textOf(given)
        const size = shape.sequences * shape.tokens
        const laps = Array.from({ length: Math.ceil(text.length / size) }, (_, lap) => lap * size)
        const skipped = laps.find((lap) => stepTokens(text, position + lap, shape).valid > 0)
        if (skipped === undefined) expect(() => nextToLearn(text, position, shape)).toThrow(/has no label that counts in all its \d+ tokens/)
        else expect(nextToLearn(text, position, shape)).toEqual({ inputs: stepTokens(text, position + skipped, shape), skipped })
        if (skipped === undefined && given.labels) expect(given.labels.every((label) => label < 0)).toBe(true)
      }),
      { numRuns: 300 },
    )
  })
  it('cover every token once: stretches add up, and a sequence begins where the one before it ended', () => {
    fc.assert(
      fc.property(anyText, anyShape, ({ tokens, documents }, shape) => {
        const found = (position: number, sequences: number): StepTokens =>
          stepTokens(textOf({ tokens, ...(documents ? { documents } : {}) }), position, { ...shape, sequences, documents: false })
        const whole = found(0, shape.sequences)
        expect(whole.stretches.reduce((sum, length) => sum + length, 0)).toBe(shape.sequences * shape.tokens)
        for (let s = 0; s < shape.sequences; s++)
          expect(whole.tokens.slice(s * shape.padded, (s + 1) * shape.padded)).toEqual(found(s * shape.tokens, 1).tokens)
      }),
    )
  })
  it('in an example: two documents, the second goes on in the second sequence, and the text begins again', () => {
    const text = textOf({ tokens: [10, 11, 12, 20, 21, 22, 23], documents: [0, 3] })
    expect(plain(stepTokens(text, 0, shapeOf({ sequences: 2, tokens: 5, padded: 6, documents: true })))).toEqual({
      tokens: [10, 11, 12, 20, 21, 0, 22, 23, 10, 11, 12, 0],
      labels: [11, 12, -1, 21, -1, -1, 23, -1, 11, 12, -1, -1],
      positions: [0, 1, 2, 0, 1, 0, 0, 1, 0, 1, 2, 0],
      starts: [0, 0, 0, 3, 3, 5, 0, 0, 2, 2, 2, 5],
      stretches: [3, 2, 2, 3],
      valid: 6,
      repeated: true,
    })
  })

  it.each([
    [
      'token',
      { tokens: [1, 2, 100, 3] },
      1,
      /token 100 at position 2 of 4 tokens is outside the model's vocabulary of 100 words; give the model vocab: 101 or more/,
    ],
    [
      'label',
      { tokens: [1, 2, 3, 4], labels: [2, 3, 4, 250] },
      0,
      /label 250 at position 3 of 4 tokens is outside .* give the model vocab: 251 or more, or other labels/,
    ],
    [
      'negative label',
      { tokens: [1, 2, 3, 4], labels: [2, -2, 4, 0] },
      3,
      /label -2 at position 1 of 4 tokens is no word: .* -1 or -100 where nothing is foretold/,
    ],
  ] as [string, Given, number, RegExp][])('name the %s that is no word of the model, and where it stands in the text', (_, given, position, message) => {
    expect(() => stepTokens(textOf(given), position, shapeOf({ tokens: 9 }))).toThrow(message)
  })
  it('name the token that stands there, also past 2^31', () => {
    expect(() => stepTokens(longText(Uint32Array.of(1, 2 ** 32 - 1)), 0, shapeOf({}))).toThrow(/token 4294967295 at position 1/)
  })
  it('refuse documents longer than learned positions, and take them when they are exactly as long', () => {
    const text = textOf({ tokens: [...Array(12).keys()], documents: [0, 5] })
    const shape = shapeOf({ tokens: 8, documents: true })
    expect(stepTokens(text, 4, { ...shape, positions: 7 }).stretches).toEqual([1, 7])
    expect(() => stepTokens(text, 4, { ...shape, positions: 6 })).toThrow(
      /a document of 12 tokens has more than the model's 6 learned positions, at position 11/,
    )
  })
  it('refuse a text that does not give what it promised, or whose documents do not ascend', () => {
    const text: LongText = { source: 'mine', length: 9, read: () => Uint32Array.of(1, 2) }
    expect(() => stepTokens(text, 0, shapeOf({}))).toThrow(/mine gave 2 tokens of the 4 from 0 on/)
    const twice: LongText = { source: 'mine', length: 9, read: (_, count) => new Uint32Array(count), documents: [0, 2, 2] }
    expect(() => stepTokens(twice, 0, shapeOf({ documents: true }))).toThrow(/documents\[2\] of mine is 2; they ascend from 0/)
  })
  it('are read in pieces, and once however often they are repeated', () => {
    let [reads, most] = [0, 0]
    const read = (_: number, count: number): Uint32Array => {
      most = Math.max(most, count)
      reads += count
      return new Uint32Array(count)
    }
    const length = 2 ** 21 + 3
    stepTokens({ source: 'long', length, read }, 7, shapeOf({ tokens: 2 ** 23 }))
    expect(reads).toBe(length)
    expect(most).toBeLessThanOrEqual(2 ** 20)
  })
})

describe('a dealt chunk', () => {
  it('gives rank r sub-chunk i P + r, and all ranks together the chunk', () => {
    const all = Int32Array.from({ length: 24 }, (_, t) => t)
    const local = (n: number, rank: number): number[] => [...dealt(all, { chunk: 12, ranks: 3 }, n, rank)]
    expect([local(0, 0), local(0, 2), local(1, 1)]).toEqual([
      [0, 1, 2, 3],
      [8, 9, 10, 11],
      [16, 17, 18, 19],
    ])
  })
})
