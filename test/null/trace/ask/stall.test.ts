import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { accountsOf } from '../../../../kernel/src/trace/ask/accounts.js'
import { stallOf, stallsIn, stallsOf } from '../../../../kernel/src/trace/ask/stall.js'
import { endOf } from '../../../../kernel/src/trace/ask/waiting.js'
import { openRun, type Run } from '../../../../kernel/src/trace/model/run.js'
import { STREAMS } from '../../../../kernel/src/trace/schema.js'
import { fixture } from '../fixture.js'
import { randomRun } from './random-run.js'

const computeRows = (run: Run, step: number): number[] => [...run.spans.op.keys()].filter((row) => run.spans.step[row] === step && run.spans.stream[row] === 0)

describe('stallOf', () => {
  it('gives the waits of compute, which with the end of the step are its idle time', () => {
    fc.assert(
      fc.property(randomRun(), ({ tables, steps, shared }) => {
        fc.pre(tables.spans.op.length > 0)
        const run = openRun(tables)
        for (const step of steps) {
          for (const { rank, idle_ns } of accountsOf(tables, step, shared ? 'cpu' : 'cuda')) {
            const rows = computeRows(run, step.step).filter((row) => run.spans.rank[row] === rank)
            const waited = rows.reduce((sum, row) => sum + (stallOf(run, row)?.waited_ns ?? 0), 0)
            const last = rows.reduce((end, row) => Math.max(end, endOf(run.spans, row)), step.start_ns)
            expect(waited + step.start_ns + step.duration_ns - last).toBe(Object.values(idle_ns).reduce((sum, time) => sum + time, 0))
          }
        }
      }),
    )
  })

  it('names an op of the plan, of this rank unless it is its turn, that ended in the wait or at its end', () => {
    fc.assert(
      fc.property(randomRun(), ({ tables }) => {
        fc.pre(tables.spans.op.length > 0)
        const run = openRun(tables)
        const { spans, waits } = run
        for (const row of spans.op.keys()) {
          const stall = stallOf(run, row)
          if (!stall) continue
          expect(stall.waited_ns).toBeGreaterThan(0)
          expect(stall.words).toMatch(/^Waited [\d.]+\u202f(ns|µs)[^\n]*\.$/)
          if (stall.on === null) continue
          expect(endOf(spans, stall.on)).toBeLessThanOrEqual(spans.start_ns[row])
          expect(endOf(spans, stall.on)).toBeGreaterThan(spans.start_ns[row] - stall.waited_ns)
          if (stall.cause === 'turn') expect([spans.stream[stall.on], spans.rank[stall.on] === spans.rank[row]]).toEqual([0, false])
          else {
            expect([spans.rank[stall.on], spans.step[stall.on]]).toEqual([spans.rank[row], spans.step[row]])
            expect([...waits.op.keys()].some((w) => waits.op[w] === spans.op[row] && waits.on[w] === spans.op[stall.on as number])).toBe(true)
          }
        }
      }),
    )
  })
})

describe('stalls of a training step', () => {
  const run = openRun(fixture({ ranks: 1 }))
  const words = [...run.spans.op.keys()].flatMap((row) => stallOf(run, row)?.words ?? [])

  it('are said in one sentence each, with what the awaited op brings', () => {
    const fetched = words.find((text) => / for fetch .* brings it from the host/.test(text))
    expect(fetched).toMatch(/^Waited [\d.]+\u202f(ns|µs|ms) for fetch [^ ]+, which brings it from the host/)
    for (const text of words) expect(text).not.toMatch(/undefined|NaN|@|\bnull\b/)
  })

  it('say whose bytes were in the way', () => {
    const held = words.find((text) => text.includes('still held by'))
    expect(held).toMatch(/; it began late because its bytes were still held by \S+ until .+ ended\.$/)
    const taken = words.find((text) => text.includes('takes its bytes'))
    expect(taken).toMatch(/, which still used (\S+); \S+ takes its bytes/)
  })

  it('say which rank came last to a collective, and who had the cores', () => {
    const two = openRun(fixture({ ranks: 2 }))
    const rows = [...two.spans.op.keys()]
    const collective = rows.filter((row) => STREAMS[two.spans.stream[row]] === 'collective').flatMap((row) => stallOf(two, row)?.words ?? [])
    expect(collective.some((text) => /^Waited .* until all ranks had reached it; rank \d came last\.$/.test(text))).toBe(true)
    const turns = rows.flatMap((row) => stallOf(two, row) ?? []).filter(({ cause }) => cause === 'turn')
    expect(turns.length).toBeGreaterThan(0)
    for (const { words: text, on, name, row } of turns) {
      expect(text).toMatch(/^Waited .* for its turn: ranks share the cores, and rank \d ran .+ until ([\d.]+\u202f(ns|µs|ms) before )?it began\.$/)
      expect(name).toMatch(new RegExp(`^rank ${two.spans.rank[on as number]} ran `))
      expect(text.split(name)).toHaveLength(2)
      expect(two.spans.rank[on as number]).not.toBe(two.spans.rank[row])
    }
  })
})

describe('stallsOf', () => {
  const run = openRun(fixture())

  it('lists the longest waits of compute of a step, longest first', () => {
    const all = computeRows(run, 2)
      .flatMap((row) => stallOf(run, row) ?? [])
      .map(({ waited_ns }) => waited_ns)
      .sort((a, b) => b - a)
    expect(stallsOf(run, 2, { most: 20 }).map(({ waited_ns }) => waited_ns)).toEqual(all.slice(0, 20))
    const ofRank = stallsOf(run, 2, { rank: 1, most: 3 })
    expect(ofRank).toHaveLength(3)
    for (const { row } of ofRank) expect([run.spans.rank[row], run.spans.step[row]]).toEqual([1, 2])
  })

  it('keeps to a window', () => {
    const { start_ns, end_ns } = { start_ns: run.extent.start_ns, end_ns: run.extent.start_ns + 5e6 }
    const found = stallsIn(run, { start_ns, end_ns }, 5)
    expect(found.length).toBeGreaterThan(0)
    for (const { row, waited_ns } of found) expect(run.spans.start_ns[row] - waited_ns).toBeLessThan(end_ns)
  })

  it('follows no circle of waits', () => {
    const { waits } = run
    const circle = openRun({ ...run, waits: { op: waits.op, on: waits.op.slice() } })
    expect(() => [...circle.spans.op.keys()].map((row) => stallOf(circle, row))).not.toThrow()
    for (const account of accountsOf(circle, circle.head.steps[0], 'cpu'))
      expect(account.busy_ns.compute + Object.values(account.idle_ns).reduce((sum, time) => sum + time, 0)).toBe(circle.head.steps[0].duration_ns)
  })
})
