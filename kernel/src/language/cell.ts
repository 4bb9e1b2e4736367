/** The cell a piece of code belongs to, however late it runs: timers and promises of a cell carry it along. */
import { AsyncLocalStorage } from 'node:async_hooks'

export interface Cell {
  /** Grows by one with every run in this process; never reused. */
  readonly id: number
  /** How its stack frames call it: `Cell [3]`. */
  readonly file: string
  /** Code of an interrupted cell ends where it next resumes from an `await`. */
  interrupted: boolean
  /** What must be shown before the cell ends: bundles that are promises. */
  readonly pending: Promise<unknown>[]
}

export const cells = new AsyncLocalStorage<Cell>()
