/** Calls on a stepper, on the control of a run and on the run itself that nobody waits for before making the next. */
import { setTimeout } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { DISPLAY_HOST, type DisplayHost } from '../../kernel/src/display.js'
import { FpdtError } from '../../kernel/src/errors.js'
import { Device } from '../../kernel/src/fpdt/device.js'
import { ops, value } from '../../kernel/src/fpdt/index.js'
import type { OwnSchedule } from '../../kernel/src/fpdt/own/own-schedule.js'
import { random } from '../../kernel/src/fpdt/own/tensor.js'
import type { RunControl } from '../../kernel/src/fpdt/run/control.js'
import type { ParameterValues } from '../../kernel/src/fpdt/run/parameters.js'
import type { Stepper } from '../../kernel/src/fpdt/run/stepper.js'
import type { TrainingRun } from '../../kernel/src/fpdt/run/training-run.js'
import { endOfPlace, endOfUnit } from '../../kernel/src/fpdt/run/units.js'
import { llama } from '../../kernel/src/model/llama.js'
import type { PlaceWanted, Unit } from '../../kernel/src/trace/units.js'
import { draws } from './draws.js'
import { randomTokens } from './harness.js'
import { unmeasured } from './unmeasured.mjs'

unmeasured(Device)
const device = await Device.cpu({ memory: '64 MiB', host: '64 MiB', threads: 2 })
const model = llama({ layers: 2, width: 32, heads: 4, kvHeads: 2, headSize: 16, feedForward: 40, vocab: 97 })
const text = randomTokens(4000, 97, 2)
const train = (): Promise<TrainingRun> => device.train(model, { sequence: 200, chunk: 40, ranks: 2, dtype: 'f32' })

/** Of a run that nobody disturbs: parameters after so many steps, and what each step said. */
const undisturbed = await train()
const parameters: ParameterValues[] = [await undisturbed.parameters()]
const losses: (number | null)[] = []
for (let step = 0; step < 3; step++) {
  losses.push((await undisturbed.step(text)).loss)
  parameters.push(await undisturbed.parameters())
}
const { plan, firstUpdate } = undisturbed.training
const last = plan.listing.length - 1
await undisturbed.close()

const unhandled: unknown[] = []
const onUnhandled = (error: unknown): void => void unhandled.push(error)
const interrupts = new Set<() => void>()
const interrupt = (): void => {
  for (const stop of [...interrupts]) stop()
}
const host: DisplayHost = {
  display: () => {},
  onInterrupt: (stop) => {
    interrupts.add(stop)
    return () => interrupts.delete(stop)
  },
}
beforeAll(() => void process.on('unhandledRejection', onUnhandled))
afterEach(async () => {
  await setTimeout(1)
  expect([unhandled, interrupts.size]).toEqual([[], 0])
})
afterAll(async () => {
  process.off('unhandledRejection', onUnhandled)
  await device.close()
})
async function underHost<T>(work: () => Promise<T>): Promise<T> {
  const shared = globalThis as { [DISPLAY_HOST]?: DisplayHost }
  shared[DISPLAY_HOST] = host
  try {
    return await work()
  } finally {
    delete shared[DISPLAY_HOST]
  }
}

const PATIENCE_MS = 20_000
/** `done`, or the code of what it was refused with. Throws for what hangs, and for errors that are not the user's to understand. */
async function outcome(work: Promise<unknown>): Promise<string> {
  const patience = new AbortController()
  const late = setTimeout(PATIENCE_MS, 'hangs', { signal: patience.signal }).catch(() => '')
  try {
    const result = await Promise.race([work.then(() => 'done'), late])
    if (result !== 'done') throw new Error(`a call ${result}`)
    return result
  } catch (error) {
    if (error instanceof FpdtError) return error.code
    throw error
  } finally {
    patience.abort()
  }
}
const outcomes = (calls: readonly Promise<unknown>[]): Promise<string[]> => Promise.all(calls.map(outcome))

const unit = fc.constantFrom<Unit>('op', 'chunk', 'layer')
const places = (layers: readonly number[]): fc.Arbitrary<PlaceWanted> =>
  fc.constantFrom<PlaceWanted>({ phase: 'forward' }, { phase: 'backward', layer: layers[0] }, { phase: 'optimizer' }, { layer: layers.at(-1) }, { layer: 99 })

describe('calls on a stepper', () => {
  it('take turns: what they run adds up, also between a cell and a page', async () => {
    const run = await train()
    const at = await run.stepper(text)
    expect(await outcomes([at.next(100), at.next(100), at.next(100)])).toEqual(['done', 'done', 'done'])
    expect(at.line).toBe(299)
    expect(await outcomes([at.to(310), at.to(305), at.next(), at.until({ layer: 99 })])).toEqual(['done', 'config', 'done', 'config'])
    expect(at.line).toBe(311)
    const layers = [endOfUnit(plan, 311, 'layer')]
    layers.push(endOfUnit(plan, layers[0], 'layer'))
    expect(await outcomes([run.control.step('layer'), run.control.step('layer')])).toEqual(['done', 'done'])
    expect(at.line).toBe(layers[1])
    const done = at.complete()
    expect(await outcomes([at.next(), done])).toEqual(['closed', 'done'])
    expect((await done).loss).toBe(losses[0])
    expect(await run.parameters()).toEqual(parameters[1])
    await run.close()
  })

  it('end where the same calls end that wait for each other', async () => {
    const call = fc.oneof(
      fc.record({ verb: fc.constant('next' as const), count: fc.integer({ min: 1, max: 60 }) }),
      fc.record({ verb: fc.constant('to' as const), line: fc.integer({ min: 0, max: last }) }),
      fc.record({ verb: fc.constant('until' as const), place: places([0, 1]), paged: fc.boolean() }),
      fc.record({ verb: fc.constant('step' as const), unit }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(call, { minLength: 1, maxLength: 12 }), async (calls) => {
        const run = await train()
        const at = await run.stepper(text)
        let line = -1
        const expected = calls.map((one) => {
          try {
            const goal =
              one.verb === 'next'
                ? Math.min(line + one.count, last)
                : one.verb === 'to'
                  ? one.line
                  : one.verb === 'until'
                    ? endOfPlace(plan, line, one.place)
                    : endOfUnit(plan, line, one.unit)
            if (goal <= line) return 'config'
            line = goal
            return 'done'
          } catch (error) {
            return (error as FpdtError).code
          }
        })
        const made = calls.map((one) => {
          if (one.verb === 'next') return at.next(one.count)
          if (one.verb === 'to') return at.to(one.line)
          if (one.verb === 'step') return run.control.step(one.unit)
          return one.paged ? run.control.until(one.place) : at.until(one.place)
        })
        // The page is refused while a cell runs the stepper: then this call did nothing.
        const found = await outcomes(made)
        if (!found.includes('control')) {
          expect(found).toEqual(expected)
          expect(at.line).toBe(line)
        }
        expect(await at.complete()).toMatchObject({ step: 1, loss: losses[0] })
        expect(await run.parameters()).toEqual(parameters[1])
        await run.close()
      }),
      { numRuns: draws(6, 12) },
    )
  })

  it('complete its step once, and give every caller the same summary', async () => {
    const run = await train()
    const at = await run.stepper(text)
    const [one, two] = await Promise.all([at.complete(), at.complete()])
    expect(two).toBe(one)
    expect([run.stepsDone, run.head.steps.length, one.loss]).toEqual([1, 1, losses[0]])
    expect(await outcome(at.complete())).toBe('closed')
    expect(await run.parameters()).toEqual(parameters[1])
    expect((await run.step(text)).loss).toBe(losses[1])
    await run.close()
  })

  it('stop together at an interrupt or a pause, and the step can go on', async () => {
    await underHost(async () => {
      const run = await train()
      const at = await run.stepper(text)
      const going = outcomes([at.to(last - 1), at.next(), at.complete()])
      interrupt()
      expect(await going).toEqual(['stopped', 'stopped', 'stopped'])
      await at.settled // until then a page is refused
      const driven = outcomes([run.control.resume(), run.control.step('op')])
      await run.control.pause()
      expect(run.control.activity).toBe('held')
      expect(await driven).toEqual(['done', 'done'])
      expect(at.line).toBeLessThan(last)
      expect((await at.complete()).loss).toBe(losses[0])
      expect(await run.parameters()).toEqual(parameters[1])
      await run.close()
    })
  })

  it('leave no value to look at while ops run', async () => {
    const run = await train()
    const at = await run.stepper(text)
    const going = at.next(200)
    expect(() => at.peek('x[0,0]')).toThrow(expect.objectContaining({ code: 'busy' }))
    await going
    await at.close()
    await run.close()
  })
})

describe('closing', () => {
  it.each([1, 5])('in the middle of an update completes it, whoever else closes or halts (%i ops in)', async (more) => {
    for (const also of ['run.close', 'halt'] as const) {
      const run = await train()
      const at = await run.stepper(text)
      await at.to(firstUpdate + more)
      const closing = [at.close()]
      if (also === 'run.close') closing.push(run.close(), at.close(), run.close())
      else
        for (let i = 0; i < 20; i++) {
          await setTimeout(0)
          at.halt()
        }
      await Promise.race(closing) // none is over before the update is
      expect([run.stepsDone, run.head.steps.map(({ loss }) => loss)]).toEqual([1, [losses[0]]])
      expect(await outcomes(closing)).toEqual(closing.map(() => 'done'))
      if (also === 'halt') expect(await run.parameters()).toEqual(parameters[1])
      await run.close()
    }
  })
})

describe('a place that is not ahead', () => {
  it('is refused, and what ran goes on', async () => {
    const run = await train()
    const stepping = run.step(text)
    await setTimeout(0) // it has begun
    expect(await outcomes([run.control.until({ layer: 99 }), run.control.until({ phase: 'lunch' as never }), run.control.step('year' as never)])).toEqual([
      'config',
      'config',
      'config',
    ])
    expect((await stepping).loss).toBe(losses[0]) // nobody resumed it
    await run.control.pause()
    const paused = run.step(text)
    await setTimeout(5)
    await run.control.until({ phase: 'backward' })
    expect(await outcomes([run.control.until({ phase: 'forward' }), run.control.step('chunk')])).toEqual(['config', 'done'])
    expect(run.control.activity).toBe('paused')
    await run.control.resume()
    expect((await paused).loss).toBe(losses[1])
    await run.close()
  })

  it('that was ahead when it was asked for is refused where the step is further, and that goes on', async () => {
    for (let wait_ms = 0; wait_ms < 40; wait_ms += 8) {
      const run = await train()
      const stepping = run.step(text)
      await setTimeout(wait_ms)
      const found = await outcomes([run.control.until({ phase: 'embedding', q: 0 }), run.control.until({ layer: 99 })])
      if (found[0] === 'done') await run.control.resume()
      else expect(['config', 'control']).toContain(found[0])
      expect((await stepping).loss).toBe(losses[0])
      await run.close()
    }
  })
})

/** What a call does may depend on those around it; what it may come to does not. */
const REFUSALS = ['done', 'config', 'closed', 'stopped', 'control', 'busy', 'not_resident']

const call = (until: fc.Arbitrary<PlaceWanted>, lines: number) =>
  fc.oneof(
    fc.record({ verb: fc.constant('next' as const), count: fc.integer({ min: 1, max: Math.ceil(lines / 4) }) }),
    fc.record({ verb: fc.constant('to' as const), line: fc.integer({ min: 0, max: lines }) }),
    fc.record({ verb: fc.constantFrom('until', 'page until'), place: until }),
    fc.record({ verb: fc.constant('page step' as const), unit }),
    fc.record({ verb: fc.constantFrom('complete', 'close', 'peek', 'page pause', 'page resume', 'page stop', 'interrupt', 'close all') }),
    fc.record({ verb: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 15 }) }),
  )
type Call = Partial<{ count: number; line: number; place: PlaceWanted; unit: Unit; ms: number }> & { readonly verb: string }

/** Makes the calls, waiting for none but `wait`, and gives what they came to. */
async function make(calls: readonly Call[], run: { readonly control: RunControl; close(): Promise<void> }, at?: Stepper<unknown>): Promise<string[]> {
  const { control } = run
  const made: Promise<unknown>[] = []
  for (const { verb, count, line, place, unit, ms } of calls) {
    if (verb === 'wait') await setTimeout(ms)
    else if (verb === 'interrupt') interrupt()
    else if (verb === 'close all') made.push(run.close())
    else if (verb === 'page pause') made.push(control.pause())
    else if (verb === 'page resume') made.push(control.resume())
    else if (verb === 'page stop') made.push(control.stop())
    else if (verb === 'page step') made.push(control.step(unit))
    else if (verb === 'page until') made.push(control.until(place as PlaceWanted))
    else if (!at) continue
    else if (verb === 'next') made.push(at.next(count))
    else if (verb === 'to') made.push(at.to(line as number))
    else if (verb === 'until') made.push(at.until(place as PlaceWanted))
    else if (verb === 'complete') made.push(at.complete())
    else if (verb === 'close') made.push(at.close())
    else if (verb === 'peek') made.push((async () => at.peek('nobody'))())
    for (const one of made) one.catch(() => {}) // it is asked below
  }
  return outcomes(made)
}

describe('calls in any order, at any time', () => {
  it.each(['stepper', 'step'] as const)('on a training run: its %s counts whole or not at all, and the next one works', async (kind) => {
    await underHost(() =>
      fc.assert(
        fc.asyncProperty(fc.array(call(places([0, 1]), last), { minLength: 1, maxLength: 14 }), async (calls) => {
          const run = await train()
          const at = kind === 'stepper' ? await run.stepper(text) : undefined
          const stepping = at ? undefined : outcome(run.step(text))
          await setTimeout(0)
          for (const found of await make(calls, run, at)) expect(REFUSALS).toContain(found)
          await at?.close()
          await outcome(run.control.resume())
          const stepped = await stepping
          expect([undefined, 'done', 'stopped']).toContain(stepped)
          const isClosed = run.control.activity === 'closed'
          if (!isClosed) expect(await run.parameters()).toEqual(parameters[run.stepsDone]) // waits for what an interrupt left
          expect([0, 1]).toContain(run.stepsDone)
          expect(run.head.steps.map(({ step, loss }) => [step, loss])).toEqual(run.stepsDone === 0 ? [] : [[1, losses[0]]])
          const rows = 2 * run.stepsDone * plan.entries.length
          if (run.stepsDone > 0) expect(run.tables().spans.op.length).toBe(rows)
          if (!isClosed) {
            const next = run.step(text)
            await outcome(run.control.resume()) // a pause that came late holds it
            expect((await next).loss).toBe(losses[run.stepsDone - 1])
          }
          await run.close()
        }),
        { numRuns: draws(8, 15) },
      ),
    )
  })

  it('on a schedule of the user’s own', async () => {
    const x = value('x', [64, 64])
    const weight = value('weight', [64])
    const normed = Array.from({ length: 40 }, (_, layer) => value(`y[${layer}]`, [64, 64]))
    const y = normed[39] as (typeof normed)[0]
    const mine = function* () {
      for (const [layer, out] of normed.entries()) {
        const here = ops.at('forward', layer)
        yield ops.fetch(here, x)
        yield ops.compute(here, 'norm', { out, x, weight }, { eps: 1e-5 })
        yield* ops.free(here, 'device', x)
        yield ops.offload(here, out)
        yield* ops.free(here, 'device', out)
        if (out !== y) yield* ops.free(here, 'host', out)
      }
    }
    const planned = (): OwnSchedule => device.schedule(mine, { inputs: { host: [x], device: [weight] }, results: { host: [y] } })
    const inputs = { x: random([64, 64], 1), weight: random([64], 2) }
    const once = planned()
    const expected = (await once.run(inputs)).get(y).data
    const lines = once.plan.listing.length - 1
    await once.close()
    await underHost(() =>
      fc.assert(
        fc.asyncProperty(fc.boolean(), fc.array(call(places([3, 30]), lines), { minLength: 1, maxLength: 14 }), async (stepped, calls) => {
          const schedule = planned()
          const at = stepped ? await schedule.stepper(inputs) : undefined
          const running = at ? undefined : outcome(schedule.run(inputs))
          await setTimeout(0)
          for (const found of await make(calls, schedule, at)) expect(REFUSALS).toContain(found)
          await at?.close()
          await outcome(schedule.control.resume())
          expect([undefined, 'done', 'stopped']).toContain(await running)
          if (schedule.control.activity !== 'closed') {
            const again = schedule.run(inputs)
            await outcome(schedule.control.resume())
            expect((await again).get(y).data).toEqual(expected)
          }
          await schedule.close()
        }),
        { numRuns: draws(15, 30) },
      ),
    )
  })
})
