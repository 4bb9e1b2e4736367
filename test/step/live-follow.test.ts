/** A page that asks for a run again and again. Its comm is the test's own. */
import { setTimeout } from 'node:timers/promises'
import { afterAll, expect, it } from 'vitest'
import { COMM_HOST } from '../../kernel/src/comm/index.js'
import { Device } from '../../kernel/src/fpdt/device.js'
import { llama } from '../../kernel/src/model/llama.js'
import { LIVE_VERSION } from '../../kernel/src/trace/live/messages.js'
import type { RunHead } from '../../kernel/src/trace/schema.js'
import { randomTokens } from './harness.js'
import { unmeasured } from './unmeasured.mjs'

unmeasured(Device)
type Data = Record<string, unknown>
let opened: (comm: object, message: { data: Data }) => void = () => {}
const global = globalThis as { [COMM_HOST]?: unknown }
global[COMM_HOST] = {
  register: (_: string, handler: typeof opened) => {
    opened = handler
    return () => {}
  },
}
const device = await Device.cpu({ memory: '64 MiB', host: '64 MiB', threads: 1 })
afterAll(async () => {
  delete global[COMM_HOST]
  await device.close()
})
const model = llama({ layers: 2, width: 32, heads: 4, kvHeads: 2, headSize: 16, feedForward: 40, vocab: 97 })
const text = randomTokens(4000, 97, 2)

class PageComm {
  isClosed = false
  readonly heard: Data[] = []
  #receive: (message: { data: Data }) => void = () => {}
  send(data: Data): void {
    this.heard.push({ ...data })
  }
  onMessage(receive: (message: { data: Data }) => void): void {
    this.#receive = receive
  }
  onClose(): void {}
  close(): void {
    this.isClosed = true
  }
  tell(data: Data): void {
    this.#receive({ data })
  }
  get plans(): number {
    return this.heard.filter(({ op }) => op === 'plan').length
  }
}

it('gets the plan at once, once for all that came together, and again after the last time that it asked', async () => {
  const run = await device.train(model, { sequence: 200, chunk: 40, ranks: 2, dtype: 'f32' })
  const { run_id } = run.head
  const page = new PageComm()
  opened(page, { data: { version: LIVE_VERSION } })
  const follow = (): void => page.tell({ op: 'follow', run_id })
  for (let i = 0; i < 200; i++) follow()
  expect(page.plans).toBe(1)
  await setTimeout(500)
  expect(page.plans).toBe(2) // the first may have been lost before the last was asked for
  for (let i = 0; i < 3; i++) {
    page.tell({ op: 'unfollow', run_id })
    follow()
    expect(page.plans).toBe(3 + i) // as often as a page of ours asks
    await setTimeout(250)
  }
  const from = page.heard.length
  await run.step(text)
  await setTimeout(400)
  const numbered = page.heard.filter(({ seq }) => seq !== undefined)
  const seqs = numbered.slice(numbered.findLastIndex(({ op }) => op === 'plan')).map(({ seq }) => seq)
  expect(seqs).toEqual(seqs.map((_, i) => i + 1))
  expect(page.heard.slice(from).map(({ op }) => op)).toEqual(expect.arrayContaining(['spans', 'step']))
  follow()
  follow()
  page.tell({ op: 'unfollow', run_id })
  const plans = page.plans
  await setTimeout(400)
  expect(page.plans).toBe(plans)
  await run.close()
})

it.each([
  ['older', LIVE_VERSION - 1, /^this page is of an older fpdt than the kernel .*: reload the page/],
  ['newer', LIVE_VERSION + 1, /^this page is of a newer fpdt than the kernel .*: reload the page; if that does not help, restart the kernel/],
  ['of no version', undefined, /^this page is of another fpdt than the kernel .*: reload the page/],
])('a page that is %s hears which version the kernel speaks, and why nothing else is answered', async (_, version, words) => {
  const run = await device.train(model, { sequence: 200, chunk: 40, ranks: 2, dtype: 'f32' })
  const page = new PageComm()
  opened(page, { data: { version } })
  page.tell({ op: 'follow', run_id: run.head.run_id })
  page.tell({ op: 'unheard of', request: 7 })
  await run.step(text)
  await setTimeout(200)
  expect(page.heard).toEqual([
    { op: 'runs', version: LIVE_VERSION, runs: [] },
    { op: 'refused', request: -1, words: expect.stringMatching(words) },
    { op: 'refused', request: 7, words: expect.stringMatching(words) },
  ])
  expect(page.isClosed).toBe(false)
  await run.close()
})

it('is told that a step is over when its spans are out, however far behind it is', async () => {
  const run = await device.train(model, { sequence: 200, chunk: 40, ranks: 2, dtype: 'f32' })
  const { run_id } = run.head
  const page = new PageComm()
  opened(page, { data: { version: LIVE_VERSION } })
  page.tell({ op: 'follow', run_id })
  let ended: NodeJS.Timeout | undefined
  let most = 0
  const told = (): number => Math.max(0, ...page.heard.filter(({ op }) => op === 'step').flatMap(({ head }) => (head as RunHead).steps.map(({ step }) => step)))
  for (let step = 1; step <= 60; step++) {
    // The kernel says no more than is acknowledged, so that the page falls behind however long steps take.
    if (step === 30) ended = setInterval(() => page.tell({ op: 'ack', run_id, seq: page.heard.length }), 20)
    await run.step(text)
    most = Math.max(most, step - told())
  }
  expect(most).toBeGreaterThan(2) // it was behind
  expect(told()).toBeGreaterThan(1) // while steps ran
  while (told() < 60) await setTimeout(50)
  clearInterval(ended)
  let over = 0
  for (const { op, step, head } of page.heard) {
    if (op === 'step') over = Math.max(over, ...(head as RunHead).steps.map((summary) => summary.step))
    if (op === 'spans') expect(step).toBe(over + 1)
  }
  await run.close()
})
