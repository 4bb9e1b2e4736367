/**
 * The executor's ear while its main thread is busy: a worker that reads one line per word from the supervisor.
 *
 *     interrupt <task>   all that is under way up to that task: the flag is set to 1, and the main thread is told
 *     insist <task>      the same with 2, if any of it is still under way; a process that the main thread sleeps for is interrupted instead
 *     answer <task> <base64>   to what that task asked the user (ask.ts); the main thread sleeps, and is woken
 *     (end of stream)    the supervisor is gone, however it died: this process group ends at once
 */
import { readFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'

// As in interrupt.ts; not imported, so that the worker loads nothing.
const FLAG = 0
const MEANT = 1
const OLDEST = 2
const WAKE = 3
const SERIAL = 4

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
  if (flag === 2 && interruptChild()) return
  const serial = flag === 1 ? Atomics.add(words, SERIAL, 1) + 1 : Atomics.load(words, SERIAL)
  Atomics.store(words, MEANT, upTo)
  Atomics.store(words, FLAG, flag)
  parentPort?.postMessage({ upTo, serial })
}

/** The process that `execSync` or `spawnSync` waits for, with all that it started: the newest of the main thread, while that sleeps. */
function interruptChild(): boolean {
  try {
    const state = /\) (\w)/.exec(readFileSync(`/proc/self/task/${process.pid}/stat`, 'utf8'))?.[1]
    const newest = childrenOf(process.pid).at(-1)
    if (state !== 'S' || newest === undefined) return false
    for (const pid of [newest, ...descendantsOf(newest)]) process.kill(pid, 'SIGINT')
    return true
  } catch {
    return false // no /proc, or it has just ended
  }
}

function descendantsOf(pid: number): number[] {
  return childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)])
}

function childrenOf(pid: number): number[] {
  return (readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').match(/\d+/g) ?? []).map(Number)
}
