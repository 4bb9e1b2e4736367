/**
 * Stopping user code. The interrupt arrives at the control worker (`control-worker.ts`), because the main thread may be busy: the worker sets
 * a flag in shared memory for code that does not yield, and posts a message for code that waits. An interrupt is meant for all that was under
 * way when the user asked for it, and for nothing that began later: it names the newest task it is meant for.
 */
import { type MessagePort, Worker } from 'node:worker_threads'
import { cells } from './cell.js'
import { KeyboardInterrupt } from './keyboard-interrupt.js'
import { each, wait } from './waiting.js'

/**
 * Words of the shared memory. FLAG: 0 run, 1 the next check throws once, 2 every check throws. MEANT: the newest task the flag is meant for.
 * OLDEST: the oldest task under way, 0 if none. WAKE: changes with every word of the supervisor, for a main thread that sleeps. SERIAL: how many interrupts
 * there were.
 */
const FLAG = 0
const MEANT = 1
const OLDEST = 2
export const WAKE = 3
const SERIAL = 4

/** What interruptible code knows as `$$stop`; word 0 is the flag. */
interface Stop extends Int32Array {
  /** Called by a check that found the flag set. */
  raise(): void
  readonly wait: typeof wait
  readonly each: typeof each
}

interface Callback {
  readonly call: () => void
  /** In which task it was registered. */
  readonly task: number
}

const callbacks = new Set<Callback>()

export const stop = Object.assign(new Int32Array(new SharedArrayBuffer(20)), {
  raise(): void {
    const cell = cells.getStore()
    if ((cell?.id ?? 0) > Atomics.load(stop, MEANT)) {
      // Code of a later task has the thread, so those that are meant wait; the message ends them.
      Atomics.store(stop, FLAG, 0)
      return
    }
    // Once, so that `finally` blocks can clean up; the supervisor asks for 2 when that did not end the cell.
    Atomics.compareExchange(stop, FLAG, 1, 0)
    if (cell !== undefined) cell.heard = { serial: Atomics.load(stop, SERIAL), at_ms: performance.now() }
    throw new KeyboardInterrupt()
  },
  wait,
  each,
}) as Stop

// Local modules find the flag here; cells get it as a parameter.
;(globalThis as Record<symbol, unknown>)[Symbol.for('fpdt.stop')] = stop

/** Says which is the oldest task under way, 0 for none. */
export function setOldest(id: number): void {
  Atomics.store(stop, OLDEST, id)
}

/** Calls back on every interrupt (native work has to be told); returns the function that ends it. */
export function onInterrupt(call: () => void): () => void {
  const callback = { call, task: cells.getStore()?.id ?? 0 }
  callbacks.add(callback)
  return () => callbacks.delete(callback)
}

/**
 * Starts the worker that listens on file descriptor `fd` for the supervisor's word, and ends this process group when the supervisor is gone.
 * `interrupted` is called on the main thread with the newest task that is meant and the interrupt's number; what the user answers is posted to `answers`.
 */
export function listenForInterrupts(fd: number, answers: MessagePort, interrupted: (upTo: number, serial: number) => void): void {
  const workerData = { fd, shared: stop.buffer, answers }
  const worker = new Worker(new URL('./control-worker.js', import.meta.url), { workerData, transferList: [answers] })
  worker.on('message', ({ upTo, serial }: { upTo: number; serial: number }) => {
    // The main thread is free, so nothing is left that the flag could stop.
    Atomics.store(stop, FLAG, 0)
    // The flag may have ended what was meant before this message came, and what runs now began later.
    if (Atomics.load(stop, OLDEST) > upTo) return
    interrupted(upTo, serial)
    for (const { call, task } of [...callbacks]) {
      if (task > upTo) continue
      try {
        call()
      } catch (error) {
        // Reported like every error nobody catches, but the others are told too.
        setImmediate(() => {
          throw error
        })
      }
    }
  })
  worker.unref()
}
