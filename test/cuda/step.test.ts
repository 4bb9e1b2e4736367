/**
 * A whole training step of FPDT on emulated GPUs has the same bits whatever order their queues go in, nothing that it touches is left unordered, and its trace
 * tells all of it. That the bits are right is in whole-step.test.ts, which also runs on a GPU.
 */
import './emulated.js'
import type { Device as NativeDevice } from '@fpdt/native'
import { openDevice } from '@fpdt/native'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { Device } from '../../kernel/src/fpdt/device.js'
import { openRun } from '../../kernel/src/trace/model/run.js'
import { decodeSavedRun } from '../../kernel/src/trace/saved.js'
import { RUN_MIME } from '../../kernel/src/trace/schema.js'
import { engine, randomTokens } from '../step/harness.js'
import { emulator } from './emulated.js'
import { CASES, fpdt, llama64, stepOf } from './fixtures/steps.js'

/** Two events of one GPU are told to half a microsecond, and rounded in an f32. */
const CLOCK_NS = 1000

let cuda: NativeDevice | undefined
const gpu = (devices: readonly number[]): NativeDevice => {
  cuda?.close()
  cuda = openDevice({ backend: 'cuda', devices })
  return cuda
}
beforeEach(() => {
  cuda?.close()
  cuda = undefined
  emulator.reset()
  emulator.configure({ seed: 0, policy: null, driver: 13000, devices: 2, checks: ['order', 'initialised'] })
})
afterAll(() => cuda?.close())

/** Nothing went wrong on the emulated GPUs, and nothing could have, in whatever order they had worked. */
function expectOrderly(): void {
  const { faults, unordered, default_stream_ops, launches } = emulator.report()
  expect(Object.keys(launches).length).toBeGreaterThan(10) // kernels, each as often as it was launched
  expect({ faults, unordered, default_stream_ops }).toEqual({ faults: [], unordered: [], default_stream_ops: 0 })
}

describe.each(CASES)('a step of %s', (_, model, options) => {
  const step = stepOf(model, options, 11)
  it('has the same bits on one GPU and on two, in whatever order their queues go', async () => {
    const expected = await engine(step, gpu([0]))
    expectOrderly()
    for (const [devices, seed] of [
      [[0], 1],
      [[0, 1], 2],
      [[0, 1], 3],
    ] as const) {
      emulator.configure({ seed })
      expect(await engine(step, gpu(devices)), `seed ${seed}`).toEqual(expected)
      expectOrderly()
    }
  })
})

describe('a run on a GPU', () => {
  it('takes the bytes that its plan says, and its trace has every op once, none of them before what it waits for', async () => {
    const device = await Device.cuda({ devices: 0, memory: '512 MiB', host: '512 MiB' })
    try {
      const run = await device.train(llama64, { ...fpdt, dtype: 'bf16' })
      const first = await run.step(randomTokens(4000, llama64.vocabulary, 3))
      for (const tier of ['device', 'host'] as const) {
        const { predicted, allocated, touched, arenaAllocationsDuringSteps } = run.memory(tier)
        expect([tier, allocated, touched, arenaAllocationsDuringSteps]).toEqual([tier, predicted, predicted, 0])
      }
      expect((await run.step(randomTokens(4000, llama64.vocabulary, 3))).loss).toBeLessThan(first.loss as number)
      expectOrderly()

      const { spans, waits, head } = openRun(await decodeSavedRun((await run.bundle())[RUN_MIME]))
      expect([head.device.backend, head.steps.length]).toEqual(['cuda', 2])
      const rows = new Map(Array.from(spans.op.keys(), (row) => [`${spans.step[row]} ${spans.rank[row]} ${spans.op[row]}`, row]))
      const ops = new Set(spans.op)
      expect(spans.op.length).toBe(2 * 2 * ops.size)
      expect(rows.size).toBe(spans.op.length)
      const end = (row: number): number => spans.start_ns[row]! + spans.duration_ns[row]!
      let waited = 0
      for (const [key, row] of rows) {
        const [step, rank] = key.split(' ')
        for (let i = 0; i < waits.op.length; i++) {
          if (waits.op[i] !== spans.op[row]) continue
          waited++
          const before = rows.get(`${step} ${rank} ${waits.on[i]}`)!
          expect(spans.start_ns[row]! - end(before), `${key} waits for ${waits.on[i]}`).toBeGreaterThanOrEqual(-CLOCK_NS)
        }
      }
      expect(waited).toBeGreaterThan(100)
    } finally {
      await device.close()
    }
  })
})
