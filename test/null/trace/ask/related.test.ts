import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { relatedTo } from '../../../../kernel/src/trace/ask/related.js'
import { openRun } from '../../../../kernel/src/trace/model/run.js'
import { KINDS, NONE, PHASES } from '../../../../kernel/src/trace/schema.js'
import { fixture } from '../fixture.js'
import { randomRun } from './random-run.js'

const sorted = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b)

describe('relatedTo', () => {
  const run = openRun(fixture({ layers: 1, chunks: 4 }))
  const { spans, names, listing } = run
  const attend = [...spans.op.keys()].find(
    (row) => spans.stream[row] === 0 && spans.q[row] === 2 && spans.kv[row] === 1 && spans.rank[row] === 1 && PHASES[spans.phase[row]] === 'forward',
  ) as number

  it('gives the buffers of an op, and the op of a meeting', () => {
    const { buffers, meetings, spans: rows, ranks } = relatedTo(run, { kind: 'span', row: attend })
    expect(listing[spans.op[attend]]).toMatch(/^attend/)
    const found = buffers.map((buffer) => names[buffer])
    for (const name of ['q[0,2]', 'k[0,1]', 'v[0,1]', 'state[0,2]']) expect(found).toContain(name)
    expect(meetings).toEqual([{ phase: 'forward', layer: 0, q: 2, kv: 1 }])
    expect([rows, ranks]).toEqual([[attend], [1]])
    const back = relatedTo(run, { kind: 'meeting', ...meetings[0], rank: 1 })
    expect(back.spans).toContain(attend)
    expect(back.spans.every((row) => spans.rank[row] === 1 && spans.kv[row] === 1)).toBe(true)
    expect(back.buffers).toEqual(expect.arrayContaining([...buffers]))
  })

  it('gives the value of a buffer on its other tiers, and whoever touches it', () => {
    const buffer = relatedTo(run, { kind: 'span', row: attend }).buffers.find((b) => names[b] === 'k[0,1]') as number
    const { buffers, spans: rows } = relatedTo(run, { kind: 'buffer', buffer, rank: 0 })
    expect(buffers).toContain(buffer)
    expect(new Set(buffers.map((b) => names[b]))).toEqual(new Set(['k[0,1]']))
    expect(new Set(buffers.map((b) => run.buffers.tier[b])).size).toBe(2)
    for (const row of rows) expect([listing[spans.op[row]].includes('k[0,1]'), spans.rank[row]]).toEqual([true, 0])
    expect(new Set(rows.map((row) => spans.step[row]))).toEqual(new Set([1, 2]))
    const workspace = names.findIndex((name) => name.startsWith('workspace of'))
    expect(relatedTo(run, { kind: 'buffer', buffer: workspace, rank: 0 }).buffers).toEqual([workspace])
  })

  it('gives what runs at an instant', () => {
    const time_ns = spans.start_ns[attend] + spans.duration_ns[attend] / 2
    expect(relatedTo(run, { kind: 'instant', tier: 'device', rank: 1, time_ns }).spans).toContain(attend)
    expect(relatedTo(run, { kind: 'step', step: 1 }).ranks).toEqual([0, 1])
  })

  it('agrees with a search through all rows', () => {
    fc.assert(
      fc.property(randomRun(60), fc.nat(), ({ tables }, pick) => {
        fc.pre(tables.spans.op.length > 0)
        const open = openRun(tables)
        const s = open.spans
        const row = pick % s.op.length
        const touched = [...open.uses.op.keys()].filter((use) => open.uses.op[use] === s.op[row]).map((use) => open.uses.buffer[use])
        expect(sorted(relatedTo(open, { kind: 'span', row }).buffers)).toEqual(sorted([...new Set(touched)]))
        const buffer = pick % open.names.length
        const users = new Set([...open.uses.op.keys()].filter((use) => open.uses.buffer[use] === buffer).map((use) => open.uses.op[use]))
        const rows = [...s.op.keys()].filter((r) => users.has(s.op[r]) && s.rank[r] === 0)
        expect(sorted(relatedTo(open, { kind: 'buffer', buffer, rank: 0 }).spans)).toEqual(rows)
        if (KINDS[s.kind[row]] !== 'compute' || s.q[row] === NONE || s.kv[row] === NONE) return
        const same = (r: number): boolean =>
          s.stream[r] === 0 && s.rank[r] === s.rank[row] && [s.phase, s.layer, s.q, s.kv].every((column) => column[r] === column[row])
        const meeting = { phase: PHASES[s.phase[row]], layer: s.layer[row], q: s.q[row], kv: s.kv[row], rank: s.rank[row] }
        expect(sorted(relatedTo(open, { kind: 'meeting', ...meeting }).spans)).toEqual([...s.op.keys()].filter(same))
      }),
    )
  })
})
