/** What an emulated GPU adds to the suites of kernels in test/backend: every check is on, and a second run goes in another order. */
import { afterEach, beforeEach, expect } from 'vitest'
import { emulator } from './emulated.js'

/** Of files of test/backend; those of test/cuda say themselves what they want. A race, or a read of what nobody wrote, makes the call fail as well. */
export function checkKernels(): void {
  const ours = (path: string): boolean => path.includes('/test/backend/')
  beforeEach(({ task }) => {
    if (ours(task.file.filepath)) emulator.configure({ checks: ['order', 'race', 'initialised'] })
  })
  afterEach(({ task }) => {
    if (!ours(task.file.filepath)) return
    const { faults, unordered } = emulator.report()
    expect({ faults, unordered }).toEqual({ faults: [], unordered: [] })
  })
}

/** With another seed, which draws the order of blocks and warps, and several blocks at a time. */
export function inAnotherOrder<T>(act: () => T): T {
  const { seed } = emulator.report()
  emulator.configure({ seed: seed + 1, resident_blocks: 3 })
  try {
    return act()
  } finally {
    emulator.configure({ seed, resident_blocks: 1 })
  }
}
