/** Control of a running step: it stands where it is told to, and computes what it would have computed. */
import { setTimeout } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { Device } from '../../kernel/src/fpdt/device.js'
import { ops, value } from '../../kernel/src/fpdt/index.js'
import { random } from '../../kernel/src/fpdt/own/tensor.js'
import { endOfUnit, UNITS } from '../../kernel/src/fpdt/run/places.js'
import type { TrainingRun } from '../../kernel/src/fpdt/run/training-run.js'
import { llama } from '../../kernel/src/model/llama.js'
import { decodeSavedRun } from '../../kernel/src/trace/saved.js'
import { KINDS, PHASES, RUN_MIME, type RunTables } from '../../kernel/src/trace/schema.js'
import { randomTokens } from './harness.js'

const device = await Device.cpu({ memory: '64 MiB', host: '64 MiB', threads: 2 })
afterAll(() => device.close())
const model = llama({ layers: 2, width: 32, heads: 4, kvHeads: 2, headSize: 16, feedForward: 40, vocab: 97 })
const text = randomTokens(4000, 97, 2)
const train = (): Promise<TrainingRun> => device.train(model, { sequence: 200, chunk: 40, ranks: 2, dtype: 'f32' })
const plain = await train()
const whole = [await plain.step(text), await plain.step(text)].map(({ loss, gradient_norm }) => ({ loss, gradient_norm }))
const { plan, firstUpdate } = plain.training
const last = plan.listing.length - 1
await plain.close()

const tablesOf = async (run: TrainingRun): Promise<RunTables> => decodeSavedRun((await run.bundle())[RUN_MIME])
/** What a promise came to. */
const outcome = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'done',
    (error: { code: string }) => error.code,
  )

describe('a step under control', () => {
  it('stands before its first op when a pause came before it, and after each unit it is let do; its bits are the same', async () => {
    const run = await train()
    const { control } = run
    expect([control.activity, control.can]).toEqual(['idle', ['pause']])
    expect(await control.pause()).toBe('paused before the next step')
    expect([control.activity, control.can]).toEqual(['paused', ['resume']])
    const stepping = run.step(text)
    await setTimeout(20)
    expect([control.activity, control.line]).toEqual(['paused', -1])
    for (const unit of ['op', 'op', 'chunk', 'chunk', 'layer', 'op', 'layer'] as const) {
      const expected = endOfUnit(plan, control.line, unit)
      expect(await control.step(unit)).toBe(`paused: step 1 after op ${expected}, ${plan.words(expected)}`)
      expect([control.activity, control.line]).toEqual(['paused', expected])
    }
    await control.until({ phase: 'backward', layer: 1, q: 2, kv: 1 })
    expect(plan.listing[control.line]).toMatch(/attendBackward .*q\[1,2\] k\[1,1\]/)
    await expect(control.until({ phase: 'forward' })).rejects.toMatchObject({ code: 'config' })
    await control.resume()
    expect(await stepping).toMatchObject(whole[0])
    expect(control.activity).toBe('idle')
    await run.close()
    expect([control.activity, control.can]).toEqual(['closed', []])
    await expect(control.pause()).rejects.toMatchObject({ code: 'control', message: 'pause cannot be done now: the run is closed.' })
  })

  it('has a duration that leaves pauses out, and so has a stepper; spans of a stream do not overlap', async () => {
    const run = await train()
    for (const number of [1, 2]) {
      const began_ms = performance.now()
      if (number === 1) {
        await run.control.pause()
        const stepping = run.step(text)
        await setTimeout(10)
        await run.control.until({ phase: 'backward' })
        await setTimeout(300)
        await run.control.resume()
        await stepping
      } else {
        const stepper = await run.stepper(text)
        await stepper.until({ phase: 'forward', layer: 0 })
        await setTimeout(150)
        await stepper.next()
        await setTimeout(150)
        await stepper.complete()
      }
      const took_ms = performance.now() - began_ms
      const { duration_ns, tokens_per_second, tokens } = run.head.steps[number - 1]
      expect(duration_ns / 1e6).toBeLessThan(took_ms - 299)
      expect(tokens_per_second).toBe(tokens / (duration_ns / 1e9))
    }
    const { spans } = await tablesOf(run)
    expect(spans.op.length).toBe(2 * 2 * plan.entries.length)
    const ends = new Map<string, number>()
    for (let row = 0; row < spans.op.length; row++) {
      const lane = `${spans.rank[row]} ${spans.stream[row]}`
      expect(spans.start_ns[row]).toBeGreaterThanOrEqual(ends.get(lane) ?? 0)
      ends.set(lane, spans.start_ns[row] + spans.duration_ns[row])
    }
    await run.close()
  })

  it('pauses between the steps of a loop, and goes on step by step', async () => {
    const run = await train()
    const losses: (number | null)[] = []
    await run.control.pause()
    const training = (async () => {
      for await (const { loss } of run.steps(text, 3)) losses.push(loss)
    })()
    await run.control.step('step')
    expect(losses.length).toBeLessThanOrEqual(1)
    await run.control.step('op')
    expect([losses.length, run.control.line, run.control.activity]).toEqual([1, endOfUnit(plan, -1, 'op'), 'paused'])
    await run.control.step('step')
    await run.control.resume()
    await training
    expect(losses.slice(0, 2)).toEqual(whole.map(({ loss }) => loss))
    expect(run.stepsDone).toBe(3)
    await run.close()
  })

  it('can be paused while it runs, and asked again and again: nothing hangs, and its bits are the same', async () => {
    const word = fc.oneof(
      fc.constantFrom('pause', 'resume', 'wait').map((verb) => ({ verb }) as const),
      fc.record({ verb: fc.constant('step' as const), unit: fc.constantFrom('op', 'chunk', 'layer') }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(word, { maxLength: 20 }), fc.boolean(), async (words, awaited) => {
        const run = await train()
        const { control } = run
        const stepping = run.step(text)
        const answers: Promise<unknown>[] = []
        for (const one of words) {
          const asked = one.verb === 'wait' ? setTimeout(1) : one.verb === 'step' ? control.step(one.unit as 'op') : control[one.verb]()
          answers.push(outcome(asked))
          if (awaited) await answers.at(-1)
        }
        await Promise.all(answers)
        await outcome(control.resume())
        expect(await stepping).toMatchObject(whole[0])
        for (const answer of await Promise.all(answers)) expect(['done', 'control']).toContain(answer)
        await run.close()
      }),
      { numRuns: 25 },
    )
  })

  it('is stopped while it is paused: dropped whole before its first update, completed after it', async () => {
    const run = await train()
    await expect(run.control.stop()).rejects.toMatchObject({ code: 'control', message: 'stop cannot be done now: no step is under way; run one in a cell.' })
    await expect(run.control.resume()).rejects.toMatchObject({ code: 'control', message: 'resume cannot be done now: it is not paused.' })
    await run.control.pause()
    const dropped = outcome(run.step(text))
    await setTimeout(10)
    await run.control.step('layer')
    await run.control.stop()
    expect(await dropped).toBe('stopped')
    expect([run.stepsDone, run.head.state, run.control.activity]).toEqual([0, 'stopped', 'idle'])

    await run.control.pause()
    const completed = outcome(run.step(text))
    await setTimeout(10)
    await run.control.until({ phase: 'optimizer' })
    expect(run.control.line).toBeGreaterThan(firstUpdate)
    await run.control.stop()
    expect(await completed).toBe('stopped')
    expect((await run.step(text)).loss).toBe(whole[1].loss)
    expect(run.stepsDone).toBe(2)
    await run.close()
  })

  it('ends when its run is closed while it is paused', async () => {
    const run = await train()
    await run.control.pause()
    const stepping = outcome(run.step(text))
    await setTimeout(10)
    const on = outcome(run.control.step('chunk'))
    await run.close()
    expect(await stepping).toBe('stopped')
    expect(['done', 'control']).toContain(await on)
  })
})

describe('a stepper under control', () => {
  it('is driven by the same words, and refuses them while it runs for another', async () => {
    const run = await train()
    const stepper = await run.stepper(text)
    const { control } = run
    expect([control.activity, control.line, control.can]).toEqual(['held', -1, ['resume', 'step', 'until', 'stop']])
    await control.step('chunk')
    expect(stepper.line).toBe(endOfUnit(plan, -1, 'chunk'))
    const driven = stepper.until({ phase: 'loss' })
    await setTimeout(0)
    if (stepper.isMoving) {
      expect([control.activity, control.can]).toEqual(['running', []])
      await expect(control.step('op')).rejects.toMatchObject({ code: 'control', message: /a cell runs the stepper/ })
    }
    await driven
    await control.resume()
    expect([stepper.line, control.activity]).toEqual([last, 'held'])
    expect(await stepper.complete()).toMatchObject(whole[0])
    expect(control.activity).toBe('idle')
    const next = await run.stepper(text)
    await control.step('op')
    await control.stop()
    await expect(next.next()).rejects.toMatchObject({ code: 'closed' })
    expect(run.stepsDone).toBe(1)
    await run.close()
  })
})

describe('a schedule of the user’s own', () => {
  it('is paused, stepped and stopped by the same words', async () => {
    const x = value('x', [4, 8], { dtype: 'f32' })
    const gate = value('gate', [4, 16], { dtype: 'f32' })
    const schedule = device.schedule([ops.fetch(ops.at('forward', 0), x), ops.offload(ops.at('forward', 1), x), ops.fetch(ops.at('forward', 2), gate)], {
      inputs: { host: [x, gate] },
      results: { device: [x, gate] },
    })
    const inputs = { x: random([4, 8]), gate: random([4, 16]) }
    const expected = (await schedule.run(inputs)).get('gate').data
    await schedule.control.pause()
    const running = schedule.run(inputs)
    await setTimeout(10)
    await schedule.control.step('op')
    expect([schedule.control.line, schedule.control.activity]).toEqual([0, 'paused'])
    await schedule.control.resume()
    expect((await running).get('gate').data).toEqual(expected)
    await schedule.control.pause()
    const stopped = outcome(schedule.run(inputs))
    await setTimeout(10)
    await schedule.control.stop()
    expect(await stopped).toBe('stopped')
    expect((await schedule.run(inputs)).get('gate').data).toEqual(expected)
    await schedule.close()
  })
})

describe('units', () => {
  const { entries } = plan
  const compute = KINDS.indexOf('compute')
  /** Places of what is computed on the way to a line. */
  const placesTo = (from: number, to: number, tags: readonly ArrayLike<number>[]): Set<string> =>
    new Set(
      [...Array(entries.length).keys()].flatMap((e) =>
        entries.op[e] > from && entries.op[e] <= to && entries.kind[e] === compute ? [tags.map((tag) => tag[e]).join()] : [],
      ),
    )

  it('end where the next begins: each goes through one place, and all of them through the step', () => {
    for (const unit of UNITS) {
      let line = -1
      let count = 0
      while (line < last) {
        const end = endOfUnit(plan, line, unit)
        expect(end).toBeGreaterThan(line)
        if (unit === 'op') expect([...entries.op].filter((op) => op > line && op <= end).length).toBeLessThanOrEqual(1)
        if (unit === 'layer') expect(placesTo(line, end, [entries.phase, entries.layer]).size).toBeLessThanOrEqual(1)
        if (unit === 'chunk') expect(placesTo(line, end, [entries.phase, entries.layer, entries.q]).size).toBeLessThanOrEqual(1)
        line = end
        count++
      }
      if (unit === 'step') expect(count).toBe(1)
      if (unit === 'layer') expect(count).toBeGreaterThan(PHASES.length)
    }
  })
})
