import { createHash } from 'node:crypto'
import { tableFromIPC } from 'apache-arrow'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FpdtError } from '../../../kernel/src/errors.js'
import { runBundle } from '../../../kernel/src/fpdt/run/show.js'
import { decodeTable, encodeTable } from '../../../kernel/src/trace/codec.js'
import { withoutUnused, withShorterHead } from '../../../kernel/src/trace/kept.js'
import { memoryOf } from '../../../kernel/src/trace/memory.js'
import { openRun } from '../../../kernel/src/trace/model/run.js'
import { decodeSavedRun, keepNewest, MAX_SAVED, MAX_SPANS, saveRun } from '../../../kernel/src/trace/saved.js'
import {
  BUFFER_COLUMNS,
  type ColumnType,
  MEMORY_COLUMNS,
  type MemoryColumns,
  RUN_MIME,
  RUN_SCHEMA,
  RUN_VERSION,
  type RunHead,
  type RunTables,
  type SavedRun,
  SPAN_COLUMNS,
  type SpanColumns,
  USE_COLUMNS,
  WAIT_COLUMNS,
} from '../../../kernel/src/trace/schema.js'
import { fixture } from './fixture.js'

const ARRAYS = { Uint8: Uint8Array, Uint16: Uint16Array, Uint32: Uint32Array, Float64: Float64Array }
const cell = { Uint8: fc.nat(0xff), Uint16: fc.nat(0xffff), Uint32: fc.nat(0xffffffff), Float64: fc.double({ noNaN: true }) }
function table<T>(spec: Record<string, ColumnType>, most = 50): fc.Arbitrary<T> {
  const columns = (rows: number) =>
    Object.fromEntries(
      Object.entries(spec).map(([name, type]) => [name, fc.array(cell[type], { minLength: rows, maxLength: rows }).map((list) => ARRAYS[type].from(list))]),
    )
  return fc.nat(most).chain((rows) => fc.record(columns(rows))) as fc.Arbitrary<unknown> as fc.Arbitrary<T>
}
const anySpans = table<SpanColumns>(SPAN_COLUMNS)
const anyMemory = table<MemoryColumns>(MEMORY_COLUMNS)
const head = { schema: RUN_SCHEMA, version: RUN_VERSION, title: 'a run', steps: [], kept: { spans: 0, of: 0, steps: [], reason: '' } } as unknown as RunHead
/** Steps of `counts` spans, one memory row each: it begins a buffer of 8 bytes and never ends it. */
function steps(counts: readonly number[]): RunTables {
  const stepOf = counts.flatMap((count, step) => Array.from({ length: count }, () => step + 1))
  const rows = stepOf.length
  const spec = (columns: Record<string, ColumnType>) => Object.fromEntries(Object.entries(columns).map(([name, type]) => [name, new ARRAYS[type](rows)]))
  const time_ns = Float64Array.from({ length: rows }, (_, row) => 10 * row)
  const spans = { ...spec(SPAN_COLUMNS), step: Uint32Array.from(stepOf), start_ns: time_ns } as SpanColumns
  const memory = {
    ...spec(MEMORY_COLUMNS),
    step: Uint32Array.from(stepOf),
    time_ns,
    delta_bytes: new Float64Array(rows).fill(8),
    total_bytes: time_ns.map((_, row) => 8 * (row + 1)),
    buffer: Uint32Array.from({ length: rows }, (_, row) => row),
  } as MemoryColumns
  const [buffers, uses, waits] = [BUFFER_COLUMNS, USE_COLUMNS, WAIT_COLUMNS].map(spec)
  return { head, listing: ['zero x = @compute'], names: [], spans, memory, buffers, uses, waits, predicted: null } as unknown as RunTables
}

describe('codec', () => {
  it('gives back what it encodes', () => {
    fc.assert(
      fc.property(anySpans, anyMemory, (spans, memory) => {
        expect(decodeTable('spans', encodeTable('spans', spans))).toEqual(spans)
        expect(decodeTable('memory', encodeTable('memory', memory))).toEqual(memory)
      }),
    )
  })

  it('writes what any Arrow reader understands, code tables and units included', () => {
    fc.assert(
      fc.property(anySpans, (spans) => {
        const read = tableFromIPC(encodeTable('spans', spans))
        expect(read.schema.fields.map(({ name }) => name)).toEqual(Object.keys(SPAN_COLUMNS))
        expect(read.schema.fields[3].metadata.get('codes')).toContain('compute')
        expect(read.schema.fields.find(({ name }) => name === 'start_ns')?.metadata.get('unit')).toBe('ns')
        expect([...(read.getChild('bytes') ?? [])]).toEqual([...spans.bytes])
      }),
    )
  })

  it('reads bytes at any alignment', () => {
    const bytes = encodeTable('memory', steps([3]).memory)
    const shifted = new Uint8Array(bytes.length + 3)
    shifted.set(bytes, 3)
    expect(decodeTable('memory', shifted.subarray(3))).toEqual(steps([3]).memory)
  })

  it('refuses every truncation but the one that leaves out the end mark', () => {
    const bytes = encodeTable('memory', steps([3]).memory)
    for (let length = 0; length < bytes.length - 8; length++) expect(() => decodeTable('memory', bytes.slice(0, length)), `${length} bytes`).toThrow(FpdtError)
  })

  // The counts and offsets that a hostile file would lie about, wherever they stand. apache-arrow's own reader loops for
  // minutes on some of these; this test would run into its time limit.
  it('never hangs, crashes or hands out a wrong table, whatever word of the stream is overwritten', () => {
    const bytes = encodeTable('memory', steps([5]).memory)
    for (let at = 0; at + 4 <= bytes.length; at++) {
      for (const word of [0x7fffffff, 0xffffffff, 0x10000000, 0]) {
        const hostile = bytes.slice()
        new DataView(hostile.buffer).setUint32(at, word, true)
        const read = attempt(() => decodeTable('memory', hostile))
        if (read instanceof FpdtError) expect(read.code).toBe('payload')
        else expect(Object.values(read).map((column) => column.length)).toEqual(Object.keys(MEMORY_COLUMNS).map(() => 5))
      }
    }
  }, 20_000)

  it('refuses the other table, and bytes that are something else', () => {
    const { spans, memory } = steps([2])
    expect(() => decodeTable('memory', encodeTable('spans', spans))).toThrow('it is not the memory table')
    expect(() => decodeTable('spans', encodeTable('memory', memory))).toThrow('it is not the spans table')
    expect(() => decodeTable('spans', new TextEncoder().encode('{"schema": "fpdt.run"}'))).toThrow('no Arrow message begins at byte 0')
    expect(() => decodeTable('spans', new Uint8Array(0))).toThrow(FpdtError)
  })
})

describe('saved run', () => {
  it('gives back head, listing and tables, through JSON', async () => {
    await fc.assert(
      fc.asyncProperty(anySpans, anyMemory, fc.array(fc.string().map((text) => text.replaceAll('\n', ' ').padEnd(1))), async (spans, memory, listing) => {
        const saved = JSON.parse(JSON.stringify(await saveRun({ ...steps([0]), listing, spans, memory })))
        const read = await decodeSavedRun(saved)
        expect(read.listing).toEqual(listing.map((line) => new TextDecoder().decode(new TextEncoder().encode(line))))
        expect({ spans: read.spans, memory: read.memory }).toEqual({ spans, memory })
        expect(read.head.title).toBe(head.title)
      }),
      { numRuns: 40 },
    )
  })

  it('keeps whole newest steps, and says so', () => {
    const kept = keepNewest(steps([5, 4, 3]), 8)
    expect([...kept.spans.step]).toEqual([2, 2, 2, 2, 3, 3, 3])
    expect(kept.head.kept).toEqual({
      spans: 7,
      of: 12,
      steps: [2, 3],
      reason: "the newest 2 steps of 3: a saved run holds at most 8 spans, and run.trace('step.arrow') writes all of them to a file",
    })
    expect(keepNewest(steps([5, 4, 3]), 12).head.kept).toEqual({ spans: 12, of: 12, steps: [1, 2, 3], reason: 'everything' })
  })

  it('says what there was before the kernel kept the newest steps', async () => {
    const tables = steps([0, 0, 4, 4, 4])
    const earlier = { spans: 12, of: 20, steps: [3, 4, 5], reason: 'the newest 3 of 5 steps' }
    const cut: RunTables = { ...tables, head: { ...head, steps: [1, 2, 3, 4, 5].map((step) => ({ step })), kept: earlier } as unknown as RunHead }
    expect(keepNewest(cut).head.kept).toEqual(earlier)
    const limit = "a saved run holds at most 8 spans, and run.trace('step.arrow') writes the newest 3 steps to a file"
    expect(keepNewest(cut, 8).head.kept).toEqual({ spans: 8, of: 20, steps: [4, 5], reason: `the newest 2 steps of 5: ${limit}` })
    expect([...keepNewest(cut, 8).spans.step]).toEqual([4, 4, 4, 4, 5, 5, 5, 5])
    expect(keepNewest(cut, 3).head.kept).toMatchObject({ spans: 3, of: 20, steps: [5] })
  })

  it('opens the memory of the kept steps with what stood before them', () => {
    const { memory } = keepNewest(steps([5, 4, 3]), 8)
    expect([...memory.buffer]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    expect([...memory.total_bytes]).toEqual([8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96])
    expect([...memory.step]).toEqual([2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3])
    expect([...memory.time_ns]).toEqual([50, 50, 50, 50, 50, 50, 60, 70, 80, 90, 100, 110])
  })

  it('opens without what had ended before', () => {
    const tables = steps([5, 4])
    tables.memory.buffer[3] = 1 // row 3 ends what row 1 began
    tables.memory.delta_bytes[3] = -8
    expect([...keepNewest(tables, 5).memory.buffer]).toEqual([0, 2, 4, 5, 6, 7, 8])
  })

  it('keeps the beginning of a step that alone is too long', () => {
    const kept = keepNewest(steps([5, 20]), 8)
    expect([...kept.spans.start_ns]).toEqual([50, 60, 70, 80, 90, 100, 110, 120])
    expect(kept.head.kept.reason).toContain('the beginning of step 2, which alone has 20 spans')
    expect(Math.max(...kept.memory.time_ns)).toBeLessThan(130)
  })

  it('leaves out of the plan what the kept spans do not need, and keeps its numbers', () => {
    const whole = fixture({ ranks: 2, layers: 2, chunks: 4, steps: 1 })
    const newest = keepNewest({ ...whole, predicted: whole.spans }, 300)
    const cut = withoutUnused(newest)
    openRun(cut)
    const predicted = newest.predicted as SpanColumns
    const ran = new Set([...newest.spans.op, ...predicted.op])
    const usesOf = ({ uses, names }: RunTables) =>
      [...uses.op.keys()].filter((u) => ran.has(uses.op[u])).map((u) => `${uses.op[u]} ${names[uses.buffer[u]]} ${uses.access[u]}`)
    const waitsOf = ({ waits }: RunTables) => [...waits.op.keys()].filter((w) => ran.has(waits.op[w])).map((w) => `${waits.op[w]} ${waits.on[w]}`)
    expect(usesOf(cut)).toEqual(usesOf(whole))
    expect(waitsOf(cut)).toEqual(waitsOf(whole))
    for (const op of ran) expect(cut.listing[op]).toBe(whole.listing[op])
    expect(cut.listing.length).toBe(whole.listing.length)
    expect(cut.listing.filter(Boolean).length).toBeLessThan(whole.listing.length)
    expect(Array.from(cut.memory.buffer, (buffer) => cut.names[buffer])).toEqual(Array.from(newest.memory.buffer, (buffer) => whole.names[buffer]))
    // Memory derived from what is kept is that of the whole, as far as it goes.
    const [a, b] = [memoryOf(cut, predicted), memoryOf(whole, predicted)]
    const used = new Set(cut.names)
    const rows = (memory: MemoryColumns, names: readonly string[]) =>
      Array.from(memory.op, (op, row) => [names[memory.buffer[row]], op, memory.delta_bytes[row], memory.time_ns[row]] as const).filter(([name]) =>
        used.has(name),
      )
    expect(rows(a, cut.names)).toEqual(rows(b, whole.names))
  })

  it('shortens a head of very many steps: accounts first, then the oldest', () => {
    const accounts = Array.from({ length: 8 }, (_, rank) => ({ rank, busy_ns: {}, idle_ns: {} }))
    const steps = Array.from({ length: 1000 }, (_, i) => ({ step: i + 1, loss: 1, accounts }))
    const long = { ...head, steps, kept: { spans: 1, of: 1, steps: [1000], reason: 'everything' } } as unknown as RunHead
    expect(withShorterHead(long)).toBe(long)
    const lean = withShorterHead(long, 60_000)
    expect([lean.steps.length, lean.steps[0].accounts.length, lean.steps[999].accounts.length, lean.kept.reason]).toEqual([1000, 0, 8, 'everything'])
    const short = withShorterHead(long, 10_000)
    expect(JSON.stringify(short.steps).length).toBeLessThan(10_000)
    expect(short.steps.at(-1)?.step).toBe(1000)
    expect(short.kept.reason).toBe(`everything; figures are those of the last ${short.steps.length} of 1000 steps`)
  })

  // Noise in every column and in every name, which no compression makes smaller.
  it('is never larger than it may be, whatever the run', async () => {
    const sizes = fc.record({
      ops: fc.nat(60_000),
      steps: fc.integer({ min: 1, max: 3000 }),
      spans: fc.nat(60_000),
      rows: fc.nat(60_000),
      buffers: fc.nat(30_000),
      uses: fc.nat(200_000),
      seed: fc.integer(),
    })
    await fc.assert(
      fc.asyncProperty(sizes, async (size) => {
        const saved = await saveRun(noise(size))
        expect(JSON.stringify(saved).length).toBeLessThanOrEqual(MAX_SAVED)
        const { listing, head, spans } = await decodeSavedRun(saved)
        expect([listing.length, head.kept.spans, head.kept.of]).toEqual([size.ops, spans.op.length, size.spans])
        if (spans.op.length < size.spans) expect(head.kept.reason).toContain("run.trace('step.arrow')")
      }),
      { numRuns: 8 },
    )
  }, 120_000)

  // What a notebook gets is cut for its picture, and again where it is too long: here by names of noise.
  it.each([
    ['whole steps, then of one', { ranks: 1, steps: 3 }],
    ['a step', { ranks: 2, steps: 1 }],
  ])(
    'says of the whole what was kept of it, also where it is cut twice: of %s',
    async (_, sizes) => {
      const whole = fixture({ layers: 2, chunks: 32, ...sizes })
      const { [RUN_MIME]: saved } = await runBundle({ ...whole, names: whole.names.map(withNoise) })
      const { kept } = (saved as SavedRun).head
      const rows = whole.spans.op.length
      expect(kept).toMatchObject({ of: rows, steps: [sizes.steps] })
      const most = Number(/holds at most (\d+) spans/.exec(kept.reason)?.[1])
      expect(most).toBeLessThan(MAX_SPANS)
      expect(kept.reason).toBe(
        `the beginning of step ${sizes.steps}, which alone has ${rows / sizes.steps} spans: a saved run holds at most ${most} spans, and run.trace('step.arrow') writes all of them to a file`,
      )
    },
    60_000,
  )

  it('leaves memory out where it stands beside no span and does not fit', async () => {
    const none = noise({ ops: 10, steps: 1, spans: 0, rows: 2000, buffers: 10, uses: 10, seed: 1 })
    const { head, memory, listing } = await decodeSavedRun(await saveRun(none, 20_000))
    expect([listing.length, memory.op.length, head.kept.reason]).toEqual([10, 0, 'everything, without memory, which does not fit'])
    const { memory: whole, head: fits } = await decodeSavedRun(await saveRun(none))
    expect([whole.op.length, fits.kept.reason]).toEqual([2000, 'everything'])
  })

  it.each([
    ['nothing', null, 'it has no head'],
    ['another format', { head: { schema: 'speedscope' } }, 'its head is not of an fpdt.run'],
    ['a newer version', { head: { ...head, version: 3 } }, 'it has version 3, and version 2 is known; a newer fpdt reads it'],
    ['an older version', { head: { ...head, version: 1 } }, 'it has version 1, and version 2 is known; run its cell again'],
  ])('refuses %s', async (_, payload, words) => {
    await expect(decodeSavedRun(payload)).rejects.toThrow(words)
  })

  it('refuses tables that are cut, lie about their rows, or unpack without end', async () => {
    const saved = await saveRun(steps([4]))
    const withSpans = (change: object) => ({ ...saved, tables: { ...saved.tables, spans: { ...saved.tables.spans, ...change } } })
    await expect(decodeSavedRun(withSpans({ data: saved.tables.spans.data.slice(0, 400) }))).rejects.toThrow('the spans table is not whole gzip')
    await expect(decodeSavedRun(withSpans({ data: '!!!' }))).rejects.toThrow('is not base64')
    await expect(decodeSavedRun(withSpans({ rows: 5 }))).rejects.toThrow('its spans table says 5 and holds 4')
    await expect(decodeSavedRun(withSpans({ encoding: 'arrow-file' }))).rejects.toThrow('not arrow-stream+gzip+base64')
    const bomb = new Blob([new Uint8Array(300 * 2 ** 20)]).stream().pipeThrough(new CompressionStream('gzip'))
    const data = Buffer.from(await new Response(bomb).arrayBuffer()).toString('base64')
    await expect(decodeSavedRun(withSpans({ data }))).rejects.toThrow('the spans table unpacks to more than what it says needs')
    await expect(decodeSavedRun(withSpans({ data, rows: 10_000_000 }))).rejects.toThrow('it unpacks to more than 268435456 bytes')
  }, 30_000)
})

function withNoise(name: string): string {
  return `${name} ${createHash('shake256', { outputLength: 600 }).update(name).digest('base64')}`
}
function noise(size: { ops: number; steps: number; spans: number; rows: number; buffers: number; uses: number; seed: number }): RunTables {
  let state = size.seed
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return (state >>> 0) / 2 ** 32
  }
  const noisy = <T>(spec: Record<string, ColumnType>, rows: number, below: Record<string, number> = {}): T =>
    Object.fromEntries(
      Object.entries(spec).map(([name, type]) => {
        const values = Array.from({ length: rows }, () => Math.floor(random() * (below[name] ?? 200)))
        return [name, ARRAYS[type].from(values)]
      }),
    ) as T
  const index = { op: size.ops, on: size.ops, birth: size.ops, death: size.ops, buffer: size.buffers, time_ns: 2 ** 50, start_ns: 2 ** 50, duration_ns: 2 ** 50, flops: 2 ** 50, bytes: 2 ** 50, size_bytes: 2 ** 40, offset_bytes: 2 ** 40, delta_bytes: 2 ** 40, total_bytes: 2 ** 40 } // biome-ignore format: one table
  const words = (count: number, length: number) => Array.from({ length: count }, () => Array.from({ length }, () => random().toString(36).slice(2)).join(' '))
  const rows = (count: number): number => (size.ops > 0 && size.buffers > 0 ? count : 0)
  const spans = noisy<SpanColumns>(SPAN_COLUMNS, size.spans, index)
  for (let row = 0; row < size.spans; row++) spans.step[row] = 1 + Math.floor((row * size.steps) / size.spans)
  const steps = Array.from({ length: size.steps }, (_, i) => ({
    step: i + 1,
    loss: random(),
    start_ns: random(),
    accounts: Array.from({ length: 8 }, () => ({ rank: random() })),
  }))
  return {
    head: { ...head, steps } as unknown as RunHead,
    listing: words(size.ops, 3),
    names: words(size.buffers, 2),
    spans,
    memory: noisy(MEMORY_COLUMNS, rows(size.rows), index),
    buffers: noisy(BUFFER_COLUMNS, size.buffers, index),
    uses: noisy(USE_COLUMNS, rows(size.uses), index),
    waits: noisy(WAIT_COLUMNS, rows(size.uses), index),
    predicted: null,
  }
}

function attempt<T>(run: () => T): T | FpdtError {
  try {
    return run()
  } catch (error) {
    if (error instanceof FpdtError) return error
    throw error
  }
}
