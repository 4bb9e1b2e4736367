import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TestKernel } from './client.js'

let kernel: TestKernel
beforeAll(async () => {
  kernel = await TestKernel.start()
  await kernel.run('let kept = 41; let n = 0')
})
afterAll(() => kernel.close())

/** Starts a cell, waits until it prints `go`, interrupts it. */
async function interrupted(code: string, after_ms = 0) {
  const sent = kernel.send('shell', 'execute_request', { code })
  await kernel.until(({ header, parent, content }) => parent.msg_id === sent && header.msg_type === 'stream' && String(content.text).includes('go'))
  await new Promise((resolve) => setTimeout(resolve, after_ms))
  const start = performance.now()
  await kernel.interrupt()
  const run = await kernel.finished(sent)
  return { ...run, took_ms: performance.now() - start }
}

describe('interrupt', () => {
  const busy = {
    'an empty while loop': 'console.log("go"); while (true) {}',
    'a loop without a block': 'console.log("go"); for (;;) n++',
    'a do loop': 'console.log("go"); do { n++ } while (true)',
    'a for-of loop over an endless generator': 'console.log("go"); function* g() { while (true) yield 1 }\nfor (const x of g()) n += x',
    'a callback of a built-in': 'console.log("go"); Array.from({ length: 1e9 }, () => n++)',
    'recursion that catches its own overflow': 'console.log("go"); function r() { try { r() } catch { r() } }\nr()',
    'a loop in a function of the cell, after an await': 'await null; console.log("go"); (() => { while (true) n++ })()',
    'a loop in a timer that the cell waits for': 'console.log("go"); await new Promise((resolve) => setTimeout(() => { while (true) {} }, 1))',
    'a loop that catches what it is stopped by': 'console.log("go"); while (true) { try { while (true) {} } catch {} }',
    'a promise that never settles': 'console.log("go"); await new Promise(() => {})',
    'a loop that awaits': 'console.log("go"); while (true) await new Promise((resolve) => setTimeout(resolve, 5))',
  }
  for (const [what, code] of Object.entries(busy)) {
    it(`stops ${what} and keeps the state`, async () => {
      const { error, reply, took_ms } = await interrupted(code)
      expect(error?.ename).toBe('KeyboardInterrupt')
      expect(reply.status).toBe('error')
      expect(took_ms).toBeLessThan(2000)
      expect((await kernel.run('kept + 1')).result).toBe('42')
    })
  }

  it('stops a loop that has long been optimised', async () => {
    const { error, took_ms } = await interrupted('console.log("go"); let sum = 0; for (let i = 0; ; i++) sum += i % 7', 1500)
    expect(error?.ename).toBe('KeyboardInterrupt')
    expect(took_ms).toBeLessThan(2000)
  })

  it('lets finally blocks clean up', async () => {
    await interrupted('let cleaned = 0; console.log("go"); try { while (true) {} } finally { for (let i = 0; i < 3; i++) cleaned++ }')
    expect((await kernel.run('cleaned')).result).toBe('3')
  })

  it('ends the background work of an interrupted cell at its next await', async () => {
    await interrupted('let ticks = 0; console.log("go"); while (true) { await new Promise((r) => setTimeout(r, 5)); ticks++ }')
    await new Promise((resolve) => setTimeout(resolve, 30))
    const before = (await kernel.run('ticks')).result
    await new Promise((resolve) => setTimeout(resolve, 60))
    expect((await kernel.run('ticks')).result).toBe(before)
  })

  it('leaves functions of an interrupted cell usable', async () => {
    await interrupted('function twice(x: number) { for (let i = 0; i < 1; i++) x *= 2; return x }\nconsole.log("go"); while (true) {}')
    expect((await kernel.run('twice(4)')).result).toBe('8')
  })

  it('shows nothing of the kernel when the cell was waiting', async () => {
    expect((await interrupted('console.log("go"); await new Promise(() => {})')).error?.traceback).toBe('[KeyboardInterrupt: interrupted]')
  })

  it('names the line of the loop', async () => {
    const { error } = await interrupted('console.log("go")\n\nwhile (true) {\n}')
    expect(error?.traceback).toMatch(/Cell \[\d+\] line 3:/)
  })

  it('tells native work through the display host', async () => {
    await kernel.run('const host = (globalThis as any)[Symbol.for("fpdt.display.host")]; let calls = 0; const off = host.onInterrupt(() => calls++)')
    await interrupted('console.log("go"); await new Promise(() => {})')
    expect((await kernel.run('off(); calls')).result).toBe('1')
  })

  it('stops a loop in a local TypeScript file', async () => {
    const { writeFileSync } = await import('node:fs')
    writeFileSync(`${kernel.folder}/forever.ts`, 'export function forever(): never {\n  console.log("go")\n  while (true) {}\n}\n')
    const { error } = await interrupted('import { forever } from "./forever.ts"\nforever()')
    expect(error?.ename).toBe('KeyboardInterrupt')
    expect(error?.traceback).toContain('forever.ts:3:')
  })

  it('changes nothing when no cell runs', async () => {
    await kernel.interrupt()
    expect((await kernel.run('let s = 0; for (let i = 0; i < 10; i++) s += i; s')).result).toBe('45')
  })

  it('says so when code does not stop, and ends the process at the second interrupt', async () => {
    // No loop of the cell, one built-in call of some minutes.
    const sent = kernel.send('shell', 'execute_request', { code: 'console.log("go"); /(a+)+$/.test("a".repeat(60) + "b")' })
    await kernel.until(({ parent, content }) => parent.msg_id === sent && content.text === 'go\n')
    await kernel.interrupt()
    await kernel.until(({ parent, content }) => parent.msg_id === sent && /Interrupt again/.test(String(content.text)))
    await kernel.interrupt()
    const { error } = await kernel.finished(sent)
    expect(error).toMatchObject({ ename: 'KeyboardInterrupt', evalue: expect.stringContaining('all variables are gone') })
    expect((await kernel.run('typeof kept')).result).toBe("'undefined'")
  })
})
