import { describe, expect, it } from 'vitest'
import { describeMistakes, type Finding, mayHoldMistakes, typeMistakes } from '../../../kernel/src/assist/diagnostics.js'

const finding = (source: string, part: string, code: number, message = 'm', severity = 1): Finding => {
  const start = source.indexOf(part)
  return { start, end: start + part.length, code, message, severity }
}
const codes = (found: readonly Finding[], source: string, declared: readonly string[] = []) =>
  typeMistakes(found, source, (name) => declared.includes(name)).map(({ code }) => code)

describe('findings', () => {
  it('that are hints, grammar, modules or ours are left out', () => {
    const source = 'a b $$words'
    expect(
      codes(
        [
          finding(source, 'a', 2322),
          finding(source, 'a', 2322, 'm', 4),
          finding(source, 'b', 1005),
          finding(source, 'b', 2307),
          finding(source, 'b', 7016),
          finding(source, '$$words', 2304),
        ],
        source,
      ),
    ).toEqual([2322])
  })

  it('of a name before its declaration are left out where an earlier cell has declared it', () => {
    const source = 'let rows = rows.length'
    expect(codes([finding(source, 'rows', 2448)], source, ['rows'])).toEqual([])
    expect(codes([finding(source, 'rows', 2448)], source)).toEqual([2448])
  })

  it('of names that nobody knows say which', () => {
    const source = 'missing + 1'
    expect(typeMistakes([finding(source, 'missing', 2552, "Cannot find name 'missing'. Did you mean 'm'?")], source, () => false)).toMatchObject([
      { unknownName: 'missing' },
    ])
  })
})

describe('the words', () => {
  it('are as tsc has them, with the line and a mark', () => {
    const source = 'const a = 1\n\tconst b: number = "\u{1F600}"\r\nc'
    const [mistake] = typeMistakes([finding(source, 'b', 2322, 'Outer.\n  Inner.')], source, () => false)
    expect(describeMistakes(mistake ? [mistake] : [], source, 'Cell [7]')).toBe(
      'Cell [7]:2:8 - Outer. (2322)\n    Inner.\n  2 | \tconst b: number = "\u{1F600}"\n    | \t      ^\n',
    )
  })

  it('mark as far as the line goes, and count characters, not code units', () => {
    const source = '"\u{1F600}" + (a +\nb)'
    expect(describeMistakes([{ start: 7, end: 14, code: 1, message: 'm' }], source, 'C')).toBe('C:1:8 - m (1)\n  1 | "\u{1F600}" + (a +\n    |       ^^^^\n')
  })

  it('of a very long line show a part, of very many mistakes the first', () => {
    const source = `${'x'.repeat(5000)}MISTAKE${'y'.repeat(5000)}`
    const text = describeMistakes([{ start: 5000, end: 5007, code: 1, message: 'm' }], source, 'C')
    expect(text.length).toBeLessThan(500)
    const [, line = '', marks = ''] = text.split('\n')
    expect(line.slice(marks.indexOf('^'), marks.lastIndexOf('^') + 1)).toBe('MISTAKE')
    const many = Array.from({ length: 13 }, () => ({ start: 0, end: 1, code: 1, message: 'm' }))
    expect(describeMistakes(many, 'a', 'C').split('\n')).toHaveLength(10 * 3 + 2)
    expect(describeMistakes(many, 'a', 'C')).toContain('and 3 more type errors in C\n')
  })
})

describe('a cell that may hold mistakes', () => {
  it.each([
    ['1 + 1', false],
    ['[1, 2, (3)] // 4', false],
    ['', false],
    ['x', true],
    ['"a" - 1', true],
    ['é', true],
    ['$', true],
  ])('%j: %s', (code, may) => expect(mayHoldMistakes(code)).toBe(may))
})
