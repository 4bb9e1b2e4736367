/** Training on several emulated GPUs: how many ranks there are, which GPUs are said to run, and what MFU and predicted times are against. */
import './emulated.js'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Device } from '../../kernel/src/fpdt/device.js'
import { llama } from '../../kernel/src/fpdt/index.js'
import { lower } from '../../kernel/src/plan/lower.js'
import { longText } from '../../kernel/src/text/tokens.js'
import { STREAMS } from '../../kernel/src/trace/schema.js'
import { randomTokens } from '../step/harness.js'
import { emulator } from './emulated.js'

const MODEL = llama({ layers: 1, width: 32, heads: 4, kvHeads: 2, headSize: 16, feedForward: 40, vocab: 50 })
const SIZES = { sequence: 29, chunk: 16, dtype: 'f32' } as const
const BUDGETS = { memory: '64 MiB', host: '64 MiB' }
const text = longText(randomTokens(200, 50, 2))

let device: Device
async function open(devices: readonly number[]): Promise<Device> {
  device = await Device.cuda({ ...BUDGETS, devices })
  return device
}
beforeEach(() => {
  emulator.reset()
  emulator.configure({ seed: 0, policy: null, checks: [], driver: 13000, devices: [{ name: 'A' }, { name: 'B' }, { name: 'B' }] })
})
afterEach(async () => {
  await device.close()
})

describe('ranks that are not given', { timeout: 120_000 }, () => {
  it('are one for each GPU, and all of them run', async () => {
    const run = await (await open([0, 1])).train(MODEL, SIZES)
    await run.step(text)
    expect([run.training.config.ranks, run.head.device.name, run.head.device.note]).toEqual([2, 'A, B (sm_80)', expect.not.stringMatching(/GPUs/)])
    expect(device.plan(MODEL, SIZES).training.config.ranks).toBe(2)
    expect(device.longestSequence(MODEL, { chunk: 32, dtype: 'f32' })).toBe(device.longestSequence(MODEL, { chunk: 32, dtype: 'f32', ranks: 2 }))
    for (const { used } of emulator.report().devices.slice(0, 2)) expect(used).toBeGreaterThanOrEqual(run.memory('device').predicted)
  })
  it('are refused in words where the heads cannot be shared so', async () => {
    await open([0, 1, 2])
    const words =
      /^devices are 3 GPUs, with a rank each unless ranks are given, and 3 ranks cannot share the 4 query heads and 2 key\/value heads; give ranks 1 or 2 or 4, /
    await expect(device.train(MODEL, SIZES)).rejects.toMatchObject({ code: 'config', message: expect.stringMatching(words) })
    expect(() => device.plan(MODEL, SIZES)).toThrow(words)
  })
  it('given as fewer than GPUs: those without one are not named, and a note says so', async () => {
    await open([1, 2, 0])
    for (const [ranks, name, note] of [
      [1, 'B (sm_80)', /^1 of 3 GPUs has a rank and the others run nothing: name fewer GPUs, or give more ranks/],
      [2, '2 x B (sm_80)', /^2 of 3 GPUs have a rank /],
    ] as const)
      expect(device.plan(MODEL, { ...SIZES, ranks }).head.device).toMatchObject({ name, note: expect.stringMatching(note) })
  })
})

describe('MFU', { timeout: 120_000 }, () => {
  it.each([
    [[0, 1], 1, 1],
    [[0, 1], 4, 2],
  ])('on GPUs %j with %i ranks is against the peak of %i', async (devices, ranks, gpus) => {
    await open(devices)
    const run = await device.train(MODEL, { ...SIZES, ranks })
    await run.step(text)
    await run.measurePeak()
    const peak = device.rates('f32').peakFlopsPerSecond
    const [step] = run.head.steps
    if (!step) throw new Error('no step')
    expect((step.mfu ?? 0) / (step.model_flops / (step.duration_ns / 1e9) / (gpus * peak))).toBeCloseTo(1, 9)
    const [planned] = run.plan.tables().head.steps
    if (!planned) throw new Error('no step')
    expect((planned.mfu ?? 0) / (planned.model_flops / (planned.duration_ns / 1e9) / (gpus * peak))).toBeCloseTo(1, 9)
  })

  it('of a step that stays above 1 does not measure the peak again at each step', async () => {
    await open([0])
    const { rates } = device
    const measured: number[] = []
    // A peak that no measurement brings up to what the steps do.
    device.rates = (dtype) => ({ ...rates.call(device, dtype), peakFlopsPerSecond: 1 })
    device.measurePeak = () => {
      measured.push(1)
      return 1
    }
    const run = await device.train(MODEL, SIZES)
    const fastest: number[] = []
    for (let i = 0; i < 6; i++) {
      const { mfu } = await run.step(text)
      expect(mfu).toBeGreaterThan(1)
      if ((mfu as number) > Math.max(0, ...fastest)) fastest.push(mfu as number)
    }
    expect(measured.length).toBe(fastest.length)
  })
})

it('predicts that ranks on one GPU take turns, and that those on two compute side by side', async () => {
  await open([0, 1])
  device.rates('f32')
  const run = device.plan(MODEL, { ...SIZES, ranks: 4 })
  const { foretold } = run
  if (!foretold) throw new Error('not foretold')
  const { stream } = lower(run.training.plan)
  const computing = [0, 1, 2, 3].map((rank) =>
    Array.from(foretold.rank, (r, i) => ({ r, of: STREAMS[stream[foretold.entry[i]]], from: foretold.start_ns[i], to: foretold.end_ns[i] })).filter(
      ({ r, of }) => r === rank && of === 'compute',
    ),
  )
  const overlap = (a: number, b: number): boolean => computing[a].some((one) => computing[b].some((two) => one.from < two.to && two.from < one.to))
  expect([overlap(0, 2), overlap(1, 3)]).toEqual([false, false])
  expect([overlap(0, 1), overlap(2, 3)]).toEqual([true, true])
})
