import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FpdtError } from '../../../../kernel/src/errors.js'
import { homeOf, openRun, type Run } from '../../../../kernel/src/trace/model/run.js'
import type { RunTables } from '../../../../kernel/src/trace/schema.js'
import { BUFFER_COLUMNS, MEMORY_COLUMNS, SPAN_COLUMNS, USE_COLUMNS, WAIT_COLUMNS } from '../../../../kernel/src/trace/schema.js'
import { selectRows } from '../../../../kernel/src/trace/spans.js'
import { summaryWords } from '../../../../kernel/src/trace/words/run.js'
import { fixture } from '../fixture.js'

const whole = fixture({ ranks: 2, layers: 1, chunks: 2, steps: 1 })
const small = (): RunTables => structuredClone(whole)
const reason = (change: (tables: RunTables) => void): string => {
  const tables = small()
  change(tables)
  try {
    openRun(tables)
    return 'drawn'
  } catch (error) {
    expect(error).toBeInstanceOf(FpdtError)
    return (error as FpdtError).message
  }
}

describe('run', () => {
  it('has a lane per rank and stream that has spans, in the order of streams', () => {
    const { lanes } = openRun(small())
    expect(lanes.map(({ rank, stream }) => `${rank} ${stream}`)).toEqual([
      '0 compute',
      '0 fetch',
      '0 offload',
      '0 collective',
      '1 compute',
      '1 fetch',
      '1 offload',
      '1 collective',
    ])
    expect(lanes.reduce((sum, { rows }) => sum + rows.length, 0)).toBe(small().spans.op.length)
  })

  it('reaches over all kept steps', () => {
    const { extent, head } = openRun(small())
    expect(extent).toEqual({ start_ns: head.steps[0].start_ns, end_ns: head.steps[0].start_ns + head.steps[0].duration_ns })
  })

  it('is seen at first from the end of the last long pause on, and whole where there is none', () => {
    const three = fixture({ ranks: 1, layers: 1, chunks: 2, steps: 3 })
    const { extent } = openRun(three)
    expect(homeOf(openRun(three))).toEqual(extent)
    const [first] = three.head.steps
    const later_ns = 5 * first.duration_ns
    const paused = (from: number): Run => {
      const { spans, memory, head } = structuredClone(three)
      for (const [table, times] of [[spans, spans.start_ns] as const, [memory, memory.time_ns] as const])
        for (let row = 0; row < times.length; row++) if (table.step[row] >= from) times[row] += later_ns
      const steps = head.steps.map((step) => ({ ...step, start_ns: step.start_ns + (step.step >= from ? later_ns : 0) }))
      return openRun({ ...three, head: { ...head, steps }, spans, memory })
    }
    for (const from of [2, 3]) {
      const run = paused(from)
      expect(run.extent.end_ns).toBe(extent.end_ns + later_ns)
      expect(homeOf(run)).toEqual({ start_ns: run.head.steps[from - 1].start_ns, end_ns: run.extent.end_ns })
    }
  })

  it('of newer spans with the same plan and memory counts neither again, and trusts neither with another', () => {
    const tables = small()
    const { stacks } = openRun(tables)
    expect(openRun({ ...tables, spans: small().spans }).stacks[0]).toBe(stacks[0])
    const short = { listing: tables.listing.slice(0, 3), spans: selectRows(tables.spans, () => false) }
    expect(() => openRun({ ...tables, ...short })).toThrow(/and there are 3/)
    const { op, buffer, access } = tables.uses
    expect(() => openRun({ ...tables, uses: { op: op.map(() => 1e6), buffer, access } })).toThrow(/op of use row 0 is 1000000/)
    const names = tables.names.slice(1)
    expect(() => openRun({ ...tables, names })).toThrow(/buffers and .* names/)
  })

  it('says why a table cannot be drawn', () => {
    expect(reason(({ spans }) => (spans.stream[3] = 9))).toMatch(/stream of span row 3 is code 9/)
    expect(reason(({ spans }) => (spans.start_ns[3] = Number.NaN))).toMatch(/start_ns of span row 3 is NaN/)
    expect(reason(({ spans }) => (spans.duration_ns[3] = -1))).toMatch(/duration_ns of span row 3 is -1/)
    expect(reason(({ spans }) => (spans.start_ns[0] = 1e12))).toMatch(/in order of time/)
    expect(reason(({ spans }) => (spans.kernel[spans.kind.indexOf(0)] = 77))).toMatch(/kernel number 77/)
    expect(reason((tables) => (tables.spans.q = tables.spans.q.slice(1)))).toMatch(/rows in column q/)
    expect(reason(({ memory }) => (memory.category[0] = 200))).toMatch(/category of memory row 0 is code 200/)
    expect(reason(({ memory }) => (memory.time_ns[0] = 1e15))).toMatch(/memory row 1 is earlier/)
  })

  it('says why a head cannot be drawn, whatever stands in it', () => {
    const anything = fc.oneof(
      fc.constant(null),
      fc.constant(undefined),
      fc.integer(),
      fc.string(),
      fc.constant([]),
      fc.constant([null]),
      fc.constant({}),
      fc.constant(Number.NaN),
    )
    fc.assert(
      fc.property(fc.constantFrom(...(Object.keys(small().head) as (keyof RunTables['head'])[])), anything, (key, value) => {
        const tables = { ...small(), head: { ...small().head, [key]: value } } as RunTables
        try {
          expect(typeof summaryWords(openRun(tables))).toBe('string')
        } catch (error) {
          expect(error).toBeInstanceOf(FpdtError)
          expect((error as Error).message).toMatch(/^this run cannot be drawn: /)
        }
      }),
      { numRuns: 300 },
    )
  })

  it.each([
    ['no list', null, 'steps[0].accounts is not a list'],
    ['nothing', [null], 'steps[0].accounts[0] is not an object'],
    ['words', [{ rank: 0, hidden_copy_ns: 1, exposed_copy_ns: 1, busy_ns: { compute: '<b>1</b>' } }], 'steps[0].accounts[0].busy_ns.compute is not a number'],
  ])('refuses accounts of %s', (_, accounts, words) => {
    expect(reason(({ head }) => Object.assign(head.steps[0], { accounts }))).toContain(words)
  })

  it('draws or says why, for any numbers in any column', () => {
    const column = fc.oneof(
      fc.constantFrom(...Object.keys(SPAN_COLUMNS).map((name) => ['spans', name] as const)),
      fc.constantFrom(...Object.keys(MEMORY_COLUMNS).map((name) => ['memory', name] as const)),
      fc.constantFrom(...Object.keys(BUFFER_COLUMNS).map((name) => ['buffers', name] as const)),
      fc.constantFrom(...Object.keys(USE_COLUMNS).map((name) => ['uses', name] as const)),
      fc.constantFrom(...Object.keys(WAIT_COLUMNS).map((name) => ['waits', name] as const)),
    )
    fc.assert(
      fc.property(column, fc.nat(), fc.oneof(fc.double(), fc.integer(), fc.constantFrom(Infinity, -Infinity, 1e300)), ([table, name], row, value) => {
        const tables = small() as unknown as Record<string, Record<string, Float64Array>>
        tables[table][name][row % tables[table][name].length] = value
        try {
          openRun(tables as unknown as RunTables)
        } catch (error) {
          expect(error).toBeInstanceOf(FpdtError)
        }
      }),
      { numRuns: 300 },
    )
  })
})
