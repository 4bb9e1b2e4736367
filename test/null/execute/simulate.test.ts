import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { durations } from '../../../kernel/src/cost/durations.js'
import { FpdtError } from '../../../kernel/src/errors.js'
import { simulate } from '../../../kernel/src/execute/simulate.js'
import { lower } from '../../../kernel/src/plan/lower.js'
import { plan } from '../../../kernel/src/plan/plan.js'
import type { Program } from '../../../kernel/src/plan/program.js'
import { at, compute, fetch, free, toHeads } from '../../../kernel/src/schedule/emit.js'
import type { Op } from '../../../kernel/src/schedule/ops.js'
import type { Value } from '../../../kernel/src/schedule/values.js'
import { FAMILIES, type Family, STREAMS } from '../../../kernel/src/trace/schema.js'
import type { Spans } from '../../../kernel/src/trace/spans.js'
import { randomDurations } from '../plan/hazards.js'
import { randomSchedule, workspace } from '../plan/random-schedule.js'

const value = (name: string, shape: number[]): Value => ({ name, dtype: 'f32', shape, category: 'hidden' })
const here = at('forward')
const random = randomSchedule().map(({ ops, initial, ranks }) => lower(plan(ops, { ranks, initial, workspace })))
const times = ({ start_ns, end_ns }: Spans): [number, number][] => Array.from(start_ns, (start, i) => [start, end_ns[i]])

/** Two chunks fetched, each used by one op; the arena has room for one chunk more than is in use. */
function doubleBuffered(): Program {
  const [a, b, out, w] = [value('x[0]', [4, 8]), value('x[1]', [4, 8]), value('out', [4, 8]), value('w', [8])]
  const norm = (x: Value): Op => compute(here, 'norm', { out, x, weight: w }, { eps: 1 })
  const ops = [fetch(here, a), fetch(here, b), norm(a), ...free(here, 'device', a), norm(b), ...free(here, 'device', b, out)]
  const initial = [a, b].map((x) => ({ value: x, tier: 'host' as const, written: true }))
  return lower(plan(ops, { ranks: 1, initial: [...initial, { value: w, tier: 'device', written: true }], workspace: () => 0 }))
}

/** Each rank computes, then all exchange, then each computes again. */
function exchange(): Program {
  const [local, part] = [value('l', [4, 4, 8]), value('p', [8, 2, 8])]
  const zero = (out: Value): Op => compute(here, 'zero', { out })
  const ops = [zero(local), toHeads(here, local, [part]), zero(local), ...free(here, 'device', local, part)]
  return lower(plan(ops, { ranks: 2, initial: [], workspace: () => 0 }))
}

describe('simulate', () => {
  it('overlaps streams as far as the waits allow', () => {
    // fetch x[0] | fetch x[1] and norm x[0] | norm x[1]
    expect(times(simulate(doubleBuffered(), () => 10))).toEqual([
      [0, 10],
      [10, 20],
      [10, 20],
      [20, 30],
    ])
  })

  it('starts a collective when the last rank reaches it, and lets no rank go before all are through', () => {
    const slowRank = (entry: number, rank: number): number => (entry === 1 ? [5, 9][rank] : [10, 30][rank])
    expect(times(simulate(exchange(), slowRank))).toEqual([
      [0, 10],
      [30, 39],
      [39, 49],
      [0, 30],
      [30, 39],
      [39, 69],
    ])
    expect(times(simulate(exchange(), slowRank, { exit: false }))[2]).toEqual([35, 45])
  })

  it('lets ranks that share a compute pool take turns, first come first served', () => {
    expect(times(simulate(exchange(), () => 10, { pools: 1 }))).toEqual([
      [0, 10],
      [20, 30],
      [30, 40],
      [10, 20],
      [20, 30],
      [40, 50],
    ])
  })

  it('runs every entry once on every rank, streams in order and never two at once', () => {
    fc.assert(
      fc.property(random, fc.nat(), fc.integer({ min: 1, max: 4 }), (program, seed, pools) => {
        const spans = simulate(program, randomDurations(seed), { pools })
        expect(spans.entry.length).toBe(program.length * program.ranks)
        const free_ns = Array.from({ length: program.ranks }, () => STREAMS.map(() => 0))
        const busy = Array.from({ length: pools }, (): [number, number][] => [])
        for (let i = 0; i < spans.entry.length; i++) {
          const [rank, entry] = [spans.rank[i], spans.entry[i]]
          expect([rank, entry]).toEqual([Math.floor(i / program.length), i % program.length])
          expect(spans.start_ns[i]).toBeGreaterThanOrEqual(free_ns[rank][program.stream[entry]])
          free_ns[rank][program.stream[entry]] = spans.end_ns[i]
          if (STREAMS[program.stream[entry]] === 'compute') busy[rank % pools].push([spans.start_ns[i], spans.end_ns[i]])
        }
        for (const pool of busy) {
          pool.sort(([a], [b]) => a - b)
          for (let i = 1; i < pool.length; i++) expect(pool[i][0]).toBeGreaterThanOrEqual(pool[i - 1][1])
        }
      }),
    )
  })

  it('wastes no time: a rank alone starts an op when the last thing it waits for has ended', () => {
    fc.assert(
      fc.property(random, fc.nat(), (program, seed) => {
        fc.pre(program.ranks === 1)
        const spans = simulate(program, randomDurations(seed))
        const last = STREAMS.map(() => 0)
        for (let e = 0; e < program.length; e++) {
          const waits = [...program.waitEntry.subarray(program.waitStart[e], program.waitStart[e + 1])].map((wait) => spans.end_ns[wait])
          expect(spans.start_ns[e]).toBe(Math.max(last[program.stream[e]], ...waits))
          last[program.stream[e]] = spans.end_ns[e]
        }
      }),
    )
  })

  it('stopped at an op and run on from there, runs the same entries', () => {
    fc.assert(
      fc.property(random, fc.nat(), (program, cut) => {
        const to = cut % (program.length + 1)
        const begun = simulate(program, () => 1, { to })
        const rest = simulate(program, () => 1, { from: to })
        const ran = [...begun.entry, ...rest.entry].sort((a, b) => a - b)
        expect(ran).toEqual([...simulate(program, () => 1).entry].sort((a, b) => a - b))
      }),
    )
  })

  it('says who waits for what when a program cannot go on', () => {
    const program = doubleBuffered()
    const waitForTheLast = { ...program, waitEntry: program.waitEntry.map((_, i) => (i === 0 ? program.length - 1 : program.waitEntry[i])) }
    try {
      simulate(waitForTheLast, () => 1)
      expect.fail('it went on')
    } catch (error) {
      expect(error).toBeInstanceOf(FpdtError)
      expect((error as FpdtError).code).toBe('deadlock')
      expect((error as FpdtError).message).toBe('the program cannot go on: rank 0 compute waits before op 2 for op 4')
    }
  })
})

describe('durations', () => {
  it('takes the slower of operations and bytes, and the overhead', () => {
    const program = exchange()
    const flopsPerSecond = Object.fromEntries(FAMILIES.map((family) => [family, 1e9])) as Record<Family, number>
    const duration = durations(program, { flopsPerSecond, memoryBytesPerSecond: 2e9, copyBytesPerSecond: 1e9, linkBytesPerSecond: 4e9, opOverhead_ns: 7 })
    expect(duration(0, 0)).toBe(7 + 512 / 2) // zero: no operations, 512 bytes
    expect(duration(1, 0)).toBe(7 + 256 / 4) // half of 512 bytes goes to the other rank
  })
})
