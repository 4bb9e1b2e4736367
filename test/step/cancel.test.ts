/** A step that is interrupted, wherever its states live: dropped whole or completed whole, and the run can be used. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { readManifest } from '../../kernel/src/checkpoint/manifest.js'
import { DISPLAY_HOST, type DisplayHost } from '../../kernel/src/display.js'
import { Device } from '../../kernel/src/fpdt/device.js'
import { adamW } from '../../kernel/src/fpdt/plan/optimizer.js'
import type { TrainingRun } from '../../kernel/src/fpdt/run/training-run.js'
import { llama } from '../../kernel/src/model/llama.js'
import { randomSource } from '../../kernel/src/model/random.js'
import { draws } from './draws.js'
import { randomTokens } from './harness.js'
import { unmeasured } from './unmeasured.mjs'

unmeasured(Device)
const folder = mkdtempSync(join(tmpdir(), 'fpdt-cancel-'))
const device = await Device.cpu({ memory: '128 MiB', host: '128 MiB', threads: 2 })
let interrupt = (): void => {}
const host: DisplayHost = {
  display: () => {},
  onInterrupt: (callback) => {
    interrupt = callback
    return () => {}
  },
}
afterEach(() => {
  delete (globalThis as { [DISPLAY_HOST]?: DisplayHost })[DISPLAY_HOST]
})
afterAll(async () => {
  await device.close()
  rmSync(folder, { recursive: true })
})
const model = llama({ layers: 2, width: 32, heads: 4, kvHeads: 2, headSize: 16, feedForward: 40, vocab: 97 })
const text = randomTokens(4000, 97, 2)

/** Every parameter and moment, as checksums. */
const stateOf = async (run: TrainingRun): Promise<unknown> => (await readManifest(await run.save(folder, { keep: 1 }))).files

/** Instants of an interrupt, from the begin of a step to a tenth of it after its end. */
const ATTEMPTS = draws(6, 12)

const places = [
  ['device', 'device', 'f32'],
  ['host', 'host', 'bf16'],
  ['disk', 'device', 'bf16'],
  ['disk', 'host', 'f32'],
] as const

describe.each(places)('with states on the %s and parameters on the %s (%s)', (tier, parameters, dtype) => {
  const options = { sequence: 200, chunk: 40, ranks: 2, dtype, parameters, optimizer: adamW({ rate: 1e-2, tier }) }

  it('a step closed before its first update is dropped, and one closed after it is completed', async () => {
    const [run, whole] = [await device.train(model, options), await device.train(model, options)]
    const { firstUpdate, plan } = run.training
    const next = randomSource(3)
    const lines = [
      0,
      firstUpdate - 1,
      firstUpdate,
      plan.listing.length - 2,
      ...Array.from({ length: draws(2, 4) }, () => firstUpdate + (next() % (plan.listing.length - firstUpdate))),
    ]
    for (const line of lines) {
      const done = run.stepsDone
      const at = await run.stepper(text)
      await at.to(line)
      await at.close()
      expect(run.stepsDone).toBe(line < firstUpdate ? done : done + 1)
      while (whole.stepsDone < run.stepsDone) await whole.step(text)
      expect(await stateOf(run)).toEqual(await stateOf(whole))
    }
    await Promise.all([run.close(), whole.close()])
  })

  it('a step interrupted at any instant is one or the other, and the next step works', async () => {
    const [run, whole] = [await device.train(model, options), await device.train(model, options)]
    const { duration_ns } = await run.step(text)
    await whole.step(text)
    ;(globalThis as { [DISPLAY_HOST]?: DisplayHost })[DISPLAY_HOST] = host
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const stepping = run.step(text).catch((error: { code: string }) => error.code)
      await setTimeout(((1.1 * attempt) / (ATTEMPTS - 1)) * (duration_ns / 1e6))
      interrupt()
      expect([expect.objectContaining({ step: run.stepsDone }), 'stopped']).toContainEqual(await stepping)
      const state = await stateOf(run) // waits until nothing of the step runs any more
      while (whole.stepsDone < run.stepsDone) await whole.step(text)
      expect(state).toEqual(await stateOf(whole))
    }
    delete (globalThis as { [DISPLAY_HOST]?: DisplayHost })[DISPLAY_HOST]
    expect((await run.step(text)).loss).toBe((await whole.step(text)).loss)
    await Promise.all([run.close(), whole.close()])
  })
})
