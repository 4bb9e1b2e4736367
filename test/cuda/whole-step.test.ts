/**
 * A whole training step of FPDT on a GPU: its loss and every tensor of its gradient err as rounding alone does, and it equals the CPU's step as far as two
 * roundings of the same step do. On the GPU of this machine where FPDT_TEST_BACKEND=cuda says so and FPDT_NATIVE names no other addon, else on an emulated one.
 */
import type { Device } from '@fpdt/native'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Outcome } from '../step/harness.js'

if (process.env.FPDT_TEST_BACKEND !== 'cuda') await import('./emulated.js')
const { openDevice } = await import('@fpdt/native')
const { engine, oracle } = await import('../step/harness.js')
const { inRoundings, inUnits, MOST_ROUNDINGS, roundingErrors, worstOf } = await import('../step/roundings.js')
const { CASES, stepOf } = await import('./fixtures/steps.js')

let cuda: Device
let cpu: Device
beforeAll(() => {
  cuda = openDevice({ backend: 'cuda' })
  cpu = openDevice({ backend: 'cpu', threads: 2 })
})
afterAll(() => {
  cuda?.close()
  cpu?.close()
})

describe.each(CASES)('a step of %s', (_, model, options) => {
  it('errs as rounding alone does, and equals the step of the CPU as far', async () => {
    const step = stepOf(model, options, 11)
    const exact = oracle(step)
    const dtypes = { dtype: options.dtype, hidden: options.hidden ?? options.dtype } as const
    const expectRounded = (found: Outcome): void => {
      const { part, error } = worstOf(inRoundings(found, exact, step, dtypes))
      expect(error, part).toBeLessThanOrEqual(MOST_ROUNDINGS[options.dtype])
    }
    const found = await engine(step, cuda)
    expectRounded(found)
    // Each is within the bound of the exact one, so they are within twice that of each other.
    const { part, error } = worstOf(inUnits(found, await engine(step, cpu), dtypes, roundingErrors(exact, step, dtypes, 4)))
    expect(error, `${part}, cpu to cuda`).toBeLessThanOrEqual(2 * MOST_ROUNDINGS[options.dtype])
  })
})
