/**
 * Stopping user code. The interrupt arrives at the control worker (`control-worker.ts`), because the main thread may be busy: the worker sets
 * a flag in shared memory for code that does not yield, and posts a message for code that waits.
 */
import { Worker } from 'node:worker_threads'
import { cells } from './cell.js'

/** Words of the shared memory. FLAG: 0 run, 1 the next check throws once, 2 every check throws. CURRENT: id of the running cell, 0 if none. */
const FLAG = 0
const CURRENT = 1

export class KeyboardInterrupt extends Error {
  override readonly name = 'KeyboardInterrupt'

  constructor() {
    super('interrupted')
  }
}

/** What interruptible code knows as `$$stop`; word 0 is the flag. */
interface Stop extends Int32Array {
  /** Called by a check that found the flag set. */
  raise(): void
  /** Passes the value of an `await` on, unless the cell it belongs to was interrupted meanwhile. */
  resume<T>(value?: T): T
}

const callbacks = new Set<() => void>()
/** The last cell that began. */
let latest = 0

export const stop = Object.assign(new Int32Array(new SharedArrayBuffer(8)), {
  raise(): void {
    // Once, so that `finally` blocks can clean up; the supervisor asks for 2 when that did not end the cell.
    Atomics.compareExchange(stop, FLAG, 1, 0)
    throw new KeyboardInterrupt()
  },
  resume<T>(value: T): T {
    if (cells.getStore()?.interrupted === true) throw new KeyboardInterrupt()
    return value
  },
}) as Stop

// Local modules find the flag here; cells get it as a parameter.
;(globalThis as Record<symbol, unknown>)[Symbol.for('fpdt.stop')] = stop

/** Marks a cell as running, 0 for none. An interrupt meant for an earlier one no longer counts. */
export function setCurrent(id: number): void {
  if (id !== 0) latest = id
  Atomics.store(stop, FLAG, 0)
  Atomics.store(stop, CURRENT, id)
}

/** Calls back on every interrupt (native work has to be told); returns the function that ends it. */
export function onInterrupt(callback: () => void): () => void {
  callbacks.add(callback)
  return () => callbacks.delete(callback)
}

/**
 * Starts the worker that listens on file descriptor `fd` for the supervisor's word, and ends this process group when the supervisor is gone.
 * `interrupted` is called on the main thread with the id of the cell that was meant.
 */
export function listenForInterrupts(fd: number, interrupted: (cell: number) => void): void {
  const worker = new Worker(new URL('./control-worker.js', import.meta.url), { workerData: { fd, shared: stop.buffer } })
  worker.on('message', (cell: number) => {
    // The main thread is free, so nothing is left that the flag could stop.
    Atomics.compareExchange(stop, FLAG, 1, 0)
    // The flag may have ended the cell before this message came; what belongs to a later one is not meant.
    if (cell !== 0 && cell !== latest) return
    interrupted(cell)
    for (const callback of callbacks) {
      try {
        callback()
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
