/** What the type checker says of cells: most of it through the assistant alone, which needs no kernel; then when a kernel says it. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { Assistant } from '../../kernel/src/assist/assist.js'
import { describeMistakes } from '../../kernel/src/assist/diagnostics.js'
import type { Executed } from '../../kernel/src/assist/executed.js'
import { descendants, eventually, type Run, TestKernel } from './client.js'
import { Jupyter } from './jupyter.js'

/** A notebook of which only the types are looked at. */
class Sheet {
  readonly folder = mkdtempSync(join(tmpdir(), 'fpdt-types-'))
  readonly executed: Executed[] = []
  readonly globals = new Set<string>()
  readonly assistant = new Assistant(this.folder, this.executed, this.globals)

  /** Checks a cell as before its run; afterwards it has run. Gives `line:column message (code)`. */
  async run(code: string, hasFailed = false): Promise<string[]> {
    const found = await this.look(code)
    this.executed.push({ code, file: `Cell [${this.executed.length + 1}]`, hasFailed })
    return found
  }

  async look(code: string): Promise<string[]> {
    const mistakes = await this.assistant.check(code)
    return mistakes
      .filter(({ unknownName }) => unknownName === undefined || !(unknownName in globalThis || this.globals.has(unknownName)))
      .map((mistake) => /^Cell:(.*)$/m.exec(describeMistakes([mistake], code, 'Cell'))?.[1]?.replace(' - ', ' ') ?? '')
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(join(this.folder, path)), { recursive: true })
    writeFileSync(join(this.folder, path), text)
  }

  close(): void {
    this.assistant.close()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

function sheet(): Sheet {
  const made = new Sheet()
  onTestFinished(() => made.close())
  return made
}

describe('type errors', () => {
  let one: Sheet
  beforeAll(() => {
    one = new Sheet()
  })
  afterAll(() => one.close())

  it.each([
    ['const x: number = "a"', "1:7 Type 'string' is not assignable to type 'number'. (2322)"],
    ['[1, 2].map((n) => n.toUpperCase())', "1:21 Property 'toUpperCase' does not exist on type 'number'. (2339)"],
    ['import * as fs from "node:fs"\nfs.readFileSync({})', '2:17 No overload matches this call. (2769)'],
    ['const answer = missing + 1', "1:16 Cannot find name 'missing'. (2304)"],
    ['const f = (a) => a', "1:12 Parameter 'a' implicitly has an 'any' type. (7006)"],
    [
      'document.title',
      "1:1 Cannot find name 'document'. Do you need to change your target library? Try changing the 'lib' compiler option to include 'dom'. (2584)",
    ],
    ['{ a: 1, b: missing }', "1:12 Cannot find name 'missing'. (2304)"],
    ['try { 1 } catch (e) { e.message }', "1:23 'e' is of type 'unknown'. (18046)"],
    ['const s = "\u{1F600}"; const n: number = s', "1:23 Type 'string' is not assignable to type 'number'. (2322)"],
    ['\nif (true) {\n\tconst n: number = "tab"\n}', "3:8 Type 'string' is not assignable to type 'number'. (2322)"],
  ])('of %j', async (code, expected) => expect(await one.look(code)).toEqual([expected]))

  it('are none where the parser has refused the cell', async () => expect(await one.look('const = 1 +')).toEqual([]))

  it('follow names to their newest declaration', async () => {
    const page = sheet()
    await page.run('let x: any = 1')
    expect(await page.run('x.anything()')).toEqual([])
    await page.run('let x = 5')
    expect(await page.run('x.anything()')).toEqual(["1:3 Property 'anything' does not exist on type 'number'. (2339)"])
    await page.run('class Point { x = 1 }\nconst p = new Point()')
    await page.run('class Point { x = 1; y = 2 }')
    expect(await page.run('p.y')).toEqual(["1:3 Property 'y' does not exist on type 'Point'. (2339)"])
    expect(await page.run('new Point().y.toFixed()')).toEqual([])
  })

  it('keep to a type that was declared, and know what an assignment left of it', async () => {
    const page = sheet()
    await page.run('let model: Map<string, number> | undefined')
    expect(await page.run('model.size')).toEqual(["1:1 'model' is possibly 'undefined'. (18048)"])
    expect(await page.run('model = new Map()')).toEqual([])
    expect(await page.run('model.set("a", 1)')).toEqual([])
    expect(await page.run('model = 3')).toEqual(["1:1 Type 'number' is not assignable to type 'Map<string, number>'. (2322)"])
  })

  it("of a constant that is assigned are its own cell's alone: in another it runs", async () => {
    const page = sheet()
    await page.run('const fixed = 1\nfunction f() {}')
    expect(await page.run('fixed = 2; f = 3')).toEqual([])
    expect(await page.run('fixed === 2 && fixed.anything')).toEqual([])
    expect(await page.run('const own = 1\nown = 2')).toEqual(["2:1 Cannot assign to 'own' because it is a constant. (2588)"])
  })

  it('do not rest on what a cell that failed would have set', async () => {
    const page = sheet()
    await page.run('let total = 5\nlet name: string | undefined')
    await page.run('import { total } from "./nothere"', true)
    expect(await page.run('total = 6')).toEqual([])
    await page.run('name = "a"; JSON.parse("{")', true)
    expect(await page.run('name.length')).toEqual([])
    await page.run('const limit = JSON.parse("{")\nconst size = "a"', true)
    expect(await page.run('limit = 4; size = 5; size.toFixed()')).toEqual([])
    await page.run('const size = "a"')
    expect(await page.run('size.toFixed()')).toHaveLength(1)
  })

  it('a cell that failed leaves names to completion and inspection as they were', async () => {
    const page = sheet()
    page.write('tools.ts', 'export function add(a: number, b: number) { return a + b }\n')
    await page.run('import { add } from "./tools.ts"\nconst model = { layers: 4 }')
    await page.run('import { add } from "./nothere"', true)
    await page.run('const model = JSON.parse("{")', true)
    expect(await page.assistant.inspect('add', 3)).toMatchObject({ found: true, data: { 'text/plain': expect.stringContaining('a: number') } })
    expect(await page.assistant.complete('model.', 6)).toMatchObject({ matches: ['layers'] })
    expect(await page.assistant.inspect('nobody', 6)).toMatchObject({ found: false })
  })

  it('name types as their cells do', async () => {
    const page = sheet()
    await page.run('interface Opt { rate: number }\nfunction take(options: Opt) {}')
    expect((await page.run('take(1)')).join()).toContain("parameter of type 'Opt'")
    await page.run('interface Opt { other: string }\nconst given: Opt = { other: "" }')
    const [both = ''] = await page.run('take(given)')
    expect(both).toMatch(/'Opt \(of Cell \[3\]\)'.*'Opt \(of Cell \[1\]\)'/)
  })

  it.each([
    ['Object.groupBy([1], () => "a")', 'groupBy' in Object],
    ['new Set([1]).union(new Set([2]))', 'union' in Set.prototype],
    ['[1].values().map(String)', 'map' in Object.getPrototypeOf(Object.getPrototypeOf([].values()))],
    ['Promise.withResolvers()', 'withResolvers' in Promise],
    ['"a".isWellFormed()', 'isWellFormed' in String.prototype],
    ['[3, 1].toSorted()', 'toSorted' in Array.prototype],
    ['{ using file = { [Symbol.dispose]() {} }; console.log(file) }', true],
  ])('know what this Node has: %s', async (code, isThere) => expect(await one.look(code)).toHaveLength(isThere ? 0 : 1))

  it('know fpdt', async () => {
    const found = await one.look('import { llama } from "fpdt"\nllama({ layers: "four" })')
    expect(found).toHaveLength(1)
    expect(found[0]).toMatch(/^2:.*\((?:2769|2322)\)$/)
  })

  it('obey a tsconfig.json beside the notebook, also one that changes', async () => {
    const page = sheet()
    expect(await page.look('const f = (a) => a; document.title')).toHaveLength(2)
    page.write(
      'tsconfig.json',
      '{ "compilerOptions": { "noImplicitAny": false, "lib": ["esnext", "dom"], "module": "commonjs", "verbatimModuleSyntax": true } }',
    )
    expect(await page.look('const f = (a) => a; document.title; await 1')).toEqual([])
    expect(await page.look('const n: number = null')).toHaveLength(1)
    page.write('tsconfig.json', '{ "compilerOptions": { "strict": false } }')
    expect(await page.look('const n: number = null')).toEqual([])
    page.write('tsconfig.json', '{ nonsense')
    expect(await page.look('const n: number = "a"')).toHaveLength(1)
  })

  it('follow local files that are edited, made and removed, and packages that are installed', async () => {
    const page = sheet()
    page.write('local.ts', 'export const value = 1\n')
    const cell = 'import { value } from "./local.ts"\nvalue.toFixed()'
    expect(await page.run(cell)).toEqual([])
    page.write('local.ts', 'export const value = Boolean(1)\n')
    expect(await page.run(cell)).toEqual(["2:7 Property 'toFixed' does not exist on type 'boolean'. (2339)"])
    page.write('deep.ts', 'export const value = 1\n')
    page.write('local.ts', 'export { value } from "./deep.ts"\n')
    expect(await page.run(cell)).toEqual([])
    page.write('deep.ts', 'export const value = Boolean(2)\n')
    expect(await page.run(cell)).toEqual(["2:7 Property 'toFixed' does not exist on type 'boolean'. (2339)"])

    expect(await page.run('import { sum } from "late"\nsum("a")')).toEqual([])
    page.write(
      'node_modules/late/package.json',
      '{ "name": "late", "types": "index.d.ts", "type": "module", "exports": { "types": "./index.d.ts", "default": "./index.js" } }',
    )
    page.write('node_modules/late/index.d.ts', 'export declare function sum(...all: number[]): number\n')
    expect(await page.run('import { sum } from "late"\nsum("a")')).toEqual([
      "2:5 Argument of type 'string' is not assignable to parameter of type 'number'. (2345)",
    ])
    expect(await page.run('import * as made from "./made.ts"\nmade.x.nothing')).toEqual([])
    page.write('made.ts', 'export const x = 1\n')
    expect(await page.run('import * as made from "./made.ts"\nmade.x.nothing')).toHaveLength(1)
  })
})

describe('a language server that cannot be started', () => {
  it('is said on stderr once, with what to do; questions are answered with nothing', async () => {
    const written = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    const { arch } = process
    Object.defineProperty(process, 'arch', { value: 'pdp11' })
    onTestFinished(() => {
      Object.defineProperty(process, 'arch', { value: arch })
      written.mockRestore()
    })
    vi.useFakeTimers({ toFake: ['setTimeout'] }) // what waited for its time to run out would wait for ever
    onTestFinished(() => void vi.useRealTimers())
    const { assistant } = sheet()
    for (let tries = 0; tries < 3; tries++) expect(await assistant.complete('Math.sqr', 8)).toMatchObject({ status: 'ok', matches: [] })
    expect(await assistant.inspect('Math', 4)).toMatchObject({ status: 'ok', found: false })
    await expect(assistant.check('const n: number = 1')).rejects.toThrow()
    const said = written.mock.calls.map(([text]) => String(text)).filter((text) => text.includes('language server'))
    expect(said).toHaveLength(1)
    expect(said[0]).toMatch(/is missing: the package @typescript\/typescript-\w+-pdp11 is not installed; run `npm install`/)
  })
})

/** Cells the way people write them, in order: what one declares the next may use. None has a type error. */
const FREE_OF_ERRORS: Readonly<Record<string, readonly string[]>> = {
  'values and their last use': ['1 + 1', 'const a = 1', 'a', 'let b = a + 1', 'b += 2', 'b++', `\`\${a} and \${b}\``, '[a, b].map((n) => n * 2)'],
  'an object literal as the value': ['{ a: 1, b: 2 }', '{ a: 1 }', '{}', '({ c: 3 })'],
  'names declared again as something else': [
    'const data = [1, 2, 3]',
    'const data = "text"',
    'data.toUpperCase()',
    'let data = { rows: 3 }',
    'data.rows = 4',
    'function data() { return 1 }',
    'data().toFixed()',
    'class data { x = 1 }',
    'new data().x',
    'const data = 5',
  ],
  'a cell that is run again': ['let count = 0', 'count += 1', 'let count = 0', 'count += 1', 'count'],
  'a name in its own new value': [
    'let rows = [3, 1, 2]',
    'let rows = rows.filter((row: number) => row > 1)',
    'const rows = rows.map((row: number) => row * 2)',
  ],
  destructuring: [
    'const { x, y: [z, ...rest], ...others } = { x: 1, y: [2, 3, 4], p: 5, q: 6 }',
    'x + z + rest.length + others.p',
    'const [first, second = 2] = [1]',
    'first + second',
    'let m = 1, n = 2',
    ';[m, n] = [n, m]',
    'm - n',
  ],
  'awaiting at the top': [
    'const { readFile } = await import("node:fs/promises")',
    'const text = await Promise.resolve("a,b")',
    'text.split(",").length',
    'for await (const part of (async function* () { yield 1 })()) console.log(part)',
    'const [one, two] = await Promise.all([Promise.resolve(1), Promise.resolve("2")])',
    'one.toFixed() + two.trim()',
  ],
  'classes that refer to each other': [
    'abstract class Shape { abstract area(): number }',
    'class Circle extends Shape { constructor(readonly radius: number) { super() } area() { return Math.PI * this.radius ** 2 } }',
    'class Square extends Shape { constructor(private side: number) { super() } area() { return this.side ** 2 } }',
    'const shapes: Shape[] = [new Circle(1), new Square(2)]',
    'shapes.reduce((sum, shape) => sum + shape.area(), 0)',
    'class Circle extends Shape { constructor(readonly radius: number, readonly name = "c") { super() } area() { return 3 * this.radius ** 2 } }',
    'new Circle(2).name.length',
  ],
  'types and interfaces': [
    'interface User { name: string; age?: number }',
    'type Users = Record<string, User>',
    'const users: Users = { ann: { name: "Ann" } }',
    'users.ann?.age ?? 0',
    'interface User { name: string; age: number; tags: string[] }',
    'const user: User = { name: "Bob", age: 3, tags: [] }',
    'enum Colour { Red, Green }',
    'const colour: Colour = Colour.Red',
    'Colour[colour]',
    'namespace Geometry { export const unit = 1 }',
    'Geometry.unit + 1',
    'type Pair<A, B = A> = readonly [A, B]',
    'const pair: Pair<number, string> = [1, "a"]',
    'function isUser(value: unknown): value is User { return typeof value === "object" }',
    'const unknownUser: unknown = user',
    'if (isUser(unknownUser)) console.log(unknownUser.tags.length)',
  ],
  'generics and functions that call each other': [
    'function identity<T>(value: T): T { return value }',
    'identity("a").length',
    'const compose = <A, B, C>(f: (a: A) => B, g: (b: B) => C) => (a: A) => g(f(a))',
    'compose((n: number) => String(n), (s) => s.length)(12) + 1',
    'function even(n: number): boolean { return n === 0 || odd(n - 1) }\nfunction odd(n: number): boolean { return n !== 0 && even(n - 1) }',
    'even(10)',
    'function* numbers() { yield* [1, 2, 3] }',
    '[...numbers()].at(-1)?.toFixed()',
  ],
  'what the global object is given': [
    'globalThis.counter = 1',
    '(globalThis as any).answer = 42',
    'globalThis.counter += 1',
    'Object.assign(globalThis, { helper: (x: number) => x })',
    'globalThis["made"] = 1',
  ],
  'var in blocks, and loops': [
    'for (var i = 0; i < 3; i++) {}',
    'i + 1',
    'if (true) { var inner = "x" }',
    'inner?.length',
    'for (const [key, value] of Object.entries({ a: 1 })) console.log(key, value.toFixed())',
    'for (const letter of "abc") { let upper = letter.toUpperCase(); console.log(upper) }',
    'let steps = 0\nwhile (steps < 3) steps++',
    'label: for (;;) { break label }',
  ],
  'variables that begin empty': [
    'let best',
    'best = 3',
    'best + 1',
    'let losses = []',
    'losses.push(1.5)',
    'losses.map((loss) => loss)',
    'let cache: Record<string, number> = {}',
    'cache["a"] = 1',
    'let found: string | null = null',
    'found = "yes"',
    'found.length',
    'let timer: NodeJS.Timeout | undefined',
    'timer = setTimeout(() => {}, 1)\nclearTimeout(timer)',
  ],
  'names the notebook gives to others': [
    'const name = "mine"',
    'const status = 200',
    'const event = { kind: "click" }',
    'const length = 3',
    'name.length + status + length + event.kind.length',
    'const top = [1]',
    'const parent = top[0]',
    'const process2 = process.pid',
  ],
  'Node without an import': [
    'process.env.HOME?.length',
    'Buffer.from("a").toString("base64")',
    'setTimeout(() => {}, 1).unref()',
    'new URL("https://example.org/a").pathname',
    'structuredClone({ a: 1 }).a',
    'performance.now().toFixed(1)',
    'new TextEncoder().encode("a").length',
    'crypto.randomUUID().length',
    'const response: Response | undefined = undefined',
    'new AbortController().signal.aborted',
    'queueMicrotask(() => {})',
    'const channel = new MessageChannel()',
    'new Blob(["a"]).size',
    'navigator.hardwareConcurrency',
    'new Intl.NumberFormat("en").format(1)',
    '[3, 1].toSorted().at(0)',
  ],
  'modules of Node': [
    'import * as fs from "node:fs"\nimport path from "node:path"\nimport { createHash, type Hash } from "node:crypto"',
    'fs.existsSync(path.join("a", "b"))',
    'const hash: Hash = createHash("sha256")',
    'hash.update("a").digest("hex").length',
    'import { EventEmitter } from "events"\nconst emitter = new EventEmitter()\nemitter.on("x", (value) => console.log(value))',
    'import * as fs from "fs/promises"',
    '(await fs.readdir(".")).length',
    'const os = require("node:os")',
    'os.cpus().length',
    'import { setTimeout as sleep } from "node:timers/promises"',
    'await sleep(1)',
    'import assert from "node:assert"',
    'assert.equal(1, 1)',
    'import.meta.url.length + import.meta.dirname.length',
  ],
  'files beside the notebook': [
    'import data from "./data.json"',
    'data.rows.length + data.title.length',
    'import config from "./data.json" with { type: "json" }',
    'config.title.length',
    'import { tool } from "./tools.ts"',
    'tool(1).toFixed()',
    'import { tool as same } from "./tools.js"',
    'same(2)',
    'import { tool as bare } from "./tools"',
    'bare(2)',
    'import helper from "./plain.js"',
    'helper(1)',
    'const later = await import("./tools.ts")',
    'later.tool(3)',
    'import "./tools.ts"',
    'export const shared = 1',
    'export default shared',
    'export { shared as other }',
  ],
  'packages with types, without, and missing': [
    'import typed from "typed"',
    'typed("a").length',
    'import untyped from "untyped"',
    'untyped.anything(1).goes',
    'import * as whole from "untyped"',
    'whole.more()',
    'import { gone } from "not-installed"',
    'gone(1).x',
    'import "not-installed/styles.css"',
    'import type { Missing } from "not-installed"',
    'const missing: Missing | undefined = undefined',
  ],
  'what cells know without an import': [
    'display({ "text/html": "<b>a</b>" })',
    'display.clear({ wait: true })',
    'display.table([{ a: 1 }])',
    'for (const step of progress(3)) console.log(step + 1)',
  ],
  'a cell that failed half-way': [
    'const before = 1\nthrow new Error("stop")\nconst after = 2',
    'before + 1',
    'after + 1',
    'let half: string | undefined\nhalf = "a"\nJSON.parse("{")\nhalf = undefined',
    'half',
  ],
  errors: [
    'try { JSON.parse("{") } catch (error) { console.log((error as Error).message) }',
    'class MyError extends Error { constructor(readonly code: number) { super("code " + code) } }',
    'try { throw new MyError(3) } catch (error) { if (error instanceof MyError) console.log(error.code) }',
    'const failed = await Promise.reject(new Error("x")).catch((error: Error) => error.message)',
  ],
  'typed arrays and numbers': [
    'const floats = new Float32Array(4)',
    'floats.set([1, 2])',
    'floats.subarray(1).reduce((sum, value) => sum + value, 0)',
    'const view = new DataView(floats.buffer)',
    'view.getFloat32(0, true)',
    'const big = 10n ** 20n',
    'big.toString()',
    '0b1010 + 0o17 + 0xff + 1_000',
  ],
  "asynchronous code of one's own": [
    'async function get(url: string): Promise<{ status: number }> { return { status: url.length } }',
    'const { status: code } = await get("x")',
    'code.toFixed()',
    'const results = await Promise.allSettled([get("a"), get("b")])',
    'results.filter((result) => result.status === "fulfilled").map((result) => result.value.status)',
    'const signal = AbortSignal.timeout(10)',
    'await new Promise<void>((resolve) => setTimeout(resolve, 1))',
    'async function* chunks() { for (let i = 0; i < 3; i++) yield new Uint8Array(i) }',
    'let bytes = 0\nfor await (const chunk of chunks()) bytes += chunk.length',
    'bytes',
  ],
  fpdt: [
    "import { adamW, Device, formatBytes, llama, parameterCount } from 'fpdt'",
    'const tiny = llama({ layers: 1, width: 64, heads: 2, kvHeads: 1, feedForward: 128, vocab: 256 })',
    'parameterCount(tiny).toFixed()',
    "const device = await Device.cpu({ memory: '64 MiB', host: '256 MiB' })",
    'const run = await device.train(tiny, { sequence: 256, chunk: 64, ranks: 1, optimizer: adamW({ rate: 1e-3 }), seed: 1 })',
    'let loss = 0\nloss = 3.5',
    'console.log(formatBytes(2 ** 20), loss.toFixed(3))',
    'import { FpdtError } from "fpdt"',
  ],
  'comments, directives and blanks': [
    '',
    '   ',
    '// nothing',
    '/* a\n b */',
    '"use strict"',
    '// @ts-expect-error\nconst wrong: number = "a"',
    '// @ts-ignore\nnothing.here',
    'const q = 1 // trailing',
    ';',
    'debugger',
  ],
  'assertions and augmentations': [
    'declare global { interface Array<T> { second(): T | undefined } }\nArray.prototype.second = function () { return this[1] }',
    '[1, 2].second()?.toFixed()',
    'declare const injected: { size: number }',
    'injected.size + 1',
    'function assertString(value: unknown): asserts value is string { if (typeof value !== "string") throw new Error("no") }',
    'const maybe: unknown = "a"\nassertString(maybe)\nmaybe.length',
    'const settings = { depth: 2 } as const satisfies Record<string, number>',
    'settings.depth === 2',
    'const element = [1, 2, 3].find((n) => n > 1)!',
    'element.toFixed()',
    '(<number>element).toFixed()',
  ],
  'decorators, accessors, private members and symbols': [
    'class Store { #items = new Map<string, number>(); get size() { return this.#items.size } static #made = 0; static make() { Store.#made++; return new Store() } }',
    'Store.make().size',
    'const key = Symbol("key")\nconst keyed = { [key]: 1 }',
    'keyed[key].toFixed()',
    'class Iterable2 { *[Symbol.iterator]() { yield 1 } }',
    'Array.from(new Iterable2()).length',
    'class Temperature { accessor celsius = 0 }',
    'new Temperature().celsius.toFixed()',
  ],
}

describe('no type errors are found where there are none', () => {
  it('the list is long enough to mean something', () => expect(Object.values(FREE_OF_ERRORS).flat().length).toBeGreaterThan(200))

  it.each(Object.entries(FREE_OF_ERRORS))('%s', async (_, cells) => {
    const page = sheet()
    for (const name of ['answer', 'counter', 'helper', 'made', 'navigator']) page.globals.add(name)
    page.write('data.json', '{ "rows": [1, 2], "title": "t" }')
    page.write('tools.ts', 'export function tool(n: number): number { return n }\n')
    page.write('plain.js', 'export default function helper(n) { return n }\n')
    page.write('node_modules/typed/package.json', '{ "name": "typed", "types": "index.d.ts" }')
    page.write('node_modules/typed/index.d.ts', 'declare function typed(text: string): string\nexport = typed\n')
    page.write('node_modules/untyped/package.json', '{ "name": "untyped", "main": "index.js" }')
    page.write('node_modules/untyped/index.js', 'module.exports = { anything() {}, more() {} }\n')
    const found: string[] = []
    for (const cell of cells) found.push(...(await page.run(cell)).map((mistake) => `${JSON.stringify(cell)} ${mistake}`))
    expect(found).toEqual([])
  })
})

describe('in a kernel', () => {
  const MISTAKE = "Type 'string' is not assignable to type 'number'. (2322)"

  /** With `FPDT_TYPES` as it says; in `report` the language server is warm when it returns. */
  async function start(mode?: 'off' | 'strict'): Promise<TestKernel> {
    const before = process.env.FPDT_TYPES
    if (mode === undefined) delete process.env.FPDT_TYPES
    else process.env.FPDT_TYPES = mode
    const kernel = await TestKernel.start()
    if (before === undefined) delete process.env.FPDT_TYPES
    else process.env.FPDT_TYPES = before
    onTestFinished(() => kernel.close())
    if (mode === undefined) await checked(kernel)
    return kernel
  }

  /** Cells are checked in turn: when this one's error has come, all has been said of those before, however late. */
  async function checked(kernel: TestKernel): Promise<void> {
    const sent = kernel.send('shell', 'execute_request', { code: 'const checked: number = "all"', silent: false })
    await kernel.finished(sent)
    await kernel.until(({ parent, header }) => parent.msg_id === sent && header.msg_type === 'stream')
  }

  /** A run with all that was said of its types, also what came after its idle. */
  async function run(kernel: TestKernel, code: string, options: object = {}): Promise<Run> {
    const sent = kernel.send('shell', 'execute_request', { code, silent: false, store_history: true, ...options })
    await kernel.finished(sent)
    await checked(kernel)
    return kernel.finished(sent)
  }

  it('type errors are shown on stderr with their place, before the cell is idle; it runs all the same', async () => {
    const kernel = await start()
    const { stderr, result, reply } = await run(kernel, 'const n: number = "a"\nn')
    expect(reply.status).toBe('ok')
    expect(result).toBe("'a'")
    expect(stderr).toBe(`Cell [2]:1:7 - ${MISTAKE}\n  1 | const n: number = "a"\n    |       ^\n`)
    expect((await kernel.run('const n: number = "a"')).stderr).toContain(MISTAKE)
  })

  it('type errors of the only cell of a notebook are saved by nbclient, which stops to listen at idle', async () => {
    const jupyter = new Jupyter()
    onTestFinished(() => jupyter.close())
    jupyter.write('one.ipynb', ['const s: string = 42'])
    const { code, stderr } = await jupyter.run('jupyter', ['execute', '--inplace', jupyter.path('one.ipynb')])
    expect(code, stderr).toBe(0)
    expect(jupyter.read('one.ipynb')[0]?.outputs).toMatchObject([{ name: 'stderr', text: expect.stringContaining("Type 'number' is not assignable") }])
  })

  it('a cell that waits its turn is not held up by the check of the one before it', async () => {
    const took_ms: number[] = []
    // A check may hold its cell for two seconds; the machine may take longer for something else, in one of three kernels.
    for (let tries = 0; tries < 3; tries++) {
      const kernel = await start()
      const server = descendants(kernel.process.pid as number).find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--lsp')) as number
      process.kill(server, 'SIGSTOP')
      const began = performance.now()
      kernel.send('shell', 'execute_request', { code: 'checked + 1' })
      await kernel.finished(kernel.send('shell', 'execute_request', { code: '1 + 1' }))
      took_ms.push(performance.now() - began)
      process.kill(server, 'SIGCONT')
    }
    expect(took_ms.sort((a, b) => a - b)[1]).toBeLessThan(1900)
  })

  it('results by number are known', async () => {
    const kernel = await start('strict')
    await kernel.run('42')
    expect(await kernel.run('_1 + 1')).toMatchObject({ result: '43' })
    expect((await kernel.run('_9 + 1')).error?.ename).toBe('TypeCheckError')
  })

  it('a cell that fails has one output, its error; so has one that misses a name', async () => {
    const kernel = await start()
    for (const code of ['throw new Error("x")', 'missing + 1', 'const = 1', 'JSON.parse("{")']) {
      const { outputs } = await run(kernel, code)
      expect(outputs.map(({ type }) => type)).toEqual(['error'])
    }
    // A name in code that did not run.
    expect((await run(kernel, 'function later() { return missing }')).stderr).toContain("1:27 - Cannot find name 'missing'. (2304)")
  })

  it('a name that code has made is known', async () => {
    const kernel = await start()
    expect((await run(kernel, 'Object.assign(globalThis, { made: { deep: 1 } })\nmade.deep')).stderr).toBe('')
    expect(await run(kernel, 'made.deep + 1')).toMatchObject({ stderr: '', result: '2' })
    expect((await run(kernel, '%%bash\necho hello')).stderr).toBe('')
    expect(await run(kernel, 'const listed = !echo one\nlisted[0].toUpperCase()')).toMatchObject({ stderr: '', result: "'ONE'" })
    expect((await run(kernel, 'const bad: number = !echo one')).stderr).toContain("1:7 - Type 'string[]' is not assignable to type 'number'. (2322)")
  })

  it('errors of a long cell are shown while it runs', async () => {
    const kernel = await start()
    const sent = kernel.send('shell', 'execute_request', { code: 'const n: number = "a"\nawait new Promise((resolve) => setTimeout(resolve, 60_000))' })
    await kernel.until(({ parent, content }) => parent.msg_id === sent && String(content.text).includes(MISTAKE))
    expect(kernel.received.some(({ parent, header }) => parent.msg_id === sent && header.msg_type === 'execute_reply')).toBe(false)
    await kernel.interrupt()
    expect((await kernel.finished(sent)).outputs.map(({ type }) => type)).toEqual(['stream', 'error'])
  })

  it('silent cells and expressions are not looked at', async () => {
    const kernel = await start()
    expect((await run(kernel, 'const n: number = "a"', { silent: true })).outputs).toEqual([])
    expect((await run(kernel, '1', { user_expressions: { bad: '(1 as string)' } })).stderr).toBe('')
  })

  it('%types strict refuses a cell with errors, and says how to run it; nothing of it has run', async () => {
    const kernel = await start()
    expect((await kernel.run('%types')).stdout).toBe('type errors: report\n')
    expect((await kernel.run('%types strict')).stdout).toBe('type errors: strict\n')
    const { error, outputs, reply } = await kernel.run('globalThis.ran = true\nconst n: number = "a"')
    expect(outputs.map(({ type }) => type)).toEqual(['error'])
    expect(reply).toMatchObject({ status: 'error', ename: 'TypeCheckError', evalue: 'the cell was not run: 1 type error' })
    expect(error?.traceback).toContain(`Cell [4]:2:7 - ${MISTAKE}\n  2 | const n: number = "a"\n    |       ^`)
    expect(error?.traceback).toContain('`%types report`')
    expect((await kernel.run('typeof globalThis.ran')).result).toBe("'undefined'")
    // What was refused has declared nothing.
    expect((await kernel.run('n')).error?.traceback).toContain("Cannot find name 'n'. (2304)")
    expect((await kernel.run('const n = 1\nn + 1')).result).toBe('2')
    expect((await kernel.run('const = 1')).error?.ename).toBe('SyntaxError')
    expect((await kernel.run('%types loud')).error?.evalue).toBe('%types loud: there is no such mode; try one of off, report, strict')
    expect((await run(kernel, '%types report\nconst m: number = "a"')).stderr).toContain(MISTAKE)
  })

  it('FPDT_TYPES=strict holds from the first cell on', async () => {
    const kernel = await start('strict')
    expect((await kernel.run('const n: number = "a"')).error?.ename).toBe('TypeCheckError')
    expect((await kernel.run('1 + 1')).result).toBe('2')
  })

  it('FPDT_TYPES=off starts no language server, and neither do cells without a name', async () => {
    const kernel = await start('off')
    expect((await kernel.run('const n: number = "a"\nn')).outputs.map(({ type }) => type)).toEqual(['execute_result'])
    const processes = descendants(kernel.process.pid as number).length
    expect((await kernel.run('%types report')).stdout).toBe('type errors: report\n')
    await kernel.run('1 + 1')
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(descendants(kernel.process.pid as number)).toHaveLength(processes)
    await kernel.run('n')
    await eventually(() => descendants(kernel.process.pid as number).length === processes + 1)
  })

  it('the reply of a cell does not wait for a language server that hangs, and its idle only for a moment', async () => {
    const kernel = await start()
    const server = descendants(kernel.process.pid as number).find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--lsp')) as number
    process.kill(server, 'SIGSTOP')
    const began = performance.now()
    for (let cell = 0; cell < 3; cell++) expect((await kernel.run('checked + 1')).reply.status).toBe('ok')
    expect(performance.now() - began).toBeLessThan(9000)
    process.kill(server, 'SIGCONT')
  })
})
