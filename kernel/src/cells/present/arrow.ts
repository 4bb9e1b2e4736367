/** Apache Arrow tables, record batches and vectors -> a table. By their shape: the user's copy of the library need not be ours. */
import { method, read } from './read.js'
import type { Table } from './table.js'

/** `Type` of apache-arrow. */
const DECIMAL = 7
const DATE = 8
const TIMESTAMP = 10

interface Column {
  get(row: number): unknown
}

/** Undefined for what is none of these. */
export function arrowTable(value: unknown): Table | undefined {
  const rows = read(value, 'numRows')
  const fields = read(read(value, 'schema'), 'fields')
  const childAt = method(value, 'getChildAt')
  if (typeof rows === 'number' && Array.isArray(fields) && childAt !== undefined) {
    const columns = fields.map((_, index) => childAt(index) as Column | null)
    return {
      columns: fields.map((field) => ({ name: String(field.name), type: typeName(field.type, field.nullable) })),
      rows,
      cell: (row, column) => cellOf(columns[column]?.get(row), fields[column].type),
    }
  }
  const type = read(value, 'type')
  const length = read(value, 'length')
  const get = method(value, 'get')
  if (typeof read(type, 'typeId') !== 'number' || typeof length !== 'number' || get === undefined || method(value, 'toArrow', 'toArray') === undefined)
    return undefined
  return { columns: [{ name: 'value', type: typeName(type, false) }], rows: length, cell: (row) => cellOf(get(row), type) }
}

function typeName(type: unknown, nullable: unknown): string {
  return `${String(type)}${nullable === true ? '?' : ''}`
}

/** Numbers that mean a time or a decimal fraction, as what they mean. */
function cellOf(value: unknown, type: unknown): unknown {
  if (value === null || value === undefined) return null
  const typeId = read(type, 'typeId')
  if ((typeId === DATE || typeId === TIMESTAMP) && typeof value === 'number') return new Date(value)
  if (typeId === DECIMAL) return withPoint(String(value), Number(read(type, 'scale')))
  return value
}

function withPoint(digits: string, scale: number): string {
  if (!(scale > 0) || !/^-?\d+$/.test(digits)) return digits
  const [sign, whole] = digits.startsWith('-') ? ['-', digits.slice(1)] : ['', digits]
  const padded = whole.padStart(scale + 1, '0')
  return `${sign}${padded.slice(0, -scale)}.${padded.slice(-scale)}`
}
