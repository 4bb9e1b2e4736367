import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { isParsable } from '../../../kernel/src/language/parsable.js'
import { parse } from '../../../kernel/src/language/syntax.js'

describe('a text that may be parsed', () => {
  it('is one that people write, of any length', () => {
    const cell = Array.from({ length: 5000 }, (_, line) => `const row${line} = { id: ${line}, when: a < b ? 'x' : 'y', of: [1, 2, (3)] }`).join('\n')
    expect(isParsable(cell)).toBe(true)
    expect(parse(cell).errors).toEqual([])
  })

  it.each(['a+', '-', 'a.', 'a=', 'a?b:', 'a:\n', 'x=>', '[', '(', '{\n', '`${', 'a<', 'if(a)\n', 'await ', 'new ', 'do ', 'class extends '])(
    'is not one that repeats %j until the stack ends, and what is let pass leaves the process alive',
    (unit) => {
      expect(isParsable(unit.repeat(200_000))).toBe(false)
      const longest = Array.from({ length: 16 }, (_, index) => unit.repeat(2 ** (17 - index))).find(isParsable) ?? ''
      const parser = new URL('../../../node_modules/oxc-parser/src-js/index.js', import.meta.url)
      const script = `import { parseSync } from '${parser}'; import { readFileSync } from 'node:fs'; parseSync('cell.ts', readFileSync(0, 'utf8'), { lang: 'ts', showSemanticErrors: true }).program`
      const { status, signal } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { input: longest })
      expect({ status, signal }).toEqual({ status: 0, signal: null })
    },
  )
})
