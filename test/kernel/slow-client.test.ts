/** A cell can print faster than a client reads. */
import { readFileSync } from 'node:fs'
import { beforeEach, expect, it, onTestFinished } from 'vitest'
import { Subscriber } from 'zeromq'
import { TestKernel } from './client.js'

/** What may wait for a slow client: the full queue, 128 messages of 64 KiB and more in ZeroMQ, and what the garbage collector has not yet seen. */
const BOUND = 64 * 2 ** 20

let kernel: TestKernel
/** A second client, which has subscribed and reads nothing. */
let sleeper: Subscriber
beforeEach(async () => {
  kernel = await TestKernel.start()
  onTestFinished(() => kernel.close())
  sleeper = new Subscriber({ linger: 0, receiveHighWaterMark: 1 })
  onTestFinished(() => sleeper.close())
  sleeper.connect(kernel.addresses.iopub)
  sleeper.subscribe()
  await sleeper.receive() // its welcome
  await kernel.run('let printed = 0; const line = "x".repeat(1023) + "\\n"; const print = () => { void process.stdout.write(line); printed++ }')
})

/** Resident bytes of the supervisor. */
function memory(): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${kernel.process.pid}/status`, 'utf8'))?.[1]) * 1024
}

it('a cell that prints forever waits for the slowest client; it can be interrupted, and nothing is lost', async () => {
  const before = memory()
  const sent = kernel.send('shell', 'execute_request', { code: 'for (;;) print()' })
  await new Promise((resolve) => setTimeout(resolve, 4000))
  expect(memory() - before).toBeLessThan(BOUND)

  const interrupt = kernel.send('control', 'interrupt_request', {})
  await kernel.until(({ header, parent }) => parent.msg_id === interrupt && header.msg_type === 'interrupt_reply')
  sleeper.close()
  const { error, stdout, stderr } = await kernel.finished(sent)
  expect(error?.ename).toBe('KeyboardInterrupt')
  expect(stderr).toBe('') // no word that it does not stop
  expect(String(stdout.length / 1024)).toBe((await kernel.run('printed')).result)
})

it('a client that takes nothing for ten seconds is cut off, and the others get everything', async () => {
  const { stdout, reply } = await kernel.run('while (printed < 65_536) print()')
  expect(reply.status).toBe('ok')
  expect(stdout.length).toBe(64 * 2 ** 20)
})
