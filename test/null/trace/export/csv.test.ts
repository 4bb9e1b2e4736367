import { describe, expect, it } from 'vitest'
import { memoryCsv, spansCsv } from '../../../../kernel/src/trace/export/csv.js'
import { openRun } from '../../../../kernel/src/trace/model/run.js'
import { CATEGORIES, KINDS, NONE, STREAMS } from '../../../../kernel/src/trace/schema.js'
import { fixture } from '../fixture.js'
import { parseCsv } from './csv-parse.js'

const run = openRun(fixture({ layers: 1, chunks: 4, steps: 2 }))
const parsed = (pieces: Iterable<string>): Record<string, string>[] => parseCsv([...pieces].join(''))

describe('spans as CSV', () => {
  it('has a line for each, numbers to the last digit, codes as words', () => {
    const { spans, listing, head } = run
    const rows = parsed(spansCsv(run))
    expect(rows).toHaveLength(spans.op.length)
    for (const [row, cells] of rows.entries()) {
      expect(cells).toEqual({
        step: String(spans.step[row]),
        op: String(spans.op[row]),
        line: listing[spans.op[row] as number],
        rank: String(spans.rank[row]),
        stream: STREAMS[spans.stream[row] as number],
        kind: KINDS[spans.kind[row] as number],
        kernel: KINDS[spans.kind[row] as number] === 'compute' ? head.codes.kernels[spans.kernel[row] as number]?.name : '',
        phase: cells.phase,
        layer: spans.layer[row] === NONE ? '' : String(spans.layer[row]),
        q: spans.q[row] === NONE ? '' : String(spans.q[row]),
        kv: spans.kv[row] === NONE ? '' : String(spans.kv[row]),
        start_ns: String(spans.start_ns[row]),
        duration_ns: String(spans.duration_ns[row]),
        flops: String(spans.flops[row]),
        bytes: String(spans.bytes[row]),
      })
    }
  })

  it('cannot start a formula in a spreadsheet, nor break out of its cell', () => {
    const hostile = ['=HYPERLINK("http://x")', '+1', '-1', '@SUM(A1)', '\tx', 'a "b", c\r\nd', '=1,=2']
    const listing = run.listing.map((line, op) => hostile[op] ?? line)
    const lines = parsed(spansCsv({ ...run, listing })).filter(({ op }) => Number(op) < hostile.length)
    expect(lines.length).toBeGreaterThan(0)
    for (const { op, line } of lines) {
      const text = hostile[Number(op)] as string
      expect(line).toBe(/^[=+\-@\t]/.test(text) ? `'${text}` : text)
    }
  })
})

describe('memory as CSV', () => {
  it('adds up, and names buffers', () => {
    const { memory, names } = run
    const rows = parsed(memoryCsv(run))
    expect(rows).toHaveLength(memory.op.length)
    const sum = (column: string): number => rows.reduce((total, cells) => total + Number(cells[column]), 0)
    expect(sum('delta_bytes')).toBe(memory.delta_bytes.reduce((total, bytes) => total + bytes, 0))
    expect(sum('total_bytes')).toBe(memory.total_bytes.reduce((total, bytes) => total + bytes, 0))
    for (const [row, cells] of rows.entries()) {
      expect(cells.buffer).toBe(names[memory.buffer[row] as number])
      expect(cells.category).toBe(CATEGORIES[memory.category[row] as number])
      expect(Number(cells.time_ns)).toBe(memory.time_ns[row])
    }
    // A number below zero is a number, not a formula.
    expect(rows.some(({ delta_bytes }) => delta_bytes?.startsWith('-'))).toBe(true)
  })
})
