/**
 * Tables to bytes and back: a table is one self-contained Arrow IPC stream (schema and one record batch), numeric columns
 * only, with code tables and units as metadata, so that any Arrow reader can make sense of it. The only file that imports Arrow.
 *
 * Bytes come out of files that anyone may have written: decoding refuses, in words, whatever is not exactly such a stream
 * (`arrow-reader.ts`), and allocates nothing that the bytes themselves do not justify.
 */
import { type DataType, Field, Float64, makeData, RecordBatch, RecordBatchStreamWriter, Schema, Struct, Uint8, Uint16, Uint32 } from 'apache-arrow'
import { FpdtError } from '../errors.js'
import { type NumericTable, readNumericTable, readNumericTables } from './arrow-reader.js'
import {
  BUFFER_COLUMNS,
  CATEGORIES,
  type Columns,
  type ColumnType,
  FAMILIES,
  KINDS,
  MEMORY_COLUMNS,
  NONE,
  NONE_32,
  PHASES,
  RUN_SCHEMA,
  RUN_VERSION,
  SPAN_COLUMNS,
  STREAMS,
  TIERS,
  USE_COLUMNS,
  WAIT_COLUMNS,
} from './schema.js'

/** The tables of a run, by name. */
export const TABLES = { spans: SPAN_COLUMNS, memory: MEMORY_COLUMNS, buffers: BUFFER_COLUMNS, uses: USE_COLUMNS, waits: WAIT_COLUMNS } as const
export type TableName = keyof typeof TABLES

/** `about` goes into the metadata of the schema, beside what every table says of itself. */
export function encodeTable<T extends TableName>(table: T, columns: Columns<(typeof TABLES)[T]>, about: Readonly<Record<string, string>> = {}): Uint8Array {
  return encode(table, TABLES[table], columns as Columns<Spec>, about)
}
/** Throws FpdtError `payload`. */
export function decodeTable<T extends TableName>(table: T, bytes: Uint8Array): Columns<(typeof TABLES)[T]> {
  const read = inWords(`the ${table} table`, bytes, () => readNumericTable(bytes, (metadata) => expectTable(metadata, table)))
  return columnsOf(table, read)
}

/** A table with what its schema says beside its columns. */
export interface FoundTable {
  readonly about: ReadonlyMap<string, string>
  columns<T extends TableName>(table: T): Columns<(typeof TABLES)[T]>
}

/** Tables that were written one after the other, by the name each gives itself. Throws FpdtError `payload`. */
export function decodeTables(names: readonly string[], bytes: Uint8Array): Map<string, FoundTable> {
  const found = new Map<string, FoundTable>()
  const tables = inWords('it', bytes, () => readNumericTables(bytes, names.length, (metadata) => expectTable(metadata, ...names)))
  for (const table of tables) {
    const name = table.metadata.get('table') as string
    if (found.has(name)) throw broken('it', `it has two tables of ${name}`)
    found.set(name, { about: table.metadata, columns: (spec) => columnsOf(spec, table) })
  }
  return found
}

type Spec = Readonly<Record<string, ColumnType>>
const ARROW_TYPES: Record<ColumnType, () => DataType> = {
  Uint8: () => new Uint8(),
  Uint16: () => new Uint16(),
  Uint32: () => new Uint32(),
  Float64: () => new Float64(),
}
const ARRAYS = { Uint8: Uint8Array, Uint16: Uint16Array, Uint32: Uint32Array, Float64: Float64Array }

/** Names of a column's codes, in order. */
const CODES: Readonly<Record<string, readonly string[]>> = { stream: STREAMS, kind: KINDS, phase: PHASES, tier: TIERS, category: CATEGORIES }
function metadataOf(column: string): Map<string, string> {
  const metadata = new Map<string, string>()
  if (CODES[column]) metadata.set('codes', JSON.stringify(CODES[column]))
  if (column.endsWith('_ns')) metadata.set('unit', 'ns')
  if (column.endsWith('bytes')) metadata.set('unit', 'bytes')
  if (column === 'flops') metadata.set('unit', 'floating-point operations')
  if (['layer', 'q', 'kv'].includes(column)) metadata.set('none', String(NONE))
  if (['birth', 'buffer'].includes(column)) metadata.set('none', String(NONE_32))
  return metadata
}

function encode<S extends Spec>(table: string, spec: S, columns: Columns<S>, more: Readonly<Record<string, string>>): Uint8Array {
  const names = Object.keys(spec)
  const data = columns as Record<string, InstanceType<(typeof ARRAYS)[ColumnType]>>
  const rows = data[names[0]].length
  for (const name of names) {
    if (!(data[name] instanceof ARRAYS[spec[name]]) || data[name].length !== rows)
      throw new Error(`column ${name} of ${table} is not ${rows} numbers of type ${spec[name]}`)
  }
  const fields = names.map((name) => new Field(name, ARROW_TYPES[spec[name]](), false, metadataOf(name)))
  const about = { schema: RUN_SCHEMA, version: String(RUN_VERSION), table, families: JSON.stringify(FAMILIES), ...more }
  const schema = new Schema(fields, new Map(Object.entries(about)))
  const children = fields.map((field) => makeData({ type: field.type as Float64, length: rows, nullCount: 0, data: data[field.name] as Float64Array }))
  const batch = new RecordBatch(schema, makeData({ type: new Struct(fields), length: rows, nullCount: 0, children }))
  const writer = new RecordBatchStreamWriter()
  writer.write(batch)
  writer.finish()
  return writer.toUint8Array(true)
}

function expectTable(about: ReadonlyMap<string, string>, ...names: string[]): void {
  const [schema, version, table] = [about.get('schema'), about.get('version'), about.get('table')]
  if (schema !== RUN_SCHEMA) throw new FpdtError('payload', `it is Arrow of something else, and no ${RUN_SCHEMA}`)
  if (version !== String(RUN_VERSION)) throw new FpdtError('payload', `it has version ${String(version).slice(0, 20)}, and version ${RUN_VERSION} is known`)
  if (!names.includes(table as string)) throw new FpdtError('payload', `it is not the ${names.join(' or ')} table of an ${RUN_SCHEMA}`)
}

function columnsOf<T extends TableName>(table: T, { columns }: NumericTable): Columns<(typeof TABLES)[T]> {
  const found = columns.map(({ name, type }) => `${name} ${type}`).join(', ')
  const wanted = Object.entries(TABLES[table])
    .map(([name, type]) => `${name} ${type}`)
    .join(', ')
  if (found !== wanted) throw broken(`the ${table} table`, `its columns are ${found.slice(0, 400)}, not ${wanted}`)
  return Object.fromEntries(columns.map(({ name, values }) => [name, values])) as unknown as Columns<(typeof TABLES)[T]>
}

function inWords<T>(what: string, bytes: Uint8Array, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof FpdtError) throw broken(what, error.message)
    throw broken(what, `its ${bytes.length} bytes are no Arrow stream of numbers: ${error instanceof Error ? error.message : String(error)}`)
  }
}

function broken(what: string, reason: string): FpdtError {
  return new FpdtError('payload', `${what} cannot be read: ${reason}`)
}
