import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { descendants, eventually, isAlive, TestKernel } from './client.js'

let kernel: TestKernel
beforeAll(async () => {
  kernel = await TestKernel.start()
  await matches('Math.sqr|')
})
afterAll(() => kernel.close())

/** `|` marks the cursor. */
async function complete(marked: string, of = kernel) {
  const cursor = [...marked.slice(0, marked.indexOf('|'))].length
  return (await of.complete(marked.replace('|', ''), cursor)) as {
    matches: string[]
    cursor_start: number
    cursor_end: number
    metadata: { _jupyter_types_experimental: { text: string; type: string }[] }
    tries: number
  }
}
const matches = async (marked: string, of = kernel) => (await complete(marked, of)).matches

async function inspect(marked: string, detail_level = 0, of = kernel) {
  const cursor_pos = [...marked.slice(0, marked.indexOf('|'))].length
  const reply = await of.request('shell', 'inspect_request', { code: marked.replace('|', ''), cursor_pos, detail_level })
  return reply as { found: boolean; data: Record<string, string> }
}
const plain = async (marked: string, detail = 0) => (await inspect(marked, detail)).data['text/plain'] ?? ''

describe('completion', () => {
  it('lists the members of a variable of an earlier cell, by its type, without evaluating anything', async () => {
    await kernel.run('let evaluated = false\nconst model = { layers: 4, get width() { evaluated = true; return 256 }, train(steps: number) { return steps } }')
    expect(await matches('model.|')).toEqual(['layers', 'train', 'width'])
    expect((await kernel.run('evaluated')).result).toBe('false')
    expect((await complete('model.|')).metadata._jupyter_types_experimental.map(({ text, type }) => [text, type])).toEqual([
      ['layers', 'property'],
      ['train', 'method'],
      ['width', 'property'],
    ])
  })

  it('runs no code: neither getters nor proxies nor iterators are touched', async () => {
    await kernel.run(`const touched: string[] = []
const trap = new Proxy({ inner: { deep: 1 } }, {
  get(target, key) { touched.push('get ' + String(key)); return Reflect.get(target, key) },
  has(target, key) { touched.push('has ' + String(key)); return Reflect.has(target, key) },
  ownKeys(target) { touched.push('ownKeys'); return Reflect.ownKeys(target) },
  getOwnPropertyDescriptor(target, key) { touched.push('descriptor ' + String(key)); return Reflect.getOwnPropertyDescriptor(target, key) },
})
class Lazy { static made = 0; get costly() { touched.push('costly'); return { a: 1 } } *[Symbol.iterator]() { touched.push('iterated'); yield 1 } toString() { touched.push('toString'); return '' } }
const lazy = new Lazy()
function effect() { touched.push('called'); return { b: 1 } }`)
    expect(await matches('trap.|')).toEqual(['inner'])
    expect(await matches('trap.inner.|')).toEqual(['deep'])
    expect(await matches('lazy.costly.|')).toEqual(['a'])
    expect(await matches('effect().|')).toEqual(['b'])
    expect(await matches('[...lazy].leng|')).toEqual(['length'])
    expect((await inspect('tr|ap', 1)).found).toBe(true)
    expect((await inspect('lazy.cos|tly', 1)).found).toBe(true)
    expect((await inspect('effect(|', 1)).found).toBe(true)
    expect((await kernel.run('touched.length')).result).toBe('0')
  })

  it('replaces only the member name, at positions in code points', async () => {
    expect(await complete('"\u{1F600}"; Math.sqr|')).toMatchObject({ matches: ['sqrt'], cursor_start: 10, cursor_end: 13 })
  })

  it('follows a name to its newest declaration', async () => {
    await kernel.run('const shape = { old: 1 }')
    await kernel.run('const shape = { rows: 1, columns: 2 }')
    expect(await matches('shape.|')).toEqual(['columns', 'rows'])
    expect(await matches('const shape = { own: 1 }\nshape.|')).toEqual(['own'])
  })

  it('knows names of earlier cells, types and imports included, and the globals of a cell', async () => {
    await kernel.run('import * as paths from "node:path"\ninterface Chunk { tokens: number }')
    expect(await matches('paths.basen|')).toEqual(['basename'])
    expect(await matches('declare const c: Chunk; c.|')).toEqual(['tokens'])
    expect(await matches('mod|')).toContain('model')
    expect(await matches('displa|')).toContain('display')
  })

  it('knows local files, also when they were edited meanwhile', async () => {
    writeFileSync(`${kernel.folder}/local.ts`, 'export const local = { deep: 1 }\n')
    expect(await matches('import { local } from "./local.ts"\nlocal.|')).toEqual(['deep'])
    await kernel.run('import { local } from "./local.ts"')
    writeFileSync(`${kernel.folder}/local.ts`, 'export const local = { deeper: 1 }\n')
    expect(await matches('local.|')).toEqual(['deeper'])
  })

  it('knows a package that was installed while the kernel ran', async () => {
    expect(await matches('import * as late from "late-package"\nlate.|')).toEqual([])
    const folder = `${kernel.folder}/node_modules/late-package`
    mkdirSync(folder, { recursive: true })
    writeFileSync(`${folder}/package.json`, '{ "name": "late-package", "types": "index.d.ts" }')
    writeFileSync(`${folder}/index.d.ts`, 'export declare const arrived: number\n')
    expect(await matches('import * as late from "late-package"\nlate.|')).toEqual(['arrived'])
  })

  it('knows what code put on the global object', async () => {
    await kernel.run('globalThis.putThere = 1')
    expect(await matches('putTh|')).toEqual(['putThere'])
  })

  it('knows fpdt', async () => expect((await matches('import * as trace from "fpdt/trace"\ntrace.|')).length).toBeGreaterThan(0))

  it('completes strings in place', async () => {
    expect(await complete('import { a } from "node:read|"')).toMatchObject({
      matches: expect.arrayContaining(['node:readline']),
      cursor_start: 19,
      cursor_end: 28,
    })
  })

  it('offers the keys of a record, members of a union and paths in strings', async () => {
    await kernel.run('const record: Record<"alpha" | "beta", number> = { alpha: 1, beta: 2 }\nfunction paint(colour: "red" | "green") {}')
    expect(await matches('record["|"]')).toEqual(['alpha', 'beta'])
    expect(await matches("paint('r|")).toEqual(['red'])
    writeFileSync(`${kernel.folder}/table.csv`, '')
    mkdirSync(`${kernel.folder}/tables/deep`, { recursive: true })
    expect(await complete('await load("\u{1F600}", "./ta|.csv")')).toMatchObject({ matches: ['table.csv', 'tables/'], cursor_start: 19, cursor_end: 21 })
    expect(await matches("open('tables/|")).toEqual(['deep/'])
    expect(await matches('import x from "./loc|"')).toEqual(['local.ts'])
  })

  it('offers no name that Node has in CommonJS files alone', async () => {
    expect(await matches('__di|')).toEqual([])
    expect(await matches('import.meta.dirn|')).toEqual(['dirname'])
    await kernel.run('const module = 1')
    expect(await matches('modul|')).toEqual(['module'])
  })

  it('completes and explains magics', async () => {
    expect(await complete('1;\n%ti|')).toMatchObject({ matches: ['%time', '%timeit'], cursor_start: 3, cursor_end: 6 })
    mkdirSync(`${kernel.folder}/tables/deep`, { recursive: true })
    expect(await complete('%cd tab|')).toMatchObject({ matches: ['tables/'], cursor_start: 4, cursor_end: 7 })
    expect(await matches('%time Math.sqr|')).toEqual(['sqrt'])
    expect(await plain('%ti|me f()')).toContain('prints what time it took')
    expect((await inspect('nobod|y')).found).toBe(false)
  })

  it('goes on while what is typed does not parse', async () => {
    expect(await matches('import { join } from "node:path"\nconst { a, b } = { a: { inner: 1 }, b: 2 }\nif (a.|')).toEqual(['inner'])
    expect(await matches('class Half { one = 1; two() { this.|')).toEqual(expect.arrayContaining(['one', 'two']))
    expect(await matches('const x = {\n  n: model.lay|')).toEqual(['layers'])
  })

  it('answers while a cell runs in a busy loop, and knows its names; the kernel stays busy for its clients', async () => {
    const sent = kernel.send('shell', 'execute_request', { code: 'const early = { bird: 1 }\nconsole.log("running")\nfor (;;) {}', silent: false })
    await kernel.until(({ parent, content }) => parent.msg_id === sent && content.text === 'running\n')
    const { matches, tries } = await complete('early.|')
    expect(matches).toEqual(['bird'])
    expect(tries).toBeLessThanOrEqual(2) // the server is warm, and the cell takes the other process
    expect((await inspect('mod|el')).found).toBe(true)
    const lastState = () => kernel.received.findLast(({ header }) => header.msg_type === 'status')
    await kernel.until(() => lastState()?.content.execution_state === 'busy' && lastState()?.parent.msg_id === sent)
    await kernel.interrupt()
    expect((await kernel.finished(sent)).error?.ename).toBe('KeyboardInterrupt')
  })

  it('drops a question when the next one comes', async () => {
    const asked = Array.from({ length: 20 }, (_, index) => kernel.send('shell', 'complete_request', { code: 'model.lay', cursor_pos: 6 + (index % 4) }))
    const replies = await Promise.all(asked.map((id) => kernel.until(({ header, parent }) => parent.msg_id === id && header.msg_type === 'complete_reply')))
    expect(replies.at(-1)?.content.matches).toEqual(['layers'])
    expect(replies.every(({ content }) => content.status === 'ok')).toBe(true)
  })

  it('answers for text that makes no sense', async () => expect(await matches('%%% ((( |')).toEqual(expect.any(Array)))

  it('forgets a cell that was ended together with its process', async () => {
    const other = await TestKernel.start()
    onTestFinished(() => other.close())
    const sent = other.send('shell', 'execute_request', { code: 'const doomed = 1; console.log("go"); /(a+)+$/.test("a".repeat(60) + "b")' })
    await other.until(({ parent, content }) => parent.msg_id === sent && content.text === 'go\n')
    await other.interrupt()
    await other.until(({ parent, content }) => parent.msg_id === sent && /Interrupt again/.test(String(content.text)))
    await other.interrupt()
    expect((await other.finished(sent)).error?.ename).toBe('KeyboardInterrupt')
    await other.run('const kept = 2')
    expect(await matches('doome|', other)).toEqual([])
    expect(await matches('kep|', other)).toEqual(['kept'])
  })

  it('goes on when the language server was killed', async () => {
    const other = await TestKernel.start()
    onTestFinished(() => other.close())
    await matches('Math.sqr|', other)
    await other.run('const kept = { here: 1 }')
    const [server] = languageServers(other) as [number]
    process.kill(server, 'SIGKILL')
    await eventually(() => other.log.includes('the language server was ended by SIGKILL'))
    expect((await other.run('kept.here + 1')).result).toBe('2')
    await expect.poll(() => matches('kept.|', other), { timeout: 20_000 }).toEqual(['here'])
    expect(languageServers(other)).not.toContain(server)
  })

  it('answers with nothing, and runs cells, while the language server hangs', async () => {
    const other = await TestKernel.start()
    onTestFinished(() => other.close())
    await matches('Math.sqr|', other)
    const [server] = languageServers(other) as [number]
    process.kill(server, 'SIGSTOP')
    await eventually(() => /^State:\s+T/m.test(readFileSync(`/proc/${server}/status`, 'utf8')))
    expect(await other.request('shell', 'complete_request', { code: 'Math.sqr', cursor_pos: 8 })).toMatchObject({ matches: [] })
    expect(other.log).not.toContain('language server') // which is not yet given up
    expect((await other.run('6 * 7')).result).toBe('42')
  })

  it('is left behind by no kernel, even one that is killed', async () => {
    const other = await TestKernel.start()
    onTestFinished(() => other.close())
    await matches('Math.sqr|', other)
    const [server] = languageServers(other) as [number]
    other.process.kill('SIGKILL')
    await eventually(() => !isAlive(server))
  })
})

describe('inspection', () => {
  it('shows the type of a name of an earlier cell', async () => expect(await plain('mod|el')).toContain('layers: number'))

  it('shows the signature inside of a call, the parameter marked, with its documentation', async () => {
    await kernel.run(
      '/** Adds.\n * @param first what comes first\n * @param second what comes then */\nfunction add(first: number, second = 2) { return first + second }',
    )
    const text = await plain('add(1, |')
    expect(text).toContain('add(first: number, second?: number): number')
    expect(text.split('\n')[1]).toBe('                   ^^^^^^^^^^^^^^^')
    expect(text).toContain('what comes then')
    expect(text).toContain('Adds.')
    expect((await plain('add(|')).split('\n')[1]).toBe('    ^^^^^^^^^^^^^')
    expect(await plain('ad|d(1)')).toContain('function add(first: number')
  })

  it('shows more in detail: the source', async () => {
    expect(await plain('ad|d', 0)).not.toContain('return first + second')
    expect(await plain('ad|d', 1)).toContain('return first + second')
    await kernel.run('let counter = { begun: "here" }')
    expect(await plain('count|er', 1)).toContain('{ begun: "here" }')
  })

  it('shows nothing of the modules that cells are to the language server, nor of the machine', async () => {
    await kernel.run('import { readFile } from "node:fs/promises"')
    for (const marked of ['mod|el', 'read|File', 'ad|d', 'coun|ter', 'readFile(|']) {
      const text = await plain(marked)
      expect(text).not.toBe('')
      expect(text).not.toMatch(/__fpdt|\(alias\)|file:/)
    }
  })

  it('finds nothing where there is nothing', async () => expect(await inspect('   |')).toMatchObject({ status: 'ok', found: false }))
})

function languageServers(of: TestKernel): number[] {
  return descendants(of.process.pid as number).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--lsp')
    } catch {
      return false // ended since it was listed
    }
  })
}
