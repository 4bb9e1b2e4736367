/** Runs that nobody's engine wrote: what may be opened is drawn, asked and exported within bounds, and all else is refused in words. */
import { gzipSync } from 'node:zlib'
import { createCanvas } from '@napi-rs/canvas'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FpdtError } from '../../../kernel/src/errors.js'
import { accountsOf } from '../../../kernel/src/trace/ask/accounts.js'
import { compareRuns } from '../../../kernel/src/trace/ask/compare.js'
import { lessonWords } from '../../../kernel/src/trace/ask/lesson.js'
import { meetingPlaces, triangleOf } from '../../../kernel/src/trace/ask/meetings.js'
import { relatedTo } from '../../../kernel/src/trace/ask/related.js'
import { slotsOf } from '../../../kernel/src/trace/ask/slots.js'
import { spikeAt } from '../../../kernel/src/trace/ask/spike.js'
import { stallOf, stallsByCause, stallsOf } from '../../../kernel/src/trace/ask/stall.js'
import { layersWithChunks, whereabouts } from '../../../kernel/src/trace/ask/whereabouts.js'
import { drawCurves, layOutCurves } from '../../../kernel/src/trace/draw/curves.js'
import { drawSlots, layOutSlots } from '../../../kernel/src/trace/draw/slots.js'
import { type Surface, shown, write } from '../../../kernel/src/trace/draw/surface.js'
import { LIGHT_PAGE, themeFor } from '../../../kernel/src/trace/draw/theme.js'
import { byteTicks, timeTicks } from '../../../kernel/src/trace/draw/ticks.js'
import { drawTriangle, layOutTriangle } from '../../../kernel/src/trace/draw/triangle.js'
import { drawWhere, layOutWhere } from '../../../kernel/src/trace/draw/whereabouts.js'
import { chromeTrace } from '../../../kernel/src/trace/export/chrome.js'
import { memoryCsv, spansCsv } from '../../../kernel/src/trace/export/csv.js'
import { figure, figureSvg } from '../../../kernel/src/trace/figure.js'
import { memoryOf } from '../../../kernel/src/trace/memory.js'
import { openRun } from '../../../kernel/src/trace/model/run.js'
import { decodeSavedRun, keepNewest, saveRun } from '../../../kernel/src/trace/saved.js'
import { NONE, type RunTables, TIERS } from '../../../kernel/src/trace/schema.js'
import { fixture } from './fixture.js'

const base = fixture({ chunks: 2, layers: 1, steps: 2, predicted: 1.2 })
const surface = (): Surface => ({
  context: createCanvas(1200, 900).getContext('2d') as never,
  theme: themeFor({ ...LIGHT_PAGE, font: 'sans-serif' }),
  labels: [],
})
const count = (n: number, of: (i: number) => number): number[] => Array.from({ length: n }, (_, i) => of(i))

/** As many spans of op 1 as `n`, one after the other, with some columns of their own. */
function spansOf(n: number, own: Partial<RunTables['spans']> = {}): RunTables['spans'] {
  return {
    step: new Uint32Array(n).fill(1),
    op: new Uint32Array(n).fill(1),
    rank: new Uint16Array(n),
    stream: new Uint8Array(n),
    kind: new Uint8Array(n),
    kernel: new Uint8Array(n),
    phase: new Uint8Array(n).fill(1),
    layer: new Uint16Array(n),
    q: new Uint16Array(n).fill(NONE),
    kv: new Uint16Array(n).fill(NONE),
    start_ns: Float64Array.from(count(n, (i) => 2 * i)),
    duration_ns: new Float64Array(n).fill(1),
    flops: new Float64Array(n),
    bytes: new Float64Array(n),
    ...own,
  }
}

const withHead = (head: object): RunTables => ({ ...base, head: { ...base.head, ...head } as RunTables['head'] })
const plain = (own: Partial<RunTables>): RunTables => ({ ...withHead({ steps: [], peaks: [] }), predicted: null, ...own })

/** All that can be made of a run: its pictures, its answers and its files. How many characters those have. */
async function makeAll(tables: RunTables): Promise<number> {
  const run = openRun(tables)
  figure(tables, { width: 600, scale: 1 })
  const step = run.spans.step[0] ?? 1
  const rank = run.ranks[0] ?? 0
  const view = { ...run.extent, rank }
  const time_ns = (run.extent.start_ns + run.extent.end_ns) / 2
  const on = surface()
  stallsOf(run, step)
  stallsByCause(run, step, 3)
  accountsOf(run, { step, ...{ start_ns: run.extent.start_ns, duration_ns: run.extent.end_ns - run.extent.start_ns } }, 'cpu')
  for (const tier of TIERS) spikeAt(run, rank, tier, time_ns)
  for (const row of [0, 1, 2]) {
    if (row >= run.spans.op.length) continue
    relatedTo(run, { kind: 'span', row })
    if (run.spans.op[row] < run.listing.length) lessonWords(run, row)
  }
  for (const place of meetingPlaces(run).slice(0, 3)) {
    const triangle = triangleOf(run, step, rank, place)
    if (triangle) drawTriangle(on, triangle, time_ns, layOutTriangle(on, triangle, 500))
  }
  for (const layer of layersWithChunks(run).slice(0, 3)) {
    const map = whereabouts(run, step, rank, layer)
    drawWhere(on, map, time_ns, layOutWhere(on, map, 'all', 500))
  }
  drawSlots(on, run, view, layOutSlots(on, slotsOf(run, rank, 'attention'), view, 500, { x: 60, width: 400 }))
  drawCurves(on, run.head, layOutCurves(on, run.head, 'step', 500), 0.5)
  compareRuns(run, openRun(base))
  memoryOf(run, run.spans)
  const trace = [...chromeTrace(run)].join('')
  JSON.parse(trace)
  const svg = figureSvg(tables, { width: 600 })
  expect(svg).not.toMatch(/NaN|Infinity|undefined/)
  await decodeSavedRun(JSON.parse(JSON.stringify(await saveRun(tables))))
  return trace.length + svg.length + [...spansCsv(run)].join('').length + [...memoryCsv(run)].join('').length
}

describe('hostile runs', () => {
  it('has made everything of an honest one', async () => {
    expect(await makeAll(base)).toBeGreaterThan(10_000)
  })

  it('marks axes of any numbers with few marks', () => {
    fc.assert(
      fc.property(fc.double(), fc.double(), fc.integer({ min: 1, max: 20 }), (a, b, most) => {
        expect(timeTicks(Math.min(a, b), Math.max(a, b), most).ticks.length).toBeLessThanOrEqual(most + 2)
        expect(byteTicks(a, most).length).toBeLessThanOrEqual(most + 2)
      }),
    )
    expect(timeTicks(1e15, 1e15 + 1, 10).ticks.length).toBe(2)
    expect(byteTicks(Number.POSITIVE_INFINITY, 4)).toEqual([])
  })

  it.each([
    ['an end beyond 2^53', { spans: spansOf(2, { start_ns: Float64Array.from([0, 2 ** 53]), duration_ns: Float64Array.from([1, 2]) }) }, 'span row 1 ends at'],
    ['a time beyond 2^53', { spans: spansOf(1, { start_ns: Float64Array.from([1e300]) }) }, 'start_ns of span row 0 is 1e+300'],
    ['many uses of one op', { spans: spansOf(30_000), uses: usesOf(30_000) }, 'spans use buffers'],
    ['many waits of one op', { waits: { op: new Uint32Array(7).fill(5), on: new Uint32Array(7) } }, 'op 5 waits for more ops'],
  ])('refuses %s', (_, own, words) => {
    expect(() => openRun(plain(own))).toThrow(words)
  })

  it.each([
    ['steps[0].duration_ns', { steps: [{ ...base.head.steps[0], duration_ns: Number.POSITIVE_INFINITY }] }],
    ['steps[0].tokens_per_second', { steps: [{ ...base.head.steps[0], tokens_per_second: Number.NEGATIVE_INFINITY }] }],
    ['tiers', { tiers: Array(4).fill(base.head.tiers[0]) }],
    ['tiers names device twice', { tiers: Array(2).fill(base.head.tiers[0]) }],
    ['peaks[0].tier', { peaks: [{ ...base.head.peaks[0], tier: '__proto__' }] }],
    ['peaks[0].buffers', { peaks: [{ ...base.head.peaks[0], buffers: Array(1001).fill(base.head.peaks[0].buffers[0]) }] }],
    ['codes.kernels', { codes: { kernels: Array(256).fill(base.head.codes.kernels[0]) } }],
    ['kept.of', { kept: { ...base.head.kept, of: Number.POSITIVE_INFINITY } }],
    ['predicted_ns', { predicted_ns: 1e300 }],
    ['device', { device: null }],
    ['state', { state: 'constructor' }],
    ['origin', { origin: '__proto__' }],
  ])('refuses a head whose %s is none', (name, head) => {
    expect(() => openRun(withHead(head))).toThrow(`this run cannot be drawn: head.${name}`)
  })

  it('draws a text of anyone as one short line', () => {
    expect(shown('a\0b\nc\u202ed\ud800')).toBe('a\ufffdb\ufffdc\ufffdd\ufffd')
    expect(shown('x'.repeat(2e6))).toHaveLength(500)
    const on = surface()
    write(on, `a\0${'b'.repeat(1e6)}`, 0, 0, { role: 'note' })
    expect(on.labels[0].text).toMatch(/^a\ufffdb+…$/)
    const svg = figureSvg(withHead({ title: `<script>\0${'x'.repeat(2e6)}`, message: 'y'.repeat(2e6) }))
    expect(svg.length).toBeLessThan(100_000)
    expect(svg).not.toMatch(/<script|\0/)
  })

  it('finds no meeting of chunks with numbers that no plan has', async () => {
    const attend = base.head.codes.kernels.findIndex(({ name }) => name === 'attend')
    const far = spansOf(1, { kernel: Uint8Array.of(attend), q: Uint16Array.of(65_534), kv: Uint16Array.of(65_534) })
    expect(meetingPlaces(openRun(plain({ spans: far })))).toEqual([])
    await makeAll(plain({ spans: far }))
  })

  it('makes no column for a chunk whose number is a name alone', async () => {
    const names = base.names.map((_, i) => (i % 2 ? `k${i}[0,${999_999_999 - i}]` : `k${i}[0,${i % 2048}]`))
    const run = openRun({ ...base, names })
    for (const layer of layersWithChunks(run)) {
      const { chunks, rows, more } = whereabouts(run, 1, 0, layer)
      expect(chunks).toBeLessThanOrEqual(2048)
      expect(rows.length).toBeLessThanOrEqual(200)
      expect(more).toBeGreaterThanOrEqual(0)
    }
    await makeAll({ ...base, names })
  })

  it('looks at each use of two ops once', () => {
    // The old way looked at 3e4 x 3e4 pairs.
    const n = 30_000
    const uses = {
      op: Uint32Array.from(count(2 * n, (i) => (i < n ? 0 : 1))),
      buffer: Uint32Array.from(count(2 * n, (i) => (i < n ? 0 : 1))),
      access: Uint8Array.from(count(2 * n, (i) => (i < n ? 2 : 1))),
    }
    const spans = spansOf(2, { op: Uint32Array.of(0, 1), start_ns: Float64Array.of(0, 5), stream: Uint8Array.of(1, 0), kind: Uint8Array.of(6, 0) })
    const run = openRun(plain({ uses, spans, waits: { op: Uint32Array.of(1), on: Uint32Array.of(0) } }))
    expect(stallOf(run, 1)?.words).toMatch(/^Waited/)
  })

  it('finds the memory of nothing for a plan whose numbers were not checked yet', () => {
    const uses = { ...base.uses, op: base.uses.op.map(() => 2 ** 32 - 1) }
    expect(memoryOf({ ...base, uses }, spansOf(0)).op).toHaveLength(0)
  })

  it('asks a run of a step per span', async () => {
    const n = 20_000
    await makeAll(plain({ spans: spansOf(n, { step: Uint32Array.from(count(n, (i) => i + 1)) }) }))
  })

  it('keeps a part of an instant that has more spans than fit', () => {
    const head = { ...base.head, kept: { spans: 100, of: 100, steps: [1], reason: 'everything' } }
    const kept = keepNewest(plain({ head, spans: spansOf(100, { start_ns: new Float64Array(100).fill(7), duration_ns: new Float64Array(100) }) }), 30)
    expect(kept.spans.op.length).toBe(30)
    expect(kept.head.kept).toMatchObject({ spans: 30, of: 100 })
    expect(kept.head.kept.reason).toContain('the beginning of step 1')
  })

  it.each([[{ toString: 5, valueOf: 1 }], [null], [[]], ['2'], [{}], [3]])('says in words what version %j is', async (version) => {
    await expect(decodeSavedRun({ head: { schema: base.head.schema, version } })).rejects.toThrow(/this saved run cannot be read: it has version/)
  })

  it('refuses a small text of very many empty lines', async () => {
    const saved = await saveRun(base)
    const lines = 20_000_000
    const listing = { ...saved.listing, lines, data: gzipSync(Buffer.alloc(lines, 10)).toString('base64') }
    await expect(decodeSavedRun({ ...saved, listing })).rejects.toThrow('its listing says 20000000 lines')
  })

  it('refuses a picture of a size that no canvas has', () => {
    for (const width of [1e9, 0, Number.NaN, -5]) expect(() => figure(base, { width })).toThrow(FpdtError)
  })

  it('gives threads of a Chrome trace numbers that no process has', () => {
    const ranks = Uint16Array.from(count(20, (i) => i))
    const { traceEvents } = JSON.parse([...chromeTrace(openRun(plain({ spans: spansOf(20, { rank: ranks }) })))].join(''))
    const events = traceEvents as { pid: number; tid?: number }[]
    const processes = new Set(events.map(({ pid }) => pid))
    for (const { pid, tid } of events) if (tid !== undefined && tid !== pid) expect(processes).not.toContain(tid)
  })

  it('makes everything, or refuses in words, whatever number is written over another', async () => {
    const tables = ['spans', 'memory', 'buffers', 'uses', 'waits', 'predicted'] as const
    const odd = fc.constantFrom(0, 1, 255, 65_534, 65_535, 2 ** 32 - 1, 2 ** 53, 1e300, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY)
    const change = fc.record({ table: fc.constantFrom(...tables), column: fc.nat(), row: fc.nat(), value: odd, cut: fc.boolean(), all: fc.boolean() })
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
        const mutated = structuredClone(base) as RunTables
        for (const { table, column, row, value, cut, all } of changes) {
          const columns = mutated[table] as unknown as Record<string, Float64Array>
          const name = Object.keys(columns)[column % Object.keys(columns).length]
          if (all) columns[name].fill(value)
          else columns[name][row % columns[name].length] = value
          if (cut && row % 4 === 0) columns[name] = columns[name].subarray(0, row % columns[name].length)
        }
        await bounded(mutated)
      }),
      { numRuns: 40 },
    )
  })

  it('makes everything, or refuses in words, whatever is written into a head', async () => {
    const odd = fc.constantFrom(
      null,
      'constructor',
      '__proto__',
      '\0\n',
      [],
      {},
      { toString: 5 },
      -1,
      0.5,
      2 ** 53,
      1e29,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      'x'.repeat(1e5),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(), { minLength: 1, maxLength: 4 }), odd, async (path, value) => {
        const head = structuredClone(base.head)
        putInto(head, path, value)
        await bounded({ ...base, head })
      }),
      { numRuns: 40 },
    )
  })
})

/** Walks into an object by the numbers of a path, and puts a value where it ends. */
function putInto(object: object, [at, ...rest]: readonly number[], value: unknown): void {
  const entries = Object.entries(object)
  if (entries.length === 0) return
  const [name, inner] = entries[at % entries.length]
  if (rest.length > 0 && typeof inner === 'object' && inner !== null) putInto(inner, rest, value)
  else Object.assign(object, { [name]: value })
}

/** Ten times what the honest run makes; a text of anyone's is in it as it is. */
async function bounded(tables: RunTables): Promise<void> {
  try {
    expect(await makeAll(tables)).toBeLessThan(20e6)
  } catch (error) {
    if (!(error instanceof FpdtError)) throw error
  }
}

function usesOf(n: number): RunTables['uses'] {
  return { op: new Uint32Array(n).fill(1), buffer: new Uint32Array(n), access: new Uint8Array(n).fill(1) }
}
