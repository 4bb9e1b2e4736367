/**
 * The saved form of a run: what a notebook keeps and a widget draws with no kernel. Tables and listing are gzipped and in
 * base64, by what browsers and Node both have. Bounded both ways: a saved run has at most MAX_SPANS spans and MAX_SAVED
 * characters, and a payload that would unpack to more than it says, or than any saved run, is refused while it is being unpacked.
 */
import { FpdtError } from '../errors.js'
import { decodeTable, encodeTable, TABLES, type TableName } from './codec.js'
import { keepNewest, MAX_SPANS, withoutUnused, withShorterHead } from './kept.js'
import { linesOf, MOST_LINES, textOf } from './lines.js'
import { type PackedTable, type PackedText, RUN_SCHEMA, RUN_VERSION, type RunHead, type RunTables, type SavedRun } from './schema.js'

export { keepNewest, MAX_SPANS } from './kept.js'

/** Characters of JSON of a saved run: with its PNG an output stays below 5 MB. */
export const MAX_SAVED = 3_500_000
/** Bytes that all parts of a payload may unpack to together. */
const MAX_UNPACKED = 256 * 2 ** 20
/** Bytes that a part may unpack to beside its rows: its schema, and what fills up its columns. */
const BESIDE_ROWS = 64 * 2 ** 10
/** Bytes of a line of a text, which is far longer than any op. */
const PER_LINE = 2 ** 12

/** Packs a whole run: its newest steps, as many as fit. `head.kept` says what was kept. `first`: keepNewest(whole), where it is at hand. */
export async function saveRun(whole: RunTables, most = MAX_SAVED, first = keepNewest(whole)): Promise<SavedRun> {
  for (let spans = MAX_SPANS; ; spans = Math.floor(spans / 2)) {
    // Of the whole each time: what is kept says how much that was.
    const newest = spans === MAX_SPANS ? first : keepNewest(whole, spans)
    const kept = newest.listing.length > MAX_SPANS || spans < MAX_SPANS ? withoutUnused(newest) : newest
    const saved = await pack({ ...kept, head: withShorterHead(kept.head) })
    if (spans === 0 || JSON.stringify(saved).length <= most) return saved
  }
}

async function pack(kept: RunTables): Promise<SavedRun> {
  const text = async (lines: readonly string[]): Promise<PackedText> => ({
    encoding: 'text+gzip+base64',
    lines: lines.length,
    data: toBase64(await gzip(new TextEncoder().encode(textOf(lines)))),
  })
  const table = async <T extends TableName>(name: T, columns: Parameters<typeof encodeTable<T>>[1]): Promise<PackedTable> => ({
    encoding: 'arrow-stream+gzip+base64',
    rows: rowsOf(name, columns),
    data: toBase64(await gzip(encodeTable(name, columns))),
  })
  const [listing, names, spans, memory, buffers, uses, waits, predicted] = await Promise.all([
    text(kept.listing),
    text(kept.names),
    table('spans', kept.spans),
    table('memory', kept.memory),
    table('buffers', kept.buffers),
    table('uses', kept.uses),
    table('waits', kept.waits),
    kept.predicted && table('spans', kept.predicted),
  ])
  return { head: kept.head, listing, names, tables: { spans, memory, buffers, uses, waits, predicted } }
}

/** Unpacks the payload of `RUN_MIME`, whoever wrote it. Throws FpdtError `payload` with what is wrong. */
export async function decodeSavedRun(payload: unknown): Promise<RunTables> {
  const head = field(payload, 'head') as RunHead | null
  if (typeof head !== 'object' || head?.schema !== RUN_SCHEMA) throw broken(`its head is not of an ${RUN_SCHEMA}`)
  if (head.version !== RUN_VERSION)
    throw broken(
      `it has version ${said(head.version)}, and version ${RUN_VERSION} is known; ${typeof head.version === 'number' && head.version > RUN_VERSION ? 'a newer fpdt reads it' : 'run its cell again'}`,
    )
  const packed = (where: unknown, name: string, encoding: string, count: 'rows' | 'lines'): { data: string; count: number } => {
    const [found, data, size] = [field(where, 'encoding'), field(where, 'data'), field(where, count)]
    if (found !== encoding) throw broken(`the encoding of ${name} is ${said(found)}, not ${encoding}`)
    if (typeof data !== 'string') throw broken(`${name} has no data`)
    if (!Number.isSafeInteger(size) || (size as number) < 0) throw broken(`${name} does not say how many ${count} it has`)
    return { data, count: size as number }
  }
  const room = { left: MAX_UNPACKED }
  const agree = (name: string, said: number, found: number): void => {
    if (said !== found) throw broken(`its ${name} says ${said} and holds ${Number.isNaN(found) ? 'more' : found}`)
  }
  const text = async (name: 'listing' | 'names'): Promise<readonly string[]> => {
    const { data, count } = packed(field(payload, name), `the ${name}`, 'text+gzip+base64' satisfies PackedText['encoding'], 'lines')
    if (count > MOST_LINES) throw broken(`its ${name} says ${count} lines, and a run has at most ${MOST_LINES}`)
    const whole = new TextDecoder().decode(await gunzip(data, `the ${name}`, BESIDE_ROWS + PER_LINE * count, room))
    const lines = linesOf(whole, count)
    agree(name, count, lines?.length ?? Number.NaN)
    return lines as readonly string[]
  }
  const tables = field(payload, 'tables')
  const table = async <T extends TableName>(name: T, where: unknown): Promise<ReturnType<typeof decodeTable<T>>> => {
    const { data, count } = packed(where, `the ${name} table`, 'arrow-stream+gzip+base64' satisfies PackedTable['encoding'], 'rows')
    const columns = decodeTable(name, await gunzip(data, `the ${name} table`, BESIDE_ROWS + rowBytes(name) * count, room))
    agree(`${name} table`, count, rowsOf(name, columns))
    return columns
  }
  const listing = await text('listing')
  const names = await text('names')
  const predicted = field(tables, 'predicted')
  return {
    head,
    listing,
    names,
    spans: await table('spans', field(tables, 'spans')),
    memory: await table('memory', field(tables, 'memory')),
    buffers: await table('buffers', field(tables, 'buffers')),
    uses: await table('uses', field(tables, 'uses')),
    waits: await table('waits', field(tables, 'waits')),
    predicted: predicted === null || predicted === undefined ? null : await table('spans', predicted),
  }
}

function rowsOf(table: TableName, columns: object): number {
  return (columns as Record<string, ArrayLike<number>>)[Object.keys(TABLES[table])[0]].length
}

function rowBytes(table: TableName): number {
  return Object.values(TABLES[table]).reduce((sum, type) => sum + Number(type.replace(/\D+/, '')) / 8, 0)
}

// ---- packing -------------------------------------------------------------------------------------------------------

function broken(reason: string): FpdtError {
  return new FpdtError('payload', `this saved run cannot be read: ${reason}`)
}
/** Of any JSON value, which may have no text of its own. */
function said(value: unknown): string {
  return String(typeof value === 'object' ? JSON.stringify(value) : value).slice(0, 60)
}
function field(of: unknown, name: string): unknown {
  if (typeof of !== 'object' || of === null) throw broken(`it has no ${name}`)
  return (of as Record<string, unknown>)[name]
}

async function gzip(bytes: Uint8Array): Promise<Uint8Array> {
  const packed = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new CompressionStream('gzip'))
  return new Uint8Array(await new Response(packed).arrayBuffer())
}

/** `room`: what all parts may still unpack to. */
async function gunzip(base64: string, name: string, most: number, room: { left: number }): Promise<Uint8Array> {
  const packed = fromBase64(base64, name)
  try {
    return await collect(new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip')), name, most, room)
  } catch (error) {
    if (error instanceof FpdtError) throw error
    throw broken(`${name} is not whole gzip (${error instanceof Error ? error.message : String(error)})`)
  }
}
async function collect(stream: ReadableStream<Uint8Array>, name: string, most: number, room: { left: number }): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  const reader = stream.getReader()
  let length = 0
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value)
    length += part.value.length
    room.left -= part.value.length
    const problem = length > most ? `${name} unpacks to more than what it says needs` : room.left < 0 ? `it unpacks to more than ${MAX_UNPACKED} bytes` : ''
    if (problem) {
      await reader.cancel()
      throw broken(problem)
    }
  }
  const whole = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** In pieces: `String.fromCharCode` takes its bytes as arguments, and an engine limits those. */
const PIECE = 0x8000
function toBase64(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length; at += PIECE) text += String.fromCharCode(...bytes.subarray(at, at + PIECE))
  return btoa(text)
}
function fromBase64(base64: string, name: string): Uint8Array<ArrayBuffer> {
  let text: string
  try {
    text = atob(base64)
  } catch {
    throw broken(`${name} is not base64`)
  }
  return Uint8Array.from(text, (character) => character.charCodeAt(0))
}
