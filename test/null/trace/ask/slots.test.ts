import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { livesAt, type Slot, slotsOf } from '../../../../kernel/src/trace/ask/slots.js'
import { openRun, type Run } from '../../../../kernel/src/trace/model/run.js'
import { CATEGORIES, KINDS, NONE_32, TIERS } from '../../../../kernel/src/trace/schema.js'
import { fixture } from '../fixture.js'
import { anyOptions, anyRun } from './any-run.js'

/** Spans of a step and rank that use a buffer, the long way. */
function usersOf({ uses, spans }: Run, step: number, rank: number, buffer: number): number[] {
  const ops = new Set([...uses.op].filter((_, use) => uses.buffer[use] === buffer))
  return [...spans.op.keys()].filter((row) => spans.step[row] === step && spans.rank[row] === rank && ops.has(spans.op[row]))
}
const isFetched = ({ buffers, listing }: Run, buffer: number): boolean =>
  TIERS[buffers.tier[buffer]] === 'device' &&
  CATEGORIES[buffers.category[buffer]] === 'attention' &&
  buffers.birth[buffer] !== NONE_32 &&
  listing[buffers.birth[buffer]].startsWith('fetch ')
const livesOf = (slots: readonly Slot[]): { slot: Slot; life: number }[] => slots.flatMap((slot) => [...slot.buffer.keys()].map((life) => ({ slot, life })))

describe('slots', () => {
  it('hold every fetched chunk of attention once a step, from its fetch to its last use, at its place', () => {
    fc.assert(
      fc.property(anyOptions, (options) => {
        const run = anyRun(options, 2)
        const { start_ns, duration_ns, kind } = run.spans
        const [rank] = run.ranks
        const slots = slotsOf(run, rank, 'fetched')
        const lives = livesOf(slots)
        const expected = [1, 2].flatMap((step) => [...run.names.keys()].filter((buffer) => isFetched(run, buffer)).map((buffer) => `${step} ${buffer}`))
        expect(lives.map(({ slot, life }) => `${slot.step[life]} ${slot.buffer[life]}`).sort()).toEqual(expected.sort())
        for (const { slot, life } of lives) {
          const users = usersOf(run, slot.step[life], rank, slot.buffer[life])
          expect(slot.offset_bytes).toBe(run.buffers.offset_bytes[slot.buffer[life]])
          expect(KINDS[kind[slot.row[life]]]).toBe('fetch')
          expect(slot.start_ns[life]).toBe(Math.min(...users.map((row) => start_ns[row])))
          expect(slot.end_ns[life]).toBe(Math.max(...users.map((row) => start_ns[row] + duration_ns[row])))
          expect([...slot.uses.subarray(slot.firstUse[life], slot.firstUse[life + 1])].sort()).toEqual(users.filter((row) => row !== slot.row[life]).sort())
        }
      }),
      { numRuns: 8 },
    )
  })

  it('have one inhabitant at a time, because their bytes are theirs alone', () => {
    fc.assert(
      fc.property(anyOptions, (options) => {
        const run = anyRun(options, 2)
        for (const choice of ['fetched', 'attention'] as const)
          for (const slot of slotsOf(run, 0, choice))
            for (let life = 1; life < slot.buffer.length; life++) expect(slot.start_ns[life]).toBeGreaterThanOrEqual(slot.end_ns[life - 1])
      }),
      { numRuns: 15 },
    )
  })

  it('say at any instant who lives there and what it does', () => {
    const run = openRun(fixture({ chunks: 4, steps: 1 }))
    const { start_ns, duration_ns } = run.spans
    const slots = slotsOf(run, 1, 'fetched')
    for (const slot of slots) {
      expect(livesAt(run, slot, -1)).toBeNull()
      for (const life of slot.buffer.keys()) {
        expect(livesAt(run, slot, slot.start_ns[life])).toEqual({ life, state: 'filled' })
        expect(livesAt(run, slot, slot.end_ns[life])?.life).not.toBe(life)
        const uses = [...slot.uses.subarray(slot.firstUse[life], slot.firstUse[life + 1])]
        for (const row of uses) expect(livesAt(run, slot, start_ns[row] + duration_ns[row] / 2)).toEqual({ life, state: 'used' })
        const [first] = uses
        if (start_ns[first] > slot.ready_ns[life]) expect(livesAt(run, slot, slot.ready_ns[life])).toEqual({ life, state: 'ready' })
      }
    }
  })

  it('show the double buffer: with prefetch a slot is filled while a meeting uses another; without, never within a row of the forward', () => {
    // Only the inner loop: key/value chunks after the first of their row.
    const filledWhileUsed = (prefetch: number): number => {
      const run = openRun(fixture({ chunks: 4, ranks: 1, layers: 1, steps: 1, train: { prefetch, lookAhead: 0 } }))
      const { phase, q, kv, start_ns, duration_ns, kernel } = run.spans
      const attends = [...run.spans.op.keys()].filter((row) => run.head.codes.kernels[kernel[row]]?.name === 'attend' && phase[row] === 1)
      return livesOf(slotsOf(run, 0, 'fetched')).filter(({ slot, life }) => {
        const row = slot.row[life]
        if (phase[row] !== 1 || kv[row] === 0) return false
        return attends.some(
          (at) => q[at] === q[row] && kv[at] < kv[row] && start_ns[at] < slot.ready_ns[life] && slot.start_ns[life] < start_ns[at] + duration_ns[at],
        )
      }).length
    }
    expect(filledWhileUsed(1)).toBeGreaterThan(0)
    expect(filledWhileUsed(0)).toBe(0)
  })

  it('are none where nothing is fetched', () => {
    const run = openRun(fixture({ system: 'fpdt-device', chunks: 2, steps: 1 }))
    expect(slotsOf(run, 0, 'fetched')).toEqual([])
    expect(slotsOf(run, 0, 'attention').length).toBeGreaterThan(4)
  })
})
