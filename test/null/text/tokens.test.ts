import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { FpdtError } from '../../../kernel/src/errors.js'
import { GPT2_END_OF_TEXT, type LongText, longText, type TextOptions, type TextSource } from '../../../kernel/src/text/tokens.js'

const folder = mkdtempSync(join(tmpdir(), 'texts-'))
afterAll(() => rmSync(folder, { recursive: true }))

const all = (text: LongText): number[] => [...text.read(0, text.length)]
const begins = (text: LongText): number[] => Array.from(text.documents ?? [])
function refusal(text: TextSource, options?: TextOptions): string {
  try {
    longText(text, options)
  } catch (error) {
    expect(error).toBeInstanceOf(FpdtError)
    return `${(error as FpdtError).code}: ${(error as FpdtError).message}`
  }
  return 'none'
}

describe('packed documents', () => {
  it('are cut each on its own, end with <|endoftext|>, and begin where they say', () => {
    const text = longText(['Hello world\n', 'a\nb'])
    expect(all(text)).toEqual([15496, 995, 198, GPT2_END_OF_TEXT, 64, 198, 65, GPT2_END_OF_TEXT])
    expect(begins(text)).toEqual([0, 4])
  })
  it('of tokens stay as they are, or are put between the tokens that are asked for', () => {
    expect(all(longText([[1, 2], Uint16Array.of(3)]))).toEqual([1, 2, 3])
    const ended = longText([[1, 2], [3]], { separator: 9 })
    expect([all(ended), begins(ended)]).toEqual([
      [1, 2, 9, 3, 9],
      [0, 3],
    ])
    const begun = longText(['a\n', [3]], { beginning: 9 })
    expect([all(begun), begins(begun)]).toEqual([
      [9, 64, 198, 9, 3],
      [0, 3],
    ])
  })
  it('are found again by their separator', () => {
    const anyDocuments = fc.array(fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(anyDocuments, fc.constantFrom('separator' as const, 'beginning' as const), (documents, mark) => {
        const packed = longText(documents, { [mark]: 0 })
        const found = longText(all(packed), { [mark]: 0 })
        expect(begins(found)).toEqual(begins(packed))
      }),
    )
  })
  it('read as one array, wherever a reading begins and ends', () => {
    fc.assert(
      fc.property(fc.array(fc.array(fc.nat(9), { minLength: 1, maxLength: 5 }), { minLength: 2, maxLength: 9 }), fc.nat(50), fc.nat(50), (documents, a, b) => {
        const flat = documents.flat()
        const [from, to] = [Math.min(a, b, flat.length), Math.min(Math.max(a, b), flat.length)]
        expect([...longText(documents).read(from, to - from)]).toEqual(flat.slice(from, to))
      }),
    )
  })
  it('may have documents of their own, and lie in a list of texts', () => {
    const inner = longText([1, 2, 3, 4], { documents: [0, 1] })
    const text = longText([inner, [5, 6]], { separator: 9 })
    expect([all(text), begins(text)]).toEqual([
      [1, 2, 3, 4, 9, 5, 6, 9],
      [0, 1, 5],
    ])
  })
})

describe('a text', () => {
  it('is another text when its array has other tokens, alone and in a list', () => {
    const sixteen = Uint16Array.of(1, 2, 3)
    const plain = [1, 2, 3]
    const list = [plain, [4, 5]]
    const before = [longText(sixteen), longText(plain), longText(list)]
    expect(longText(list)).toBe(before[2])
    sixteen[1] = plain[1] = 9
    expect([longText(sixteen), longText(plain), longText(list)].map(all)).toEqual([
      [1, 9, 3],
      [1, 9, 3],
      [1, 9, 3, 4, 5],
    ])
    expect(before.map(all)).toEqual([
      [1, 2, 3],
      [1, 2, 3],
      [1, 2, 3, 4, 5],
    ])
    plain.push(7)
    list.push([8, 8])
    expect([longText(plain), longText(list)].map(all)).toEqual([
      [1, 9, 3, 7],
      [1, 9, 3, 7, 4, 5, 8, 8],
    ])
    const inPlace = Uint32Array.of(1, 2)
    const same = longText(inPlace)
    inPlace[0] = 5
    expect([longText(inPlace) === same, all(same)]).toEqual([true, [5, 2]])
  })
  it('is the same text for the same array or words, and a new one with options', () => {
    for (const source of [[1, 2, 3], Uint32Array.of(1, 2), ['a\n', 'b\n'], 'a\nb']) expect(longText(source)).toBe(longText(source))
    const tokens = [1, 2, 3]
    expect(longText(tokens, { labels: [2, 3, -1] })).not.toBe(longText(tokens))
  })
  it('takes labels as they are, and documents', () => {
    const text = longText(Uint16Array.of(4, 5, 6), { labels: [5, -100, 7], documents: [0, 2] })
    expect([all(text), [...text.labels!(1, 2)], begins(text)]).toEqual([
      [4, 5, 6],
      [-100, 7],
      [0, 2],
    ])
  })
  it('of class of its own keeps its methods', () => {
    class Counting implements LongText {
      readonly source = 'counting'
      readonly length = 10
      read(position: number, count: number): Uint32Array {
        return Uint32Array.from({ length: count }, (_, k) => this.length + position + k)
      }
    }
    const text = new Counting()
    expect(longText(text)).toBe(text)
    const marked = longText(text, { separator: 12 })
    expect([all(marked).slice(0, 3), begins(marked)]).toEqual([
      [10, 11, 12],
      [0, 3],
    ])
  })
  it('in a file is UTF-8, without its byte order mark', () => {
    const path = join(folder, 'words.txt')
    writeFileSync(path, '\ufeffHello world\n')
    expect(all(longText(path))).toEqual([15496, 995, 198])
    writeFileSync(path, Uint8Array.of(0x89, 0x50, 0x4e, 0x47))
    expect(refusal(path)).toMatch(/^text: .*words.txt is no text in UTF-8; a file of tokens is read with await tokenFile\(/)
  })
})

it.each<[string, TextSource, TextOptions | undefined, RegExp]>([
  ['a promise', Promise.resolve() as never, undefined, /^text: longText\(\[object Promise\]\) is no text; it is a promise; put await before it/],
  ['half a token', [1, 2.5], undefined, /^token: token 2.5 at position 1 of 2 tokens is no token: tokens are whole numbers from 0/],
  ['a token past 32 bits', [2 ** 32, 1], undefined, /^token: token 4294967296 at position 0/],
  ['a token that is no number', [1, '2' as never], undefined, /^text: longText\(1\) is no text/],
  ['one token', [1], undefined, /^text: longText\(\): 1 tokens has 1 token; training needs at least 2/],
  ['a text of none', { source: 'mine', length: 0, read: () => new Uint32Array() }, undefined, /^text: longText\(\): mine has 0 tokens/],
  ['an empty document', ['a\n', []], undefined, /^text: document 1 of .* has no tokens; leave it out/],
  [
    'labels of a document',
    [longText([1, 2], { labels: [2, 3] }), [1]],
    undefined,
    /^text: document 0 of .* has labels of its own; give those of all documents/,
  ],
  ['documents of documents', [[1], [2]], { documents: [0, 1] }, /^text: .* the array says where they begin; leave out documents/],
  ['too few labels', [1, 2, 3], { labels: [1, 2] }, /^text: 3 tokens has 3 tokens and 2 labels; give one label for each token, -100 where/],
  ['half a label', [1, 2, 3], { labels: [1, 0.5, 2] }, /^token: label 0.5 at position 1/],
  ['no documents', [1, 2, 3], { documents: [] }, /^text: documents of 3 tokens is empty; the first document begins at 0/],
  [
    'documents that begin late',
    [1, 2, 3],
    { documents: [1, 2] },
    /^text: documents\[0\] of 3 tokens is 1; give the positions .* 0, then ascending, all below its 3/,
  ],
  ['documents that turn round', [1, 2, 3], { documents: [0, 2, 1] }, /^text: documents\[2\] of 3 tokens is 1/],
  ['documents past the end', [1, 2, 3], { documents: [0, 3] }, /^text: documents\[1\] of 3 tokens is 3/],
  ['half a position', [1, 2, 3], { documents: [0, 1.5] }, /^text: documents\[1\] of 3 tokens is 1.5/],
  ['two answers', [1, 2, 3], { separator: 2, documents: [0] }, /^text: longText\(\) has documents and separator: either alone says/],
  ['half a separator', [1, 2, 3], { separator: 0.5 }, /^text: longText\(\) has separator 0.5, which is no token/],
  ['a separator that separates nothing', [1, 2, 3], { separator: 7 }, /^text: token 7 occurs nowhere in 3 tokens, so it tells no documents apart/],
  ['an option that is none', [1, 2, 3], { seperator: 2 } as never, /^text: longText\(\{ seperator \}\) is not known; the nearest is separator/],
])('%s is refused in words', (_, text, options, message) => {
  expect(refusal(text, options)).toMatch(message)
})
