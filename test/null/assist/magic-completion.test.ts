import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { magicHelpAt, magicsAt } from '../../../kernel/src/assist/magic-completion.js'
import { expandWords } from '../../../kernel/src/language/magics/expand.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'fpdt-magics-'))
  mkdirSync(join(folder, 'data'))
  for (const name of ['data.csv', 'data/one.ts', 'two.ts']) writeFileSync(join(folder, name), '')
  process.env.FPDT_TEST_NAME = '1'
})
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
  delete process.env.FPDT_TEST_NAME
})

/** `|` marks the cursor. */
function at(marked: string) {
  const code = marked.replace('|', '')
  const isDeclared = (name: string) => name === 'ready'
  return magicsAt(code, marked.indexOf('|'), expandWords(code, isDeclared).text, folder)
}
const labels = (marked: string) => at(marked)?.matches.map(([label]) => label)

describe('magics', () => {
  it.each([
    ['%ti|', ['%time', '%timeit']],
    ['1 + 1\n  %pw|', ['%pwd']],
    ['%%b|', ['%%bash']],
    ['const here = %pw|', ['%pwd']],
    ['%types |', ['off', 'report', 'strict']],
    ['%types str|', ['strict']],
    ['%cd |', ['data/']],
    ['%cd da|', ['data/']],
    ['%run |', ['data.csv', 'data/', 'two.ts']],
    ['%run data/|', ['one.ts']],
    ['!cat tw|', ['two.ts']],
    ['const lines = !cat -n data/o|', ['one.ts']],
    ['!./tw|', ['two.ts']],
    ['%%writefile two|', ['two.ts']],
    ['process.env.FPDT_TEST_N|', ['FPDT_TEST_NAME']],
    ['process.env["FPDT_TEST_N|', ['FPDT_TEST_NAME']],
    ['%env FPDT_TEST_N|', ['FPDT_TEST_NAME']],
  ])('%j is completed', (marked, expected) => expect(labels(marked)).toEqual(expected))

  it.each(['a % t|', '!ready && tw|', '%time tw|', '%nothing tw|', 'x = "%ti|', '!ca|', '%alia|'])('%j is left to others', (marked) =>
    expect(labels(marked)).toBeUndefined(),
  )

  it('replace what was typed of them', () => {
    expect(at('1;\n%%ba|')).toMatchObject({ start: 3 })
    expect(at('%cd ./da|')).toMatchObject({ start: 6 })
  })

  it.each([
    ['%time f()', 3, 'Runs a statement'],
    ['1;\n%%bash', 5, 'Gives the cell to bash'],
    ['x = %pwd', 8, 'working folder'],
    ['%autoreload 2', 4, 'has no use in this kernel'],
  ])('%j says at %i what it does', (code, offset, text) => expect(magicHelpAt(code, offset)).toContain(text))

  it.each([
    ['%time f()', 7],
    ['a % time', 6],
    ['%nothing', 3],
  ])('%j says nothing at %i', (code, offset) => expect(magicHelpAt(code, offset)).toBeUndefined())
})
