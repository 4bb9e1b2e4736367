/**
 * Tables of a run as CSV (RFC 4180): a header, units in the names of columns, codes as words. A text that a spreadsheet would
 * take for a formula begins with an apostrophe.
 */
import type { Run } from '../model/run.js'
import { CATEGORIES, KINDS, NONE, NONE_32, PHASES, STREAMS, TIERS } from '../schema.js'
import { inPieces } from './pieces.js'

type Column<Row> = readonly [name: string, cell: (row: Row) => string | number | null]

/** One line per executed op. */
export function spansCsv({ head, spans, listing }: Run): Generator<string, void, undefined> {
  const index = (name: 'layer' | 'q' | 'kv'): Column<number> => [name, (row) => (spans[name][row] === NONE ? null : spans[name][row])]
  return table(spans.op.length, [
    ['step', (row) => spans.step[row]],
    ['op', (row) => spans.op[row]],
    ['line', (row) => listing[spans.op[row]] ?? null],
    ['rank', (row) => spans.rank[row]],
    ['stream', (row) => STREAMS[spans.stream[row]]],
    ['kind', (row) => KINDS[spans.kind[row]]],
    ['kernel', (row) => (KINDS[spans.kind[row]] === 'compute' ? head.codes.kernels[spans.kernel[row]].name : null)],
    ['phase', (row) => PHASES[spans.phase[row]]],
    index('layer'),
    index('q'),
    index('kv'),
    ['start_ns', (row) => spans.start_ns[row]],
    ['duration_ns', (row) => spans.duration_ns[row]],
    ['flops', (row) => spans.flops[row]],
    ['bytes', (row) => spans.bytes[row]],
  ])
}

/** One line per residency begun or ended. */
export function memoryCsv({ memory, names }: Run): Generator<string, void, undefined> {
  return table(memory.op.length, [
    ['step', (row) => memory.step[row]],
    ['op', (row) => memory.op[row]],
    ['rank', (row) => memory.rank[row]],
    ['tier', (row) => TIERS[memory.tier[row]]],
    ['category', (row) => CATEGORIES[memory.category[row]]],
    ['buffer', (row) => (memory.buffer[row] === NONE_32 ? null : names[memory.buffer[row]])],
    ['time_ns', (row) => memory.time_ns[row]],
    ['delta_bytes', (row) => memory.delta_bytes[row]],
    ['total_bytes', (row) => memory.total_bytes[row]],
  ])
}

function table(rows: number, columns: readonly Column<number>[]): Generator<string, void, undefined> {
  return inPieces(lines())

  function* lines(): Generator<string, void, undefined> {
    yield lineOf(columns.map(([name]) => name))
    for (let row = 0; row < rows; row++) yield lineOf(columns.map(([, cell]) => cell(row)))
  }
}

function lineOf(cells: readonly (string | number | null)[]): string {
  return `${cells.map(cellOf).join(',')}\r\n`
}

/** What begins a formula in one spreadsheet or another. Numbers are left alone: they are ours. */
const FORMULA = /^[=+\-@\t\r]/
function cellOf(value: string | number | null): string {
  if (value === null) return ''
  if (typeof value === 'number') return String(value)
  const text = FORMULA.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
