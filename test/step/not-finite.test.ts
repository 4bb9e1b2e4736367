/** A step whose loss or gradient is not finite: which op wrote the first such value, and that nothing was changed by it. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { readManifest } from '../../kernel/src/checkpoint/manifest.js'
import { FpdtError } from '../../kernel/src/errors.js'
import { NativeStep } from '../../kernel/src/execute/native.js'
import { Device } from '../../kernel/src/fpdt/device.js'
import { adamW } from '../../kernel/src/fpdt/plan/optimizer.js'
import { planTraining, type TrainOptions } from '../../kernel/src/fpdt/plan/training-plan.js'
import { sequenceShape, writeInputs } from '../../kernel/src/fpdt/run/inputs.js'
import { whereNotFinite } from '../../kernel/src/fpdt/run/not-finite.js'
import { writeConstants, writeGroup } from '../../kernel/src/fpdt/run/parameters.js'
import { newStart } from '../../kernel/src/fpdt/run/start.js'
import type { TrainingRun } from '../../kernel/src/fpdt/run/training-run.js'
import { gpt } from '../../kernel/src/model/gpt.js'
import { initialGroup } from '../../kernel/src/model/initialise.js'
import { llama } from '../../kernel/src/model/llama.js'
import type { Group } from '../../kernel/src/model/parameters.js'
import { stepTokens } from '../../kernel/src/text/sequences.js'
import { longText } from '../../kernel/src/text/tokens.js'
import { closeDevices, deviceOf, randomTokens } from './harness.js'
import { unmeasured } from './unmeasured.mjs'

unmeasured(Device)
const folder = mkdtempSync(join(tmpdir(), 'fpdt-not-finite-'))
const device = await Device.cpu({ memory: '128 MiB', host: '128 MiB', threads: 2 })
afterAll(async () => {
  await device.close()
  closeDevices()
  rmSync(folder, { recursive: true })
})
const model = llama({ layers: 2, width: 32, heads: 4, kvHeads: 2, headSize: 16, feedForward: 40, vocab: 97, tied: false })
const text = randomTokens(4000, 97, 2)
const options: TrainOptions = { sequence: 64, chunk: 16, ranks: 2, optimizer: adamW({ rate: 1e-3 }) }

/** First parameters, but for one tensor, whose values are all changed. */
const changed =
  (name: string, change: (value: number, index: number) => number) =>
  (group: Group): Float32Array => {
    const values = initialGroup(model, group, 1)
    for (const { name: part, offset, shape } of group.parts) {
      const count = shape.reduce((product, extent) => product * extent, 1)
      if (`${group.name}/${part}` === name) for (let i = 0; i < count; i++) values[offset + i] = change(values[offset + i]!, i)
    }
    return values
  }
const both =
  (first: ReturnType<typeof changed>, second: ReturnType<typeof changed>) =>
  (group: Group): Float32Array => {
    const [a, b, initial] = [first(group), second(group), initialGroup(model, group, 1)]
    return a.map((value, i) => (value === initial[i] ? b[i]! : value))
  }
const failure = async (run: TrainingRun): Promise<string> => {
  try {
    const { loss } = await run.step(text)
    return `no error, loss ${loss}`
  } catch (error) {
    return error instanceof FpdtError ? `${error.code}: ${error.message}` : String(error)
  }
}
const stateOf = async (run: TrainingRun): Promise<unknown> => (await readManifest(await run.save(folder, { keep: 1 }))).files

describe('a value that is not finite', () => {
  it.each<['f32' | 'bf16', string, number]>([
    ['f32', 'embedding/table', 5 * 32 + 7],
    ['bf16', 'layer 1/qkv', 3 * 32 + 4],
    ['f32', 'layer 0/norm2', 31],
    ['bf16', 'head/matrix', 96 * 32 + 31],
  ])('of a parameter (%s, %s) is named with its tensor and place', async (dtype, name, at) => {
    const weights = changed(name, (value, i) => (i === at ? Number.POSITIVE_INFINITY : value))
    const run = await device.train(model, { ...options, dtype, weights })
    const place = name.includes('norm') ? '[31]' : `[${Math.floor(at / 32)}, ${at % 32}]`
    expect(await failure(run)).toContain(`Before its first op the parameter ${name} was Infinity at ${place}, so no step can be finite`)
    await run.close()
  })

  const huge = (): number => 3e38
  const alternate = (_: number, i: number): number => (i % 2 ? 3e38 : -3e38)
  it.each<[string, 'f32' | 'bf16', ReturnType<typeof changed>, RegExp]>([
    [
      'the forward',
      'f32',
      changed('layer 1/gateUp', alternate),
      /(-?Infinity|NaN) at \[\d+, \d+\] of gateUp\[1,0\.0\] on rank 0, which op \d+ wrote, project gateUp\[1,0\.0\] = n2\[1,0\.0\] w\[1\]\.gateUp @compute \(forward · layer 1 · q 0\)/,
    ],
    [
      'the forward',
      'bf16',
      changed('layer 0/out', alternate),
      /of y\[0,0\] on rank 0, which op \d+ wrote, project y\[0,0\] = oLocal\[0,0\] w\[0\]\.out residual:x\[0,0\] @compute \(forward · layer 0 · q 0\)/,
    ],
    [
      'attention',
      'f32',
      changed('layer 0/qkv', (value) => value * 1e21),
      /NaN at \[\d+, \d+, \d+\] of o\[0,0\] on rank 0, which op \d+ wrote, finish o\[0,0\] lse\[0,0\] = state\[0,0\] @compute \(forward · layer 0 · q 0 · kv 0\)/,
    ],
    [
      'the loss',
      'bf16',
      changed('head/matrix', alternate),
      /of logits\[0\.0\] on rank 0, which op \d+ wrote, project logits\[0\.0\] = nHead\[0\.0\] w\[head\]\.matrix @compute \(loss · q 0\)/,
    ],
    // Activations are 0, so the loss is that of a smaller model; their gradients are not.
    [
      'the backward',
      'f32',
      both(
        changed('layer 1/gateUp', () => 1e-30),
        both(
          changed('layer 1/down', huge),
          changed('head/matrix', (value) => value * 300),
        ),
      ),
      /of dAct\[1,\d\.0\] on rank \d, which op \d+ wrote, projectBackward dAct\[1,\d\.0\] = .* \(backward · layer 1 · q \d\)/,
    ],
  ])('in %s (%s) is named with the op that wrote it first', async (_, dtype, weights, words) => {
    const run = await device.train(model, { ...options, dtype, weights })
    const before = await stateOf(run)
    const error = await failure(run)
    expect(error).toMatch(
      /^not_finite: the (loss|gradient norm) of step 1 is not finite; parameters keep their values after 0 steps, and the next step reads on\. The first value that is not finite is /,
    )
    expect(error).toMatch(words)
    expect(await stateOf(run)).toEqual(before)
    expect(run.stepsDone).toBe(0)
    await run.close()
  })

  it('is the first: every value written before it is finite', async () => {
    const run = await device.train(model, { ...options, dtype: 'f32', weights: changed('layer 1/gateUp', alternate) })
    const line = Number(/which op (\d+) wrote/.exec(await failure(run))?.[1])
    const at = await run.stepper(text)
    const written = /^(?:norm|project|rotary|finish|swiglu|embed) ((?:\S+\[\S+\] )+)[=+]/
    for (let next = 0; next <= line; next++) {
      await at.to(next)
      for (const name of written.exec(run.training.plan.listing[next]!)?.[1]?.trim().split(' ') ?? []) {
        if (name.split('.').length > 1 && !run.training.values.known.has(name)) continue // a part of a value
        const finite = [0, 1].every((rank) => at.peek(name, rank).values.every(Number.isFinite))
        expect(finite, `op ${next}: ${name}`).toBe(next < line)
      }
    }
    await at.close()
    await run.close()
  })

  it('is found in batches, documents and another family; a row of bf16 gradients in f32 logits is read as such', async () => {
    const small = gpt({ layers: 1, width: 32, heads: 2, feedForward: 56, vocab: 97, positions: 64 })
    const weights = (group: Group): Float32Array => {
      const values = initialGroup(small, group, 1)
      return group.name === 'layer 0' ? values.map((value, i) => (i < group.undecayed ? value : value * 1e20)) : values
    }
    const run = await device.train(small, { ...options, batch: 2, accumulate: 2, documents: true, dtype: 'bf16', weights })
    expect(await failure(run)).toMatch(/The first value that is not finite is (-?Infinity|NaN) at .* of (o|y|act|up)\[0,0/)
    await run.close()
    // A rate of 0 in a run without a defect: nothing is found in any op, dlogits among them.
    for (const dtype of ['f32', 'bf16'] as const) {
      const training = planTraining(small, { ...options, dtype, lossRows: 3, documents: true }, { budgets: {}, threads: 2 })
      const native = new NativeStep(deviceOf(), training.plan)
      writeConstants(native, training)
      for (const group of training.values.groups) writeGroup(native, training, group, await newStart(training).states(group.group))
      const parameters = writeInputs(native, training, stepTokens(longText(text), 0, sequenceShape(training.config)), 1)
      const search = { parameters, until: training.firstUpdate - 1, stopped: () => false }
      expect(await whereNotFinite(native, training, search)).toBeUndefined()
      await expect(whereNotFinite(native, training, { ...search, stopped: () => true })).rejects.toMatchObject({ code: 'stopped' })
      expect(await whereNotFinite(native, training, search)).toBeUndefined() // the program stands at its beginning again
      native.close()
    }
  })
})

describe('a step that is not finite', () => {
  it.each([
    ['device', 'f32'],
    ['host', 'bf16'],
    ['disk', 'bf16'],
  ] as const)('leaves parameters, moments and steps as they were, with states on the %s (%s), and the run can go on', async (tier, dtype) => {
    const run = await device.train(model, { ...options, dtype, optimizer: adamW({ rate: 1e30, warmup: 2, tier }) })
    await run.step(text)
    const before = await stateOf(run)
    for (const step of [2, 2]) {
      expect(await failure(run)).toMatch(new RegExp(`^not_finite: .* of step ${step} is not finite; parameters keep their values after 1 steps`))
      expect(await stateOf(run)).toEqual(before)
    }
    expect(run.head.message).toMatch(/^the (loss|gradient norm) of step 2/)
    expect(run.stepsDone).toBe(1)
    await run.close()
  })

  it('says the same when it was stepped through', async () => {
    const weights = changed('layer 1/gateUp', (_, i) => (i % 2 ? 3e38 : -3e38))
    const run = await device.train(model, { ...options, weights })
    const at = await run.stepper(text)
    await at.until({ phase: 'backward', layer: 1 })
    await expect(at.complete()).rejects.toMatchObject({ code: 'not_finite', message: expect.stringMatching(/which op \d+ wrote, project gateUp\[1,0\.0\]/) })
    expect(run.stepsDone).toBe(0)
    await run.close()
  })

  it('says the same of an evaluation', async () => {
    const run = await device.train(model, { ...options, weights: changed('layer 1/gateUp', (_, i) => (i % 2 ? 3e38 : -3e38)) })
    await expect(run.evaluate(text)).rejects.toMatchObject({
      code: 'not_finite',
      message: expect.stringMatching(/^the loss of 4000 tokens is not finite\. The first value .* which op \d+ wrote, project gateUp\[1,0\.0\]/),
    })
    await run.close()
  })
})
