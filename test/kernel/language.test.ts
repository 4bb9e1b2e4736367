/** What TypeScript in cells must bear: syntax in every position, texts of every kind, modules of every kind. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: cells hold templates
import { mkdirSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TestKernel } from './client.js'

let kernel: TestKernel
beforeAll(async () => {
  kernel = await TestKernel.start()
  await kernel.run('%types off')
})
afterAll(() => kernel.close())

const run = (code: string) => kernel.run(code, { stop_on_error: false })
const result = async (code: string) => (await run(code)).result

/** Cell -> its value as text. */
function values(cells: Record<string, string | undefined>): void {
  for (const [code, shown] of Object.entries(cells)) {
    it(JSON.stringify(code), async () => {
      const { error, result } = await run(code)
      expect(error).toBeUndefined()
      expect(result).toBe(shown)
    })
  }
}

/** Cell -> what its error says and where: `line:column`. */
function mistakes(cells: Record<string, readonly [message: string, place: string]>): void {
  for (const [code, [message, place]] of Object.entries(cells)) {
    it(JSON.stringify(code), async () => {
      const { error, reply } = await run(code)
      expect(error?.evalue).toContain(message)
      expect(error?.traceback).toContain(`Cell [${reply.execution_count}] line ${place}`)
    })
  }
}

describe('await at the top level', () =>
  values({
    '[await 1, ...(await [2])]': '[ 1, 2 ]',
    '`${await 3}`': "'3'",
    'const { q = await 4 } = {}; q': '4',
    'class K { [await "k"]() {} }\nObject.getOwnPropertyNames(K.prototype)': "[ 'constructor', 'k' ]",
    'export const ex = await 6\nex': '6',
    'let got = 0; for await (const a of [1, 2]) got += a\ngot': '3',
    'const f = async (a = 1) => await a; await f()': '1',
    'if (await true) { var inside = await 7 }\ninside': '7',
    'switch (await 1) { case await 1: var sw = 5 }\nsw': '5',
  }))

describe('declarations', () =>
  values({
    'const enum CE { A = 3 }\nCE.A': '3',
    'CE.A': '3',
    'enum Text { A = "a", B = Text.A + "b" }\nText': "{ A: 'a', B: 'ab' }",
    'declare const nowhere: number\ndeclare function df(): void\ndeclare module "zzz" { export const a: 1 }\ndeclare global { interface Window {} }\n1': '1',
    'namespace N { export const a = 1; export namespace M { export const b = 2 } }\nN.M.b': '2',
    'namespace N { export const c = 3 }\nN': '{ c: 3 }',
    'namespace A.B.C { export const d = 1 }\nA.B.C.d': '1',
    'abstract class Ab { abstract m(): void }\nAb.name': "'Ab'",
    'function over(a: string): void\nfunction over(a: number): void\nfunction over(a: any) { return a }\nover(3)': '3',
    'function twice() { return 1 }\nfunction twice() { return 2 }\ntwice()': '2',
    'const { a: { b: deep }, ...others } = { a: { b: 1 }, z: 2 }; [deep, others]': '[ 1, { z: 2 } ]',
    'try { throw 1 } catch (e) { var caught = e }\ncaught': '1',
    'class P { #p = 1; get p() { return this.#p } static s = 2; static { P.s++ } }\n[new P().p, P.s]': '[ 1, 3 ]',
    'label: { break label }\nouter: for (;;) for (;;) break outer\n"past"': "'past'",
    'export function e1() {}; export class E2 {}; export enum E3 { A }; export type E4 = 1; export { e1 as e5 }\n[typeof e1, typeof E2, E3.A]':
      "[ 'function', 'function', 0 ]",
    'export default function named() { return 8 }\nnamed()': '8',
    'export default async function () {}': '[AsyncFunction (anonymous)]',
    'export default class {}\n(5)': '5',
    'function* g() { yield 1; yield* [2, 3] }\n[...g()]': '[ 1, 2, 3 ]',
    'async function* ag() { yield 1 }\nconst all = []; for await (const z of ag()) all.push(z)\nall': '[ 1 ]',
  }))

describe('decorators and using', () => {
  values({
    'function note(value: any, { kind, name }: any) { (globalThis as any).notes = [...((globalThis as any).notes ?? []), `${kind} ${name}`]; return value }\n@note class D { @note m() {} @note accessor z = 5 }\n[new D().z, notes]':
      "[ 5, [ 'method m', 'accessor z', 'class D' ] ]",
    'const log: string[] = []\n{ using a = { [Symbol.dispose]() { log.push("disposed") } }; log.push("inside") }\nlog': "[ 'inside', 'disposed' ]",
    'async function f() { await using a = { async [Symbol.asyncDispose]() { log.push("async") } }; return 6 }\n[await f(), log.at(-1)]': "[ 6, 'async' ]",
    'typeof __esDecorate': "'undefined'",
  })
  mistakes({
    '1\nusing a = b': ['put it into a block', '2:1'],
    'class P { m(@d x: number) {} }': ['decorators of parameters', '1:16'],
    '@((value: any) => { throw new Error("in a decorator") }) class D {}': ['in a decorator', '1:27'],
  })
})

describe('classes', () => {
  it('keep their identity across cells; when their cell runs again they are new', async () => {
    await run('class Point { x = 1 }\nconst made = new Point()')
    await run('1 + 1')
    expect(await result('made instanceof Point')).toBe('true')
    await run('class Other extends Point {}\nconst second = new Other()')
    expect(await result('second instanceof Point')).toBe('true')
    await run('class Point { x = 1 }')
    expect(await result('made instanceof Point')).toBe('false')
  })
})

describe('redeclaring', () => {
  it('anything as anything, types included', async () => {
    const kinds = [
      'const v = 1',
      'let v',
      'class v {}',
      'import v from "node:os"',
      'function v() {}',
      'enum v { A }',
      'type v = string',
      'interface v {}',
      'namespace v { export const a = 1 }',
    ]
    for (const first of kinds) for (const second of kinds) expect((await run(`${first}\n`)).error ?? (await run(second)).error).toBeUndefined()
  })
})

describe('texts', () => {
  values({
    '// only a comment': undefined,
    '/* c */ // d\n\n': undefined,
    '   \n\t': undefined,
    '\uFEFF1 + 1': '2',
    '1\r\n+ 2\r\n': '3',
    'const crlf = `a\r\nb`\r\ncrlf.length': '3',
    '"\\u{1F600}".length': '2',
    'const \\u0061bc = 1; abc': '1',
    'const ünï = 2; ünï': '2',
    '#!/usr/bin/env node\n3': '3',
    '"use strict"; typeof this': "'object'",
    '(function () { return typeof this })()': "'undefined'",
    'const of = 1, async = 2, type = 3, as = 4; [of, async, type, as]': '[ 1, 2, 3, 4 ]',
    'const generic = <T,>(x: T) => x; generic(<number>5)': '5',
    '5 // with a comment': '5',
  })

  it('of a megabyte run', async () => {
    const { result, error } = await run(`let long = 0\n${'long += 1 // counted\n'.repeat(50_000)}long`)
    expect(error).toBeUndefined()
    expect(result).toBe('50000')
    expect((await run(`const text = \`${'x'.repeat(2 ** 20)}\`\ntext.length`)).result).toBe('1048576')
  })

  mistakes({
    '1\nreturn 5': ['only be used within a function body', '2:1'],
    arguments: ['arguments is not defined', '1:1'],
    '"use strict"\nconst octal = 010': ['octal', '2:15'],
    'const x = 1\nconst el = <div>hi</div>': ['JSX is not part of cells', '2:20'],
    'with ({}) {}': ["'with' statements", '1:1'],
    'delete kernel': ['Delete of an unqualified identifier', '1:8'],
    '\r\n\r\n  missing()': ['missing is not defined', '3:3'],
    'missing(1)': ['missing is not defined', '1:1'],
    'const ok = 1\nundeclared = 5': ['undeclared is not defined', '2:1'],
    '\tif (true) {\n\t\tawait /(/.test("")\n\t}': ['Invalid regular expression', '2:9'],
  })
})

describe('modules', () => {
  beforeAll(() => {
    const { folder } = kernel
    writeFileSync(`${folder}/m.ts`, '#!/usr/bin/env node\nexport type T = number\nexport const v: T = 1\nexport default class D {}\n')
    writeFileSync(
      `${folder}/decorated.ts`,
      'function twice(value: any) { return function (this: any) { return 2 * value.call(this) } }\nexport class C { @twice two() { return 1 } }\n',
    )
    writeFileSync(`${folder}/data.json`, '{ "d": 5 }')
    const common = `${folder}/node_modules/common`
    mkdirSync(common, { recursive: true })
    writeFileSync(`${common}/package.json`, '{ "name": "common", "main": "index.js" }')
    writeFileSync(`${common}/index.js`, 'const all = { a: 1, f() { return 2 } }\nmodule.exports = all')
    const both = `${folder}/node_modules/both`
    mkdirSync(both, { recursive: true })
    writeFileSync(`${both}/package.json`, '{ "name": "both", "exports": { ".": { "import": "./i.mjs", "require": "./r.cjs" }, "./sub": "./i.mjs" } }')
    writeFileSync(`${both}/i.mjs`, 'export const kind = "import"')
    writeFileSync(`${both}/r.cjs`, 'exports.kind = "require"')
  })

  values({
    'import type { T } from "./m.ts"\nconst t: T = 1\nt': '1',
    'import { type T as T2, v as renamed } from "./m.ts"\nrenamed': '1',
    'import D, * as ns from "./m.ts"\n[typeof D, Object.keys(ns)]': "[ 'function', [ 'default', 'v' ] ]",
    'import { C } from "./decorated.ts"\nnew C().two()': '2',
    'import json from "./data.json"\njson.d': '5',
    'import json2 from "./data.json" with { type: "json" }\njson2.d': '5',
    'const path = "./m"; (await import(`${path}.ts`)).v': '1',
    '(await import("./data.json", { with: { type: "json" } })).default.d': '5',
    'import common, { a, f } from "common"\n[common.a, a, f()]': '[ 1, 1, 2 ]',
    'import required = require("common")\nrequired.a': '1',
    'import fs = require("node:fs")\ntypeof fs.readFileSync': "'function'",
    '[require("common").a, require("./data.json").d]': '[ 1, 5 ]',
    'import { kind } from "both"\nimport { kind as sub } from "both/sub"\n[kind, sub, require("both").kind]': "[ 'import', 'import', 'require' ]",
    'import "./m.ts"\nimport {} from "./m.ts"\nexport * from "./m.ts"\nexport { v } from "./m.ts"': undefined,
  })

  mistakes({ 'const one = 1\nimport { none } from "common"': ["'common' has no export named 'none'", '2:1'] })

  it('of a file that was edited and is run again are new, whatever imports it', async () => {
    writeFileSync(`${kernel.folder}/edited.ts`, 'export const version: number = 1\n')
    writeFileSync(`${kernel.folder}/between.ts`, 'export * from "./edited"\n')
    const cell = 'import { version } from "./between.ts"\nversion'
    expect(await result(cell)).toBe('1')
    writeFileSync(`${kernel.folder}/edited.ts`, 'export const version: number = 22\n')
    expect(await result(cell)).toBe('22')
  })
})
