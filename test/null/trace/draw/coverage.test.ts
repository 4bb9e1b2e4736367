import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Bar, coverageOf } from '../../../../kernel/src/trace/draw/coverage.js'
import { openRun, type Run, spanAt } from '../../../../kernel/src/trace/model/run.js'
import { FAMILIES, type SpanColumns } from '../../../../kernel/src/trace/schema.js'
import { fixture } from '../fixture.js'
import { watched } from '../watched.js'

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
  const stepOf = (start: number): number => steps.filter(([begin]) => begin <= start).length
  const spans: SpanColumns = { step: Uint32Array.from(starts, stepOf), op: new Uint32Array(n), rank: new Uint16Array(n), stream: new Uint8Array(n), kind: new Uint8Array(n), kernel: Uint8Array.from({ length: n }, (_, i) => i % 4), phase: new Uint8Array(n), layer: new Uint16Array(n), q: new Uint16Array(n), kv: new Uint16Array(n), start_ns: Float64Array.from(starts), duration_ns: Float64Array.from(pairs, ([, length]) => length), flops: new Float64Array(n), bytes: new Float64Array(n) } // biome-ignore format: one table
  return openRun({
    ...tables,
    spans,
    head: { ...head, steps: steps.map(([start_ns, duration_ns], i) => ({ ...head.steps[0], step: i + 1, start_ns, duration_ns })) },
  })
}

const pairs = fc.array(fc.tuple(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 400 })), { minLength: 1, maxLength: 60 })
const width = fc.integer({ min: 8, max: 300 })

/** Shares and bars by the definition, span by span. */
function naive(run: Run, start_ns: number, end_ns: number, pixels: number) {
  const perPixel = pixels / (end_ns - start_ns)
  const shares = new Float64Array(pixels * FAMILIES.length)
  const bars: Bar[] = []
  let spans = 0
  let busy_ns = 0
  for (const [row, start] of run.spans.start_ns.entries()) {
    const end = start + run.spans.duration_ns[row]
    const hidden = row + 1 < run.spans.start_ns.length && run.spans.start_ns[row + 1] < start_ns // of what ended at the window's edge the last is in view
    if (start >= end_ns || end < start_ns || hidden) continue
    spans++
    busy_ns += Math.min(end, end_ns) - Math.max(start, start_ns)
    const [from, to] = [Math.max(0, (start - start_ns) * perPixel), Math.min(pixels, (end - start_ns) * perPixel)]
    const [first, last] = [Math.ceil(from - 1e-6), Math.floor(to + 1e-6)]
    const isBar = last - first >= 2
    if (isBar) bars.push({ row, x: first, width: last - first })
    for (let x = 0; x < pixels; x++) {
      if (!(isBar && x >= first && x < last)) shares[x * FAMILIES.length + run.families[row]] += Math.max(0, Math.min(to, x + 1) - Math.max(from, x))
    }
  }
  return { shares, bars, spans, busy_ns }
}

describe('coverage', () => {
  // Spans on few pixels and one on many, short windows and long ones, so that blocks of the index are taken whole and in part.
  it('is what one pass over all spans gives, however they are indexed', () => {
    const many = fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.oneof(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 100, max: 900 }))), {
      minLength: 1,
      maxLength: 400,
    })
    fc.assert(
      fc.property(many, width, fc.integer({ min: 0, max: 4000 }), fc.integer({ min: 1, max: 9000 }), (list, pixels, start_ns, length_ns) => {
        const run = lane(list)
        const found = coverageOf(run, run.lanes[0], start_ns, start_ns + length_ns, pixels)
        const wanted = naive(run, start_ns, start_ns + length_ns, pixels)
        expect(found.bars).toEqual(wanted.bars)
        expect(found.spans).toBe(wanted.spans)
        const known_ns = Math.min(start_ns + length_ns, run.spans.start_ns.at(-1)! + run.spans.duration_ns.at(-1)!) - Math.max(start_ns, run.spans.start_ns[0])
        expect(found.busy).toBeCloseTo(wanted.busy_ns === 0 ? 0 : wanted.busy_ns / known_ns, 9)
        const worst = wanted.shares.reduce((most, share, i) => Math.max(most, Math.abs(share - found.shares[i])), 0)
        expect(worst).toBeLessThan(2e-3) // what a column may hide: the ends of two bars
      }),
      { numRuns: 300 },
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

  it('is busy for a share of the step under way, too, which nobody has summed up', () => {
    const pairs = [[0, 50], [950, 50], [25, 25]] as const // biome-ignore format: one row a span
    const done = lane(pairs, [
      [0, 100],
      [1000, 100],
    ])
    const going = openRun({ ...done, head: { ...done.head, steps: done.head.steps.slice(0, 1) } })
    const busy = (from: number, to: number): number => coverageOf(going, going.lanes[0], from, to, 100).busy
    expect([busy(1000, 1100), busy(0, 1100), busy(0, 100)]).toEqual([0.75, 125 / 200, 0.5])
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
          const covers = (bar: Bar, at: number): boolean => run.families[bar.row] === run.families[row] && at >= bar.x && at < bar.x + bar.width
          const seen = [x, Math.min(pixels - 1, x + 1)].some(
            (at) => bars.some((bar) => covers(bar, at)) || shares[at * FAMILIES.length + run.families[row]] > 0,
          )
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

  it('costs little more for a million spans than for ten thousand', () => {
    const reads = (spans: number): number => {
      const run = lane(Array.from({ length: spans }, () => [1, 9] as const))
      const watch = { reads: 0 }
      coverageOf({ ...run, spans: watched(run.spans, watch) }, watched(run.lanes[0], watch), 0, 10 * spans, 1200)
      return watch.reads
    }
    expect(reads(1_000_000)).toBeLessThan(5 * reads(10_000)) // a hundred times as many
  })
})
