import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TestKernel } from './client.js'

let kernel: TestKernel
beforeAll(async () => {
  kernel = await TestKernel.start()
})
afterAll(() => kernel.close())

describe('what a cell shows', () => {
  it.each([
    ['setTimeout(() => {}, 500)', /^Timeout \{ 500 ms, … \}$/],
    ['setImmediate(() => {})', /^Immediate \{ … \}$/],
    ['import net from "node:net"\nnet.createServer()', /^Server \{ … \}$/],
    ['import { spawn } from "node:child_process"\nspawn("true")', /^ChildProcess \{ process \d+, … \}$/],
    ['class Server { _handle = 1; port = 2 }\nclass Own { port = 2 }\nnew Own()', /^Own \{ port: 2 \}$/],
  ])('of %s is short', async (code, text) => {
    expect((await kernel.run(code)).result).toMatch(text)
  })

  it.each(['display(1, 2)', 'display([1], [2])', 'display(1, { id: "a" }, 3)', 'display({}, { b: 1 })'])('%s says that it shows one value', async (code) => {
    expect((await kernel.run(code)).error).toMatchObject({ ename: 'TypeError', evalue: expect.stringContaining('once for each value') })
  })
})

describe('process.stdin', () => {
  it.each([
    'import rl from "node:readline/promises"\nawait rl.createInterface({ input: process.stdin, output: process.stdout }).question("name? ")',
    'for await (const line of process.stdin) console.log(line)',
    'process.stdin.on("data", () => {}); await new Promise((resolve) => setTimeout(resolve, 50))',
  ])('says what to use instead: %s', async (code) => {
    const { stderr, error } = await kernel.run(code)
    expect(`${stderr}${error?.evalue}`).toMatch(/prompt\(/)
  })
})
