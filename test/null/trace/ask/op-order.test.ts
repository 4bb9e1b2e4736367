import { describe, expect, it } from 'vitest'
import { OP_ORDERS, type OpOrder, opsIn, waitedOf } from '../../../../kernel/src/trace/ask/op-order.js'
import { stallOf } from '../../../../kernel/src/trace/ask/stall.js'
import { openRun, type Run } from '../../../../kernel/src/trace/model/run.js'
import { fixture } from '../fixture.js'

const run = openRun(fixture({ chunks: 4, layers: 2, steps: 2 }))
const { spans, extent } = run
const keyOf: Record<OpOrder, (row: number) => number> = {
  start: (row) => spans.start_ns[row],
  duration: (row) => spans.duration_ns[row],
  waited: (row) => waitedOf(run, row),
  bytes: (row) => spans.bytes[row],
  FLOP: (row) => spans.flops[row],
}

describe('ops in order', () => {
  it('are all of those in view, by the number that was asked for, the earlier first of equal ones', () => {
    const middle = (extent.start_ns + extent.end_ns) / 2
    for (const window of [
      extent,
      { start_ns: extent.start_ns + (middle - extent.start_ns) / 3, end_ns: middle },
      { start_ns: 2 * extent.end_ns, end_ns: 3 * extent.end_ns },
    ]) {
      const inView = [...spans.op.keys()].filter((row) => spans.start_ns[row] < window.end_ns && spans.start_ns[row] + spans.duration_ns[row] > window.start_ns)
      for (const by of OP_ORDERS) {
        for (const descending of [false, true]) {
          const rows = [...opsIn(run, window, by, descending)]
          expect([...rows].sort((a, b) => a - b)).toEqual(inView)
          for (let i = 1; i < rows.length; i++) {
            const [before, here] = [keyOf[by](rows[i - 1]), keyOf[by](rows[i])]
            if (before === here) expect(spans.start_ns[rows[i - 1]]).toBeLessThanOrEqual(spans.start_ns[rows[i]])
            else expect(before < here).toBe(!descending)
          }
        }
      }
    }
  })

  it('tell the wait that the answers explain', () => {
    for (let row = 0; row < spans.op.length; row++) expect(waitedOf(run, row)).toBe(stallOf(run, row)?.waited_ns ?? 0)
    expect(waitedOf(run, opsIn(run, extent, 'waited', true)[0])).toBeGreaterThan(0)
  })

  it('sort a hundred thousand ops in the time of a click', () => {
    const many = 100_000
    const start_ns = Float64Array.from({ length: many }, (_, i) => 1000 * i)
    const duration_ns = Float64Array.from({ length: many }, (_, i) => (i * 7919) % 999)
    const of = { start_ns, duration_ns, bytes: duration_ns, flops: duration_ns }
    const column = new Uint8Array(many)
    const large = {
      ...run,
      spans: { ...spans, ...of, op: new Uint32Array(many), step: new Uint32Array(many), rank: new Uint16Array(many), stream: column },
    } as Run
    const window = { start_ns: 0, end_ns: 1000 * many }
    opsIn({ ...large }, window, 'duration', true)
    const times = OP_ORDERS.map((by) => {
      const begin = performance.now()
      expect(opsIn(large, window, by, true).length).toBeGreaterThan(0.99 * many)
      return performance.now() - begin
    })
    // A machine that does much else may be some times slower.
    expect(Math.max(...times)).toBeLessThan(400)
  })
})
