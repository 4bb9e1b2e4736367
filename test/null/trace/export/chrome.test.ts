import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { chromeTrace } from '../../../../kernel/src/trace/export/chrome.js'
import { openRun, type Run } from '../../../../kernel/src/trace/model/run.js'
import { KINDS, STREAMS } from '../../../../kernel/src/trace/schema.js'
import { fixture } from '../fixture.js'
import { chromeTroubles, eventsOf, type TraceEvent } from './chrome-check.js'

const small = openRun(fixture({ layers: 1, chunks: 4, steps: 2 }))
const textOf = (run: Run): string => [...chromeTrace(run)].join('')
const text = textOf(small)
const events = eventsOf(text)
const ops = (all: readonly TraceEvent[]): TraceEvent[] => all.filter((event) => event.args?.line !== undefined)

describe('the Chrome trace of a run', () => {
  it.each([
    ['two ranks', small],
    ['one rank, a prediction', openRun(fixture({ ranks: 1, layers: 2, chunks: 2, steps: 1, origin: 'predicted' }))],
    ['four ranks', openRun(fixture({ ranks: 4, layers: 1, chunks: 3, steps: 1 }))],
  ])('keeps the rules of viewers: %s', (_, run) => {
    expect(chromeTroubles(textOf(run))).toEqual([])
  })

  it('has every span once, with its time to the nanosecond and its place', () => {
    const { spans, listing } = small
    const found = ops(events)
    expect(found).toHaveLength(spans.op.length)
    const keyOf = (op: number, step: number, rank: number, start: number, length: number): string => [op, step, rank, start, length].join()
    const wanted = [...spans.op].map((op, row) => keyOf(op, spans.step[row], spans.rank[row], spans.start_ns[row], spans.duration_ns[row]))
    const said = found.map(({ pid, ts, dur, args }) =>
      keyOf(Number(args?.op), Number(args?.step), pid - 2, Math.round(Number(ts) * 1000), Math.round(Number(dur) * 1000)),
    )
    expect(said.sort()).toEqual(wanted.sort())
    for (const { args } of found) expect(args?.line).toBe(listing[Number(args?.op)])
  })

  it('counts bytes as the memory table does, up to the peak', () => {
    for (const { tier, bytes } of small.head.peaks) {
      const totals = events
        .filter(({ ph, name }) => ph === 'C' && name.startsWith(tier))
        .map(({ args }) => Object.values(args ?? {}).reduce<number>((sum, value) => sum + Number(value), 0))
      expect(Math.max(...totals)).toBe(bytes)
    }
  })

  it('follows k of a chunk from its fetch through its attend, and to the host after the projection', () => {
    const verbs = (name: string): string[] => {
      const ids = new Set(events.filter((event) => event.ph === 's' && event.name === name).map(({ id }) => id))
      const ways = [...ids].map((id) =>
        events
          .filter((event) => event.id === id && 'stf'.includes(event.ph))
          .map(({ pid, tid, ts }) => {
            const at = ops(events).filter(
              (op) => op.pid === pid && op.tid === tid && Number(op.ts) <= Number(ts) && Number(op.ts) + Number(op.dur) >= Number(ts),
            )
            return at[0]?.name
          })
          .join(' > '),
      )
      return [...new Set(ways)].sort()
    }
    expect(verbs('k[0,0]')).toEqual(
      [
        'fetch > attend',
        'fetch > attendBackward',
        'offload > fetch > fetch > fetch',
        'offload > fetch > fetch > fetch > fetch',
        'rotary > offload > attend',
      ].sort(),
    )
  })

  it('shows a span that overlaps its lane as an asynchronous event', () => {
    const tables = fixture({ ranks: 1, layers: 1, chunks: 2, steps: 1 })
    const fetch = STREAMS.indexOf('fetch')
    const rows = [...tables.spans.op.keys()].filter((row) => tables.spans.stream[row] === fetch)
    const [first, second] = rows.slice(-2) as [number, number]
    tables.spans.duration_ns[first] = tables.spans.start_ns[second] - tables.spans.start_ns[first] + 7
    const overlapping = textOf(openRun(tables))
    expect(chromeTroubles(overlapping)).toEqual([])
    expect(
      eventsOf(overlapping)
        .filter(({ ph }) => ph === 'b' || ph === 'e')
        .map(({ ph, name, id }) => [ph, name, id]),
    ).toEqual([
      ['b', 'fetch', second],
      ['e', 'fetch', second],
    ])
  })

  it('keeps whole nanoseconds after ninety days', () => {
    const tables = fixture({ ranks: 1, layers: 1, chunks: 2, steps: 1 })
    const late = 90 * 86_400e9 + 1
    for (const column of [tables.spans.start_ns, tables.memory.time_ns]) for (const [row, time] of column.entries()) column[row] = time + late
    for (const step of tables.head.steps) step.start_ns += late
    const exact = textOf(openRun(tables))
    expect(chromeTroubles(exact)).toEqual([])
    expect(exact).toContain(`"ts":${BigInt(tables.spans.start_ns[0]) / 1000n}.${String(BigInt(tables.spans.start_ns[0]) % 1000n).padStart(3, '0')}`)
    expect(
      ops(eventsOf(exact))
        .map(({ ts }) => Math.round(Number(ts) * 1000))
        .sort((a, b) => a - b),
    ).toEqual([...tables.spans.start_ns].sort((a, b) => a - b))
  })

  it('comes in pieces that are one text, whatever the words in it', () => {
    const tables = fixture({ ranks: 1, layers: 1, chunks: 2, steps: 1 })
    const listing = tables.listing.map((line) => `${line} "\u2028</script>\n\\ ☃`)
    const run = openRun({ ...tables, listing })
    expect(chromeTroubles(textOf(run))).toEqual([])
    expect(ops(eventsOf(textOf(run)))[0]?.args?.line).toBe(listing[Number(ops(eventsOf(textOf(run)))[0]?.args?.op)])
    expect([...chromeTrace(small)].every((piece) => piece.length < 200_000)).toBe(true)
  })
})

// ---- the checker finds what is wrong -------------------------------------------------------------------------------

/** Ways to break a trace; each changes the event of its kind that `pick` points at. */
const breaks: Record<string, { of: (event: TraceEvent) => boolean; how: (event: TraceEvent, all: TraceEvent[]) => void }> = {
  'an unknown phase': { of: ({ ph }) => ph === 'X', how: (event) => (event.ph = 'Q') },
  'a time before the run': { of: ({ ph }) => ph === 'X' || ph === 'C', how: (event) => (event.ts = -1) },
  'absolute time': { of: ({ ph }) => ph === 'X', how: (event) => (event.ts = 1.7e18) },
  'time as text': { of: ({ ph }) => ph === 'X', how: (event) => (event.ts = '12' as unknown as number) },
  'half a nanosecond': { of: ({ ph }) => ph === 'X', how: (event) => (event.ts = Number(event.ts) + 0.0005) },
  'no length': { of: ({ ph }) => ph === 'X', how: (event) => delete event.dur },
  'a span that reaches into the next': {
    of: (event) => event.ph === 'X' && event.name === 'fetch',
    how: (event, all) => {
      const next = all.find(
        (other) => other.ph === 'X' && other.tid === event.tid && Number(other.ts) >= Number(event.ts) + Number(event.dur) && Number(other.dur) > 0,
      )
      if (next) event.dur = Number(next.ts) + Number(next.dur) / 2 - Number(event.ts)
      else event.dur = -1
    },
  },
  'a process without a name': { of: ({ name }) => name === 'process_name', how: (event, all) => all.splice(all.indexOf(event), 1) },
  'a thread without a name': { of: ({ name }) => name === 'thread_name', how: (event, all) => all.splice(all.indexOf(event), 1) },
  'two threads in one place': {
    of: ({ name, args }) => name === 'thread_sort_index' && args?.sort_index !== 0,
    how: (event) => (event.args = { sort_index: 0 }),
  },
  'a process of the idle task': { of: ({ ph }) => ph === 'X', how: (event) => (event.pid = 0) },
  'a counter below zero': { of: ({ ph }) => ph === 'C', how: (event) => (event.args = { ...event.args, attention: -8 }) },
  'a counter that changes its series': { of: ({ ph }) => ph === 'C', how: (event) => (event.args = { other: 1 }) },
  'a counter back in time': { of: ({ ph, ts }) => ph === 'C' && Number(ts) > 1, how: (event) => (event.ts = 0) },
  'a flow that does not end': { of: ({ ph }) => ph === 'f', how: (event, all) => all.splice(all.indexOf(event), 1) },
  'a flow without a start': { of: ({ ph }) => ph === 's', how: (event, all) => all.splice(all.indexOf(event), 1) },
  'a flow beside spans': { of: ({ ph }) => ph === 'f', how: (event) => (event.ts = 1e9) },
  'a flow to another thread': { of: ({ ph }) => ph === 'f', how: (event) => (event.tid = 999) },
}

const whole = eventsOf(textOf(openRun(fixture({ layers: 1, chunks: 2, steps: 1 }))))

describe('the checker of traces', () => {
  it.each(Object.keys(breaks))('finds %s', (name) => {
    const { of, how } = breaks[name] as (typeof breaks)[string]
    const candidates = whole.map((event, i) => (of(event) ? i : -1)).filter((i) => i >= 0)
    fc.assert(
      fc.property(fc.constantFrom(...candidates), (i) => {
        const broken = structuredClone(whole)
        how(broken[i] as TraceEvent, broken)
        expect(chromeTroubles(JSON.stringify({ traceEvents: broken }))).not.toEqual([])
      }),
      { numRuns: 6 },
    )
  })
  it('finds text that is no trace', () => {
    expect(chromeTroubles('[')[0]).toMatch(/not JSON/)
    expect(chromeTroubles('{"traceEvents":[]}')).toHaveLength(1)
    expect(chromeTroubles(text.slice(0, -4))[0]).toMatch(/not JSON/)
  })
})

describe('kinds of op', () => {
  it('are all named in a trace', () => {
    const kinds = new Set([...small.spans.kind].map((kind) => KINDS[kind]))
    for (const kind of kinds) if (kind !== 'compute') expect(ops(events).some(({ name }) => name === kind)).toBe(true)
  })
})
