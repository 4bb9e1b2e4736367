import { mkdirSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TestKernel } from './client.js'

let kernel: TestKernel
beforeAll(async () => {
  kernel = await TestKernel.start()
})
afterAll(() => kernel.close())

const result = async (code: string) => (await kernel.run(code)).result

describe('a cell', () => {
  const values: Record<string, string> = {
    '1 + 1': '2',
    '"text"': "'text'",
    'const n: number = 5; n as unknown': '5',
    '[1, 2].map((x) => x * 2)': '[ 2, 4 ]',
    '{ a: 1 }': '{ a: 1 }',
    'await Promise.resolve(7)': '7',
    'for await (const x of [Promise.resolve(1)]) {}; await 8': '8',
    'Promise.resolve(9)': 'Promise { 9 }',
    'enum Color { Red, Green }\nColor.Green': '1',
    'class P { constructor(private x: number) {} }\nnew P(3)': 'P { x: 3 }',
    'namespace N { export const a = 4 }\nN.a': '4',
    'function f<T>(x: T): T { return x }\nf(6)': '6',
    'if (true) { var inner = 1 }\ninner': '1',
    'interface I { a: number }\nconst i = { a: 1 } satisfies I; i': '{ a: 1 }',
    'new Map([[1, { a: null }]])': 'Map(1) { 1 => { a: null } }',
    null: 'null',
  }
  for (const [code, shown] of Object.entries(values)) {
    it(`shows ${shown} for ${JSON.stringify(code)}`, async () => expect(await result(code)).toBe(shown))
  }

  it('shows nothing for undefined, declarations and an empty cell', async () => {
    for (const code of ['undefined', 'const quiet = 1', 'function g() {}', '', '// nothing']) expect((await kernel.run(code)).outputs).toEqual([])
  })

  it('runs no getter to show a value', async () => {
    expect(await result('let ran = false; ({ get trap() { ran = true; return 1 } })')).toBe('{ trap: [Getter] }')
    expect(await result('ran')).toBe('false')
  })
})

describe('names', () => {
  it('live on in later cells and may be declared again as anything', async () => {
    const kinds = [
      'const v = 1',
      'let v = 2',
      'var v = 3',
      'class v {}',
      'function v() {}',
      'enum v { A }',
      'import v from "node:os"',
      'import * as v from "node:fs"',
      'const { v } = { v: 4 }',
    ]
    for (const first of kinds) {
      for (const second of kinds) {
        expect((await kernel.run(first)).error).toBeUndefined()
        expect((await kernel.run(second)).error).toBeUndefined()
      }
    }
    expect(await result('v')).toBe('4')
  })

  it('reach functions of earlier cells in their newest meaning', async () => {
    await kernel.run('function outer() { return helper() }\nfunction helper() { return 1 }')
    await kernel.run('function helper() { return 2 }')
    expect(await result('outer()')).toBe('2')
  })

  it('of an enum start anew when its cell runs again', async () => {
    await kernel.run('enum E { A, B }')
    expect(await result('enum E { C }\nE')).toBe("{ '0': 'C', C: 0 }")
  })

  it('cannot be declared twice in one cell', async () => {
    expect((await kernel.run('let twice = 1\nlet twice = 2')).error?.ename).toBe('SyntaxError')
  })

  it('may hide what Node has under a name, for cells alone: packages and the kernel keep theirs', async () => {
    await kernel.run('import { setTimeout } from "node:timers/promises"\nconst process = 1, console = 2, Promise = 3\nlet Buffer = 4\nclass URL {}')
    expect(await result('[await setTimeout(1, "slept"), process, console, Promise, Buffer, new URL()]')).toBe("[ 'slept', 1, 2, 3, 4, URL {} ]")
    expect(await result('Buffer++; const twice = () => Buffer * 2\ntwice()')).toBe('10')
    expect(await result('[typeof globalThis.setTimeout(() => {}), globalThis.process.version[0], typeof globalThis.Buffer]')).toBe(
      "[ 'object', 'v', 'function' ]",
    )
    expect(await result('%xdel process\n%xdel console\n%xdel Promise\n%xdel Buffer\n%xdel URL\n%xdel setTimeout\ntypeof process.version')).toBe("'string'")
  })

  it('may hide a global that has only a getter', async () =>
    expect(await result('import * as crypto from "node:crypto"\ntypeof crypto.createHash')).toBe("'function'"))
})

describe('imports', () => {
  it('reach Node, with and without prefix, and stay for later cells though unused in their own', async () => {
    await kernel.run('import { join } from "node:path"\nimport os, { EOL as newline } from "os"')
    expect(await result('[join("a", "b"), newline, typeof os.cpus]')).toBe("[ 'a/b', '\\n', 'function' ]")
  })

  it('reach packages of the folder the kernel was started in', async () => {
    const folder = `${kernel.folder}/node_modules/greeting`
    expect((await kernel.run('import hello from "greeting"')).error).toMatchObject({
      ename: 'FpdtError',
      evalue: `the package 'greeting' is not installed; run \`npm install greeting\` in ${kernel.folder}`,
    })
    mkdirSync(folder, { recursive: true })
    writeFileSync(`${folder}/package.json`, '{ "name": "greeting", "type": "module", "exports": "./index.js" }')
    writeFileSync(`${folder}/index.js`, 'export default "hello"')
    expect(await result('import hello from "greeting"\nhello')).toBe("'hello'")
  })

  it('reach local files: TypeScript by either extension, JavaScript, JSON', async () => {
    writeFileSync(`${kernel.folder}/a.ts`, 'import { b } from "./b.js"\nexport type T = number\nexport const a: T = b + 1\n')
    writeFileSync(`${kernel.folder}/b.ts`, 'export enum B { Two = 2 }\nexport const b: number = B.Two\n')
    writeFileSync(`${kernel.folder}/c.mjs`, 'export { a as c } from "./a.ts"\n')
    writeFileSync(`${kernel.folder}/d.json`, '{ "d": 5 }')
    expect(
      await result(
        'import { a } from "./a.ts"\nimport { a as same } from "./a"\nimport { c } from "./c.mjs"\nimport json from "./d.json"\n;[a, same, c, json.d]',
      ),
    ).toBe('[ 3, 3, 3, 5 ]')
    expect(await result('(await import("./a.ts")).a')).toBe('3')
  })

  it('load a file anew when it, or one that it imports, was edited', async () => {
    writeFileSync(`${kernel.folder}/b.ts`, 'export const b: number = 1000\n')
    expect(await result('import { a } from "./a.ts"\na')).toBe('1001')
    expect(await result('import { c } from "./c.mjs"\nc')).toBe('1001')
  })

  it('of `fpdt` in cells and in local files mean the copy beside the kernel', async () => {
    writeFileSync(`${kernel.folder}/own.ts`, 'import * as trace from "fpdt/trace"\nexport { trace }\n')
    expect(await result('import * as trace from "fpdt/trace"\nimport { trace as same } from "./own.ts"\ntrace === same && Object.keys(trace).length > 0')).toBe(
      'true',
    )
  })

  it('name an export that does not exist', async () => {
    expect((await kernel.run('import { nothing } from "node:fs"')).error).toMatchObject({
      ename: 'SyntaxError',
      evalue: expect.stringContaining("'node:fs' has no export named 'nothing'"),
    })
  })
})

describe('errors', () => {
  it('are shown with the lines of the cell, innermost first, without frames of the kernel', async () => {
    const { error, reply, outputs } = await kernel.run(
      'function fail(depth: number): number {\n  if (depth === 0) throw new RangeError("too deep")\n  return fail(depth - 1)\n}\n\nfail(1)',
    )
    const cell = `Cell [${reply.execution_count}]`
    expect(error?.traceback).toBe(
      [
        'RangeError: too deep',
        `    at fail (${cell} line 2:26)`,
        `    at fail (${cell} line 3:10)`,
        `    at ${cell} line 6:1`,
        '',
        cell,
        '  1 | function fail(depth: number): number {',
        '> 2 |   if (depth === 0) throw new RangeError("too deep")',
        '    |                          ^',
        '  3 |   return fail(depth - 1)',
        '  4 | }',
      ].join('\n'),
    )
    expect(outputs.map(({ type }) => type)).toEqual(['error'])
    expect(reply).toMatchObject({ status: 'error', ename: 'RangeError', evalue: 'too deep' })
  })

  it('name the cell of each frame', async () => {
    const first = await kernel.run('const thrower = () => {\n  throw new Error("from afar")\n}')
    const { error, reply } = await kernel.run('\n\nthrower()')
    expect(error?.traceback).toContain(`at thrower (Cell [${first.reply.execution_count}] line 2:9)`)
    expect(error?.traceback).toContain(`at Cell [${reply.execution_count}] line 3:1`)
  })

  it('of syntax point at the place', async () => {
    const { error, reply } = await kernel.run('const fine = 1\nconst broken = (1 +\n')
    expect(error?.ename).toBe('SyntaxError')
    expect(error?.traceback).toContain(`at Cell [${reply.execution_count}] line 3:1`)
  })

  it('that only V8 finds point at the place too', async () => {
    const { error, reply } = await kernel.run('const ok = 1\n\nawait /(/.test("x")')
    expect(error?.traceback).toContain(`Cell [${reply.execution_count}] line 3:`)
  })

  it('in local files have their lines', async () => {
    writeFileSync(`${kernel.folder}/bad.ts`, 'interface Unused { a: 1 }\n\nexport function bad(): never {\n  throw new Error("in a file")\n}\n')
    expect((await kernel.run('import { bad } from "./bad.ts"\nbad()')).error?.traceback).toContain(`at bad (${kernel.folder}/bad.ts:4:9)`)
  })

  it('may be any value, hostile ones too', async () => {
    expect((await kernel.run('throw "text"')).error).toMatchObject({ ename: 'string', evalue: 'text' })
    expect((await kernel.run('throw null')).error?.evalue).toBe('null')
    const hostile = 'throw { get [Symbol.toStringTag]() { throw 1 }, [Symbol.for("nodejs.util.inspect.custom")]() { throw 2 } }'
    expect((await kernel.run(hostile)).reply.status).toBe('error')
    expect(await result('1')).toBe('1')
  })

  it('of timers and forgotten promises are printed where they were caused, and end nothing', async () => {
    const { stderr } = await kernel.run(
      'setTimeout(() => { throw new Error("in a timer") }, 1); Promise.reject(new Error("forgotten")); await new Promise((r) => setTimeout(r, 50))',
    )
    expect(stderr).toContain('in a timer')
    expect(stderr).toContain('forgotten')
    expect(await result('1')).toBe('1')
  })
})
