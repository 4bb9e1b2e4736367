/**
 * A whole training step of FPDT on emulated GPUs, whatever order their queues go in: its loss and every tensor of its gradient err as rounding alone does, it
 * equals the CPU's step as far as two roundings of the same step do, nothing that it touches is left unordered, and its trace tells all of it.
 */
import './emulated.js'
import type { Device as NativeDevice } from '@fpdt/native'
import { openDevice } from '@fpdt/native'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { Device } from '../../kernel/src/fpdt/device.js'
import type { TrainOptions } from '../../kernel/src/fpdt/plan/training-plan.js'
import type { ModelConfig } from '../../kernel/src/model/config.js'
import { gpt } from '../../kernel/src/model/gpt.js'
import { llama } from '../../kernel/src/model/llama.js'
import { openRun } from '../../kernel/src/trace/model/run.js'
import { decodeSavedRun } from '../../kernel/src/trace/saved.js'
import { RUN_MIME } from '../../kernel/src/trace/schema.js'
import { bf16Exact, randomSequences, randomWeights } from '../step/generated.js'
import { closeDevices, deviceOf, engine, type Given, type Outcome, oracle, randomTokens } from '../step/harness.js'
import { inRoundings, inUnits, MOST_ROUNDINGS, roundingErrors, worstOf } from '../step/roundings.js'
import { emulator } from './emulated.js'

// Heads of 64 and 128 take the tensor cores in bf16; others, and f32, the general kernels. 93 tokens in chunks of 24: the last one is short.
const llama64 = llama({ layers: 2, width: 96, heads: 4, kvHeads: 2, headSize: 64, feedForward: 72, vocab: 67 })
const llama128 = llama({ layers: 1, width: 64, heads: 2, kvHeads: 1, headSize: 128, feedForward: 40, vocab: 67, tied: false })
const gpt64 = gpt({ layers: 2, width: 64, heads: 2, headSize: 64, feedForward: 72, vocab: 67, positions: 160 })
const odd = llama({ layers: 2, width: 36, heads: 4, kvHeads: 2, headSize: 24, feedForward: 44, vocab: 67 })

type Options = TrainOptions & { readonly sequence: number; readonly dtype: 'bf16' | 'f32' }
const fpdt = { sequence: 93, chunk: 24, ranks: 2 } as const
const CASES: readonly [string, ModelConfig, Options][] = [
  ['Llama in bf16, offloaded', llama64, { ...fpdt, dtype: 'bf16', hidden: 'f32' }],
  ['Llama in bf16, packed documents', llama64, { ...fpdt, dtype: 'bf16', hidden: 'bf16', documents: true, keep: 'host', backwardOrder: 'q' }],
  ['Llama of heads of 128', llama128, { sequence: 150, chunk: 100, ranks: 2, dtype: 'bf16', hidden: 'f32' }],
  ['GPT-2 in bf16, offloaded', gpt64, { ...fpdt, dtype: 'bf16', hidden: 'f32' }],
  ['GPT-2 in f32', gpt64, { ...fpdt, dtype: 'f32', lookAhead: 1, prefetch: 2 }],
  ['odd sizes in f32, spilled to disk', odd, { sequence: 61, chunk: 12, ranks: 2, dtype: 'f32', checkpoints: 'disk', parameters: 'host' }],
]

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
  emulator.configure({ seed: 0, policy: null, driver: 13000, devices: 2 })
})
afterAll(() => {
  cuda?.close()
  closeDevices()
})

function stepOf(model: ModelConfig, options: Options, seed: number): Given & { options: Options } {
  const weights = randomWeights(model, seed)
  return { model, options, weights: options.dtype === 'bf16' ? weights.map(bf16Exact) : weights, sequences: randomSequences(model, options, seed) }
}
/** Nothing went wrong on the emulated GPUs, and nothing could have, in whatever order they had worked. */
function expectOrderly(): void {
  const { faults, unordered, default_stream_ops } = emulator.report()
  expect({ faults, unordered, default_stream_ops }).toEqual({ faults: [], unordered: [], default_stream_ops: 0 })
}

describe.each(CASES)('a step of %s', (_, model, options) => {
  const step = stepOf(model, options, 11)
  const dtypes = { dtype: options.dtype, hidden: options.hidden ?? options.dtype } as const
  const exact = oracle(step)
  const expectRounded = (found: Outcome): void => {
    const { part, error } = worstOf(inRoundings(found, exact, step, dtypes))
    expect(error, part).toBeLessThanOrEqual(MOST_ROUNDINGS[options.dtype])
  }

  it('errs as rounding alone does, and equals the step of the CPU as far', async () => {
    const found = await engine(step, gpu([0]))
    expectOrderly()
    expectRounded(found)
    const onCpu = await engine(step, deviceOf(2))
    // Each is within the bound of the exact one, so they are within twice that of each other.
    const { part, error } = worstOf(inUnits(found, onCpu, dtypes, roundingErrors(exact, step, dtypes, 4)))
    expect(error, `${part}, cpu to cuda`).toBeLessThanOrEqual(2 * MOST_ROUNDINGS[options.dtype])
  })

  it('has the same bits on one GPU and on two, in whatever order their queues go', async () => {
    const expected = await engine(step, gpu([0]))
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
