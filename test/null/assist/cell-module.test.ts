import { describe, expect, it } from 'vitest'
import { exportingModule, namesOf, typedNames, workingModule } from '../../../kernel/src/assist/cell-module.js'
import type { Executed } from '../../../kernel/src/assist/executed.js'
import { Notebook } from '../../../kernel/src/assist/notebook.js'

const ran = (...codes: string[]): Executed[] => codes.map((code, cell) => ({ code, file: `Cell [${cell + 1}]`, hasFailed: false }))
const sorted = (names: Iterable<string> | undefined) => [...(names ?? [])].sort()

describe('names of a cell', () => {
  it.each([
    ['const { a, b: [c = 1, ...d], ...e } = f()', 'a c d e', ''],
    ['let a = 1, b; var c', 'a b c', 'a b c'],
    ['if (x) { var inside = 1; let hidden = 2 }\nfor (var i of []) {}\nfunction f() { var own }', 'f i inside', 'i inside'],
    ['import d, { a as b, type T } from "x"\nimport * as n from "y"', 'T b d n', ''],
    ['export const a = 1\nexport class B {}\nexport default function g() {}', 'B a g', ''],
    ['interface I {}\ntype T = 1\nenum E {}\nnamespace N {}\ndeclare function f(): void', 'E I N T f', ''],
    ['interface Both {}\nlet Both = 1', 'Both', ''],
    ['x = 1; y.z = 2', '', ''],
  ])('%j', (source, declared, variables) => {
    const names = namesOf(source)
    expect(sorted(names?.declared).join(' ')).toBe(declared)
    expect(sorted(names?.variables).join(' ')).toBe(variables)
  })

  it('tells what is assigned, in patterns and loop heads too', () => {
    expect(sorted(namesOf('a = 1; b++; [c, { d }] = e; for (f of g) {}; h.i = 1; j ||= 2')?.assigned)).toEqual(['a', 'b', 'c', 'd', 'f', 'j'])
  })

  it('are none where a cell does not parse, but for those that are being typed', () => {
    expect(namesOf('const a = ')).toBeUndefined()
    const typing =
      'import x, { y as z, type W } from "m"\nimport * as n from "o"\nexport const { a, b: c } = f()\nlet [d, e = 1] = g\nasync function h() {\n  const inner = 1\n'
    expect(sorted(typedNames(`${typing}x.`))).toEqual(['W', 'a', 'c', 'd', 'e', 'h', 'n', 'x', 'z'].sort())
  })
})

describe('modules', () => {
  it('have the cell below one line of ours, take names from where they were declared, and know how variables were left', () => {
    const notebook = new Notebook(ran('const a = 1', 'let b: string | undefined', 'b = "x"', 'const a = 2'))
    const { definers, augmenting } = notebook.surroundings()
    expect(workingModule('a + b', definers, augmenting, true).split('\n')).toEqual([
      "import { a } from './__fpdt_cell4__.ts';declare let b: typeof import('./__fpdt_cell2__.ts').b;b = null! as typeof import('./__fpdt_cell3__.ts').$$b;",
      'a + b',
      ';export {}',
      '',
    ])
  })

  it('export what the cell declares and has not exported itself', () => {
    const source = 'export const a = 1\nconst b = 2\nlet c = 3\nexport { b as other }'
    const names = namesOf(source)
    if (names === undefined) throw new Error('it parses')
    expect(exportingModule({ source, names, definers: new Map() })).toBe(`\n${source}\n;export { b, c };export const $$c = c;\n`)
  })

  it('that nothing depends on any more are left out; those that others are made of stay', () => {
    const notebook = new Notebook(
      ran('const base = 1', 'const made = base + 1', 'const base = 2', 'const gone = 3', 'const gone = 4', 'gone', 'const = broken'),
    )
    const modules = notebook.modulesOf(notebook.surroundings())
    expect(sorted(modules.keys())).toEqual(['cell1', 'cell2', 'cell3', 'cell5'])
    expect([notebook.isGone('cell1'), notebook.isGone('cell4')]).toEqual([false, true])
  })

  it('are as many as a cell needs, however many cells there were', () => {
    const notebook = new Notebook(ran(...Array.from({ length: 300 }, (_, cell) => `const v${cell} = ${cell === 0 ? 0 : `v${cell % 2 === 0 ? 0 : cell - 1}`}`)))
    const { definers, augmenting } = notebook.surroundings()
    const only = new Map([...definers].filter(([name]) => name === 'v299'))
    expect(sorted(notebook.modulesOf({ definers: only, augmenting }).keys())).toEqual(['cell1', 'cell299', 'cell300'])
  })

  it('are forgotten with the names of the process, and none is mistaken for an older one', () => {
    const executed = ran('const a = 1')
    const notebook = new Notebook(executed)
    notebook.surroundings()
    executed.length = 0
    notebook.forget()
    expect(notebook.surroundings().definers.size).toBe(0)
    executed.push(...ran('const b = 1'))
    expect(notebook.surroundings().definers.get('b')?.module).toBe('cell2')
  })

  it('of a cell that began later are not seen by one that is checked', () => {
    const notebook = new Notebook(ran('const a = 1', 'const b = 1'))
    expect(sorted(notebook.surroundings(1).definers.keys())).toEqual(['a'])
    expect(sorted(notebook.surroundings().definers.keys())).toEqual(['a', 'b'])
  })

  it('of a cell that runs are given back when it fails, however late that is known', () => {
    const executed = ran('const a = 1', 'const a = "x"')
    const running = executed[1] as Executed
    running.hasFailed = undefined
    const notebook = new Notebook(executed)
    expect(notebook.surroundings().definers.get('a')).toMatchObject({ module: 'cell2' })
    running.hasFailed = true
    const { definers } = notebook.surroundings()
    expect(definers.get('a')).toMatchObject({ module: 'cell1', isUncertain: true })
    expect(notebook.isGone('cell1')).toBe(false)
    expect(workingModule('a', definers, [], true)).toMatch(/^declare let a: any;\n/)
    expect(workingModule('a', definers, [], false)).toMatch(/^declare let a: typeof import\('.\/__fpdt_cell1__.ts'\).a;\n/)
  })

  it('have words of the notebook as TypeScript', () => {
    const notebook = new Notebook(ran('const files = !ls'))
    expect(notebook.modulesOf(notebook.surroundings()).get('cell1')?.source).toBe('const files = await $$words.lines(`ls`);')
  })
})

describe('a notebook', () => {
  it('learns from the cells around one it cannot read', () => {
    const cells = ran('const a = 1', `const sum = ${Array(8000).fill('1').join('+')}`, 'const b = 2')
    const notebook = new Notebook(cells)
    expect(sorted(notebook.surroundings().definers.keys())).toEqual(['a', 'b', 'sum'])
    // Not a text: reading it throws.
    cells.push(undefined as unknown as Executed, ...ran('const c = 3'))
    expect(sorted(notebook.surroundings().definers.keys())).toEqual(['a', 'b', 'c', 'sum'])
  })
})
