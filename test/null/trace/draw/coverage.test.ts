import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { coverageOf } from '../../../../kernel/src/trace/draw/coverage.js'
import { openRun, type Run, spanAt } from '../../../../kernel/src/trace/model/run.js'
import { FAMILIES, type SpanColumns } from '../../../../kernel/src/trace/schema.js'
import { fixture } from '../fixture.js'

const { head, ...tables } = fixture({ ranks: 1, layers: 1, chunks: 1, steps: 1 })

/** A run of one lane from gaps and lengths in ns, families taken in turn, and from steps. */
function lane(pairs: readonly (readonly [gap: number, length: number])[], steps: readonly (readonly [start: number, length: number])[] = []): Run {
  let clock = 0
  const starts = pairs.map(([gap, length]) => {
    const start = clock + gap
    clock = start + length
    return start
  })
  const n = pairs.length
  const spans: SpanColumns = { step: new Uint32Array(n), op: new Uint32Array(n), rank: new Uint16Array(n), stream: new Uint8Array(n), kind: new Uint8Array(n), kernel: Uint8Array.from({ length: n }, (_, i) => i % 4), phase: new Uint8Array(n), layer: new Uint16Array(n), q: new Uint16Array(n), kv: new Uint16Array(n), start_ns: Float64Array.from(starts), duration_ns: Float64Array.from(pairs, ([, length]) => length), flops: new Float64Array(n), bytes: new Float64Array(n) } // biome-ignore format: one table
  return openRun({ ...tables, spans, head: { ...head, steps: steps.map(([start_ns, duration_ns]) => ({ ...head.steps[0], start_ns, duration_ns })) } })
}

const pairs = fc.array(fc.tuple(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 400 })), { minLength: 1, maxLength: 60 })
const width = fc.integer({ min: 8, max: 300 })

describe('coverage', () => {
  it('covers as much time as the spans take, whatever the scale', () => {
    fc.assert(
      fc.property(pairs, width, fc.integer({ min: 1, max: 30_000 }), (list, pixels, end_ns) => {
        const run = lane(list)
        const { bars, shares, busy } = coverageOf(run, run.lanes[0], 0, end_ns, pixels)
        const covered = (bars.reduce((sum, bar) => sum + bar.width, 0) + shares.reduce((sum, share) => sum + share, 0)) / pixels
        // Spans of no length get a trace of a thousandth of a pixel.
        expect(covered).toBeCloseTo(busy, 1)
        expect(covered).toBeLessThanOrEqual(busy + (list.length * 1e-3 + 1e-3) / pixels + 1e-6)
        expect(covered).toBeGreaterThanOrEqual(busy - 2e-3 - (list.length * 2e-3) / pixels)
      }),
    )
  })

  it("is busy for a share of the time in steps: what lies between them is nobody's", () => {
    // Half of each of two steps; a pause of nine steps' length lies between.
    const run = lane(
      [
        [0, 50],
        [950, 50],
      ],
      [
        [0, 100],
        [1000, 100],
      ],
    )
    const busy = (from: number, to: number): number => coverageOf(run, run.lanes[0], from, to, 100).busy
    expect([busy(0, 1100), busy(0, 100), busy(25, 1025), busy(200, 900)]).toEqual([0.5, 0.5, 0.5, 0])
  })

  it('leaves a trace of every span in view', () => {
    fc.assert(
      fc.property(pairs, width, (list, pixels) => {
        const run = lane(list)
        const { start_ns, duration_ns } = run.spans
        const end_ns = Math.max(1, start_ns[list.length - 1] + duration_ns[list.length - 1])
        const { bars, shares } = coverageOf(run, run.lanes[0], 0, end_ns, pixels)
        for (let row = 0; row < list.length; row++) {
          if (start_ns[row] >= end_ns) continue
          const x = Math.min(pixels - 1, Math.floor((start_ns[row] * pixels) / end_ns))
          const seen =
            bars.some((bar) => bar.row === row) || [x, Math.min(pixels - 1, x + 1)].some((at) => shares[at * FAMILIES.length + run.families[row]] > 0)
          expect(seen, `span ${row}`).toBe(true)
        }
      }),
    )
  })

  it('finds under the pointer what is there, and what is near', () => {
    const run = lane([
      [10, 5],
      [100, 1],
      [3, 200],
    ])
    expect(spanAt(run, run.lanes[0], 12, 0)).toBe(0)
    expect(spanAt(run, run.lanes[0], 60, 10)).toBe(-1)
    expect(spanAt(run, run.lanes[0], 113, 10)).toBe(1)
    expect(spanAt(run, run.lanes[0], 300, 10)).toBe(2)
  })

  it('takes one pass over what is in view', () => {
    const run = lane(Array.from({ length: 200_000 }, () => [1, 9] as const))
    const started = performance.now()
    coverageOf(run, run.lanes[0], 0, 2_000_000, 1200)
    const all = performance.now() - started
    const zoomStarted = performance.now()
    for (let i = 0; i < 20; i++) coverageOf(run, run.lanes[0], 1_000_000, 1_000_200, 1200)
    expect((performance.now() - zoomStarted) / 20).toBeLessThan(Math.max(2, all / 2))
  })
})
