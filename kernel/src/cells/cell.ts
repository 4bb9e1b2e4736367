/** The cell a piece of code belongs to, however late it runs: timers and promises of a cell carry it along. */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Payload, Task } from './protocol.js'
import type { Waiter } from './waiting.js'

interface Heard {
  readonly serial: number
  readonly at_ms: number
}

export const UNHEARD: Heard = { serial: 0, at_ms: Number.NEGATIVE_INFINITY }

/** One task of the executor under way or done: a cell, or a comm message whose handlers run. */
export interface Cell {
  /** Grows with every task in this process; never reused. */
  readonly id: number
  /** How its stack frames call it: `Cell [3]`. */
  readonly file: string
  /** Of the main shell, so that what native code prints is counted to it before others. */
  readonly isMain: boolean
  /** Whether the user can be asked for a line. */
  readonly canAsk: boolean
  /** Its code ends where it next comes to an `await`. */
  interrupted: boolean
  /** The last interrupt that was thrown into it, by number and time. */
  heard: Heard
  /** Where it waits. */
  readonly waiting: Set<Waiter>
  /** What must be shown before the cell ends: bundles that are promises. */
  readonly pending: Promise<unknown>[]
  /** What the reply carries besides. */
  readonly payload: Payload[]
  /** It made the process forget all names. */
  forgot: boolean
}

export const cells = new AsyncLocalStorage<Cell>()

export function cellOf(task: Task): Cell {
  const own =
    task.kind === 'cell'
      ? { file: task.file, isMain: task.subshell === undefined, canAsk: task.canAsk }
      : { file: `comm ${task.event.id}`, isMain: false, canAsk: false }
  return { id: task.cell, ...own, interrupted: false, heard: UNHEARD, waiting: new Set(), pending: [], payload: [], forgot: false }
}
