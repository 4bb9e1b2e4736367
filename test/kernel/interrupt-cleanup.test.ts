import { existsSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TestKernel } from './client.js'

let kernel: TestKernel
beforeAll(async () => {
  kernel = await TestKernel.start()
  await kernel.run('import { setTimeout as sleep } from "node:timers/promises"\nimport { writeFileSync, rmSync } from "node:fs"\nlet kept = 41')
})
afterAll(() => kernel.close())

/** From an interrupt to the end of its cell, cleanup included: a tenth of it on a machine that has nothing else to do. */
const HANGS_MS = 10_000

/** Interrupts a cell where it has printed `go`, `times` times. Those that wait do so for longer than anybody waits for them here. */
async function interrupted(code: string, times = 1) {
  const sent = kernel.execute(code)
  await kernel.until(({ header, parent, content }) => parent.msg_id === sent && header.msg_type === 'stream' && String(content.text).includes('go'))
  for (let time = 0; time < times; time++) {
    if (time > 0) await delay(100)
    await kernel.interrupt()
  }
  return kernel.finished(sent, HANGS_MS)
}

describe('an interrupt of a cell that awaits', () => {
  it('is thrown at its await: `finally` runs, and the line is named', async () => {
    const { error } = await interrupted('writeFileSync("lock", "")\nconsole.log("go")\ntry {\n  await sleep(1e6)\n} finally { rmSync("lock") }')
    expect(error).toMatchObject({ ename: 'KeyboardInterrupt', traceback: expect.stringMatching(/Cell \[\d+\] line 4:/) })
    expect(existsSync(`${kernel.folder}/lock`)).toBe(false)
  })

  it('lets the cleanup of a callee end, which may await, before that of its caller begins', async () => {
    const { stdout, stderr } = await interrupted(
      'async function inner() { try { console.log("go"); await sleep(1e6) } finally { await sleep(1300); console.log("inner") } }\ntry { await Promise.all([inner(), 1]) } finally { console.log("outer") }',
    )
    expect(stdout).toBe('go\ninner\nouter\n')
    expect(stderr).toBe('')
  })

  it('may be caught, and the cell goes on', async () => {
    const { error, result } = await interrupted(
      'let caught: any\ntry { console.log("go"); await sleep(1e6) } catch (e) { caught = e }\nawait sleep(500)\ncaught.name',
    )
    expect(error).toBeUndefined()
    expect(result).toBe("'KeyboardInterrupt'")
  })

  it('ends one that catches everything when it is asked for again', async () => {
    const { error } = await interrupted('console.log("go"); for (;;) { try { await sleep(1e6) } catch { await sleep(50) } }', 2)
    expect(error?.ename).toBe('KeyboardInterrupt')
  })

  it.each([
    'async function* g() { try { yield 1; await sleep(1e6) } finally { console.log("cleaned") } }\nfor await (const x of g()) console.log("go")',
    'try { console.log("go"); for await (const x of [sleep(1e6)]) x } finally { console.log("cleaned") }',
    'try { console.log("go"); await { then() {} } } finally { console.log("cleaned") }',
    '{ await using x = { async [Symbol.asyncDispose]() { await sleep(10); console.log("cleaned") } }; console.log("go"); await sleep(1e6) }',
  ])('reaches %s', async (code) => {
    const { error, stdout } = await interrupted(code)
    expect(error?.ename).toBe('KeyboardInterrupt')
    expect(stdout).toBe('go\ncleaned\n')
  })

  it('reaches local files, and ends a progress bar', async () => {
    writeFileSync(
      `${kernel.folder}/slow.ts`,
      'export async function slow() {\n  try { console.log("go"); await new Promise(() => {}) } finally { console.log("cleaned") }\n}\n',
    )
    const { error, outputs, stdout } = await interrupted('import { slow } from "./slow.ts"\nfor (const x of progress(3)) await slow()')
    expect(error?.traceback).toContain('slow.ts:2:')
    expect(stdout).toBe('go\ncleaned\n')
    expect(outputs.map(({ content }) => JSON.stringify(content)).join()).toContain('ended after')
  })

  it('keeps errors saying through which functions they came', async () => {
    const { error } = await kernel.run(
      'async function a() { await null; await sleep(1); throw new Error("deep") }\nasync function b() { await a() }\nawait b()',
    )
    expect(error?.traceback).toMatch(/async b \(Cell \[\d+\] line 2:/)
    expect(error?.traceback).toMatch(/Cell \[\d+\] line 3:/)
  })
})

describe('an interrupt of a cell that waits for another process', () => {
  it('ends that process and keeps the variables', async () => {
    const { error } = await interrupted('import { execSync } from "node:child_process"\nconsole.log("go"); execSync("sleep 1000")')
    expect(error?.ename).toMatch(/KeyboardInterrupt/)
    expect((await kernel.run('kept + 1')).result).toBe('42')
  })
})
