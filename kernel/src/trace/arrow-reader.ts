/**
 * Reads Arrow IPC streams of plain numeric columns, one or several after the other: a schema, one record batch, the end.
 * Everything else that Arrow can hold (dictionaries, nulls, nesting, compression, more batches) is refused.
 *
 * Why not apache-arrow, which writes these streams: it trusts the counts in a message. One changed byte in the length of a
 * flatbuffer vector makes its reader loop for minutes and take all memory; streams here come out of files that anyone may
 * have written. In this reader every count is checked against the bytes that are there before anything loops or allocates,
 * and no byte is handed out twice: a table is never larger than its stream.
 *
 *   ff ff ff ff | length | flatbuffer Message (header: Schema)                        columnar.rst, "Encapsulated message format"
 *   ff ff ff ff | length | flatbuffer Message (header: RecordBatch) | body            Message.fbs, Schema.fbs
 *   ff ff ff ff | 0
 */
import type { ColumnType } from './schema.js'

export interface NumericTable {
  readonly metadata: ReadonlyMap<string, string>
  readonly columns: readonly { readonly name: string; readonly type: ColumnType; readonly values: NumericArray }[]
  readonly rows: number
}
export type NumericArray = Uint8Array | Uint16Array | Uint32Array | Float64Array

const CONTINUATION = 0xffffffff
/** Columns, and pairs of metadata, that a table may have: far more than ours, far fewer than would take time. */
const MOST_FIELDS = 256
const HEADER = { schema: 1, recordBatch: 3 } as const
const TYPE = { int: 2, floatingPoint: 3 } as const
const DOUBLE = 2

/** Called with the metadata of a schema before its columns are looked at; throws where it is not what is wanted. */
export type Expect = (metadata: ReadonlyMap<string, string>) => void

/** The table of one stream. Throws Error with what is wrong; RangeError for an offset that points outside. */
export function readNumericTable(bytes: Uint8Array, expect: Expect = () => {}): NumericTable {
  return readStream(new Messages(bytes), expect)
}

/** The tables of streams that follow each other, at most `most`. Columns are views of `bytes` where those are aligned. */
export function readNumericTables(bytes: Uint8Array, most: number, expect: Expect): NumericTable[] {
  const messages = new Messages(bytes)
  const tables: NumericTable[] = []
  while (!messages.ended) {
    if (tables.length === most) throw new Error(`it holds more than ${most} tables`)
    tables.push(readStream(messages, expect))
  }
  return tables
}

function readStream(stream: Messages, expect: Expect): NumericTable {
  const schema = stream.next()
  if (schema?.type !== HEADER.schema) throw new Error('it does not begin with a schema')
  if (schema.header.int16(0) !== 0) throw new Error('its numbers are not little-endian')
  const metadata = new Map(schema.header.tables(2).map((pair) => [pair.string(0), pair.string(1)]))
  expect(metadata)
  const fields = schema.header.tables(1).map(numericField)
  const batch = stream.next()
  if (batch?.type !== HEADER.recordBatch) throw new Error('its schema is not followed by a record batch')
  if (batch.header.has(3)) throw new Error('its record batch is compressed')
  const rows = batch.header.int64(0)
  const nodes = batch.header.pairs(1)
  const buffers = batch.header.pairs(2)
  if (nodes.length !== fields.length || buffers.length !== 2 * fields.length)
    throw new Error(`its record batch does not hold the ${fields.length} columns of its schema`)
  let left = batch.body.length
  const columns = fields.map(({ name, type }, i) => {
    const [length, nulls] = nodes[i]
    if (length !== rows || nulls !== 0) throw new Error(`column ${name} has ${length} rows and ${nulls} nulls, not ${rows} numbers`)
    const [offset, size] = buffers[2 * i + 1] // the first of a column's two buffers tells nulls
    const values = numbers(batch.body, offset, size, rows, type, name)
    left -= values.byteLength
    if (left < 0) throw new Error(`column ${name} lies on the bytes of another`)
    return { name, type, values }
  })
  if (stream.next() !== null) throw new Error('it holds more than one record batch')
  return { metadata, columns, rows }
}

const ARRAYS = { Uint8: Uint8Array, Uint16: Uint16Array, Uint32: Uint32Array, Float64: Float64Array }

function numbers(body: Uint8Array, offset: number, size: number, rows: number, type: ColumnType, name: string): NumericArray {
  const Column = ARRAYS[type]
  const bytes = rows * Column.BYTES_PER_ELEMENT
  if (!(rows >= 0 && offset >= 0 && size >= bytes && offset + bytes <= body.length))
    throw new Error(`column ${name} has ${rows} rows, which its bytes do not hold`)
  const at = body.byteOffset + offset
  return at % Column.BYTES_PER_ELEMENT === 0
    ? new Column(body.buffer as ArrayBuffer, at, rows)
    : new Column(body.slice(offset, offset + bytes).buffer as ArrayBuffer)
}

function numericField(field: Table): { name: string; type: ColumnType } {
  const name = field.string(0)
  if (field.has(4)) throw new Error(`column ${name} is a dictionary`)
  const kind = field.uint8(2)
  if (kind === TYPE.floatingPoint && field.table(3).int16(0) === DOUBLE) return { name, type: 'Float64' }
  if (kind === TYPE.int) {
    const type = field.table(3)
    const [bits, signed] = [type.int32(0), type.uint8(1)]
    if (!signed && (bits === 8 || bits === 16 || bits === 32)) return { name, type: `Uint${bits}` }
  }
  throw new Error(`column ${name} is not of unsigned 8, 16, 32 bits or float64`)
}

/** The messages of a stream, one after the other; null at its end. */
class Messages {
  private at = 0

  constructor(private readonly bytes: Uint8Array) {}

  get ended(): boolean {
    return this.at === this.bytes.length
  }

  next(): { type: number; header: Table; body: Uint8Array } | null {
    const view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength)
    if (this.ended) return null // the end may go unsaid
    if (view.getUint32(this.at, true) !== CONTINUATION) throw new Error(`no Arrow message begins at byte ${this.at}`)
    const length = view.getInt32(this.at + 4, true)
    if (length === 0) {
      this.at += 8
      return null
    }
    const message = Table.root(this.take(this.at + 8, length))
    const bodyLength = message.int64(3)
    const body = this.take(this.at + 8 + length, bodyLength)
    this.at += 8 + length + bodyLength
    return { type: message.uint8(1), header: message.table(2), body }
  }

  private take(from: number, length: number): Uint8Array {
    if (!(length >= 0 && from + length <= this.bytes.length)) throw new Error(`it ends after ${this.bytes.length} bytes, in the middle of a message`)
    return this.bytes.subarray(from, from + length)
  }
}

/** A flatbuffer table: fields by number, found through its vtable. A DataView refuses every read outside the buffer. */
class Table {
  private constructor(
    private readonly view: DataView,
    private readonly at: number,
    /** Bytes of text that may still be read of this message. */
    private readonly text: { left: number },
  ) {}

  static root(bytes: Uint8Array): Table {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    return new Table(view, view.getUint32(0, true), { left: bytes.length })
  }

  has(field: number): boolean {
    return this.place(field) !== 0
  }
  uint8(field: number): number {
    const place = this.place(field)
    return place ? this.view.getUint8(place) : 0
  }
  int16(field: number): number {
    const place = this.place(field)
    return place ? this.view.getInt16(place, true) : 0
  }
  int32(field: number): number {
    const place = this.place(field)
    return place ? this.view.getInt32(place, true) : 0
  }
  int64(field: number): number {
    const place = this.place(field)
    return place ? this.long(place) : 0
  }
  string(field: number): string {
    const [start, length] = this.vector(field, 1)
    this.text.left -= length
    if (this.text.left < 0) throw new Error('its metadata says more than its bytes hold')
    return new TextDecoder().decode(new Uint8Array(this.view.buffer, this.view.byteOffset + start, length))
  }
  table(field: number): Table {
    const place = this.place(field)
    if (!place) throw new Error('a table of its metadata is missing')
    return new Table(this.view, this.follow(place), this.text)
  }
  /** A vector of tables. */
  tables(field: number): Table[] {
    const [start, count] = this.vector(field, 4, MOST_FIELDS)
    return Array.from({ length: count }, (_, i) => new Table(this.view, this.follow(start + 4 * i), this.text))
  }
  /** A vector of structs of two int64. */
  pairs(field: number): [number, number][] {
    const [start, count] = this.vector(field, 16, 2 * MOST_FIELDS)
    return Array.from({ length: count }, (_, i) => [this.long(start + 16 * i), this.long(start + 16 * i + 8)])
  }

  /** Where a field lies, 0 when it has its default. */
  private place(field: number): number {
    const vtable = this.at - this.view.getInt32(this.at, true)
    const slot = 4 + 2 * field
    if (slot >= this.view.getUint16(vtable, true)) return 0
    const offset = this.view.getUint16(vtable + slot, true)
    return offset ? this.at + offset : 0
  }
  private follow(place: number): number {
    return place + this.view.getUint32(place, true)
  }
  /** First element and number of elements. */
  private vector(field: number, elementBytes: number, most = this.view.byteLength): [start: number, count: number] {
    const place = this.place(field)
    if (!place) return [0, 0]
    const start = this.follow(place) + 4
    const count = this.view.getUint32(start - 4, true)
    if (count > most || start + count * elementBytes > this.view.byteLength) throw new Error(`a list of its metadata claims ${count} entries`)
    return [start, count]
  }
  private long(place: number): number {
    const number = Number(this.view.getBigInt64(place, true))
    if (!Number.isSafeInteger(number)) throw new Error('a length of its metadata is absurd')
    return number
  }
}
