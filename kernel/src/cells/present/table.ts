/** A table, wherever its cells come from, as HTML, as text and as data; bounded, and it says what it leaves out. */
import type { MimeBundle } from '../../display.js'
import { escapeHtml } from '../../escape-html.js'
import { counted } from '../../trace/words/format.js'
import { brief, cut } from './plain.js'

export interface Table {
  readonly columns: readonly { readonly name: string; readonly type: string }[]
  readonly rows: number
  cell(row: number, column: number): unknown
}

/** A table with more is shown by its first and last ones. */
const ROWS = 40
const COLUMNS = 20
const CELL_CHARS = 80
const TEXT_CELL_CHARS = 24
const TEXT_WIDTH = 140
/** Of `application/vnd.dataresource+json`: tools that draw charts of it like more rows than a person reads. */
const DATA_ROWS = 500
const DATA_CELLS = 10_000

export function tableBundle(table: Table): MimeBundle {
  const rows = chosen(table.rows, ROWS)
  return {
    'text/html': htmlOf(table, rows, chosen(table.columns.length, COLUMNS)),
    'application/vnd.dataresource+json': dataOf(table),
    'text/plain': textOf(table, rows),
  }
}

/** Indices to show; `undefined` where some are left out. */
function chosen(count: number, limit: number): (number | undefined)[] {
  if (count <= limit) return Array.from({ length: count }, (_, index) => index)
  const half = limit / 2
  return [...Array(half).keys(), undefined, ...Array.from({ length: half }, (_, index) => count - half + index)]
}

function sizeInWords({ rows, columns }: Table): string {
  return `${counted(rows, 'row')} × ${counted(columns.length, 'column')}`
}

function htmlOf(table: Table, rows: readonly (number | undefined)[], columns: readonly (number | undefined)[]): string {
  const row = (cells: readonly string[], tag = 'td') => `<tr>${cells.map((cell) => `<${tag}>${cell}</${tag}>`).join('')}</tr>`
  const head = columns.map((column) => {
    const { name, type } = (column === undefined ? undefined : table.columns[column]) ?? { name: '…', type: '' }
    return `${escapeHtml(cut(name, CELL_CHARS))}<br><small>${escapeHtml(cut(type, CELL_CHARS))}</small>`
  })
  const body = rows.map((index) =>
    row([
      index === undefined ? '…' : `<small>${index}</small>`,
      ...columns.map((column) => (index === undefined || column === undefined ? '…' : escapeHtml(cellText(table.cell(index, column), CELL_CHARS)))),
    ]),
  )
  return `<table><thead>${row(['', ...head], 'th')}</thead><tbody>${body.join('\n')}</tbody></table>\n<p><small>${sizeInWords(table)}</small></p>`
}

function textOf(table: Table, rows: readonly (number | undefined)[]): string {
  const texts = (column: number) => {
    const { name, type } = table.columns[column] as Table['columns'][number]
    return [name, type, ...rows.map((row) => (row === undefined ? '…' : cellText(table.cell(row, column), TEXT_CELL_CHARS)))].map((text) =>
      cut(text.replace(/\s+/g, ' '), TEXT_CELL_CHARS),
    )
  }
  const pad = (cells: readonly string[]) => {
    const width = Math.max(...cells.map((cell) => cell.length))
    return cells.map((cell) => cell.padStart(width))
  }
  const shown = [pad(['', '', ...rows.map((row) => (row === undefined ? '…' : String(row)))])]
  const widthOf = () => shown.reduce((sum, cells) => sum + (cells[0]?.length ?? 0) + 2, 0)
  let column = 0
  for (; column < table.columns.length; column++) {
    const cells = pad(texts(column))
    if (column > 0 && widthOf() + (cells[0]?.length ?? 0) > TEXT_WIDTH) break
    shown.push(cells)
  }
  const left = table.columns.length - column
  const lines = (shown[0] ?? []).map((_, line) =>
    shown
      .map((cells) => cells[line])
      .join('  ')
      .trimEnd(),
  )
  return [...lines, `${sizeInWords(table)}${left > 0 ? `, the last ${left} not shown` : ''}`].join('\n')
}

/** Frictionless Table Schema with the first rows. */
function dataOf({ columns, rows, cell }: Table): object {
  const count = Math.min(rows, DATA_ROWS, Math.ceil(DATA_CELLS / Math.max(1, columns.length)))
  const wide = columns.slice(0, DATA_CELLS)
  const data = Array.from({ length: count }, (_, row) => Object.fromEntries(wide.map(({ name }, column) => [name, dataCell(cell(row, column))])))
  const fields = wide.map(({ name, type }) => ({
    name,
    type: fieldType(
      type,
      data.map((row) => row[name]),
    ),
    ...(type === '' ? {} : { description: type }),
  }))
  return { schema: { fields }, data }
}

function fieldType(type: string, values: readonly unknown[]): string {
  if (/^(?:Float|Decimal)/.test(type)) return 'number'
  if (/^(?:Date|Timestamp)/.test(type)) return 'datetime'
  const kinds = new Set(values.filter((value) => value !== null).map((value) => (Number.isInteger(value) ? 'integer' : typeof value)))
  if (kinds.size === 2 && kinds.has('integer') && kinds.has('number')) return 'number'
  return kinds.size === 1 ? ([...kinds][0] as string) : kinds.size === 0 ? 'any' : 'string'
}

function dataCell(value: unknown): string | number | boolean | null {
  if (value === null || value === undefined) return null
  if (typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value))) return value
  return cellText(value, CELL_CHARS)
}

function cellText(value: unknown, chars: number): string {
  switch (typeof value) {
    case 'string':
      return cut(value, chars)
    case 'number':
      return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)))
    case 'bigint':
      return String(value)
    case 'undefined':
      return ''
    default:
      return value instanceof Date && !Number.isNaN(value.getTime()) ? value.toISOString().replace('T00:00:00.000Z', '') : brief(value, chars)
  }
}
