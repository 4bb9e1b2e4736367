/** Control of a running step: it stands where it is told to, and computes what it would have computed. */
import { setTimeout } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { Device } from '../../kernel/src/fpdt/device.js'
import { ops, value } from '../../kernel/src/fpdt/index.js'
import { random } from '../../kernel/src/fpdt/own/tensor.js'
import type { RunControl } from '../../kernel/src/fpdt/run/control.js'
import type { TrainingRun } from '../../kernel/src/fpdt/run/training-run.js'
import { endOfUnit } from '../../kernel/src/fpdt/run/units.js'
import { llama } from '../../kernel/src/model/llama.js'
import { decodeSavedRun } from '../../kernel/src/trace/saved.js'
import { RUN_MIME, type RunHead, type RunTables } from '../../kernel/src/trace/schema.js'
import { draws } from './draws.js'
import { randomTokens } from './harness.js'
import { unmeasured } from './unmeasured.mjs'

unmeasured(Device)
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
/** Until a step or run that was begun in a pause stands before its first op. */
const begun = (control: RunControl): Promise<void> => vi.waitFor(() => expect([control.standsInStep, control.line]).toEqual([true, -1]))
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
    await begun(control)
    expect(control.activity).toBe('paused')
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
        await begun(run.control)
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
      { numRuns: draws(12, 25) },
    )
  })

  it('is stopped while it is paused: dropped whole before its first update, completed after it', async () => {
    const run = await train()
    await expect(run.control.stop()).rejects.toMatchObject({ code: 'control', message: 'stop cannot be done now: no step is under way; run one in a cell.' })
    await expect(run.control.resume()).rejects.toMatchObject({ code: 'control', message: 'resume cannot be done now: it is not paused.' })
    await run.control.pause()
    const dropped = outcome(run.step(text))
    await begun(run.control)
    await run.control.step('layer')
    await run.control.stop()
    expect(await dropped).toBe('stopped')
    expect([run.stepsDone, run.head.state, run.control.activity]).toEqual([0, 'stopped', 'idle'])

    await run.control.pause()
    const completed = outcome(run.step(text))
    await begun(run.control)
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
    await begun(run.control)
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
    const asked = new Promise<unknown[]>((resolve) => {
      const unwatch = control.watch(() => {
        if (!stepper.isMoving) return
        unwatch()
        const { activity, can } = control
        resolve([activity, can, control.step('op').catch((error: unknown) => error)])
      })
    })
    const driven = stepper.until({ phase: 'loss' })
    const [activity, can, refused] = await asked
    expect([activity, can]).toEqual(['running', []])
    expect(await refused).toMatchObject({ code: 'control', message: 'step cannot be done now: a cell runs the stepper; interrupt the cell, or wait for it.' })
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
    await begun(schedule.control)
    await schedule.control.step('op')
    expect([schedule.control.line, schedule.control.activity]).toEqual([0, 'paused'])
    await schedule.control.resume()
    expect((await running).get('gate').data).toEqual(expected)
    await schedule.control.pause()
    const stopped = outcome(schedule.run(inputs))
    await begun(schedule.control)
    await schedule.control.stop()
    expect(await stopped).toBe('stopped')
    expect((await schedule.run(inputs)).get('gate').data).toEqual(expected)
    await schedule.close()
  })
})

describe('pages are told how it ends', () => {
  /** The states that whoever watches hears of, from the first that is another. */
  const heard = (of: { head: RunHead; control: RunControl }): { states: string[]; end: () => void } => {
    const states: string[] = []
    const end = of.control.watch(() => of.head.state !== (states.at(-1) ?? 'planned') && states.push(of.head.state))
    return { states, end }
  }

  it('of a run and of a schedule alike: run, stopped, stepped, dropped', async () => {
    const x = value('x', [4, 8], { dtype: 'f32' })
    const schedule = device.schedule([ops.fetch(ops.at('forward', 0), x)], { inputs: { host: [x] }, results: { device: [x] } })
    const inputs = { x: random([4, 8]) }
    const run = await train()
    for (const [of, go, stepper] of [
      [run, () => run.step(text), () => run.stepper(text)],
      [schedule, () => schedule.run(inputs), () => schedule.stepper(inputs)],
    ] as const) {
      const { states, end } = heard(of)
      await go()
      expect(states).toEqual(['running', 'done'])
      await of.control.pause()
      const stopped = outcome(go())
      await begun(of.control)
      await of.control.stop()
      expect(await stopped).toBe('stopped')
      expect(states.slice(2)).toEqual(['running', 'stopped'])
      expect(of.head.message).toMatch(/^stopped/)
      await (await stepper()).complete()
      expect(states.slice(4)).toEqual(['running', 'done'])
      expect(of.head.message).toBe('')
      await (await stepper()).close()
      expect(states.slice(6)).toEqual(['running', 'stopped'])
      end()
      await of.close()
    }
  })
})
