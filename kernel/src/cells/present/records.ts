/** Rows or columns in plain JavaScript -> a table. */
import { method, read } from './read.js'
import type { Table } from './table.js'

/** Rows in which names of columns are looked for. */
const SAMPLED_ROWS = 1000
/** Rows that are taken out of an iterable that is no array. */
const MAX_ITERATED = 100_000

/**
 * `[{ a: 1 }, { a: 2 }]`, `[[1, 2], [3, 4]]`, `[1, 2]`, any iterable of such, a `Map`, or columns: `{ a: [1, 2], b: new Float32Array(2) }`.
 * `only` chooses the columns and their order. Throws TypeError for what has neither rows nor columns.
 */
export function recordsTable(value: unknown, only?: readonly string[]): Table {
  if (typeof value !== 'object' || value === null)
    throw new TypeError(`display.table: ${typeof value} has no rows; give an array of objects, or an object of arrays`)
  const { rows, names, get } = isIterable(value)
    ? ofRows(Array.isArray(value) || ArrayBuffer.isView(value) ? (value as never) : taken(value))
    : ofColumns(value)
  const shown = only ?? names
  return {
    columns: shown.map((name) => ({ name, type: typeOf(Array.from({ length: Math.min(rows, SAMPLED_ROWS) }, (_, row) => get(row, name))) })),
    rows,
    cell: (row, column) => get(row, shown[column] as string),
  }
}

interface Named {
  readonly rows: number
  readonly names: readonly string[]
  get(row: number, name: string): unknown
}

function ofRows(rows: ArrayLike<unknown>): Named {
  const names = new Set<string>()
  for (let row = 0; row < Math.min(rows.length, SAMPLED_ROWS); row++) {
    const record = rows[row]
    if (isRecord(record)) for (const name of Object.keys(record)) names.add(name)
    else names.add('value')
  }
  return {
    rows: rows.length,
    names: [...names],
    get: (row, name) => {
      const record = rows[row]
      return isRecord(record) ? read(record, name) : name === 'value' ? record : undefined
    },
  }
}

function ofColumns(columns: object): Named {
  const names = Object.keys(columns)
  const lengths = names.map((name) => read(read(columns, name), 'length'))
  const wrong = names.find((_, index) => typeof lengths[index] !== 'number')
  if (wrong !== undefined || names.length === 0)
    throw new TypeError(
      `display.table: ${wrong === undefined ? 'the object is empty' : `the column '${wrong}' is no array`}; give an array of objects, or an object of arrays`,
    )
  return {
    rows: Math.max(...(lengths as number[])),
    names,
    get: (row, name) => (read(columns, name) as ArrayLike<unknown> | undefined)?.[row],
  }
}

function taken(iterable: Iterable<unknown>): unknown[] {
  const rows: unknown[] = []
  for (const row of iterable) {
    rows.push(row)
    if (rows.length === MAX_ITERATED) break
  }
  return rows
}

function isIterable(value: object): value is Iterable<unknown> {
  return method(value, Symbol.iterator) !== undefined
}

/** Rows that are arrays have columns `0`, `1`, and so on. */
function isRecord(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !(value instanceof Date)
}

function typeOf(values: readonly unknown[]): string {
  const types = new Set(values.filter((value) => value !== null && value !== undefined).map((value) => (value instanceof Date ? 'Date' : typeof value)))
  return [...types].join(' | ')
}
