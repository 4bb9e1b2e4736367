/** Clients can send to comms faster than a busy executor takes. */
import { readFileSync } from 'node:fs'
import { expect, it, onTestFinished } from 'vitest'
import { TestKernel } from './client.js'

const MESSAGES = 6000
const BUFFER = new Uint8Array(65_536)
/** Of the 375 MiB that are sent: 64 before the executor, 1,000 messages of 64 KiB in ZeroMQ, and what the garbage collector has not yet seen. */
const BOUND = 220 * 2 ** 20
/** The kernel takes nothing more when it has taken nothing for so long. */
const QUIET_MS = 300

it('comm messages wait at the client while a cell is in a busy loop; it can be interrupted, and they come in order', async () => {
  const kernel = await TestKernel.start()
  onTestFinished(() => kernel.close())
  const memory = () => Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${kernel.process.pid}/status`, 'utf8'))?.[1]) * 1024
  await kernel.run(`import { onComm } from 'fpdt/comm'
    const seen: number[] = []
    onComm('busy', (comm) => { comm.onMessage(({ data }) => { seen.push(Number(data.n)) }) })`)
  await kernel.idle(kernel.send('shell', 'comm_open', { comm_id: 'b', target_name: 'busy', data: {} }))
  const before = memory()
  const sent = kernel.execute('console.log("go"); while (true) {}')
  await kernel.until(({ parent, content }) => parent.msg_id === sent && content.text === 'go\n')
  for (let n = 0; n < MESSAGES; n++) kernel.send('shell', 'comm_msg', { comm_id: 'b', data: { n } }, { buffers: [BUFFER] })
  for (let last = 0; last !== memory(); await new Promise((resolve) => setTimeout(resolve, QUIET_MS))) last = memory()
  expect(memory() - before).toBeLessThan(BOUND)

  await kernel.interrupt()
  expect((await kernel.finished(sent)).error?.ename).toBe('KeyboardInterrupt')
  await expect.poll(async () => (await kernel.run('seen.length')).result, { timeout: 20_000 }).toBe(String(MESSAGES))
  expect((await kernel.run('seen.every((n, index) => n === index)')).result).toBe('true')
}, 60_000)
