/**
 * How an environment ends while a program runs; run by addon.test.ts in a process of its own, since what it tests is that
 * the process neither crashes nor hangs. `node --expose-gc environment.mjs CASE`
 */
import { createRequire } from 'node:module'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'

const { Device } = createRequire(import.meta.url)('../../native/build/fpdt.node')
const step = Float64Array.of(0, 1, 1, 1)

/** `entries` times: zero 4 MiB, a millisecond or so. */
function program(ranks, entries, bytes = 1 << 22) {
  const each = (from) => from.from({ length: entries })
  const rows = (width) => Uint32Array.from({ length: entries + 1 }, (_, i) => i * width)
  return {
    ranks,
    length: entries,
    op: Uint32Array.from({ length: entries }, (_, i) => i),
    code: each(Uint16Array).fill(18),
    stream: each(Uint8Array).fill(0),
    operandStart: rows(2),
    operandTier: Uint8Array.from({ length: 2 * entries }, (_, i) => (i % 2 ? 0xff : 0)),
    operandOffset: new Float64Array(2 * entries),
    operandBytes: Float64Array.from({ length: 2 * entries }, (_, i) => (i % 2 ? 0 : bytes)),
    parameterStart: rows(1),
    parameters: each(Float64Array).fill(bytes),
    waitStart: rows(0),
    waitEntry: new Uint32Array(0),
    arenaBytes: { device: bytes, host: 0, disk: 0 },
  }
}
function start(ranks, entries) {
  const executor = new Device({ backend: 'cpu', threads: 2 }).load(program(ranks, entries))
  return { executor, run: executor.run(undefined, step) }
}
const later = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))

const cases = {
  /** process.exit in the middle of a run. */
  async exit() {
    start(2, 100_000)
    await later(20)
    console.log('exiting')
    process.exit(7)
  },
  /** A run keeps the process alive until it is over; then nothing does. */
  async pending() {
    start(2, 50).run.then(({ reached }) => console.log(`reached ${reached}`))
  },
  /** An executor that nobody runs keeps nothing alive. */
  async idle() {
    new Device({ backend: 'cpu', threads: 2 }).load(program(2, 50))
    console.log('loaded')
  },
  /** A worker is terminated in the middle of its run; the main thread's own run goes on. */
  async worker() {
    const ours = start(1, 200)
    for (let i = 0; i < 3; i++) {
      const worker = new Worker(new URL(import.meta.url), { argv: ['in-worker'] })
      await new Promise((resolve) => worker.once('message', resolve))
      await worker.terminate()
    }
    console.log(`reached ${(await ours.run).reached}`)
  },
  async 'in-worker'() {
    start(2, 100_000)
    parentPort.postMessage('running')
  },
  /** Executors that are dropped without close are collected, threads and memory with them; a running one is not. */
  async collect() {
    let running = start(1, 300).run
    for (let i = 0; i < 40; i++) {
      const device = new Device({ backend: 'cpu', threads: 2 })
      await device.load(program(2, 1, 1 << 24)).run(undefined, step)
    }
    for (let i = 0; i < 5; i++) {
      global.gc()
      await later(10)
    }
    const { readFileSync } = await import('node:fs')
    const threads = Number(/Threads:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1])
    console.log(`threads ${threads < 40 ? 'collected' : threads} external ${process.memoryUsage().external < 256 * 2 ** 20 ? 'collected' : 'kept'}`)
    console.log(`reached ${(await running).reached}`)
    running = undefined
  },
}
await cases[isMainThread ? process.argv[2] : 'in-worker']()
