import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { levelAt, levelsAfter, type Stack, stackColumns, stackOf } from '../../../../kernel/src/trace/model/stack.js'
import { CATEGORIES, type MemoryColumns } from '../../../../kernel/src/trace/schema.js'

/** Residencies as (begin, length, category, bytes) to the events they make. */
function memory(residencies: readonly (readonly [number, number, number, number])[]): MemoryColumns {
  const events = residencies.flatMap(([begin, length, category, bytes]) => [
    { time: begin, category, delta: bytes },
    { time: begin + length, category, delta: -bytes },
  ])
  events.sort((a, b) => a.time - b.time)
  let total = 0
  const totals = events.map(({ delta }) => (total += delta))
  const n = events.length
  return { step: new Uint32Array(n), op: new Uint32Array(n), rank: new Uint16Array(n), tier: new Uint8Array(n), category: Uint8Array.from(events, (e) => e.category), time_ns: Float64Array.from(events, (e) => e.time), delta_bytes: Float64Array.from(events, (e) => e.delta), total_bytes: Float64Array.from(totals), buffer: new Uint32Array(n) } // biome-ignore format: one table
}
const allRows = (table: MemoryColumns): Uint32Array => Uint32Array.from(table.op.keys())
const allLevels = (stack: Stack): Float64Array[] => Array.from(stack.totals, (_, event) => levelsAfter(stack, event))
const residencies = fc.array(
  fc.tuple(
    fc.integer({ min: 0, max: 1000 }),
    fc.integer({ min: 1, max: 300 }),
    fc.integer({ min: 0, max: CATEGORIES.length - 1 }),
    fc.integer({ min: 1, max: 2 ** 30 }),
  ),
  { minLength: 1, maxLength: 300 },
)

describe('stack', () => {
  it('has the totals of the table after every event, and the peak', () => {
    fc.assert(
      fc.property(residencies, (list) => {
        const table = memory(list)
        const stack = stackOf(table, 0, 'device', allRows(table))
        expect([...stack.totals.subarray(1)]).toEqual([...table.total_bytes])
        expect(stack.totals[stack.peak]).toBe(Math.max(...table.total_bytes))
        expect(stack.categories).not.toContain('earlier')
      }),
    )
  })

  it('has the levels of every category after every event', () => {
    fc.assert(
      fc.property(residencies, (list) => {
        const table = memory(list)
        const stack = stackOf(table, 0, 'device', allRows(table))
        const level = new Map<string, number>()
        for (const [event, levels] of allLevels(stack).entries()) {
          if (event > 0) {
            const category = CATEGORIES[table.category[event - 1]]
            level.set(category, (level.get(category) ?? 0) + table.delta_bytes[event - 1])
          }
          expect([...levels]).toEqual(stack.categories.map((category) => level.get(category) ?? 0))
        }
      }),
    )
  })

  it('of a table that begins in the middle of a run: totals hold, and nothing is negative', () => {
    fc.assert(
      fc.property(residencies, fc.nat(99), (list, cut) => {
        const table = memory(list)
        const rows = allRows(table).slice(cut % table.op.length)
        const stack = stackOf(table, 0, 'device', rows)
        expect([...stack.totals.subarray(1)]).toEqual([...rows].map((row) => table.total_bytes[row]))
        for (const levels of allLevels(stack)) expect(Math.min(0, ...levels)).toBe(0)
      }),
    )
  })

  it('shows the highest and the lowest instant of every pixel column', () => {
    fc.assert(
      fc.property(residencies, fc.integer({ min: 1, max: 60 }), (list, width) => {
        const table = memory(list)
        const stack = stackOf(table, 0, 'device', allRows(table))
        const { high, low } = stackColumns(stack, 0, 1300, width)
        for (let x = 0; x < width; x++) {
          const [from, to] = [(1300 * x) / width, (1300 * (x + 1)) / width]
          const first = x === 0 ? levelAt(stack, from) : stack.times_ns.filter((time) => time < from).length
          const inside = [...table.time_ns].flatMap((time, row) => (time >= from && time < to && row >= first ? [table.total_bytes[row]] : []))
          expect(stack.totals[high[x]]).toBe(Math.max(stack.totals[first], ...inside))
          expect(stack.totals[low[x]]).toBe(Math.min(stack.totals[first], ...inside))
        }
      }),
    )
  })
})
