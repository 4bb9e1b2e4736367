import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isComplete } from '../../../kernel/src/language/is-complete.js'

const complete = [
  '',
  '1',
  'const a = 1',
  'f(\n1)',
  '"use strict"',
  '{ a: 1 }',
  'await f()',
  'type A = 1',
  '// only a comment',
  '`a\nb`',
  'if (a) b',
  'class A {}',
  '/re/.test(x)',
]
const incomplete = [
  'f(',
  '{',
  'const a =',
  'a +',
  'a.',
  'a?.',
  '`open',
  '`${',
  '/* open',
  'if (a)',
  'if (a) {',
  'for (;;)',
  'try {}',
  'import { a',
  'x =>',
  'class A {',
  'function f() {\n  return (1 +',
  '1 + // and',
  'f(`a',
  'do {} ',
  'switch (a) {',
  'const f = async (a: number,',
]
const invalid = ['a b', ')', 'f(]', '"open', 'let a\nlet a', 'return 1', 'else', 'const 1 = 2', '"open\n{']

describe('is-complete', () => {
  for (const source of complete) it(`calls ${JSON.stringify(source)} complete`, () => expect(isComplete(source)).toEqual({ status: 'complete' }))
  for (const source of incomplete) it(`calls ${JSON.stringify(source)} incomplete`, () => expect(isComplete(source).status).toBe('incomplete'))
  for (const source of invalid) it(`calls ${JSON.stringify(source)} invalid`, () => expect(isComplete(source)).toEqual({ status: 'invalid' }))

  it('indents by two more behind an open bracket', () => {
    expect(isComplete('function f() {\n  g(')).toMatchObject({ indent: '    ' })
    expect(isComplete('const a =')).toMatchObject({ indent: '' })
  })

  it('calls no beginning of a valid cell invalid, at the ends of its lines', () => {
    const lines = [
      'const a = [',
      '  1,',
      '  { b: `x',
      'y` },',
      ']',
      'function f(',
      '  x: number,',
      '): number {',
      '  if (x) {',
      '    return 1',
      '  } else {',
      '    return 2',
      '  }',
      '}',
      'f(a.',
      '  length)',
    ]
    fc.assert(fc.property(fc.integer({ min: 1, max: lines.length }), (count) => isComplete(lines.slice(0, count).join('\n')).status !== 'invalid'))
  })
})
