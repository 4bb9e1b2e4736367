/** The cell a piece of code belongs to, however late it runs: timers and promises of a cell carry it along. */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Payload, Task } from './protocol.js'

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
  /** Code of an interrupted cell ends where it next resumes from an `await`. */
  interrupted: boolean
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
  return { id: task.cell, ...own, interrupted: false, pending: [], payload: [], forgot: false }
}
