import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { simulate } from '../../../kernel/src/execute/simulate.js'
import { lower } from '../../../kernel/src/plan/lower.js'
import { type Plan, plan } from '../../../kernel/src/plan/plan.js'
import { at, compute, fetch, free } from '../../../kernel/src/schedule/emit.js'
import type { Value } from '../../../kernel/src/schedule/values.js'
import { memoryOf, peaksOf as peaks } from '../../../kernel/src/trace/memory.js'
import { planTables } from '../../../kernel/src/trace/plan-tables.js'
import { CATEGORIES, type MemoryColumns, TIERS } from '../../../kernel/src/trace/schema.js'
import { type StepSpans, spanTable } from '../../../kernel/src/trace/spans.js'
import { randomDurations } from '../plan/hazards.js'
import { randomSchedule, workspace } from '../plan/random-schedule.js'

const randomRun = fc.tuple(randomSchedule(), fc.nat()).map(([{ ops, initial, ranks }, seed]) => {
  const made = plan(ops, { ranks, initial, workspace })
  const program = lower(made)
  const first = simulate(program, randomDurations(seed))
  const end = first.end_ns.reduce((last, time) => Math.max(last, time), 0)
  const second = simulate(program, randomDurations(seed + 1), { start_ns: end + 100 })
  return {
    made,
    program,
    steps: [
      { step: 1, spans: first },
      { step: 2, spans: second },
    ],
  }
})
const memoryColumns = (made: Plan, steps: readonly StepSpans[]): MemoryColumns => memoryOf(planTables(made), spanTable(lower(made), steps))
const peaksOf = (made: Plan, steps: readonly StepSpans[]) => peaks(planTables(made), memoryColumns(made, steps), made.words)
const rowsOf = (memory: MemoryColumns) =>
  Array.from(memory.op, (op, row) => ({
    op,
    rank: memory.rank[row],
    tier: TIERS[memory.tier[row]],
    category: CATEGORIES[memory.category[row]],
    time_ns: memory.time_ns[row],
    delta: memory.delta_bytes[row],
    total: memory.total_bytes[row],
  }))

describe('memoryColumns', () => {
  it('begins a residency with the op that makes it and ends it with its last user', () => {
    const [x, out, w] = ['x', 'out']
      .map((name): Value => ({ name, dtype: 'f32', shape: [4, 8], category: 'hidden' }))
      .concat({ name: 'w', dtype: 'f32', shape: [8], category: 'parameters' })
    const here = at('forward')
    const ops = [fetch(here, x), compute(here, 'norm', { out, x, weight: w }, { eps: 1 }), ...free(here, 'device', x, out)]
    const initial = [
      { value: x, tier: 'host' as const, written: true },
      { value: w, tier: 'device' as const, written: true },
    ]
    const made = plan(ops, { ranks: 1, initial, workspace: () => 0 })
    const spans = simulate(lower(made), (entry) => [10, 5][entry])
    expect(rowsOf(memoryColumns(made, [{ step: 1, spans }]))).toEqual([
      { op: 0, rank: 0, tier: 'host', category: 'hidden', time_ns: 0, delta: 128, total: 128 },
      { op: 0, rank: 0, tier: 'device', category: 'parameters', time_ns: 0, delta: 32, total: 32 },
      { op: 0, rank: 0, tier: 'device', category: 'hidden', time_ns: 0, delta: 128, total: 160 },
      { op: 1, rank: 0, tier: 'device', category: 'hidden', time_ns: 10, delta: 128, total: 288 },
      { op: 1, rank: 0, tier: 'device', category: 'hidden', time_ns: 15, delta: -128, total: 160 },
      { op: 1, rank: 0, tier: 'device', category: 'hidden', time_ns: 15, delta: -128, total: 32 },
    ])
    expect(peaksOf(made, [{ step: 1, spans }])).toEqual([
      {
        tier: 'device',
        bytes: 288,
        time_ns: 10,
        step: 1,
        op: 1,
        words: 'norm out = x w eps=1 @compute (forward)',
        buffers: [
          { name: 'x', bytes: 128, category: 'hidden' },
          { name: 'out', bytes: 128, category: 'hidden' },
          { name: 'w', bytes: 32, category: 'parameters' },
        ],
      },
      { tier: 'host', bytes: 128, time_ns: 0, step: 1, op: 0, words: 'before the first op', buffers: [{ name: 'x', bytes: 128, category: 'hidden' }] },
    ])
  })

  it('adds up: totals are running sums, never above the arena, and what stands is left at the end', () => {
    fc.assert(
      fc.property(randomRun, ({ made, steps }) => {
        const rows = rowsOf(memoryColumns(made, steps))
        for (let rank = 0; rank < made.ranks; rank++) {
          for (const tier of TIERS) {
            let total = 0
            let time = 0
            for (const row of rows.filter((r) => r.rank === rank && r.tier === tier)) {
              expect(row.time_ns).toBeGreaterThanOrEqual(time)
              total += row.delta
              expect(row.total).toBe(total)
              expect(total).toBeGreaterThanOrEqual(0)
              expect(total).toBeLessThanOrEqual(made.arenaBytes[tier]) // whatever the timing: that is what an arena is for
              time = row.time_ns
            }
            const standing = made.residencies.filter((r) => r.persistent && r.tier === tier).reduce((sum, { bytes }) => sum + bytes, 0)
            if (made.entries.length > 0) expect(total).toBe(standing)
          }
        }
      }),
    )
  })

  it('closes what a stopped step left, when the next one begins', () => {
    fc.assert(
      fc.property(randomRun, fc.nat(), ({ made, program, steps }, cut) => {
        fc.pre(program.length > 0)
        const stopped = simulate(program, () => 1, { to: 1 + (cut % program.length) })
        const after = simulate(program, () => 1, { start_ns: 1e9 })
        const rows = rowsOf(
          memoryColumns(made, [
            { step: 1, spans: stopped },
            { step: 2, spans: after },
          ]),
        )
        const standing = made.residencies.filter((r) => r.persistent && r.tier === 'device').reduce((sum, { bytes }) => sum + bytes, 0)
        expect(rows.filter((row) => row.tier === 'device').at(-1)?.total).toBe(standing)
        expect(steps.length).toBe(2)
      }),
    )
  })
})

describe('peaksOf', () => {
  it('are the highest totals of the table, and their buffers add up to them', () => {
    fc.assert(
      fc.property(randomRun, ({ made, steps }) => {
        const rows = rowsOf(memoryColumns(made, steps))
        for (const peak of peaksOf(made, steps)) {
          const totals = rows.filter((row) => row.tier === peak.tier).map(({ total }) => total)
          expect(peak.bytes).toBe(Math.max(...totals))
          expect(peak.buffers.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(peak.bytes)
          expect(rows.some((row) => row.time_ns === peak.time_ns && row.total === peak.bytes && row.op === peak.op)).toBe(true)
        }
      }),
    )
  })
})
