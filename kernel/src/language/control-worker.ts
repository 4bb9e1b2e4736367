/**
 * The executor's ear while its main thread is busy: a worker that reads one line per word from the supervisor.
 *
 *     interrupt <cell>   the flag is set to 1 if that cell still runs, and the main thread is told
 *     insist <cell>      the same with 2
 *     (end of stream)    the supervisor is gone, however it died: this process group ends at once
 */
import { Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { parentPort, workerData } from 'node:worker_threads'

// As in interrupt.ts; not imported, so that the worker loads nothing.
const FLAG = 0
const CURRENT = 1

const { fd, shared } = workerData as { fd: number; shared: SharedArrayBuffer }
const words = new Int32Array(shared)
const supervisor = new Socket({ fd, readable: true, writable: false })

createInterface({ input: supervisor }).on('line', (line) => {
  const [word, text] = line.split(' ')
  const cell = Number(text)
  if (Atomics.load(words, CURRENT) !== cell) return
  Atomics.store(words, FLAG, word === 'insist' ? 2 : 1)
  parentPort?.postMessage(cell)
})
supervisor.on('close', () => {
  // The group, not only this process: what user code started (and did not detach) must not outlive it either. `disconnect` of the main thread would not
  // fire in a busy loop.
  process.kill(-process.pid, 'SIGKILL')
})
