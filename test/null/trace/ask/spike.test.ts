import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { spikeAt } from '../../../../kernel/src/trace/ask/spike.js'
import { openRun, type Run } from '../../../../kernel/src/trace/model/run.js'
import { keepNewest } from '../../../../kernel/src/trace/saved.js'
import { CATEGORIES, NONE_32, TIERS, type Tier } from '../../../../kernel/src/trace/schema.js'
import { selectRows } from '../../../../kernel/src/trace/spans.js'
import { fixture } from '../fixture.js'
import { randomRun } from './random-run.js'

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

interface Standing {
  readonly total: number
  readonly alive: readonly number[]
  /** The row that began last. */
  readonly last: number
}

/** Replays all events of a rank and tier up to an instant. Where several are at that instant, a level counts after a beginning, or after all. */
function replay({ memory }: Run, rank: number, tier: Tier, time_ns: number): Standing {
  const rows = [...memory.op.keys()].filter((row) => memory.rank[row] === rank && TIERS[memory.tier[row]] === tier && memory.time_ns[row] <= time_ns)
  const levels: Standing[] = []
  const alive = new Set<number>()
  let [total, last] = [0, -1]
  for (const row of rows) {
    total += memory.delta_bytes[row]
    if (memory.delta_bytes[row] > 0) {
      alive.add(memory.buffer[row])
      last = row
    } else alive.delete(memory.buffer[row])
    if (row === rows.at(-1) || (memory.time_ns[row] === time_ns && memory.delta_bytes[row] > 0)) levels.push({ total, alive: [...alive], last })
  }
  return levels.reduce((best, level) => (level.total >= best.total ? level : best), { total: 0, alive: [], last: -1 } as Standing)
}

function everywhere(run: Run, check: (rank: number, tier: Tier, time_ns: number) => void): void {
  for (const { rank, tier, times_ns } of run.stacks)
    for (const time_ns of new Set([...times_ns].flatMap((time) => [time, time + 0.5]))) check(rank, tier, time_ns)
}

describe('spikeAt', () => {
  it('names the buffers that a replay finds, and they add up to the total', () => {
    fc.assert(
      fc.property(randomRun(60), ({ tables }) => {
        fc.pre(tables.spans.op.length > 0)
        const run = openRun(tables)
        everywhere(run, (rank, tier, time_ns) => {
          const spike = spikeAt(run, rank, tier, time_ns)
          const expected = replay(run, rank, tier, time_ns)
          expect(spike?.bytes).toBe(expected.total)
          expect(spike?.unnamed_bytes).toBe(0)
          expect(sum(spike?.buffers.map(({ bytes }) => bytes) ?? [])).toBe(expected.total)
          expect(sum(spike?.categories.map(({ bytes }) => bytes) ?? [])).toBe(expected.total)
          expect(new Set(spike?.buffers.map(({ buffer }) => buffer))).toEqual(new Set(expected.alive))
          for (const { category, bytes } of spike?.categories ?? [])
            expect(bytes).toBe(sum(expected.alive.filter((b) => CATEGORIES[run.buffers.category[b]] === category).map((b) => run.buffers.size_bytes[b])))
        })
      }),
      { numRuns: 40 },
    )
  })

  it('says what pushed memory to its level, and what is freed next', () => {
    fc.assert(
      fc.property(randomRun(40), ({ tables }) => {
        fc.pre(tables.spans.op.length > 0)
        const run = openRun(tables)
        const { memory, spans } = run
        everywhere(run, (rank, tier, time_ns) => {
          const spike = spikeAt(run, rank, tier, time_ns)
          const { last } = replay(run, rank, tier, time_ns)
          expect(spike?.pushed?.time_ns ?? -1).toBe(last < 0 ? -1 : memory.time_ns[last])
          const standing = last >= 0 && run.buffers.birth[memory.buffer[last]] === NONE_32
          if (last >= 0) expect([spike?.pushed?.buffer, spike?.pushed?.op]).toEqual([memory.buffer[last], standing ? null : memory.op[last]])
          if (spike?.pushed?.row != null) expect([spans.start_ns[spike.pushed.row], spans.rank[spike.pushed.row]]).toEqual([spike.pushed.time_ns, rank])
          const ends = [...memory.op.keys()].filter((row) => memory.rank[row] === rank && TIERS[memory.tier[row]] === tier && memory.delta_bytes[row] < 0)
          const later = ends.filter((row) => memory.time_ns[row] > time_ns)
          // One that ends at the very instant may stand yet, where that level is the highest.
          if (!spike?.freed) expect(later).toEqual([])
          else if (spike.freed.time_ns > time_ns) {
            const together = later.filter((row) => memory.time_ns[row] === memory.time_ns[later[0]])
            expect(spike.freed.time_ns).toBe(memory.time_ns[together[0]])
            expect(spike.freed.bytes).toBe(-sum(together.map((row) => memory.delta_bytes[row])))
          }
        })
      }),
      { numRuns: 40 },
    )
  })

  it('says of each buffer since when and until when it lives, and who uses it next', () => {
    fc.assert(
      fc.property(randomRun(40), ({ tables }) => {
        fc.pre(tables.spans.op.length > 0)
        const run = openRun(tables)
        const { memory, spans, uses } = run
        everywhere(run, (rank, tier, time_ns) => {
          for (const { buffer, since_ns, until_ns, nextUse } of spikeAt(run, rank, tier, time_ns)?.buffers ?? []) {
            const mine = [...memory.op.keys()].filter((row) => memory.rank[row] === rank && memory.buffer[row] === buffer)
            expect(since_ns).toBe(memory.time_ns[mine.findLast((row) => memory.delta_bytes[row] > 0 && memory.time_ns[row] <= time_ns) as number])
            const until = until_ns ?? Number.POSITIVE_INFINITY
            expect(until).toBeGreaterThanOrEqual(time_ns)
            expect(mine.filter((row) => memory.delta_bytes[row] < 0 && memory.time_ns[row] > time_ns && memory.time_ns[row] < until)).toEqual([])
            if (nextUse === null) continue
            expect([...uses.op.keys()].some((use) => uses.op[use] === spans.op[nextUse] && uses.buffer[use] === buffer)).toBe(true)
            expect(spans.start_ns[nextUse] + spans.duration_ns[nextUse]).toBeGreaterThan(time_ns)
          }
        })
      }),
      { numRuns: 30 },
    )
  })

  it('finds the peak that the head names', () => {
    const run = openRun(fixture({ budget_bytes: 2 ** 25 }))
    for (const peak of run.head.peaks) {
      const bytes = run.ranks.map((rank) => spikeAt(run, rank, peak.tier, peak.time_ns))
      const best = bytes.find((spike) => spike?.bytes === peak.bytes)
      expect(best?.buffers.slice(0, 5).map(({ name, bytes: size }) => [name, size])).toEqual(
        peak.buffers.slice(0, 5).map(({ name, bytes: size }) => [name, size]),
      )
      expect(best?.budget_bytes).toBe(peak.tier === 'device' ? 2 ** 25 : run.head.tiers.find(({ tier }) => tier === peak.tier)?.budget_bytes)
    }
  })

  it('says the same of the steps that a saved run keeps', () => {
    const whole = fixture({ layers: 1, chunks: 4 })
    const cut = openRun(keepNewest(whole, Math.ceil(whole.spans.op.length / 2)))
    expect(cut.head.kept.steps).toEqual([2])
    const run = openRun(whole)
    for (const time_ns of [0.1, 0.5, 0.9].map((share) => Math.round(cut.extent.start_ns + share * (cut.extent.end_ns - cut.extent.start_ns)))) {
      const [a, b] = [run, cut].map((one) => spikeAt(one, 0, 'device', time_ns))
      expect(b?.bytes).toBe(a?.bytes)
      expect(b?.buffers.map(({ buffer }) => buffer)).toEqual(a?.buffers.map(({ buffer }) => buffer))
      expect(b?.unnamed_bytes).toBe(0)
    }
  })

  it('keeps account of what a table that begins in the middle does not name', () => {
    fc.assert(
      fc.property(randomRun(60), fc.double({ min: 0, max: 1, noNaN: true }), fc.boolean(), ({ tables }, share, anonymous) => {
        fc.pre(tables.spans.op.length > 0)
        const { memory } = tables
        const from = Math.floor(share * (memory.op.length - 1))
        const rest = selectRows(memory, (row) => row >= from)
        const run = openRun({ ...tables, memory: anonymous ? { ...rest, buffer: rest.buffer.map((b, row) => (row % 3 === 0 ? NONE_32 : b)) } : rest })
        everywhere(run, (rank, tier, time_ns) => {
          const spike = spikeAt(run, rank, tier, time_ns)
          expect(sum(spike?.buffers.map(({ bytes }) => bytes) ?? []) + (spike?.unnamed_bytes ?? 0)).toBe(spike?.bytes)
          expect(sum(spike?.categories.map(({ bytes }) => bytes) ?? [])).toBe(spike?.bytes)
          const now = [...run.memory.op.keys()].filter((row) => run.memory.rank[row] === rank && TIERS[run.memory.tier[row]] === tier)
          const last = now.findLast((row) => run.memory.time_ns[row] <= time_ns) as number
          if (run.memory.time_ns[last] < time_ns) expect(spike?.bytes).toBe(run.memory.total_bytes[last])
        })
      }),
      { numRuns: 60 },
    )
  })

  it('has nothing to say of a tier that a rank does not use', () => {
    const run = openRun(fixture({ ranks: 1, layers: 1, chunks: 2, steps: 1 }))
    expect([spikeAt(run, 0, 'disk', 0), spikeAt(run, 9, 'device', 0)]).toEqual([null, null])
  })
})
