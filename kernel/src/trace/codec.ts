/**
 * Tables to bytes and back: a table is one self-contained Arrow IPC stream (schema and one record batch), numeric columns
 * only, with code tables and units as metadata, so that any Arrow reader can make sense of it. The only file that imports Arrow.
 *
 * Bytes come out of files that anyone may have written: decoding refuses, in words, whatever is not exactly such a stream
 * (`arrow-reader.ts`), and allocates nothing that the bytes themselves do not justify.
 */
import { type DataType, Field, Float64, makeData, RecordBatch, RecordBatchStreamWriter, Schema, Struct, Uint8, Uint16, Uint32 } from 'apache-arrow'
import { FpdtError } from '../errors.js'
import { type NumericTable, readNumericTable } from './arrow-reader.js'
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
  return decode(table, TABLES[table], bytes) as Columns<(typeof TABLES)[T]>
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

function decode<S extends Spec>(table: string, spec: S, bytes: Uint8Array): Columns<S> {
  const broken = (reason: string): FpdtError => new FpdtError('payload', `the ${table} table cannot be read: ${reason}`)
  const { metadata, columns } = read()
  if (metadata.get('schema') !== RUN_SCHEMA || metadata.get('table') !== table) throw broken(`it is not the ${table} table of an ${RUN_SCHEMA}`)
  if (metadata.get('version') !== String(RUN_VERSION)) throw broken(`it has version ${metadata.get('version')}, and version ${RUN_VERSION} is known`)
  const found = columns.map(({ name, type }) => `${name} ${type}`).join(', ')
  const wanted = Object.entries(spec)
    .map(([name, type]) => `${name} ${type}`)
    .join(', ')
  if (found !== wanted) throw broken(`its columns are ${found.slice(0, 400)}, not ${wanted}`)
  return Object.fromEntries(columns.map(({ name, values }) => [name, values])) as Columns<S>

  function read(): NumericTable {
    try {
      return readNumericTable(bytes)
    } catch (error) {
      throw broken(`its ${bytes.length} bytes are no Arrow stream of numbers: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
}
