import { afterEach, describe, expect, it } from 'vitest'
import { DISPLAY_HOST, type DisplayHost } from '../../kernel/src/display.js'
import { Device } from '../../kernel/src/fpdt/device.js'
import { llama } from '../../kernel/src/model/llama.js'
import { randomTokens } from './harness.js'

const text = randomTokens(4000, 97, 2)
afterEach(() => {
  delete (globalThis as { [DISPLAY_HOST]?: DisplayHost })[DISPLAY_HOST]
})

describe('progress', () => {
  it('is shown in one output of its own while a step takes long, grows, and loses no span', async () => {
    const shown: { text: string; update: boolean | undefined }[] = []
    const host: DisplayHost = {
      display: (bundle, options) => {
        if (options?.displayId?.endsWith('/progress')) shown.push({ text: String(bundle['text/plain']), update: options.update })
      },
      onInterrupt: () => () => {},
    }
    ;(globalThis as { [DISPLAY_HOST]?: DisplayHost })[DISPLAY_HOST] = host
    const big = llama({ layers: 4, width: 128, heads: 4, kvHeads: 2, headSize: 64, feedForward: 344, vocab: 97 })
    const slow = await Device.cpu({ memory: '256 MiB', host: '256 MiB', threads: 1, path: 'scalar' })
    const run = await slow.train(big, { sequence: 1600, chunk: 400, ranks: 2, dtype: 'f32' })
    await run.step(text)
    const shares = shown.slice(0, -1).map(({ text }) => Number(/^step 1 +(\d+) %/.exec(text)?.[1]))
    expect(shares.length).toBeGreaterThan(0)
    expect(shares).toEqual([...shares].sort((a, b) => a - b))
    expect(shares.at(-1)!).toBeLessThanOrEqual(100)
    expect(shown.map(({ update }) => update)).toEqual([false, ...shown.slice(1).map(() => true)])
    expect(shown.at(-1)?.text).toMatch(/^step 1 {2}100 % .*\| {2}[\d.]+ s$/)
    const { head, tables } = (await run.bundle())['application/vnd.fpdt.run.v1+json'] as { head: { kept: { of: number } }; tables: { spans: { rows: number } } }
    expect(head.kept.of).toBe(run.training.plan.entries.length * 2)
    expect(tables.spans.rows).toBe(head.kept.of)
    await slow.close()
  }, 120_000)
})
