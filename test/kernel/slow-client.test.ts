/** A cell can print faster than a client reads. */
import { readFileSync } from 'node:fs'
import { expect, it, onTestFinished } from 'vitest'
import { Subscriber } from 'zeromq'
import { Channels } from '../../kernel/src/jupyter/channels.js'
import type { Connection } from '../../kernel/src/jupyter/connection.js'
import { Session } from '../../kernel/src/jupyter/message.js'
import { Wire } from '../../kernel/src/jupyter/wire.js'
import { freePorts } from '../ports.js'
import { eventually, KEY, TestKernel } from './client.js'

/** What may wait for a slow client: the full queue, 128 messages of 64 KiB and more in ZeroMQ, and what the garbage collector has not yet seen. */
const BOUND = 64 * 2 ** 20
/** A kernel that sends nothing for so long waits. */
const QUIET_MS = 300

/** A client that has subscribed and reads nothing. */
async function sleeperAt(address: string): Promise<Subscriber> {
  const sleeper = new Subscriber({ linger: 0, receiveHighWaterMark: 1, reconnectInterval: -1 })
  onTestFinished(() => sleeper.close())
  sleeper.connect(address)
  sleeper.subscribe()
  return sleeper
}

it('a cell that prints forever waits for the slowest client; it can be interrupted, and nothing is lost', async () => {
  const kernel = await TestKernel.start()
  onTestFinished(() => kernel.close())
  const memory = () => Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${kernel.process.pid}/status`, 'utf8'))?.[1]) * 1024
  const sleeper = await sleeperAt(kernel.addresses.iopub)
  await sleeper.receive() // its welcome
  await kernel.run('let printed = 0; const line = "x".repeat(1023) + "\\n"')
  const before = memory()
  const sent = kernel.execute('for (;;) { void process.stdout.write(line); printed++ }')
  await kernel.until(({ header, parent }) => parent.msg_id === sent && header.msg_type === 'stream')
  for (let count = -1; count < kernel.received.length; await new Promise((resolve) => setTimeout(resolve, QUIET_MS))) count = kernel.received.length
  expect(memory() - before).toBeLessThan(BOUND)

  const interrupt = kernel.send('control', 'interrupt_request', {})
  await kernel.until(({ header, parent }) => parent.msg_id === interrupt && header.msg_type === 'interrupt_reply')
  sleeper.close()
  const { error, stdout, stderr } = await kernel.finished(sent, 60_000)
  expect(error?.ename).toBe('KeyboardInterrupt')
  expect(stderr).toBe('') // no word that it does not stop
  expect(String(stdout.length / 1024)).toBe((await kernel.run('printed')).result)
})

it('a client that takes nothing is cut off after its time, and the others get everything', async () => {
  const [shell, control, stdin, hb, iopub] = (await freePorts(5)) as [number, number, number, number, number]
  const connection: Connection = { transport: 'tcp', ip: '127.0.0.1', key: KEY, hash: 'sha256', ports: { shell, control, stdin, hb, iopub } }
  const wire = new Wire(KEY)
  const told: boolean[] = []
  const channels = await Channels.bind(connection, wire, (isFull) => told.push(isFull), 1000)
  onTestFinished(() => channels.close())
  let subscribed = 0
  channels.listen(
    () => {},
    () => subscribed++,
  )
  const address = `tcp://127.0.0.1:${iopub}`
  await sleeperAt(address)
  const reader = new Subscriber({ linger: 0, receiveHighWaterMark: 0 })
  onTestFinished(() => reader.close())
  reader.connect(address)
  reader.subscribe()
  await eventually(() => subscribed === 2)

  // 64 MiB: more than all buffers of the sleeper hold, and while it is there the others get no more than they do.
  const count = 1024
  const session = new Session()
  for (let n = 0; n < count; n++) channels.publish(session.message('stream', { name: 'stdout', text: 'x'.repeat(2 ** 16), n }))
  for (let n = 0; n < count; n++) {
    const message = wire.decode((await reader.receive()) as Buffer[])
    expect('content' in message && message.content.n).toBe(n)
  }
  expect(told).toEqual([true, false])
})
