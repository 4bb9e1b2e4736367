import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readJson } from '../../../kernel/src/cli/json.js'

describe('JSON', () => {
  it('is read as JSON.parse reads it', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), fc.constantFrom(undefined, 1, '\t'), (value, space) => {
        const text = JSON.stringify(value, null, space)
        expect(readJson(text, 'x').value).toStrictEqual(JSON.parse(text))
      }),
    )
  })

  it('accepts exactly what JSON.parse accepts, but for two equal keys', () => {
    const pieces = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"a"',
      '"b"',
      '1',
      '-0.5e3',
      '01',
      '.5',
      '1.',
      'true',
      'nul',
      'null',
      ' ',
      '\n',
      '"',
      '\\',
      '"\\u00e9"',
      '"\\x"',
    )
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 9 }), (words) => {
        const text = words.join('')
        const attempt = (read: () => unknown): string => {
          try {
            return `read ${JSON.stringify(read())}`
          } catch (error) {
            return /for the second time/.test((error as Error).message) ? 'twice' : 'refused'
          }
        }
        const found = attempt(() => readJson(text, 'x').value)
        if (found !== 'twice') expect(found).toBe(attempt(() => JSON.parse(text)))
      }),
      { numRuns: 3000 },
    )
  })

  it('keeps a key __proto__ as a key', () => {
    const { value } = readJson('{ "__proto__": { "polluted": true } }', 'x')
    expect(Object.hasOwn(value as object, '__proto__')).toBe(true)
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
  })

  it('says where a key or an item stands, or what is around it', () => {
    const json = readJson('{\n  "a": 1,\n  "b": { "c": [10,\n   20] }\n}', 'run.json')
    expect([['a'], ['b', 'c'], ['b', 'c', 1], ['b', 'c', 7], []].map((path) => json.at(path))).toEqual([
      'run.json:2:3',
      'run.json:3:10',
      'run.json:4:4',
      'run.json:3:10',
      'run.json:1:1',
    ])
  })

  it.each([
    ['{\n  "a": 1,\n}', /^x:3:1: expected a key in double quotes, found "}"/],
    ['{\n  "a": 1\n  "b": 2 }', /^x:3:3: expected ',' or '}', found "\\"b\\": 2 }"/],
    ['{ "a" 1 }', /^x:1:7: expected ':' after "a"/],
    ["{ 'a': 1 }", /^x:1:3: expected a key in double quotes, found "'a': 1 }"/],
    ['{ "a": 1 // why\n }', /^x:1:10: expected ',' or '}'/],
    ['{ "a": "b', /^x:1:10: expected '"' at the end of a string, found the end of the file/],
    ['{ "a": "b\nc" }', /^x:1:10: expected no line break or tab inside a string/],
    ['{ "a": "\\q" }', /^x:1:9: expected an escape/],
    ['{ "a": 01 }', /^x:1:8: expected a value, found "01 }"/],
    ['{ "a": NaN }', /^x:1:8: expected a value, found "NaN }"/],
    ['{ "a": 1, "a": 2 }', /^x:1:11: "a" is here for the second time/],
    ['', /^x:1:1: expected a value, found the end of the file/],
    ['{} {}', /^x:1:4: expected the end of the file, found "{}"/],
    ['['.repeat(5000), /^x:1:66: nested deeper than 64 levels/],
  ])('%j is refused at its place', (text, message) => {
    expect(() => readJson(text, 'x')).toThrow(message)
  })
})
