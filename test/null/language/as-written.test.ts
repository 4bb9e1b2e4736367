// biome-ignore-all lint/suspicious/noTemplateCurlyInString: cells are code in strings
import { readdirSync, readFileSync } from 'node:fs'
import { transformSync } from 'oxc-transform'
import { expect, it } from 'vitest'
import { asWritten } from '../../../kernel/src/language/as-written.js'
import { transpileCell, transpileModule } from '../../../kernel/src/language/transpile.js'

/** Just the types are gone, as the printer of oxc leaves it. */
const withoutTypes = (source: string) =>
  transformSync('m.ts', source, { lang: 'ts', sourceType: 'module', target: 'esnext', typescript: { onlyRemoveTypeImports: true } }).code

/** A module has one statement of ours in front. */
const ofModule = (source: string) => asWritten(transpileModule(source, '/m.ts').code).replace(/^const \$\$stop=.*?\{wait:\(v\)=>v,each:\(v\)=>v\};/, '')

it.each([
  'const f = async (a) => await (await g(a)).b',
  'const f = (x) => ({ x })',
  'const f = (x) => (y) => x / y / /a/.exec(await1)',
  'async function f() {\n\t"use strict";\n\tfor await (const x of y) z(x);\n\tdo w(); while (await v);\n}',
  'async function* f() {\n\tyield* g();\n\tyield await 1;\n\twhile (a) if (b) for (;;) c();\n}',
  'class C {\n\t#p = () => 1;\n\tstatic s = async () => await 2;\n\tget g() {\n\t\treturn this.#p();\n\t}\n\tset g(v) {}\n\tasync *[Symbol.iterator]() {\n\t\tawait 1;\n\t}\n}',
  'const f = () => import("m").then(() => import.meta.url)',
  'const f = () => `${await1} /*$*/ ${() => 1}`',
])('gives back %s', (source) => {
  expect(ofModule(source)).toBe(withoutTypes(source))
})

it('gives back every source of the kernel', () => {
  const folder = new URL('../../../kernel/src/', import.meta.url)
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
  const ours = files.filter((file) => !readFileSync(new URL(file, folder), 'utf8').includes('$$'))
  expect(ours.length).toBeGreaterThan(20)
  for (const file of ours) {
    const source = readFileSync(new URL(file, folder), 'utf8')
    expect(ofModule(source)).toBe(withoutTypes(source))
  }
})

it('gives a function of a cell the name back that was taken from it', () => {
  const { code } = transpileCell('async function* äö$(n: number) { yield await n }', 'Cell [1]')
  expect(asWritten(code)).toContain('äö$ = async function* äö$(n) {')
})

it('speaks of what was awaited as V8 does', () => {
  expect(asWritten('$$stop.each(...) is not async iterable')).toBe('(intermediate value) is not async iterable')
  expect(asWritten('$$cell.dynamicImport(...).y is not a function')).toBe('import(...).y is not a function')
})
