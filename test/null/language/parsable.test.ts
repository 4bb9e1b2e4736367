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

  const units = ['a+', '-', 'a.', 'a=', 'a?b:', 'a:\n', 'x=>', '[', '(', '{\n', '`${', 'a<', 'if(a)\n', 'await ', 'new ', 'do ', 'class extends ']

  it.each(units)('is not one that repeats %j until the stack ends', (unit) => expect(isParsable(unit.repeat(200_000))).toBe(false))

  it('leaves the process that parses it alive, whatever it repeats', () => {
    const longest = units.map((unit) => Array.from({ length: 16 }, (_, index) => unit.repeat(2 ** (17 - index))).find(isParsable) ?? '')
    expect(longest.every(Boolean)).toBe(true)
    const parser = new URL('../../../node_modules/oxc-parser/src-js/index.js', import.meta.url)
    // Says which it has parsed: the one after the last of them ended it.
    const script = `import { parseSync } from '${parser}'; import { readFileSync, writeSync } from 'node:fs'
      for (const { unit, text } of JSON.parse(readFileSync(0, 'utf8'))) {
        parseSync('cell.ts', text, { lang: 'ts', showSemanticErrors: true }).program
        writeSync(1, JSON.stringify(unit) + ' ')
      }`
    const input = JSON.stringify(units.map((unit, i) => ({ unit, text: longest[i] })))
    const { status, signal, stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { input, encoding: 'utf8' })
    expect({ status, signal, stdout }).toEqual({ status: 0, signal: null, stdout: units.map((unit) => `${JSON.stringify(unit)} `).join('') })
  })
})
