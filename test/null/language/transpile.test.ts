import { readdirSync, readFileSync } from 'node:fs'
import vm from 'node:vm'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parse, SourceError } from '../../../kernel/src/language/syntax.js'
import { transpileCell, transpileModule } from '../../../kernel/src/language/transpile.js'

/** Runs cells one after another in a fresh realm, as the evaluator does in its own. */
function notebook(modules: Record<string, Record<string, unknown>> = {}) {
  const context = vm.createContext({})
  let raised = 0
  const stop = Object.assign([0], {
    raise() {
      raised++
      throw new Error('stopped')
    },
    wait: <T>(value: T) => value,
    each: <T>(items: T) => items,
  })
  const run = async (source: string): Promise<unknown> => {
    const { code, names } = transpileCell(source, 'Cell [1]')
    for (const name of names) if (!(name in context)) context[name] = undefined
    const scope = {
      value: undefined as unknown,
      import: async (specifier: string) => modules[specifier],
      dynamicImport: async (specifier: string) => modules[specifier],
      meta: { url: 'here' },
    }
    await vm.runInContext(code, context, { filename: 'Cell [1]' })(stop, scope)
    return scope.value
  }
  return { run, stop, context, raised: () => raised }
}

describe('transpile: what a cell leaves behind', () => {
  it('every kind of declaration is seen by the next cell', async () => {
    const { run } = notebook({ m: { default: 1, named: 2 } })
    await run(
      'const a = 1, { b, c: [d = 4, ...e], ...f } = { b: 2, c: [undefined, 5, 6], g: 7 }\nlet h\nvar i = 8\nfunction j() { return 9 }\nclass K { static l = 10 }\nenum M { N = 11 }',
    )
    await run('import o, { named as p } from "m"\nimport * as q from "m"\nimport { type T } from "m"')
    await run('for (var r = 0; r < 3; r++) {}\nfor (var { s } of [{ s: 12 }]) {}\n{ var t = 13 }')
    expect(await run('JSON.stringify([a, b, d, e, f, h, i, j(), K.l, M.N, o, p, q.named, r, s, t])')).toBe('[1,2,4,[5,6],{"g":7},null,8,9,10,11,1,2,2,3,12,13]')
  })

  it('block-scoped names stay in their block', async () => {
    const { run } = notebook()
    await run('for (let i = 0; i < 1; i++) {}\n{ const inside = 1 }\nif (true) { class Hidden {} }')
    expect(await run('[typeof i, typeof inside, typeof Hidden].join()')).toBe('undefined,undefined,undefined')
  })

  it('functions can be called above their declaration, and imports stand before all else', async () => {
    const { run } = notebook({ m: { x: 5 } })
    expect(await run('const early = later() + x\nfunction later() { return 1 }\nimport { x } from "m"\nearly')).toBe(6)
  })

  it('functions and classes keep their names', async () => {
    const { run } = notebook()
    expect(await run('function f() {}\nconst g = () => 1\nclass C {}\nconst D = class {}\n;[f, g, C, D].map((x) => x.name).join()')).toBe('f,g,C,D')
  })

  it('`let x` makes x undefined, `var x` leaves it', async () => {
    const { run } = notebook()
    await run('let x = 1; var y = 2')
    expect(await run('let x\nvar y\n;[x, y].join("-")')).toBe('-2')
  })

  it('a class can use itself while it is defined', async () => {
    const { run } = notebook()
    expect(await run('class A { static one = 1; static two = A.one + 1 }\nA.two')).toBe(2)
  })

  it('a namespace of types alone leaves nothing; one with values begins anew', async () => {
    const { run } = notebook()
    await run('namespace N { export interface A { x: number } }\nnamespace M { export const a = 1 }')
    await run('namespace M { export const b = 2 }')
    expect(await run('[typeof N, M]')).toEqual(['undefined', { b: 2 }])
  })

  it('a loop variable may be called async', async () => {
    const { run } = notebook()
    await run('for (var async of [1, 2]);')
    expect(await run('async')).toBe(2)
  })

  it('sums and chains that are thousands of levels deep run', async () => {
    const { run } = notebook()
    expect(await run(Array(4000).fill('1').join('+'))).toBe(4000)
    expect(await run(`const o = { n: 0, f() { this.n++; return this } }\no${'.f()'.repeat(3000)}.n`)).toBe(3000)
  })
})

describe('transpile: the value', () => {
  const values: [string, unknown][] = [
    ['1; 2', 2],
    ['2;;', 2],
    ['"use strict"', 'use strict'],
    ['const a = 5\na', 5],
    ['const a = 5', undefined],
    ['if (true) 5', undefined],
    ['export default 6', 6],
    ['export const a = 7\na', 7],
    ['(() => ({ a: 1 }))().a', 1],
    ['await 8', 8],
    ['import.meta.url', 'here'],
  ]
  for (const [source, value] of values) it(`of ${JSON.stringify(source)} is ${value}`, async () => expect(await notebook().run(source)).toBe(value))

  it('of braces around properties is an object, around statements a block', async () => {
    expect(await notebook().run('{ a: 1, b: 2 }')).toEqual({ a: 1, b: 2 })
    expect(await notebook().run('{ const a = 1 }')).toBeUndefined()
  })

  it('may be a promise, which is not waited for', async () => {
    const { run, context } = notebook()
    await run('let kept = new Promise(() => {})')
    const { code } = transpileCell('kept', 'Cell [1]')
    const scope: { value?: unknown } = {}
    await vm.runInContext(code, context)([0], scope)
    expect(scope.value).toBe(context.kept)
  })
})

describe('transpile: stopping', () => {
  const loops = [
    'while (true) {}',
    'while (true);',
    'do {} while (true)',
    'for (;;) x++',
    'for (const k in { a: 1 }) {}',
    'for (const k of [1]) k',
    'for await (const k of [1]) k',
    'outer: for (;;) for (;;) continue outer',
    '(function () {})()',
    '(() => {})()',
    '(() => 1)()',
    '(async () => await 1)()',
    '[1].map((x) => ({ x }))',
    'new (class { constructor() {} })()',
    'new (class { get a() { return 1 } })().a',
    '({ m() {} }).m()',
    '(function* () {})().next()',
    '(function () { "use strict" })()',
  ]
  for (const source of loops) {
    it(`is possible in ${source}`, async () => {
      const { run, stop, raised } = notebook()
      await run('let x = 0')
      stop[0] = 1
      await expect(run(source)).rejects.toThrow('stopped')
      expect(raised()).toBe(1)
    })
  }

  it('passes awaited values on', async () =>
    expect(await notebook().run('const f = async (x) => (await x) + await (await x)\nawait f(Promise.resolve(2))')).toBe(4))
})

describe('transpile: positions', () => {
  const padding = fc.constantFrom(
    'const pad: number = 1',
    'interface I { a: 1 }',
    '',
    '// comment',
    'type T = string | number',
    'enum E { A }',
    'function g<T>(x: T): T { return x }',
    'for (const i of [1]) void (i as any)',
    'import type { X } from "x"',
    'class C<T> { constructor(private a?: T) {} }',
  )

  it('of an error are those of the source, whatever stands around it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(padding), fc.uniqueArray(padding), fc.nat(6), async (before, after, indent) => {
        const source = [...before, `${' '.repeat(indent)}throw new Error("here")`, ...after.filter((line) => !before.includes(line))].join('\n')
        const { code, names, positions } = transpileCell(source, 'Cell [7]')
        const context = vm.createContext(Object.fromEntries(names.map((name) => [name, undefined])))
        const error = await vm
          .runInContext(code, context, { filename: 'Cell [7]' })([0], {})
          .catch((thrown: Error) => thrown)
        const [, line, column] = /Cell \[7\]:(\d+):(\d+)/.exec(error.stack) ?? []
        expect(positions(Number(line), Number(column))).toEqual({ line: before.length + 1, column: indent + 7 })
      }),
    )
  })

  it('of a mistake in the text are those of the source', () => {
    expect(() => transpileCell('const a = 1\nlet b = (', 'Cell [2]')).toThrowError(expect.objectContaining({ file: 'Cell [2]', line: 2, column: 10 }))
    expect(() => transpileCell('let a\nlet a', 'Cell [2]')).toThrow(SourceError)
    expect(() => transpileCell('return 1', 'Cell [2]')).toThrow(SourceError)
    expect(() => transpileCell('1\nusing a = b', 'Cell [2]')).toThrowError(expect.objectContaining({ line: 2, column: 1 }))
  })

  it('never fail with another error, whatever the text', () => {
    const token = fc.constantFrom(
      'const',
      'let',
      'a',
      '=',
      '{',
      '}',
      '(',
      ')',
      '=>',
      '[',
      ']',
      ',',
      ';',
      '\n',
      '1',
      '"s"',
      '`',
      'function',
      'class',
      'await',
      'for',
      'of',
      'import',
      'from',
      'export',
      'default',
      'async',
      ':',
      'number',
      '...',
      '?',
      '.',
      'var',
      'if',
      'while',
      'enum',
      '*',
    )
    fc.assert(
      fc.property(fc.array(token, { maxLength: 12 }), (tokens) => {
        const source = tokens.join(' ')
        let code: string
        try {
          code = transpileCell(source, 'Cell [1]').code
        } catch (error) {
          expect(error).toBeInstanceOf(SourceError)
          return
        }
        expect(parse(code, 'js').errors).toEqual([])
      }),
      { numRuns: 3000 },
    )
  })

  it('of real code make code that V8 accepts: every source of the kernel as a cell and as a module', () => {
    const folder = new URL('../../../kernel/src/', import.meta.url)
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
    expect(files.length).toBeGreaterThan(20)
    for (const file of files) {
      const source = readFileSync(new URL(file, folder), 'utf8')
      expect(() => new vm.Script(transpileCell(source, file).code, { filename: file })).not.toThrow()
      expect(parse(transpileModule(source, file).code, 'js').errors).toEqual([])
    }
  })
})

describe('transpile: a local module', () => {
  it('keeps its imports and exports, loses its types and can be stopped', () => {
    const { code, positions } = transpileModule('import { a } from "./a.js"\nexport function f(x: number): number {\n  while (x) {}\n  return a\n}\n', '/m.ts')
    expect(code).toContain('import { a } from "./a.js"')
    expect(code).toContain('export function f(x) {if($$stop[0])$$stop.raise();')
    expect(code).not.toContain('number')
    const line = code.split('\n').findIndex((text) => text.includes('return a')) + 1
    expect(positions(line, code.split('\n')[line - 1]!.indexOf('return') + 1)).toEqual({ line: 4, column: 3 })
  })
})
