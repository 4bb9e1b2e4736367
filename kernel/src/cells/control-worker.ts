/**
 * The executor's ear while its main thread is busy: a worker that reads one line per word from the supervisor.
 *
 *     interrupt <task>   all that is under way up to that task: the flag is set to 1, and the main thread is told
 *     insist <task>      the same with 2, if any of it is still under way
 *     answer <task> <base64>   to what that task asked the user (ask.ts); the main thread sleeps, and is woken
 *     (end of stream)    the supervisor is gone, however it died: this process group ends at once
 */
import { Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'

// As in interrupt.ts; not imported, so that the worker loads nothing.
const FLAG = 0
const MEANT = 1
const OLDEST = 2
const WAKE = 3

const { fd, shared, answers } = workerData as { fd: number; shared: SharedArrayBuffer; answers: MessagePort }
const words = new Int32Array(shared)
const supervisor = new Socket({ fd, readable: true, writable: false })

createInterface({ input: supervisor }).on('line', (line) => {
  const [word, task, answer] = line.split(' ')
  if (word === 'answer') answers.postMessage({ task: Number(task), answer })
  else interrupt(Number(task), word === 'insist' ? 2 : 1)
  Atomics.add(words, WAKE, 1)
  Atomics.notify(words, WAKE)
})
supervisor.on('close', () => {
  // The group, not only this process: what user code started (and did not detach) must not outlive it either. `disconnect` of the main thread would not
  // fire in a busy loop.
  process.kill(-process.pid, 'SIGKILL')
})

function interrupt(upTo: number, flag: 1 | 2): void {
  const oldest = Atomics.load(words, OLDEST)
  // With nothing under way, a timer of an earlier cell may be what keeps the process busy.
  if (oldest > upTo || (oldest === 0 && flag === 2)) return
  Atomics.store(words, MEANT, upTo)
  Atomics.store(words, FLAG, flag)
  parentPort?.postMessage(upTo)
}
