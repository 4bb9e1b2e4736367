import { readFileSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { descendants, eventually, TestKernel } from './client.js'

let kernel: TestKernel
beforeAll(async () => {
  kernel = await TestKernel.start()
})
afterAll(() => kernel.close())

/** `|` marks the cursor. */
async function complete(marked: string, of = kernel) {
  const cursor = [...marked.slice(0, marked.indexOf('|'))].length
  return (await of.request('shell', 'complete_request', { code: marked.replace('|', ''), cursor_pos: cursor })) as {
    matches: string[]
    cursor_start: number
    cursor_end: number
    metadata: { _jupyter_types_experimental: { text: string; type: string }[] }
  }
}
const matches = async (marked: string, of = kernel) => (await complete(marked, of)).matches

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

  it('knows local files', async () => {
    writeFileSync(`${kernel.folder}/local.ts`, 'export const local = { deep: 1 }\n')
    expect(await matches('import { local } from "./local.ts"\nlocal.|')).toEqual(['deep'])
  })

  it('knows fpdt', async () => expect((await matches('import * as trace from "fpdt/trace"\ntrace.|')).length).toBeGreaterThan(0))

  it('completes strings in place', async () => {
    expect(await complete('import { a } from "node:read|"')).toMatchObject({
      matches: expect.arrayContaining(['node:readline']),
      cursor_start: 19,
      cursor_end: 28,
    })
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
    const server = descendants(kernel.process.pid as number)
    process.kill(server.find((pid) => languageServers().includes(pid)) as number, 'SIGKILL')
    await eventually(() => languageServers().length === 0)
    expect(await matches('model.lay|')).toEqual(['layers'])
  })
})

describe('inspection', () => {
  it('shows the type of a name of an earlier cell', async () => {
    const reply = (await kernel.request('shell', 'inspect_request', { code: 'model', cursor_pos: 3, detail_level: 0 })) as {
      found: boolean
      data: Record<string, string>
    }
    expect(reply.found).toBe(true)
    expect(reply.data['text/plain']).toContain('layers: number')
  })

  it('finds nothing where there is nothing', async () => {
    expect(await kernel.request('shell', 'inspect_request', { code: '   ', cursor_pos: 1, detail_level: 0 })).toMatchObject({ status: 'ok', found: false })
  })
})

function languageServers(): number[] {
  return descendants(kernel.process.pid as number).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--lsp')
    } catch {
      return false // ended since it was listed
    }
  })
}
