/** A wait that the executor leaves out of a stream is reported, but for what two of its threads happen to tell each other by a mutex. */
import './emulated.js'
import { openDevice } from '@fpdt/native'
import { describe, expect, it } from 'vitest'
import { copy, program, STEP, zero } from '../backend/programs.js'
import { emulator } from './emulated.js'

const BYTES = 2 ** 22 // enough that work takes longer than a thread takes to look whether it is done

describe('a wait that is left out', () => {
  // Each entry needs the one before it, on another stream: no wait is implied by others.
  const chain = Array.from({ length: 4 }, (_, i) => [zero(0, BYTES), copy('offload', 0, BYTES * i, BYTES), copy('fetch', BYTES * i, 0, BYTES)])
  const entries = chain.flat().map((entry, i) => ({ ...entry, waits: i ? [i - 1] : [] }))
  const run = async (seed: number, nth: number) => {
    emulator.reset()
    emulator.configure({ seed, policy: null, devices: 1 })
    if (nth) emulator.plant({ call: 'cudaStreamWaitEvent', nth, what: 'drop' })
    const device = openDevice({ backend: 'cuda', devices: [0] })
    try {
      const executor = device.load(program(1, { device: BYTES, host: 4 * BYTES }, entries))
      await executor.run(undefined, STEP)
      const { unordered, plants } = emulator.report()
      executor.close()
      return { unordered, used: plants[0]?.used === true }
    } finally {
      device.close()
    }
  }
  it('is reported, but for chance, under every seed; with all of them there is nothing to report', { timeout: 60_000 }, async () => {
    let dropped = 0
    const missed: string[] = []
    for (let seed = 0; seed < 12; seed++) {
      expect(await run(seed, 0)).toEqual({ unordered: [], used: false })
      for (let nth = 1; nth <= 6; nth++) {
        const { unordered, used } = await run(seed, nth)
        if (!used) continue // work that was done when its follower was issued needs no wait
        dropped++
        if (unordered.length === 0) missed.push(`seed ${seed}, wait ${nth}`)
      }
    }
    // By chance a thread can learn that the work was done, through a mutex that both lock for another reason: then it is ordered.
    expect(missed.length, `${missed} of ${dropped}`).toBeLessThanOrEqual(dropped / 12)
    expect(dropped).toBeGreaterThan(12)
  })
})
