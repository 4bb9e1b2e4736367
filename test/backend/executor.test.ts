/** Programs on native threads: order, stop and resume, failures, spans. Sequential naive execution is the oracle. */

import type { Executor, RunError } from '@fpdt/native'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { TIERS } from '../../kernel/src/trace/schema.js'
import {
  collective,
  copy,
  device,
  type Entry,
  interpret,
  kernel,
  type Naive,
  onCuda,
  onDevice,
  type Place,
  program,
  type SpanRow,
  STEP,
  spanRows,
  streamOf,
  withWaits,
  zero,
} from './programs.js'

afterAll(() => device().close())

const SLOT = 256
const SLOTS = 8
const ARENAS = { device: SLOT * SLOTS, host: SLOT * SLOTS, disk: SLOT * SLOTS }
const HEADS = 12 // divisible by 1 .. 4 ranks
/** Emulated GPUs are slow: fewer programs. */
const runs = (onCpu: number): number => (onCuda ? Math.ceil(onCpu / 4) : onCpu)
/** An op that takes a while, so that some hundred of them outlast the test's next lines, and the bytes of its arena. */
const ELEMENTS = process.env.FPDT_NATIVE?.includes('emulated') ? 1 << 17 : 1 << 24
const LONG = onCuda ? 6 * ELEMENTS : 1 << 22
const long = (): Entry => (onCuda ? kernel('round', [onDevice(0, 2 * ELEMENTS), onDevice(2 * ELEMENTS, 4 * ELEMENTS)], [ELEMENTS]) : zero(0, LONG))
/** Two events of a GPU that are measured from different anchors of its clock (native/cuda/clock.h), in ns. */
const CLOCK = onCuda ? 1000 : 0

/** Random lists of ops over slots of all tiers, with the waits their reads and writes ask for. */
const entriesOf = (ranks: number): fc.Arbitrary<Entry[]> => {
  const slot = fc.integer({ min: 0, max: SLOTS - 1 })
  const two = fc.uniqueArray(slot, { minLength: 2, maxLength: 2 }) as fc.Arbitrary<[number, number]>
  const entry = fc.oneof(
    slot.map((a) => zero(a * SLOT, SLOT / 2)),
    two.map(([a, b]) => copy('offload', a * SLOT, b * SLOT, SLOT)),
    two.map(([a, b]) => copy('fetch', a * SLOT, b * SLOT, SLOT)),
    two.map(([a, b]) => copy('spill', a * SLOT, b * SLOT, SLOT)),
    two.map(([a, b]) => copy('load', a * SLOT, b * SLOT, SLOT)),
    two.map(([a, b]) => collective('gather', [onDevice(a * SLOT, 64), onDevice(b * SLOT, 64 * ranks)], [64])),
    two.map(([a, b]) => collective('allToAll', [onDevice(a * SLOT, 16 * HEADS), onDevice(b * SLOT, 16 * HEADS)], [2, 1, 8, 0, HEADS])),
    slot.map((a) => collective('allReduce', [onDevice(a * SLOT, 64)], [8])),
  )
  return fc.array(entry, { minLength: 1, maxLength: 40 }).map(withWaits)
}
const scenario = fc.integer({ min: 1, max: 4 }).chain((ranks) => fc.record({ ranks: fc.constant(ranks), entries: entriesOf(ranks) }))

/** Small whole numbers as f64, different on every rank, tier and place: their sums are exact. */
function initial(ranks: number): Naive[] {
  const arena = (seed: number): Uint8Array => new Uint8Array(Float64Array.from({ length: (SLOT * SLOTS) / 8 }, (_, i) => (i * 7 + seed) % 101).buffer)
  return Array.from({ length: ranks }, (_, rank) => ({ device: arena(rank * 3), host: arena(rank * 3 + 51), disk: arena(rank * 3 + 77) }))
}
function load(ranks: number, entries: Entry[]): Executor {
  const executor = device().load(program(ranks, ARENAS, entries))
  initial(ranks).forEach((arenas, rank) => {
    for (const tier of TIERS) executor.write(tier, rank, 0, arenas[tier])
  })
  return executor
}
function contents(executor: Executor, ranks: number): Naive[] {
  return Array.from({ length: ranks }, (_, rank) => ({
    device: executor.read('device', rank, 0, ARENAS.device),
    host: executor.read('host', rank, 0, ARENAS.host),
    disk: executor.read('disk', rank, 0, ARENAS.disk),
  }))
}
function wanted(ranks: number, entries: Entry[]): Naive[] {
  const arenas = initial(ranks)
  interpret(entries, arenas)
  return arenas
}
/** Every rank has exactly the spans of entries 0 .. reached. */
function expectPrefix(spans: SpanRow[], ranks: number, reached: number): void {
  const found = spans.map(({ rank, entry }) => rank * 1000 + entry).sort((a, b) => a - b)
  expect(found).toEqual(Array.from({ length: ranks * (reached + 1) }, (_, i) => Math.floor(i / (reached + 1)) * 1000 + (i % (reached + 1))))
}
function spin(microseconds: number): void {
  const end = process.hrtime.bigint() + BigInt(Math.round(microseconds * 1000))
  while (process.hrtime.bigint() < end);
}

describe('run', () => {
  it('gives the bytes of sequential execution, whatever runs at once', async () => {
    await fc.assert(
      fc.asyncProperty(scenario, async ({ ranks, entries }) => {
        const executor = load(ranks, entries)
        expect(await executor.run(undefined, STEP)).toEqual({ reached: entries.length - 1, stopped: false })
        expect(contents(executor, ranks)).toEqual(wanted(ranks, entries))
        executor.close()
      }),
      { numRuns: runs(100) },
    )
  })

  it('measures spans that are ordered, do not overlap on a stream, and begin after what they wait for has ended', async () => {
    await fc.assert(
      fc.asyncProperty(scenario, async ({ ranks, entries }) => {
        const executor = load(ranks, entries)
        await executor.run(undefined, STEP)
        const spans = spanRows(executor.takeSpans())
        expectPrefix(spans, ranks, entries.length - 1)
        const ends = new Map(spans.map(({ rank, entry, end }) => [`${rank} ${entry}`, end]))
        const last = new Map<string, SpanRow>()
        for (const span of spans) {
          const lane = `${span.rank} ${streamOf(entries[span.entry] as Entry)}`
          const before = last.get(lane)
          expect(span.start).toBeGreaterThanOrEqual(before?.end ?? 0)
          expect(span.entry).toBeGreaterThan(before?.entry ?? -1)
          expect(span.end).toBeGreaterThanOrEqual(span.start)
          expect(Number.isInteger(span.start) && Number.isInteger(span.end)).toBe(true)
          for (const wait of entries[span.entry]?.waits ?? []) expect(span.start).toBeGreaterThanOrEqual((ends.get(`${span.rank} ${wait}`) as number) - CLOCK)
          last.set(lane, span)
        }
        expect(executor.takeSpans()).toHaveLength(0)
        executor.close()
      }),
      { numRuns: runs(60) },
    )
  })

  it.skipIf(onCuda)('lets ranks take turns: kernels of different ranks never overlap', async () => {
    const entries = Array.from({ length: 20 }, (_, i) => zero(0, ((i % 4) + 1) << 18))
    const executor = device().load(program(3, { device: 1 << 20 }, entries))
    await executor.run(undefined, STEP)
    const spans = spanRows(executor.takeSpans()).sort((a, b) => a.start - b.start)
    for (let i = 1; i < spans.length; i++) expect(spans[i]?.start).toBeGreaterThanOrEqual(spans[i - 1]?.end as number)
    executor.close()
  })

  it('runs one entry at a time when asked to, and the next step after reset', async () => {
    const entries = withWaits([copy('offload', 0, SLOT, SLOT), zero(0, SLOT), copy('fetch', SLOT, 2 * SLOT, SLOT)])
    const executor = load(2, entries)
    for (let entry = 0; entry < 3; entry++) {
      expect(await executor.run(entry, STEP)).toEqual({ reached: entry, stopped: false })
      expectPrefix(
        spanRows(executor.takeSpans()).map((span) => ({ ...span, entry: span.entry - entry })),
        2,
        0,
      )
      expect(contents(executor, 2)).toEqual(wanted(2, entries.slice(0, entry + 1)))
    }
    expect(await executor.run(undefined, STEP)).toEqual({ reached: 2, stopped: false }) // nothing left
    executor.reset()
    expect(await executor.run(0, STEP)).toEqual({ reached: 0, stopped: false })
    expect(await executor.run(99, STEP)).toEqual({ reached: 2, stopped: false }) // capped at the last entry
    executor.close()
  })

  it('runs a program of no entries', async () => {
    const executor = device().load(program(2, { device: 8 }, []))
    expect(await executor.run(undefined, STEP)).toEqual({ reached: -1, stopped: false })
    executor.close()
  })

  it('hands the step numbers of each run to its kernels', async () => {
    // adamW with g = 1, m = v = master = 0, no decay: master = -rate (1 / correction1 (1 - beta1)) / (sqrt((1 - beta2) / correction2) + eps)
    const at = (i: number): Place => onDevice(64 * i, 4)
    const [master, m, v, gradient, scale] = [at(0), at(1), at(2), at(3), at(4)]
    const entry = kernel('adamW', [master, m, v, null, gradient, scale], [1, 0.5, 0.5, 0, 0, 1, 1, 0])
    const executor = device().load(program(1, { device: 320 }, [entry]))
    const rates: number[] = []
    for (const rate of [0.125, 0.5]) {
      for (const place of [0, 64, 128]) executor.write('device', 0, place, Float32Array.of(0))
      for (const place of [192, 256]) executor.write('device', 0, place, Float32Array.of(1))
      executor.reset()
      await executor.run(undefined, Float64Array.of(rate, 0.5, 0.5, 1))
      rates.push(new Float32Array(executor.read('device', 0, 0, 4).buffer)[0] as number)
    }
    expect(rates).toEqual([-0.125, -0.5])
    executor.close()
  })

  it('allocates nothing while it runs', async () => {
    const executor = load(4, withWaits([copy('offload', 0, 0, SLOT), zero(0, SLOT), collective('allReduce', [onDevice(0, 8)], [1])]))
    const before = device().allocations()
    await executor.run(undefined, STEP)
    expect(device().allocations()).toBe(before)
    expect(executor.memory().allocationsDuringRun).toBe(0)
    executor.close()
  })

  it('counts what its device allocates in that time, whoever asks for it', async () => {
    const entries = Array.from({ length: 300 }, long)
    const executor = device().load(program(1, { device: LONG }, entries))
    const run = executor.run(undefined, STEP)
    const other = device().load(program(2, { device: 64, host: 64 }, []))
    expect(executor.memory().allocationsDuringRun).toBe(4) // two arenas on each of two ranks
    await run
    device()
      .load(program(1, { device: 64 }, []))
      .close()
    expect(executor.memory().allocationsDuringRun).toBe(4)
    executor.reset()
    await executor.run(undefined, STEP)
    expect(executor.memory().allocationsDuringRun).toBe(4)
    expect(other.memory().allocationsDuringRun).toBe(0)
    executor.close()
    other.close()
  })
})

describe('cancel', () => {
  it('leaves all entries to one n done and none above begun, on every rank; going on gives the same bytes', async () => {
    await fc.assert(
      fc.asyncProperty(scenario, fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 6 }), async ({ ranks, entries }, delays) => {
        const executor = load(ranks, entries)
        const spans: SpanRow[] = []
        let reached = -1
        for (const delay of delays) {
          const run = executor.run(undefined, STEP)
          spin(delay)
          executor.cancel()
          const ended = await run
          expect(ended.stopped).toBe(ended.reached < entries.length - 1)
          expect(ended.reached).toBeGreaterThanOrEqual(reached)
          reached = ended.reached
          spans.push(...spanRows(executor.takeSpans()))
          expectPrefix(spans, ranks, reached)
          expect(contents(executor, ranks)).toEqual(wanted(ranks, entries.slice(0, reached + 1)))
        }
        await executor.run(undefined, STEP)
        expect(contents(executor, ranks)).toEqual(wanted(ranks, entries))
        executor.close()
      }),
      { numRuns: runs(60) },
    )
  })

  it('stops long programs midway, again and again, and they still end with the same bytes', async () => {
    const bytes = onCuda ? 1 << 16 : 1 << 20
    const entries = withWaits(
      Array.from({ length: 100 }, () => [
        copy('offload', 0, 0, bytes),
        zero(0, bytes / 2),
        copy('fetch', 0, bytes, bytes),
        collective('allReduce', [onDevice(bytes, 4096)], [512]),
      ]).flat(),
    )
    const executor = device().load(program(2, { device: 2 * bytes, host: bytes }, entries))
    const ranks = (): Naive[] =>
      [0, 1].map((rank) => ({ device: new Uint8Array(2 * bytes).fill(rank + 1), host: new Uint8Array(bytes), disk: new Uint8Array() }))
    // The whole takes a tenth of a second on the CPU, so a fifth of a millisecond stops it early: unless the machine lets this thread wait meanwhile.
    let stops = new Set<number>()
    for (let attempt = 0; attempt < 20 && stops.size <= 2; attempt++) {
      executor.reset()
      for (const [rank, { device, host }] of ranks().entries()) {
        executor.write('device', rank, 0, device)
        executor.write('host', rank, 0, host)
      }
      stops = new Set()
      const spans: SpanRow[] = []
      for (let ended = { reached: -1, stopped: true }; ended.stopped; ) {
        const run = executor.run(undefined, STEP)
        spin(200)
        executor.cancel()
        ended = await run
        stops.add(ended.reached)
        spans.push(...spanRows(executor.takeSpans()))
        expectPrefix(spans, 2, ended.reached)
      }
    }
    expect(stops.size).toBeGreaterThan(2)
    const expected = ranks()
    interpret(entries, expected)
    for (const [rank, { device, host }] of expected.entries()) {
      expect(Buffer.compare(executor.read('device', rank, 0, 2 * bytes), device)).toBe(0)
      expect(Buffer.compare(executor.read('host', rank, 0, bytes), host)).toBe(0)
    }
    executor.close()
  })

  it('may drop the rest: reset starts over', async () => {
    const entries = Array.from({ length: 200 }, long)
    const executor = device().load(program(2, { device: LONG }, entries))
    let ended = { reached: -1, stopped: false }
    for (let attempt = 0; attempt < 20 && !ended.stopped; attempt++) {
      const run = executor.run(undefined, STEP)
      executor.cancel()
      ended = await run
      executor.reset()
    }
    expect(ended.stopped).toBe(true)
    expect(ended.reached).toBeLessThan(199)
    executor.takeSpans()
    expect(await executor.run(1, STEP)).toEqual({ reached: 1, stopped: false })
    expectPrefix(spanRows(executor.takeSpans()), 2, 1)
    executor.close()
  })

  it('is nothing when nothing runs', async () => {
    const executor = load(1, [zero(0, SLOT)])
    executor.cancel()
    expect(await executor.run(undefined, STEP)).toEqual({ reached: 0, stopped: false })
    executor.close()
  })
})

describe('a kernel that fails on one rank', () => {
  const [vocabulary, width] = [4, 8]
  const tokens = onDevice(0, 4)
  const table = onDevice(256, vocabulary * width * 4)
  const x = onDevice(1024, width * 4)
  const gathered = onDevice(2048, 4 * width * 4)
  /** Token lookup, then a collective that all ranks would wait in, beside a stream of copies. */
  const entries: Entry[] = [
    zero(4096, 1 << 16),
    kernel('embed', [x, tokens, table, null, null], [1, width, vocabulary, 0, 1, 0], [0]),
    collective('gather', [x, gathered], [x.bytes], [1]),
    ...Array.from({ length: 50 }, () => copy('offload', 4096, 0, 1 << 16, [0])),
  ]
  const arenas = { device: 4096 + (1 << 16), host: 1 << 16 }

  it('stops all ranks with its entry, rank, name and message; reset makes the executor usable again', async () => {
    const executor = device().load(program(4, arenas, entries))
    executor.write('device', 2, 0, Int32Array.of(9))
    const error = (await executor.run(undefined, STEP).catch((error) => error)) as RunError
    expect(error).toBeInstanceOf(Error)
    expect(error).toMatchObject({ code: 'token', entry: 1, rank: 2 })
    expect(error.message).toMatch(/^entry 1 \(embed, op 1\) on rank 2: token 9 in row 0/)
    expect(error.reached).toBeLessThan(1)
    const spans = spanRows(executor.takeSpans())
    expect(spans.filter(({ entry }) => entry === 2)).toEqual([]) // no rank passed the collective
    expect(spans.filter(({ entry, rank }) => entry === 1 && rank === 2)).toEqual([])

    expect(() => executor.run(undefined, STEP)).toThrow(expect.objectContaining({ code: 'failed', message: expect.stringContaining('call reset') }))
    executor.reset()
    executor.write('device', 2, 0, Int32Array.of(3))
    expect(await executor.run(undefined, STEP)).toEqual({ reached: entries.length - 1, stopped: false })
    executor.close()
  })

  it('can be closed at once', async () => {
    const executor = device().load(program(4, arenas, entries))
    executor.write('device', 0, 0, Int32Array.of(-1))
    const run = executor.run(undefined, STEP).catch((error) => error)
    executor.close()
    expect(['token', 'stopped']).toContain(((await run) as RunError).code)
  })
})

describe('during a run', () => {
  const entries = Array.from({ length: 300 }, long)

  it('run, reset, read, write and poison are refused; spans can be taken', async () => {
    const executor = device().load(program(1, { device: LONG, host: 64 }, entries))
    const run = executor.run(undefined, STEP)
    const busy = expect.objectContaining({ code: 'busy' })
    expect(() => executor.run(undefined, STEP)).toThrow(busy)
    expect(() => executor.reset()).toThrow(busy)
    expect(() => executor.read('device', 0, 0, 8)).toThrow(busy)
    expect(() => executor.write('device', 0, 0, new Uint8Array(8))).toThrow(busy)
    expect(() => executor.poison()).toThrow(busy)
    let batches = 0
    const takenOf = async (run: Promise<unknown>): Promise<SpanRow[]> => {
      const taken: SpanRow[] = []
      let ended = false
      run.finally(() => {
        ended = true
      })
      batches = 0
      while (!ended) {
        const batch = spanRows(executor.takeSpans())
        if (batch.length) batches++
        taken.push(...batch)
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
      return [...taken, ...spanRows(executor.takeSpans())]
    }
    expectPrefix(await takenOf(run), 1, entries.length - 1)
    // On a busy machine a run may be over when this thread looks again.
    for (let attempt = 0; attempt < 20 && batches <= 1; attempt++) {
      executor.reset()
      expectPrefix(await takenOf(executor.run(undefined, STEP)), 1, entries.length - 1)
    }
    expect(batches).toBeGreaterThan(1)
    executor.close()
  })

  it('close ends it: the promise rejects with stopped', async () => {
    const executor = device().load(program(2, { device: LONG }, entries))
    const run = executor.run(undefined, STEP)
    executor.close()
    await expect(run).rejects.toMatchObject({ code: 'stopped' })
    expect(() => executor.run(undefined, STEP)).toThrow(expect.objectContaining({ code: 'closed' }))
    executor.close()
  })
})

describe('times', () => {
  it('count from originNs on the clock of process.hrtime', async () => {
    const before = Number(process.hrtime.bigint())
    const executor = load(1, [zero(0, SLOT), copy('offload', SLOT, 0, SLOT)])
    const loaded = Number(process.hrtime.bigint())
    expect(executor.originNs).toBeGreaterThanOrEqual(before)
    expect(executor.originNs).toBeLessThanOrEqual(loaded)
    await executor.run(undefined, STEP)
    const ended = Number(process.hrtime.bigint()) - executor.originNs
    const apart = onCuda ? 200_000 : 0 // two crystals, in the first second of their acquaintance
    for (const { start, end } of spanRows(executor.takeSpans())) {
      expect(start).toBeGreaterThan(-apart)
      expect(end).toBeLessThanOrEqual(ended + apart)
    }
    executor.close()
  })
})
