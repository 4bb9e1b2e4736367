import { describe, expect, it, onTestFinished } from 'vitest'
import { descendants, eventually, isAlive, TestKernel } from './client.js'

async function start(): Promise<TestKernel> {
  const kernel = await TestKernel.start()
  onTestFinished(() => kernel.close())
  return kernel
}

describe('the executor', () => {
  it('killed in a cell is the error of that cell; the next one runs in a fresh process', async () => {
    const kernel = await start()
    const executor = await kernel.executor()
    await kernel.run('let lost = 1')
    const sent = kernel.send('shell', 'execute_request', { code: 'console.log("printed"); await new Promise(() => {})' })
    await kernel.until(({ parent, content }) => parent.msg_id === sent && content.text === 'printed\n')
    process.kill(executor, 'SIGKILL')
    const { error, stdout } = await kernel.finished(sent)
    expect(error).toMatchObject({ ename: 'ExecutorDied', evalue: expect.stringMatching(/SIGKILL.*all variables are gone/) })
    expect(stdout).toBe('printed\n')
    expect((await kernel.run('typeof lost')).result).toBe("'undefined'")
    expect(await kernel.executor()).not.toBe(executor)
  })

  it('that crashes or exits is reported the same way', async () => {
    const kernel = await start()
    expect((await kernel.run('process.kill(process.pid, "SIGSEGV"); while (true) {}')).error?.evalue).toContain('SIGSEGV')
    expect((await kernel.run('process.abort()')).error?.evalue).toContain('SIGABRT')
    expect((await kernel.run('process.exit(3)')).error?.evalue).toContain('exited with code 3')
    expect((await kernel.run('1')).result).toBe('1')
  })

  it('killed between cells is mentioned in the next one', async () => {
    const kernel = await start()
    const executor = await kernel.executor()
    process.kill(executor, 'SIGKILL')
    await eventually(() => !isAlive(executor))
    await new Promise((resolve) => setTimeout(resolve, 50))
    const { stderr, result } = await kernel.run('2')
    expect(stderr).toMatch(/SIGKILL since the last cell. All variables are gone/)
    expect(result).toBe('2')
  })

  it('takes the processes that user code started along', async () => {
    const kernel = await start()
    const child = Number((await kernel.run('import { spawn } from "node:child_process"\nspawn("sleep", ["1000"], { stdio: "ignore" }).pid')).result)
    expect(isAlive(child)).toBe(true)
    await kernel.run('process.exit()')
    await eventually(() => !isAlive(child))
  })
})

describe('the kernel', () => {
  it('sends what a cell has printed, its error and idle before it exits on shutdown_request', async () => {
    const kernel = await start()
    const sent = kernel.send('shell', 'execute_request', { code: 'for (let i = 0; i < 100; i++) console.log(i); await new Promise(() => {})' })
    await kernel.until(({ parent, content }) => parent.msg_id === sent && String(content.text).startsWith('0\n'))
    kernel.send('control', 'shutdown_request', { restart: false })
    const { error, stdout } = await kernel.finished(sent)
    expect(stdout).toBe(Array.from({ length: 100 }, (_, i) => `${i}\n`).join(''))
    expect(error?.ename).toBe('ExecutorDied')
  })

  it('ignores messages whose type is a word of every object', async () => {
    const kernel = await start()
    for (const type of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) kernel.send('shell', type, {})
    expect((await kernel.run('40 + 2')).result).toBe('42')
  })

  it('leaves no process behind after shutdown_request, and exits with 0', async () => {
    const kernel = await start()
    await kernel.run('import { spawn } from "node:child_process"\nspawn("sleep", ["1000"], { stdio: "inherit" })')
    await kernel.request('shell', 'complete_request', { code: 'Math.', cursor_pos: 5 })
    const processes = descendants(kernel.process.pid as number)
    expect(processes.length).toBeGreaterThanOrEqual(3)
    expect(await kernel.request('control', 'shutdown_request', { restart: false })).toEqual({ status: 'ok', restart: false })
    expect(await kernel.exit).toBe(0)
    await eventually(() => !processes.some(isAlive))
  })

  it('shuts down while a cell is in a busy loop', async () => {
    const kernel = await start()
    const executor = await kernel.executor()
    const sent = kernel.send('shell', 'execute_request', { code: 'console.log("go"); while (true) {}' })
    await kernel.until(({ parent, content }) => parent.msg_id === sent && content.text === 'go\n')
    kernel.send('control', 'shutdown_request', { restart: true })
    expect(await kernel.exit).toBe(0)
    expect(isAlive(executor)).toBe(false)
  })

  it('killed during a busy loop leaves no process behind', async () => {
    const kernel = await start()
    await kernel.request('shell', 'complete_request', { code: 'Math.', cursor_pos: 5 })
    const sent = kernel.send('shell', 'execute_request', {
      code: 'import { spawn } from "node:child_process"\nspawn("sleep", ["1000"]); console.log("go"); while (true) {}',
    })
    await kernel.until(({ parent, content }) => parent.msg_id === sent && content.text === 'go\n')
    const processes = descendants(kernel.process.pid as number)
    expect(processes.length).toBeGreaterThanOrEqual(3)
    kernel.process.kill('SIGKILL')
    await eventually(() => !processes.some(isAlive))
  })

  it('treats SIGINT as an interrupt', async () => {
    const kernel = await start()
    const sent = kernel.send('shell', 'execute_request', { code: 'console.log("go"); while (true) {}' })
    await kernel.until(({ parent, content }) => parent.msg_id === sent && content.text === 'go\n')
    kernel.process.kill('SIGINT')
    expect((await kernel.finished(sent)).error?.ename).toBe('KeyboardInterrupt')
  })
})
