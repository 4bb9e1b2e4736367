/** What was predicted lies beside what was measured: the same ops, and bytes equal to the last. */
import { afterAll, describe, expect, it } from 'vitest'
import { Device, type Op, ops, random, value } from '../../kernel/src/fpdt/index.js'
import { isCheap } from '../../kernel/src/fpdt/plan/predict.js'
import { llama } from '../../kernel/src/model/llama.js'
import type { Plan } from '../../kernel/src/plan/plan.js'
import { type Comparison, compareRuns } from '../../kernel/src/trace/ask/compare.js'
import { betterOf } from '../../kernel/src/trace/ask/compared-groups.js'
import { predictedRun } from '../../kernel/src/trace/ask/predicted.js'
import { openRun, type Run } from '../../kernel/src/trace/model/run.js'
import { decodeSavedRun } from '../../kernel/src/trace/saved.js'
import { RUN_MIME } from '../../kernel/src/trace/schema.js'
import { randomTokens } from './harness.js'

const model = llama({ layers: 2, width: 32, heads: 4, kvHeads: 2, headSize: 16, feedForward: 40, vocab: 97 })
const text = randomTokens(4000, 97, 2)
const device = await Device.cpu({ memory: '256 MiB', host: '256 MiB', threads: 2 })
afterAll(() => device.close())

const saved = async (of: { bundle(): Promise<Readonly<Record<string, unknown>>> }): Promise<Run> => openRun(await decodeSavedRun((await of.bundle())[RUN_MIME]))

describe('a measured run', () => {
  it('carries the prediction of its plan, and differs from it in time alone', async () => {
    const run = await device.train(model, { sequence: 512, chunk: 128, ranks: 2 })
    for (let i = 0; i < 2; i++) await run.step(text)
    const measured = await saved(run)
    const predicted = predictedRun(measured) as Run
    const opsOf = ({ spans }: Run, step: number): string[] =>
      Array.from(spans.op.keys())
        .filter((row) => spans.step[row] === step)
        .map((row) => `${spans.rank[row]} ${spans.op[row]} ${spans.bytes[row]}`)
        .sort()
    expect(opsOf(predicted, 1)).toEqual(opsOf(measured, 2))
    expect(predicted.head.steps[0].duration_ns / 1e9).toBeCloseTo(run.plan.seconds, 6)
    const compared = compareRuns(predicted, measured) as Comparison
    expect([compared.a.name, compared.b.name, compared.sameOps, compared.notes]).toEqual(['predicted', 'measured', true, []])
    for (const title of ['Arenas', 'Bytes moved', 'Operations by phase']) {
      const group = compared.groups.find((one) => one.title === title)
      expect(group?.parts.length, title).toBeGreaterThan(0)
      for (const part of group?.parts ?? []) expect([part.name, betterOf(part)]).toEqual([part.name, 'equal'])
    }
    for (const { title, total, parts } of compared.groups) {
      if (!total) continue
      for (const side of ['a', 'b'] as const)
        expect(
          parts.reduce((sum, part) => sum + (part[side] as number), 0),
          `${title} of ${side}`,
        ).toBe(total[side])
    }
    // It is made once: pictures of later steps show the same.
    await run.step(text)
    expect((await saved(run)).predicted).toEqual(measured.predicted)
    await run.close()
  })

  it('is not foretold where a step would wait for it', () => {
    const planOf = (length: number, ranks: number): Plan => ({ entries: { length }, ranks }) as Plan
    expect([isCheap(planOf(100_000, 2)), isCheap(planOf(100_001, 2)), isCheap(planOf(2_000_000, 1))]).toEqual([true, false, false])
  })
})

describe('a schedule of the user’s own', () => {
  it('carries its prediction once it was asked for: no rates are measured for the sake of a picture', async () => {
    const x = value('x', [64, 64])
    function* there(): Generator<Op, void, undefined> {
      yield ops.fetch(ops.at('forward'), x)
      yield* ops.free(ops.at('forward'), 'device', x)
    }
    const schedule = device.schedule(there, { inputs: { host: [x] } })
    await schedule.run({ x: random([64, 64]) })
    expect((await saved(schedule)).predicted).toBeNull()
    expect(schedule.plan.seconds).toBeGreaterThan(0)
    const predicted = predictedRun(await saved(schedule)) as Run
    expect(predicted.head.steps[0].duration_ns / 1e9).toBeCloseTo(schedule.plan.seconds, 6)
    await schedule.close()
  })
})
