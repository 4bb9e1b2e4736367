import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { accesses, type Op } from '../../../../kernel/src/schedule/ops.js'
import { printOp } from '../../../../kernel/src/schedule/print.js'
import {
  arrivalsOf,
  FETCHED_KV,
  FETCHED_Q,
  meetingAt,
  meetingPlaces,
  meetingRows,
  meetingsOf,
  metBy,
  placeAt,
  SOURCES,
  type Source,
  triangleOf,
} from '../../../../kernel/src/trace/ask/meetings.js'
import { openRun, type Run } from '../../../../kernel/src/trace/model/run.js'
import { selectRows } from '../../../../kernel/src/trace/spans.js'
import { fixture } from '../fixture.js'
import { anyOptions, anyRun, opsOf } from './any-run.js'

/** What a walk over the ops says of an op of attention: operand by operand, where it was. */
interface Seen {
  readonly op: number
  readonly place: string
  readonly q: number
  readonly kv: number
  readonly sources: Readonly<Record<string, Source>>
}

/** Values alone, no tables: who wrote each value on each tier last, and whether attention has used it there since. */
function walk(ops: readonly Op[]): Seen[] {
  const writer = new Map<string, Op>()
  const used = new Set<string>()
  const seen: Seen[] = []
  for (const [i, op] of ops.entries()) {
    const isMeeting = op.kind === 'compute' && (op.kernel === 'attend' || op.kernel === 'attendBackward')
    if (isMeeting) {
      const sources: Record<string, Source> = {}
      for (const { value, reads } of accesses(op)) {
        if (!reads || value.category === 'input') continue
        const key = `${value.name}@device`
        const by = writer.get(key)
        const loaded = writer.get(`${value.name}@host`)?.kind === 'load'
        sources[value.name] = used.has(key) ? 'stayed' : by?.kind !== 'fetch' ? 'made' : loaded ? 'disk' : 'host'
      }
      const { phase, layer, q, kv } = op.place
      seen.push({ op: i, place: `${phase} ${layer}`, q: q as number, kv: kv as number, sources })
    }
    for (const { value, tier, writes } of accesses(op)) {
      const key = `${value.name}@${tier}`
      if (writes && !isMeeting) used.delete(key)
      if (writes) writer.set(key, op)
      if (isMeeting) used.add(key)
    }
    if (op.kind === 'free') {
      used.delete(`${op.value.name}@${op.tier}`)
      // The host's copy may be freed before what was fetched from it is met with: where it came from is remembered.
      if (op.tier === 'device') writer.delete(`${op.value.name}@device`)
    }
  }
  return seen
}

function farthest({ sources }: Seen, base: (name: string) => string): Source {
  const counted = Object.entries(sources).filter(([name, source]) => source !== 'stayed' || ['k', 'v'].includes(base(name)))
  return counted.reduce<Source>((most, [, source]) => (SOURCES.indexOf(source) > SOURCES.indexOf(most) ? source : most), 'made')
}
const baseOf = (name: string): string => name.replace(/\[.*$/, '')

describe('meetings', () => {
  it('are those of the schedule, in its order, and come from where a walk over its ops says', () => {
    fc.assert(
      fc.property(anyOptions, (options) => {
        const run = anyRun(options)
        const ops = opsOf(options)
        expect(ops.map(printOp)).toEqual(run.listing)
        const seen = walk(ops)
        const places = meetingPlaces(run)
        expect(new Set(places.map(({ phase, layer }) => `${phase} ${layer}`))).toEqual(new Set(seen.map(({ place }) => place)))
        for (const rank of run.ranks) {
          for (const place of places) {
            const expected = seen.filter((each) => each.place === `${place.phase} ${place.layer}`)
            const triangle = triangleOf(run, 1, rank, place)
            if (!triangle) throw new Error('no triangle')
            expect([...triangle.op]).toEqual(expected.map(({ op }) => op))
            expect([...triangle.q]).toEqual(expected.map(({ q }) => q))
            expect([...triangle.kv]).toEqual(expected.map(({ kv }) => kv))
            expect([...triangle.source].map((code) => SOURCES[code])).toEqual(expected.map((each) => farthest(each, baseOf)))
            for (const [meeting, each] of expected.entries()) {
              const arrivals = arrivalsOf(run, triangle, meeting)
              expect(Object.fromEntries(arrivals.map(({ name, source }) => [name, source]))).toEqual(each.sources)
              const fetched = arrivals.filter(({ source }) => source === 'host' || source === 'disk').map(({ name }) => baseOf(name))
              const isKv = (base: string): boolean => base === 'k' || base === 'v'
              expect(triangle.fetched[meeting]).toBe((fetched.some(isKv) ? FETCHED_KV : 0) | (fetched.some((base) => !isKv(base)) ? FETCHED_Q : 0))
              expect(run.spans.op[triangle.row[meeting]]).toBe(each.op)
              expect(run.spans.rank[triangle.row[meeting]]).toBe(rank)
            }
          }
        }
      }),
      { numRuns: 20 },
    )
  })

  it('fill a causal triangle once for each sequence and batch, and nothing above its diagonal', () => {
    fc.assert(
      fc.property(anyOptions, (options) => {
        const run = anyRun(options)
        const { batch = 1, accumulate = 1 } = options.train
        const chunks = run.head.sequence.chunks
        for (const place of meetingPlaces(run)) {
          const triangle = triangleOf(run, 1, 0, place)
          if (!triangle) throw new Error('no triangle')
          expect([triangle.queries, triangle.keys]).toEqual([chunks * batch, chunks * batch])
          for (let q = 0; q < triangle.queries; q++) {
            for (let kv = 0; kv < triangle.keys; kv++) {
              const meets = kv <= q && Math.floor(q / chunks) === Math.floor(kv / chunks)
              expect(meetingsOf(triangle, q, kv)).toHaveLength(meets ? accumulate : 0)
            }
          }
        }
      }),
      { numRuns: 20 },
    )
  })

  it('follow each other, so that a search finds those that are over and the one under way', () => {
    const run = openRun(fixture({ chunks: 4, steps: 1 }))
    for (const place of meetingPlaces(run)) {
      const triangle = triangleOf(run, 1, 1, place)
      if (!triangle) throw new Error('no triangle')
      for (const instant of [...triangle.start_ns, ...triangle.end_ns].flatMap((time) => [time - 1, time, time + 1])) {
        expect(metBy(triangle, instant)).toBe(triangle.end_ns.filter((end) => end <= instant).length)
        const running = triangle.start_ns.findIndex((start, i) => start <= instant && instant < triangle.end_ns[i])
        expect(meetingAt(triangle, instant)).toBe(running)
      }
    }
  })

  it('say how long compute stood still for a fetch: the part of its pause before the meeting that the fetch took', () => {
    const run = openRun(fixture({ chunks: 4, ranks: 1, steps: 1, train: { prefetch: 0 } }))
    const lane = [...(run.lanes.find(({ stream }) => stream === 'compute')?.rows ?? [])]
    const { start_ns, duration_ns } = run.spans
    let waits = 0
    for (const place of meetingPlaces(run)) {
      const triangle = triangleOf(run, 1, 0, place)
      if (!triangle) throw new Error('no triangle')
      for (const [meeting, row] of triangle.row.entries()) {
        const before = lane[lane.indexOf(row) - 1]
        const idle = { from: start_ns[before] + duration_ns[before], to: start_ns[row] }
        for (const { fetch } of arrivalsOf(run, triangle, meeting)) {
          if (!fetch) continue
          const expected = Math.max(0, Math.min(fetch.end_ns, idle.to) - idle.from)
          expect(fetch.waited_ns).toBe(expected)
          if (expected > 0) waits++
          // Nothing computes on this rank while it stands still for the fetch, and it never starts before its data are there.
          expect(fetch.end_ns).toBeLessThanOrEqual(triangle.start_ns[meeting])
          const overlap = lane.map((at) => Math.min(fetch.end_ns, start_ns[at] + duration_ns[at]) - Math.max(fetch.start_ns, start_ns[at]))
          const most = Math.max(...overlap)
          expect(fetch.under).toBe(most > 0 ? lane[overlap.indexOf(most)] : -1)
        }
      }
    }
    // Without prefetch something is waited for; else this test would say nothing.
    expect(waits).toBeGreaterThan(10)
  })

  it('find the place of an instant: the last meeting that has begun on the rank', () => {
    const run = openRun(fixture({ chunks: 3, steps: 2 }))
    const { start_ns, phase, layer } = run.spans
    for (const rank of run.ranks) {
      const rows = [...meetingRows(run, rank)]
      expect(rows.length).toBe(2 * 2 * 3 * 6) // steps, layers, phases, meetings of three chunks
      for (const row of rows) {
        expect(placeAt(run, rank, start_ns[row])).toEqual({
          phase: ['embedding', 'forward', 'loss', 'recompute', 'backward', 'optimizer'][phase[row]],
          layer: layer[row],
        })
        expect(run.spans.rank[row]).toBe(rank)
      }
    }
    expect(placeAt(run, 0, -1)).toEqual({ phase: 'forward', layer: 0 })
  })

  it('are known of a step that has not got so far, and lie before what was kept of one that was cut', () => {
    const whole = openRun(fixture({ chunks: 4, ranks: 1, steps: 2 }))
    const half = whole.extent.start_ns + whole.head.steps[0].duration_ns / 2
    const place = { phase: 'recompute', layer: 1 } as const
    const full = triangleOf(whole, 1, 0, place)
    if (!full) throw new Error('no triangle')
    const begun = cut(whole, (row) => whole.spans.step[row] === 2 || whole.spans.start_ns[row] < full.start_ns[4])
    const begins = triangleOf(begun, 1, 0, place)
    expect([...(begins?.op ?? [])]).toEqual([...full.op])
    expect([...(begins?.start_ns ?? [])]).toEqual([...full.start_ns].map((start, i) => (i < 4 ? start : Number.POSITIVE_INFINITY)))
    expect(begins && metBy(begins, Number.MAX_VALUE)).toBe(4)
    const ended = cut(whole, (row) => whole.spans.step[row] === 2 || whole.spans.start_ns[row] >= full.start_ns[4])
    const ends = triangleOf(ended, 1, 0, place)
    expect([...(ends?.start_ns ?? [])]).toEqual([...full.start_ns].map((start, i) => (i >= 4 ? start : Number.NEGATIVE_INFINITY)))
    expect(ends && metBy(ends, half * 0)).toBe(4)
  })

  it('read chunks off the names where a schedule of the user’s own leaves its ops without a place', () => {
    const run = openRun(fixture({ chunks: 3, ranks: 1, layers: 1, steps: 1 }))
    const none = new Uint16Array(run.spans.op.length).fill(0xffff)
    const unplaced = openRun({ ...run, spans: { ...run.spans, q: none, kv: none } })
    for (const place of meetingPlaces(run)) {
      const [with_, without] = [run, unplaced].map((each) => triangleOf(each, 1, 0, place))
      expect([...(without?.q ?? [])]).toEqual([...(with_?.q ?? [])])
      expect([...(without?.kv ?? [])]).toEqual([...(with_?.kv ?? [])])
    }
  })
})

/** A run of which only some spans are known. */
function cut(run: Run, kept: (row: number) => boolean): Run {
  return openRun({ ...run, spans: selectRows(run.spans, kept) })
}
