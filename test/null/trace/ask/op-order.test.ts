import { describe, expect, it } from 'vitest'
import { OP_ORDERS, type OpOrder, opsIn, waitedOf } from '../../../../kernel/src/trace/ask/op-order.js'
import { stallOf } from '../../../../kernel/src/trace/ask/stall.js'
import { openRun, type Run } from '../../../../kernel/src/trace/model/run.js'
import { fixture } from '../fixture.js'
import { watched } from '../watched.js'

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

  it('are sorted with little more than a few looks at each op', () => {
    const reads = (many: number, by: OpOrder): number => {
      const start_ns = Float64Array.from({ length: many }, (_, i) => 1000 * i)
      const duration_ns = Float64Array.from({ length: many }, (_, i) => (i * 7919) % 999)
      const of = { start_ns, duration_ns, bytes: duration_ns, flops: duration_ns }
      const indices = { op: new Uint32Array(many), step: new Uint32Array(many), rank: new Uint16Array(many), stream: new Uint8Array(many) }
      const watch = { reads: 0 }
      const large = { ...run, spans: watched({ ...spans, ...of, ...indices }, watch) } as Run
      expect(opsIn(large, { start_ns: 0, end_ns: 1000 * many }, by, true).length).toBeGreaterThan(0.99 * many)
      return watch.reads
    }
    // Sixteen times as many ops: 22 times the reads of a sort, 256 times those of a walk for each.
    for (const by of OP_ORDERS) expect(reads(16_000, by), by).toBeLessThan(32 * reads(1000, by))
  })
})
