/** The longest sequence of each system in the same device memory, by steps that really run. How far it goes: `npm run bench -- length`. */
import { afterAll, describe, expect, it } from 'vitest'
import { Device } from '../../kernel/src/fpdt/device.js'
import type { TrainOptions } from '../../kernel/src/fpdt/plan/training-plan.js'
import { longestSequence } from '../../kernel/src/fpdt/plan/what-fits.js'
import { llama } from '../../kernel/src/model/llama.js'
import { randomTokens } from './harness.js'
import { unmeasured } from './unmeasured.mjs'

unmeasured(Device)
const VOCABULARY = 512
const MIB = 2 ** 20
const MEMORY = 4 * MIB
const CHUNK = 512
const model = llama({ layers: 2, width: 32, heads: 4, kvHeads: 2, vocab: VOCABULARY })
const device = await Device.cpu({ memory: MEMORY, host: 8 * MIB, threads: 2 })
afterAll(() => device.close())
const text = randomTokens(20_000, VOCABULARY, 1)

type Sizes = Omit<TrainOptions, 'sequence'>
/** Rows of logits at a time that cost no system its length. */
const lossRows = 64
const fpdt: Sizes = { chunk: CHUNK, lossRows }

/** A step of the longest sequence, and the refusal of the next one. Its tokens. */
async function longestRun(sizes: Sizes, step: number): Promise<number> {
  const sequence = device.longestSequence(model, sizes)
  const run = await device.train(model, { ...sizes, sequence })
  const { loss, tokens } = await run.step(text)
  expect(loss).toBeGreaterThan(0)
  expect(tokens).toBe(sequence)
  expect(run.memory('device').touched).toBe(run.memory('device').predicted)
  expect(run.memory('device').touched).toBeLessThanOrEqual(MEMORY)
  await run.close()
  await expect(device.train(model, { ...sizes, sequence: sequence + step })).rejects.toMatchObject({ code: 'out_of_memory' })
  return sequence
}

describe('in the same device memory', () => {
  it('FPDT trains on sequences 16 times as long as Ulysses with checkpoints, offloaded or not', async () => {
    const chunked = await longestRun(fpdt, CHUNK)
    for (const system of ['ulysses-checkpoint', 'ulysses-offload'] as const) {
      const whole = await longestRun({ system }, 256)
      // Its logits are the first thing that is too large: cut into rows, as no published baseline has them, more fits.
      const cut = await longestRun({ system, lossRows }, 256)
      expect(cut).toBeGreaterThan(whole)
      expect(chunked / whole).toBeGreaterThanOrEqual(40)
      expect(chunked / cut).toBeGreaterThanOrEqual(16)
    }
  }, 240_000)

  it('what ends FPDT is the host: with twice as much of it, twice as long', async () => {
    const longest = device.longestSequence(model, fpdt)
    await expect(device.train(model, { ...fpdt, sequence: longest + CHUNK })).rejects.toThrow(/the host tier needs/)
    const host = 2 * device.machine.budgets.host!
    const twice = longestSequence(model, fpdt, { ...device.machine, budgets: { device: MEMORY, host } })
    expect(twice / longest).toBeGreaterThan(1.95)
    expect(twice / longest).toBeLessThan(2.1)
  })
})

it('budgets beyond the machine promise nothing: what all ranks take together is refused before it is allocated', async () => {
  const generous = await Device.cpu({ memory: '1000 TB', host: '1000 TB', threads: 2 })
  await expect(generous.train(llama('3.1-405b'), { sequence: 256, chunk: 256, ranks: 8 })).rejects.toMatchObject({
    code: 'out_of_memory',
    message: expect.stringMatching(/^8 ranks with .* each take .*\sTiB, and the machine has .* for all of them\. /),
  })
  await generous.close()
})
