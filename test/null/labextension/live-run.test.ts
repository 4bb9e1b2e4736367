import { beforeEach, describe, expect, it, vi } from 'vitest'
import { memoryOf } from '../../../kernel/src/trace/memory.js'
import type { RunTables, SpanColumns } from '../../../kernel/src/trace/schema.js'
import { selectRows } from '../../../kernel/src/trace/spans.js'
import { emptySpans, GrowingSpans } from '../../../labextension/src/live/growing.js'
import { LiveRun } from '../../../labextension/src/live/live-run.js'
import { fixture } from '../trace/fixture.js'

const TABLES = fixture({ ranks: 2, layers: 1, chunks: 2, steps: 6 })
const ofStep = (step: number, tables: RunTables = TABLES): SpanColumns => selectRows(tables.spans, (row) => tables.spans.step[row] === step)
const HEAD = { ...TABLES.head, steps: [], peaks: [] }

beforeEach(() => {
  vi.useFakeTimers()
  return () => vi.useRealTimers()
})

function began(limits = { steps: 4, spans: 200_000, frames: 10 }): LiveRun {
  const run = new LiveRun(() => limits)
  run.plan(HEAD, TABLES)
  return run
}
function takes(run: LiveRun, step: number, attempt = 1, pieces = 5): void {
  const spans = ofStep(step)
  const size = Math.ceil(spans.op.length / pieces)
  for (let from = 0; from < spans.op.length; from += size) {
    const to = Math.min(spans.op.length, from + size)
    run.spans(
      step,
      attempt,
      to,
      selectRows(spans, (row) => row >= from && row < to),
    )
  }
  run.step({ ...HEAD, steps: TABLES.head.steps.filter((summary) => summary.step === step) })
}
const steps = (run: LiveRun): number[] => [...new Set(run.run!.spans.step)]

describe('a run as it arrives', () => {
  it('has the memory that all its spans at once would have, whenever it is looked at', () => {
    const run = began()
    for (const step of [1, 2, 3]) {
      takes(run, step)
      vi.advanceTimersByTime(1000)
      const { spans, memory } = run.run!
      const whole = memoryOf(TABLES, spans)
      const order = (time_ns: number, buffer: number, delta: number): string => `${time_ns} ${buffer} ${delta}`
      const rows = (of: typeof memory): string[] => [...of.op.keys()].map((row) => order(of.time_ns[row], of.buffer[row], of.delta_bytes[row])).sort()
      expect(rows(memory)).toEqual(rows(whole))
      expect(Math.max(...memory.total_bytes)).toBe(Math.max(...whole.total_bytes))
    }
  })

  it('keeps the newest steps, and says how many spans there were', () => {
    const run = began()
    for (const step of [1, 2, 3, 4, 5, 6]) takes(run, step)
    expect(steps(run)).toEqual([3, 4, 5, 6])
    expect(run.run!.head.kept).toMatchObject({ spans: ofStep(3).op.length * 4, steps: [3, 4, 5, 6] })
    expect(run.run!.head.kept.of).toBe(TABLES.spans.op.length)
    expect(run.run!.head.steps.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6])
  })

  it('keeps fewer steps where they have more spans than it may keep, but never part of one', () => {
    const most = Math.floor(2.5 * ofStep(1).op.length)
    const run = began({ steps: 4, spans: most, frames: 10 })
    for (const step of [1, 2, 3, 4]) takes(run, step)
    expect(steps(run)).toEqual([2, 3, 4])
  })

  it('forgets the spans of a step that is begun again', () => {
    const run = began()
    takes(run, 1)
    run.spans(
      2,
      2,
      7,
      selectRows(ofStep(2), (row) => row < 7),
    )
    takes(run, 2, 3)
    expect(run.run!.spans).toEqual(selectRows(TABLES.spans, (row) => TABLES.spans.step[row] <= 2))
  })

  it('keeps what it has when it begins anew after a gap, and takes what comes again for it', () => {
    const run = began()
    for (const step of [1, 2, 3]) takes(run, step)
    run.plan(HEAD, TABLES)
    expect(steps(run)).toEqual([1, 2, 3])
    takes(run, 2)
    expect(steps(run)).toEqual([1, 2])
    takes(run, 3)
    expect(run.run!.spans).toEqual(selectRows(TABLES.spans, (row) => TABLES.spans.step[row] <= 3))
  })

  it('a saved output fills in what did not come, and takes nothing away', () => {
    const run = began()
    takes(run, 2)
    run.spans(
      3,
      1,
      9,
      selectRows(ofStep(3), (row) => row < 9),
    )
    const saved = {
      ...TABLES,
      head: { ...TABLES.head, steps: TABLES.head.steps.slice(0, 2) },
      spans: selectRows(TABLES.spans, (row) => TABLES.spans.step[row] < 3),
    }
    run.saved(saved)
    expect(steps(run)).toEqual([1, 2, 3])
    expect(run.run!.spans.op.length).toBe(ofStep(1).op.length + ofStep(2).op.length + 9)
    const before = run.run!
    run.saved(saved)
    expect(run.run!.spans).toEqual(before.spans)
  })

  it('a saved output that is ahead of what comes leaves it to come', () => {
    const run = began()
    takes(run, 1)
    const second = ofStep(2)
    run.spans(
      2,
      1,
      9,
      selectRows(second, (row) => row < 9),
    )
    run.saved(TABLES)
    run.spans(
      2,
      1,
      second.op.length,
      selectRows(second, (row) => row >= 9),
    )
    expect(run.run!.spans).toEqual(selectRows(TABLES.spans, (row) => TABLES.spans.step[row] <= 2))
    expect(run.failure).toBe('')
  })

  it('tells no more often than the limits say, and once more when memory has caught up', () => {
    const run = began()
    let told = 0
    run.onChange(() => {
      told++
      void run.run
    })
    for (let row = 0; row < 100; row++) {
      run.spans(
        1,
        1,
        row + 1,
        selectRows(ofStep(1), (at) => at === row),
      )
      vi.advanceTimersByTime(10)
    }
    expect(told).toBeGreaterThan(3)
    expect(told).toBeLessThanOrEqual(11)
    vi.advanceTimersByTime(5000)
    const whole = memoryOf(TABLES, run.run!.spans)
    expect(run.run!.memory.op.length).toBe(whole.op.length)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('refuses what would look outside of the plan', () => {
    const run = began()
    const spans = selectRows(ofStep(1), (row) => row < 2)
    spans.op[1] = 1e6
    expect(() => run.spans(1, 1, 2, spans)).toThrow(/op 1000000/)
    const uses = { ...TABLES.uses, buffer: TABLES.uses.buffer.map(() => 1e6) }
    expect(() => new LiveRun().plan(HEAD, { ...TABLES, uses })).toThrow(/1000000/)
  })

  it('says why it cannot be drawn, and keeps the last picture that could', () => {
    const run = began()
    takes(run, 1)
    const before = run.run
    const spans = selectRows(ofStep(2), (row) => row < 5)
    spans.start_ns[0] = Number.NaN
    run.spans(2, 1, 5, spans)
    expect(run.run).toBe(before)
    expect(run.failure).toMatch(/NaN/)
  })
})

describe('columns that grow', () => {
  it('hand out tables that later rows do not change', () => {
    const growing = new GrowingSpans()
    growing.append(ofStep(1))
    const first = growing.from(0)
    const copy = first.op.slice()
    for (let i = 0; i < 40; i++) growing.append(ofStep(2))
    expect(first.op).toEqual(copy)
    expect(growing.length).toBe(ofStep(1).op.length + 40 * ofStep(2).op.length)
    growing.replace(emptySpans())
    growing.append(ofStep(3))
    expect(growing.from(0)).toEqual(ofStep(3))
  })
})
