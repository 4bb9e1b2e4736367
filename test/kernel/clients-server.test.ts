/** A real Jupyter server with the client that JupyterLab has: REST for a kernel's life, a WebSocket for its messages. */
import type { ChildProcess } from 'node:child_process'
import { createRequire } from 'node:module'
import type { Kernel, KernelMessage } from '@jupyterlab/services'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePorts } from '../ports.js'
import { descendants, eventually, isAlive } from './client.js'
import { Jupyter } from './jupyter.js'

// The package is CommonJS, and its ES entry is for bundlers.
const { KernelManager, ServerConnection } = createRequire(new URL('../../labextension/package.json', import.meta.url))(
  '@jupyterlab/services',
) as typeof import('@jupyterlab/services')

let jupyter: Jupyter
let server: ChildProcess
let manager: Kernel.IManager
let log = ''
/** What jupyter_client says when a kernel has not ended in five seconds and is killed. */
const FORCED = /taking too long to finish, killing/
beforeAll(async () => {
  jupyter = new Jupyter()
  const [port] = (await freePorts(1)) as [number]
  server = jupyter.start('jupyter-server', [
    '--allow-root',
    '--ip=127.0.0.1',
    `--port=${port}`,
    '--log-level=DEBUG', // that a kernel had to be killed is said there
    '--IdentityProvider.token=',
    '--ServerApp.disable_check_xsrf=True',
  ])
  for (const stream of [server.stdout, server.stderr]) stream?.on('data', (text) => (log += text))
  const baseUrl = `http://127.0.0.1:${port}/`
  for (const until = Date.now() + 30_000; ; await new Promise((resolve) => setTimeout(resolve, 100))) {
    const answered = await fetch(`${baseUrl}api`).then(
      ({ ok }) => ok,
      () => false,
    )
    if (answered) break
    if (Date.now() > until) throw new Error(`the server did not start: ${log}`)
  }
  const serverSettings = ServerConnection.makeSettings({ baseUrl, wsUrl: baseUrl.replace('http', 'ws'), token: '' })
  manager = new KernelManager({ serverSettings, standby: 'never' })
})
afterAll(async () => {
  manager.dispose()
  if (server.exitCode === null && server.signalCode === null) {
    server.kill('SIGTERM')
    await new Promise((resolve) => server.once('exit', resolve))
  }
  jupyter.close()
})

interface Run {
  readonly status: string
  readonly ename: string
  readonly text: string
  readonly ms: number
}

/** Runs a cell; `onText` is called as text arrives. */
async function run(kernel: Kernel.IKernelConnection, code: string, onText: (text: string) => void = () => {}): Promise<Run> {
  const started = performance.now()
  const future = kernel.requestExecute({ code })
  let text = ''
  future.onIOPub = ({ header, content }) => {
    const { text: printed, data } = content as { text?: string; data?: Record<string, string> }
    if (header.msg_type === 'stream' || header.msg_type === 'execute_result') text += printed ?? data?.['text/plain']
    onText(text)
  }
  const { content } = (await future.done) as KernelMessage.IExecuteReplyMsg
  return { status: content.status, ename: 'ename' in content ? content.ename : '', text, ms: performance.now() - started }
}

const processesOf = async (kernel: Kernel.IKernelConnection) => {
  const supervisor = Number((await run(kernel, 'process.ppid')).text)
  return [supervisor, ...descendants(supervisor)]
}

describe('jupyter_server', () => {
  it('starts the kernel, runs cells, interrupts a loop with its state kept, and shuts down during another', async () => {
    const kernel = await manager.startNew({ name: 'fpdt' })
    expect(await run(kernel, 'let kept = 41; kept + 1')).toMatchObject({ status: 'ok', text: '42' })
    let interrupted = 0
    const stopped = await run(kernel, 'console.log("go"); while (true) {}', (text) => {
      if (text !== 'go\n' || interrupted > 0) return
      interrupted = performance.now()
      void kernel.interrupt()
    })
    expect(stopped.ename).toBe('KeyboardInterrupt')
    expect((await run(kernel, 'kept')).text).toBe('41')
    const processes = await processesOf(kernel)
    let shutDown: Promise<void> | undefined
    kernel.requestExecute({ code: 'console.log("go"); while (true) {}' }).onIOPub = () => (shutDown ??= kernel.shutdown())
    await eventually(() => shutDown !== undefined)
    await shutDown
    await eventually(() => !processes.some(isAlive))
    expect(log).not.toMatch(FORCED)
  })

  it('restarts five times in a row, each time by its own will, and leaves no process of the former', async () => {
    const kernel = await manager.startNew({ name: 'fpdt' })
    for (let i = 0; i < 5; i++) {
      expect((await run(kernel, `let round = ${i}; round`)).text).toBe(String(i))
      const former = await processesOf(kernel)
      await kernel.restart()
      expect((await run(kernel, 'typeof round')).text).toContain("'undefined'")
      await eventually(() => !former.some(isAlive))
    }
    expect(log).toContain('Starting kernel') // it speaks of what it does
    expect(log).not.toMatch(FORCED)
  })

  it('runs two kernels in one folder, each with its own variables', async () => {
    const [one, two] = await Promise.all([manager.startNew({ name: 'fpdt' }), manager.startNew({ name: 'fpdt' })])
    await Promise.all([run(one, 'let own = 1'), run(two, 'let own = 2')])
    expect((await Promise.all([run(one, 'own'), run(two, 'own')])).map(({ text }) => text)).toEqual(['1', '2'])
    await one.shutdown()
    expect((await run(two, 'own + 1')).text).toBe('3')
  })

  // The last one: it is this server.
  it('killed leaves no process behind, whatever its kernels were doing', async () => {
    const busy = {
      idle: '',
      'a busy loop': 'console.log("go"); while (true) {}',
      'a synchronous subprocess': 'console.log("go"); require("node:child_process").execSync("sleep 1000")',
      'a wait': 'console.log("go"); require("node:child_process").spawn("sleep", ["1000"]); await new Promise(() => {})',
    }
    const processes: number[] = []
    for (const code of Object.values(busy)) {
      const kernel = await manager.startNew({ name: 'fpdt' })
      await kernel.requestComplete({ code: 'Math.', cursor_pos: 5 }) // starts the language server
      processes.push(...(await processesOf(kernel)))
      if (code === '') continue
      let printed = ''
      void run(kernel, code, (text) => {
        printed = text
      }).catch(() => {})
      await eventually(() => printed === 'go\n')
      processes.push(...descendants(processes.at(-3) as number))
    }
    expect(processes.length).toBeGreaterThanOrEqual(4 * 3)
    server.kill('SIGKILL')
    await eventually(() => !processes.some(isAlive))
  })
})
