import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TestKernel } from './client.js'

let kernel: TestKernel
beforeAll(async () => {
  kernel = await TestKernel.start()
})
afterAll(() => kernel.close())

/** The error of a cell, with `Cell [n]` as `CELL`. */
async function failing(code: string) {
  const { error, reply } = await kernel.run(code)
  if (error === undefined) throw new Error(`no error: ${code}`)
  return { ...error, traceback: error.traceback.replaceAll(`Cell [${reply.execution_count}]`, 'CELL') }
}

describe('a traceback', () => {
  it('shows what caused an error, and what caused that, without going in circles', async () => {
    const { traceback } = await failing(
      'const a = new TypeError("deepest"); const b = new Error("inner", { cause: a }); a.cause = b\nthrow new Error("outer", { cause: b })',
    )
    expect(traceback.split('\n').filter((line) => !line.includes(' at '))).toEqual([
      'Error: outer',
      '  caused by: Error: inner',
      '    caused by: TypeError: deepest',
      '      caused by: Error as above',
      '',
      'CELL',
      '  1 | const a = new TypeError("deepest"); const b = new Error("inner", { cause: a }); a.cause = b',
      '> 2 | throw new Error("outer", { cause: b })',
      '    |       ^',
    ])
    expect((await failing('throw new Error("x", { cause: { status: 404 } })')).traceback).toContain('  caused by: { status: 404 }')
  })

  it('shows each error of an AggregateError, and the line of the first where it has none itself', async () => {
    const { traceback } = await failing('const all = [1, 2].map(async (n) => { throw new Error("part " + n) })\nawait Promise.any(all)')
    expect(traceback).toMatch(/^AggregateError: All promises were rejected\n {2}1 of 2: Error: part 1\n {6}at CELL line 1:45\n/)
    expect(traceback).toContain('  2 of 2: Error: part 2')
    expect(traceback).toContain('> 1 | const all')
  })

  it('leaves out frames of Node and of this library where the user has some', async () => {
    const { traceback } = await failing('import { readFileSync } from "node:fs"\nreadFileSync("nowhere.txt")')
    expect(traceback).toMatch(/^Error: ENOENT: no such file or directory, open 'nowhere.txt'\n {4}at CELL line 2:1\n {4}\{.*code: 'ENOENT'.*\}\n/)
    expect((await failing('import { llama } from "fpdt"\nllama({ layers: -1 } as any)')).traceback).toMatch(/^FpdtError: .*\n {4}at CELL line 2:1\n/)
  })

  it('follows an error through awaits', async () => {
    const { traceback } = await failing(
      'async function inner() { await null; throw new Error("late") }\nasync function outer() { await inner() }\nawait outer()',
    )
    expect(traceback).toMatch(/at inner \(CELL line 1:44\)\n {4}at async outer \(CELL line 2:26\)\n {4}at async CELL line 3:1\n/)
  })

  it('shows the line of a local file, and where the cell called it', async () => {
    writeFileSync(
      `${kernel.folder}/helper.ts`,
      'interface Row { a: number }\n\nexport function read(row: Row): number {\n\tif (row.a > 1)\n\t\tthrow new Error("too many")\n\treturn row.a\n}\n',
    )
    const { traceback } = await failing('import { read } from "./helper.ts"\nread({ a: 2 })')
    expect(traceback).toBe(
      [
        'Error: too many',
        `    at read (${kernel.folder}/helper.ts:5:9)`,
        '    at CELL line 2:1',
        '',
        `${kernel.folder}/helper.ts`,
        '  3 | export function read(row: Row): number {',
        '  4 | \tif (row.a > 1)',
        '> 5 | \t\tthrow new Error("too many")',
        '    | \t\t      ^',
        '  6 | \treturn row.a',
        '  7 | }',
      ].join('\n'),
    )
  })

  it('points into a local file that does not parse', async () => {
    writeFileSync(`${kernel.folder}/broken.ts`, 'const a = 1\nconst b: = 2\n')
    const { ename, traceback } = await failing('import "./broken.ts"')
    expect(ename).toBe('SyntaxError')
    expect(traceback).toContain(`    at ${kernel.folder}/broken.ts:2:10\n`)
    expect(traceback).toContain('> 2 | const b: = 2\n    |          ^')
  })

  it('of endless recursion is short', async () => {
    const { evalue, traceback } = await failing('const f = (n: number): number => f(n + 1) + 1\nf(0)')
    expect(evalue).toBe('Maximum call stack size exceeded')
    expect(traceback).toMatch(/ {4}at f \(CELL line 1:34\)\n {4}… the same \d+ more times\n\nCELL\n/)
  })

  it('of a long message and a long line is bounded, and says so', async () => {
    const { evalue, traceback } = await failing(`throw new Error("long ".repeat(1_000_000)) // ${'x'.repeat(5000)}`)
    expect(evalue).toHaveLength('… 4,990,000 more characters'.length + 10_000)
    expect(evalue).toMatch(/… 4,990,000 more characters$/)
    expect(traceback.length).toBeLessThan(11_000)
  })

  it('has colours where front ends show them, and its name and message have none', async () => {
    const { outputs } = await kernel.run('throw new RangeError("plain")')
    const [output] = outputs as unknown as [{ content: { ename: string; evalue: string; traceback: string[] } }]
    const { ename, evalue, traceback } = output.content
    expect([ename, evalue]).toEqual(['RangeError', 'plain'])
    expect(traceback[0]).toBe('\x1b[1mRangeError\x1b[22m: plain')
    // Every line by itself: front ends join them, and one that is cut must not colour the rest.
    for (const line of traceback) expect(line.split(/\[(?:1|2|31)m/)).toHaveLength(line.split(/\[(?:22|39)m/).length)
  })

  it('names classes of errors that set no name', async () => {
    expect((await failing('class ValidationError extends Error {}; throw new ValidationError("bad")')).ename).toBe('ValidationError')
    expect((await failing('AbortSignal.abort().throwIfAborted()')).ename).toBe('AbortError')
  })

  it('does not show what cells are turned into', async () => {
    expect((await failing('structuredClone(() => { for (;;) {} })')).evalue).toBe('() => {\n\tfor (;;) {}\n} could not be cloned.')
  })
})

describe('whatever is thrown', () => {
  it.each([
    ['undefined', 'undefined', 'undefined'],
    ['null', 'null', 'null'],
    ['"text\\nof two lines"', 'string', 'text\nof two lines'],
    ['Object.freeze({ code: 3 })', 'object', '{ code: 3 }'],
    ['new Proxy({}, { get() { throw 1 }, getPrototypeOf() { throw 2 } })', 'object', '{}'],
    ['(() => { const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); return proxy })()', 'object', '<Revoked Proxy>'],
    ['{ toString() { throw 1 }, get message() { throw 2 } }', 'object', '{ toString: [Function: toString], message: [Getter] }'],
    ['new (class Odd extends Error { get message(): any { throw 1 } })()', 'Odd', '[a message that cannot be read]'],
    ['new (class Odd extends Error { get name(): any { throw 1 } })("m")', 'Odd', 'm'],
    ['Object.assign(new Error("m"), { name: { toString() { throw 1 } } })', 'Error', 'm'],
    ['Object.assign(new Error("m"), { stack: 5 })', 'Error', 'm'],
    ['Object.defineProperty(new Error("m"), "stack", { get() { throw 1 } })', 'Error', 'm'],
    ['Object.assign(new Error("m"), { cause: Proxy.revocable({}, {}).proxy })', 'Error', 'm'],
    ['Object.defineProperty(new Error("m"), "cause", { get() { throw 1 } })', 'Error', 'm'],
    ['Object.assign(new Error("m"), { errors: [null, new Proxy(new Error("n"), {})] })', 'Error', 'm'],
  ])('is reported: %s', async (thrown, ename, evalue) => {
    expect(await failing(`throw ${thrown}`)).toMatchObject({ ename, evalue })
    expect((await kernel.run('1 + 1')).result).toBe('2')
  })
})
