import type { CASES } from './cases.js'
import type { Plant } from './cuda.js'

/**
 * How a bug is found. `wrong`: the result is not that of the oracle. `race`, `uninitialised`, `unordered`: the emulator reports two threads with
 * nothing between them, bytes that nobody wrote, two ops that no wait orders. Words: the run fails with an error that says so.
 */
export type Finding = 'wrong' | 'race' | 'uninitialised' | 'unordered' | RegExp

export interface Bug {
  readonly name: string
  readonly why: string
  /** The case that finds it, and how it must. */
  readonly upsets: keyof typeof CASES
  readonly by: Finding
  /** The order in which streams, blocks and warps go. */
  readonly seed?: number
}
export interface PlantedBug extends Bug {
  readonly plant: Plant
}
