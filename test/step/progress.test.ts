import { afterEach, describe, expect, it, vi } from 'vitest'
import { DISPLAY_HOST, type DisplayHost } from '../../kernel/src/display.js'
import { Device } from '../../kernel/src/fpdt/device.js'
import type { TrainingRun } from '../../kernel/src/fpdt/run/training-run.js'
import type { ModelConfig } from '../../kernel/src/model/config.js'
import { llama } from '../../kernel/src/model/llama.js'
import { IS_WHOLE } from './draws.js'
import { randomTokens } from './harness.js'
import { unmeasured } from './unmeasured.mjs'

unmeasured(Device)
const text = randomTokens(4000, 97, 2)
const small = llama({ layers: 2, width: 32, heads: 4, kvHeads: 2, headSize: 16, feedForward: 40, vocab: 97 })
const big = llama({ layers: 4, width: 128, heads: 4, kvHeads: 2, headSize: 64, feedForward: 344, vocab: 97 })
/** A test that nothing is shown in waits so long for it. */
const PATIENCE = { timeout: 30_000, interval: 10 }
afterEach(() => {
  delete (globalThis as { [DISPLAY_HOST]?: DisplayHost })[DISPLAY_HOST]
})

/** One step in a notebook, which `drive` begins and sees through; it is told of the shares that are shown, in percent. */
async function stepOf(
  model: ModelConfig,
  sequence: number,
  drive: (begin: () => Promise<unknown>, run: TrainingRun, shares: () => number[]) => Promise<unknown>,
) {
  const shown: { text: string; update: boolean | undefined }[] = []
  const host: DisplayHost = {
    display: (bundle, options) => {
      if (options?.displayId?.endsWith('/progress')) shown.push({ text: String(bundle['text/plain']), update: options.update })
    },
    onInterrupt: () => () => {},
  }
  ;(globalThis as { [DISPLAY_HOST]?: DisplayHost })[DISPLAY_HOST] = host
  const slow = await Device.cpu({ memory: '256 MiB', host: '256 MiB', threads: 1, path: 'scalar' })
  const run = await slow.train(model, { sequence, chunk: sequence / 4, ranks: 2, dtype: 'f32' })
  const shares = (): number[] => shown.map(({ text }) => Number(/^step 1 +(\d+) %/.exec(text)?.[1]))
  await drive(() => run.step(text), run, shares)
  const before = shares().slice(0, -1)
  expect(before.length).toBeGreaterThan(0)
  expect(before).toEqual([...before].sort((a, b) => a - b))
  expect(before.at(-1)!).toBeLessThanOrEqual(100)
  expect(shown.map(({ update }) => update)).toEqual([false, ...shown.slice(1).map(() => true)])
  expect(shown.at(-1)?.text).toMatch(/^step 1 {2}100 % .*\| {2}[\d.]+ s$/)
  const { head, tables } = (await run.bundle())['application/vnd.fpdt.run.v1+json'] as { head: { kept: { of: number } }; tables: { spans: { rows: number } } }
  expect(head.kept.of).toBe(run.training.plan.entries.length * 2)
  expect(tables.spans.rows).toBe(head.kept.of)
  await slow.close()
}

describe('progress', () => {
  it('is shown in one output of its own while a step takes long, grows, and loses no span', async () => {
    await stepOf(small, 160, async (begin, { control }, shares) => {
      // The step is held up until its progress is shown: however fast the machine, it takes long.
      await control.pause()
      const stepping = begin()
      await vi.waitFor(() => expect([control.standsInStep, control.line]).toEqual([true, -1]))
      await control.until({ phase: 'forward', layer: 1 })
      await vi.waitFor(() => expect(shares().length).toBeGreaterThanOrEqual(1), PATIENCE)
      const [first] = shares()
      await control.until({ phase: 'backward', layer: 0 })
      await vi.waitFor(() => expect(shares().at(-1)).toBeGreaterThan(first!), PATIENCE)
      await control.resume()
      await stepping
    })
  })

  if (IS_WHOLE) it('is shown of a step that nobody holds up', () => stepOf(big, 1600, (begin) => begin()), 240_000)
})
