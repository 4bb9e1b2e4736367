import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Subscriber } from 'zeromq'
import { descendants, eventually, isAlive, TestKernel } from './client.js'

async function start(env: NodeJS.ProcessEnv = {}): Promise<TestKernel> {
  const kernel = await TestKernel.start(undefined, { env })
  onTestFinished(() => kernel.close())
  return kernel
}

/** The living executor as the system sees it, no cell asked; 0 while there is none. */
function executorOf(kernel: TestKernel): number {
  const isExecutor = (pid: number) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('child.js')
    } catch {
      return false // ended since it was listed
    }
  }
  return descendants(kernel.process.pid as number).find(isExecutor) ?? 0
}

/** The one that the supervisor starts when it has noticed the end of the former: it has started when it answers a comm. No cell is asked, none is told of a loss. */
async function nextExecutor(kernel: TestKernel, former: number): Promise<number> {
  await eventually(() => ![0, former].includes(executorOf(kernel)))
  const asked = kernel.send('shell', 'comm_open', { comm_id: `after ${former}`, target_name: 'nobody', data: {} })
  await kernel.until(({ header, parent }) => header.msg_type === 'comm_close' && parent.msg_id === asked)
  return executorOf(kernel)
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
    await nextExecutor(kernel, executor)
    const { stderr, result } = await kernel.run('2')
    expect(stderr).toMatch(/SIGKILL \(as the system does when memory runs out\) since the last cell\. All variables are gone/)
    expect(result).toBe('2')
  })

  it('that runs out of memory says so, and how to give it more', async () => {
    const kernel = await start({ NODE_OPTIONS: '--max-old-space-size=64' })
    const { error } = await kernel.run('const kept: number[][] = []; while (true) kept.push(new Array(1e5).fill(kept.length))')
    expect(error).toMatchObject({ ename: 'ExecutorDied', evalue: expect.stringMatching(/ran out of memory.*--max-old-space-size.*all variables are gone/) })
    expect((await kernel.run('typeof kept')).result).toBe("'undefined'")
  })

  it('that crashes again and again is replaced again and again', async () => {
    const kernel = await start()
    for (const signal of ['SIGSEGV', 'SIGKILL', 'SIGBUS', 'SIGABRT']) {
      expect((await kernel.run(`process.kill(process.pid, "${signal}"); await new Promise(() => {})`)).error?.evalue).toContain(signal)
    }
    expect((await kernel.run('1')).result).toBe('1')
  })

  it('killed twice between cells is mentioned once', async () => {
    const kernel = await start()
    const first = await kernel.executor()
    process.kill(first, 'SIGKILL')
    const second = await nextExecutor(kernel, first)
    process.kill(second, 'SIGKILL')
    await nextExecutor(kernel, second)
    expect((await kernel.run('1')).stderr.match(/All variables are gone/g)?.length).toBe(1)
    expect((await kernel.run('2')).stderr).toBe('')
  })

  it('killed while it starts is the error of the cell that waits for it; not before the next cell is another started', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'fpdt-kernel-'))
    const [hold, go] = [join(folder, 'hold.cjs'), join(folder, 'go')]
    writeFileSync(
      hold,
      `const { existsSync } = require('node:fs')
      const isExecutor = /child\\.js$/.test(process.argv[1] ?? '')
      while (isExecutor && !existsSync(${JSON.stringify(go)})) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10)`,
    )
    const kernel = await TestKernel.start(folder, { env: { NODE_OPTIONS: `--require=${hold}` } })
    onTestFinished(() => kernel.close())
    const sent = kernel.execute('1 + 1')
    await kernel.until(({ header, parent }) => header.msg_type === 'execute_input' && parent.msg_id === sent)
    process.kill(executorOf(kernel), 'SIGKILL')
    expect((await kernel.finished(sent)).error?.evalue).toMatch(/SIGKILL.*texts of the cells \(In\) stay/)
    expect(executorOf(kernel)).toBe(0)
    writeFileSync(go, '')
    expect((await kernel.run('1 + 1')).result).toBe('2')
  })

  it('that dies ends every cell it ran: in a subshell too, each says so', async () => {
    const kernel = await start()
    const executor = await kernel.executor()
    const { subshell_id: subshell } = await kernel.request('control', 'create_subshell_request', {})
    const sent = [
      kernel.execute('console.log("go"); await new Promise(() => {})'),
      kernel.execute('console.log("go"); await new Promise(() => {})', {}, String(subshell)),
    ]
    for (const id of sent) await kernel.until(({ parent, content }) => parent.msg_id === id && content.text === 'go\n')
    process.kill(executor, 'SIGKILL')
    for (const id of sent) expect((await kernel.finished(id)).error?.evalue).toMatch(/SIGKILL.*all variables are gone/)
    expect((await kernel.run('1')).stderr).toBe('')
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
  it('greets each subscriber, and tells the first one, once, that it is starting', async () => {
    const kernel = await start()
    const second = new Subscriber({ linger: 0 })
    onTestFinished(() => second.close())
    second.connect(kernel.addresses.iopub)
    second.subscribe()
    await second.receive()
    await kernel.run('1')
    const unasked = kernel.received.filter(({ parent }) => !('msg_id' in parent))
    expect(unasked.map(({ header, content }) => content.execution_state ?? header.msg_type)).toEqual(['iopub_welcome', 'starting', 'iopub_welcome'])
  })

  it('sends what a cell has printed, its error and idle before it exits on shutdown_request', async () => {
    const kernel = await start()
    const sent = kernel.send('shell', 'execute_request', { code: 'for (let i = 0; i < 100; i++) console.log(i); await new Promise(() => {})' })
    await kernel.until(({ parent, content }) => parent.msg_id === sent && String(content.text).endsWith('99\n'))
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

  it('ends with the server that JPY_PARENT_PID names, though another program started it', async () => {
    const server = spawn('sleep', ['1000'])
    onTestFinished(() => void server.kill('SIGKILL'))
    const kernel = await start({ JPY_PARENT_PID: String(server.pid) })
    const executor = await kernel.executor()
    server.kill('SIGKILL')
    expect(await kernel.exit).toBe(0)
    await eventually(() => !isAlive(executor))
  })

  it('lives on when JPY_PARENT_PID names nothing that can be seen, as in a container', async () => {
    const kernel = await start({ JPY_PARENT_PID: '4194303' })
    await new Promise((resolve) => setTimeout(resolve, 1500))
    expect((await kernel.run('1')).result).toBe('1')
  })

  const train = `import { Device, llama, longText } from 'fpdt'
    const device = await Device.cpu({ memory: '1 GiB', host: '2 GiB' })
    const run = await device.train(llama({ layers: 2, width: 128, heads: 4, kvHeads: 2, feedForward: 256 }), { sequence: 4096, chunk: 1024 })
    const step = run.step(longText('lib.dom.d.ts')); console.log('go'); await step`
  const states = {
    'a training step runs': train,
    'nothing was run': 'console.log("go")',
    'a cell is in a busy loop': 'import { spawn } from "node:child_process"\nspawn("sleep", ["1000"]); console.log("go"); while (true) {}',
    'a cell waits for a subprocess': 'console.log("go"); require("node:child_process").execSync("sleep 1000")',
    'a cell is in native code': 'console.log("go"); /(a+)+$/.test("a".repeat(60) + "b")',
    'a cell waits': 'console.log("go"); await new Promise(() => {})',
    'a cell prints and prints': 'console.log("go"); while (true) console.log("x".repeat(1000))',
  }
  for (const [when, code] of Object.entries(states)) {
    it(`killed while ${when} leaves no process behind`, async () => {
      const kernel = await start()
      await kernel.request('shell', 'complete_request', { code: 'Math.', cursor_pos: 5 })
      const sent = kernel.execute(code)
      await kernel.until(({ parent, content }) => parent.msg_id === sent && String(content.text).startsWith('go\n'))
      const processes = descendants(kernel.process.pid as number)
      expect(processes.length).toBeGreaterThanOrEqual(2)
      kernel.process.kill('SIGKILL')
      await eventually(() => !processes.some(isAlive))
    })
  }

  it('treats SIGINT as an interrupt', async () => {
    const kernel = await start()
    const sent = kernel.send('shell', 'execute_request', { code: 'console.log("go"); while (true) {}' })
    await kernel.until(({ parent, content }) => parent.msg_id === sent && content.text === 'go\n')
    kernel.process.kill('SIGINT')
    expect((await kernel.finished(sent)).error?.ename).toBe('KeyboardInterrupt')
  })
})
