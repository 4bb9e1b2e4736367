/**
 * The saved form of a run: what a notebook keeps and a widget draws with no kernel. Tables and listing are gzipped and in
 * base64, by what browsers and Node both have. Bounded both ways: at most MAX_SPANS spans are saved, and a payload that would
 * unpack to more than its limit is refused while it is being unpacked.
 */
import { FpdtError } from '../errors.js'
import { decodeTable, encodeTable, TABLES, type TableName } from './codec.js'
import {
  type MemoryColumns,
  type PackedTable,
  type PackedText,
  RUN_SCHEMA,
  RUN_VERSION,
  type RunHead,
  type RunTables,
  type SavedRun,
  type SpanColumns,
} from './schema.js'
import { joinColumns, selectRows } from './spans.js'

/** Spans that a saved run keeps: a few megabytes of notebook at most, and drawn without a stutter. */
export const MAX_SPANS = 20_000
/** Bytes that a table or the listing of a payload may unpack to. */
const MAX_UNPACKED = 256 * 2 ** 20

/** Packs a run: whole newest steps, as many as fit MAX_SPANS. `head.kept` says what was kept. */
export async function saveRun(tables: RunTables): Promise<SavedRun> {
  const kept = keepNewest(tables)
  const text = async (lines: readonly string[]): Promise<PackedText> => ({
    encoding: 'text+gzip+base64',
    lines: lines.length,
    data: toBase64(await gzip(new TextEncoder().encode(lines.join('\n')))),
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
      `it has version ${String(head.version).slice(0, 20)}, and version ${RUN_VERSION} is known; ${Number(head.version) > RUN_VERSION ? 'a newer fpdt reads it' : 'run its cell again'}`,
    )
  const packed = (where: unknown, name: string, encoding: string, count: 'rows' | 'lines'): { data: string; count: number } => {
    const [found, data, size] = [field(where, 'encoding'), field(where, 'data'), field(where, count)]
    if (found !== encoding) throw broken(`the encoding of ${name} is ${String(found).slice(0, 60)}, not ${encoding}`)
    if (typeof data !== 'string') throw broken(`${name} has no data`)
    if (!Number.isSafeInteger(size) || (size as number) < 0) throw broken(`${name} does not say how many ${count} it has`)
    return { data, count: size as number }
  }
  const agree = (name: string, said: number, found: number): void => {
    if (said !== found) throw broken(`its ${name} says ${said} and holds ${found}`)
  }
  const text = async (name: 'listing' | 'names'): Promise<readonly string[]> => {
    const { data, count } = packed(field(payload, name), `the ${name}`, 'text+gzip+base64' satisfies PackedText['encoding'], 'lines')
    const whole = new TextDecoder().decode(await gunzip(data, `the ${name}`))
    const lines = whole === '' ? [] : whole.split('\n')
    agree(name, count, lines.length)
    return lines
  }
  const tables = field(payload, 'tables')
  const table = async <T extends TableName>(name: T, where: unknown): Promise<ReturnType<typeof decodeTable<T>>> => {
    const { data, count } = packed(where, `the ${name} table`, 'arrow-stream+gzip+base64' satisfies PackedTable['encoding'], 'rows')
    const columns = decodeTable(name, await gunzip(data, `the ${name} table`))
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

// ---- what is kept --------------------------------------------------------------------------------------------------

/** Whole newest steps and the prediction, up to `most` spans; of a newest step that alone has more, its beginning. The prediction takes half of them at most. */
export function keepNewest(whole: RunTables, mostOfAll = MAX_SPANS): RunTables {
  const predicted = whole.predicted && beginningRows(whole.predicted, Math.floor(mostOfAll / 2))
  const most = mostOfAll - (predicted?.op.length ?? 0)
  const tables: RunTables = { ...whole, predicted }
  const { head, spans, memory } = tables
  const of = spans.op.length
  const counts = new Map<number, number>()
  for (const step of spans.step) counts.set(step, (counts.get(step) ?? 0) + 1)
  const newestFirst = [...counts.keys()].sort((a, b) => b - a)
  const steps: number[] = []
  let kept = 0
  for (const step of newestFirst) {
    kept += counts.get(step) as number
    if (kept > most) break
    steps.unshift(step)
  }
  if (steps.length === newestFirst.length) return { ...tables, head: withKept(head, of, of, steps, 'everything') }
  if (steps.length === 0) return beginningOf(tables, newestFirst[0], most)
  const first = steps[0]
  const newer = selectRows(spans, (row) => spans.step[row] >= first)
  const reason = `the newest ${steps.length === 1 ? 'step' : `${steps.length} steps`} of ${newestFirst.length}: a saved run holds at most ${most} spans`
  return { ...tables, head: withKept(head, newer.op.length, of, steps, reason), spans: newer, memory: memoryFrom(memory, (row) => memory.step[row] >= first) }
}

function beginningOf(tables: RunTables, step: number, most: number): RunTables {
  const { head, spans, memory } = tables
  const starts = [...spans.start_ns].filter((_, row) => spans.step[row] === step).sort((a, b) => a - b)
  const end_ns = starts[most] // the first that is left out
  const kept = selectRows(spans, (row) => spans.step[row] === step && spans.start_ns[row] < end_ns)
  const reason = `the beginning of step ${step}, which alone has ${starts.length} spans: a saved run holds at most ${most}`
  const rows = memoryFrom(
    memory,
    (row) => memory.step[row] === step,
    (row) => memory.time_ns[row] < end_ns,
  )
  return { ...tables, head: withKept(head, kept.op.length, spans.op.length, [step], reason), spans: kept, memory: rows }
}

/** The rows that begin first, `most` of them or a few less. */
function beginningRows(spans: SpanColumns, most: number): SpanColumns {
  if (spans.op.length <= most) return spans
  const end_ns = spans.start_ns.slice().sort()[most] // the first that is left out
  return selectRows(spans, (row) => spans.start_ns[row] < end_ns)
}

function withKept(head: RunHead, spans: number, of: number, steps: number[], reason: string): RunHead {
  return { ...head, kept: { spans, of, steps, reason } }
}

/** Rows from the first that `begins` on, while `keep`; what stood before begins again in an opening row for each buffer. */
function memoryFrom(memory: MemoryColumns, begins: (row: number) => boolean, keep: (row: number) => boolean = () => true): MemoryColumns {
  const first = memory.op.findIndex((_, row) => begins(row))
  if (first <= 0) return selectRows(memory, keep)
  const standing = new Map<string, number>() // rows, by rank and buffer
  for (let row = 0; row < first; row++) {
    const key = `${memory.rank[row]} ${memory.buffer[row]}`
    if (memory.delta_bytes[row] > 0) standing.set(key, row)
    else standing.delete(key)
  }
  const rows = Uint32Array.from(standing.values())
  const opened = Object.fromEntries(
    Object.entries(memory).map(([name, column]) => [name, (column.constructor as Float64ArrayConstructor).from(rows, (row) => column[row])]),
  ) as unknown as MemoryColumns
  opened.step.fill(memory.step[first])
  opened.time_ns.fill(memory.time_ns[first])
  const totals = new Map<string, number>()
  for (let row = 0; row < rows.length; row++) {
    const arena = `${opened.rank[row]} ${opened.tier[row]}`
    totals.set(arena, (totals.get(arena) ?? 0) + opened.delta_bytes[row])
    opened.total_bytes[row] = totals.get(arena) as number
  }
  return joinColumns([opened, selectRows(memory, (row) => row >= first && keep(row))])
}

// ---- packing -------------------------------------------------------------------------------------------------------

function broken(reason: string): FpdtError {
  return new FpdtError('payload', `this saved run cannot be read: ${reason}`)
}
function field(of: unknown, name: string): unknown {
  if (typeof of !== 'object' || of === null) throw broken(`it has no ${name}`)
  return (of as Record<string, unknown>)[name]
}

async function gzip(bytes: Uint8Array): Promise<Uint8Array> {
  return collect(new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new CompressionStream('gzip')), Number.POSITIVE_INFINITY, '')
}
async function gunzip(base64: string, name: string): Promise<Uint8Array> {
  const packed = fromBase64(base64, name)
  try {
    return await collect(new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip')), MAX_UNPACKED, name)
  } catch (error) {
    if (error instanceof FpdtError) throw error
    throw broken(`${name} is not whole gzip (${error instanceof Error ? error.message : String(error)})`)
  }
}
async function collect(stream: ReadableStream<Uint8Array>, most: number, name: string): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  const reader = stream.getReader()
  let length = 0
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value)
    length += part.value.length
    if (length > most) {
      await reader.cancel()
      throw broken(`${name} unpacks to more than ${most} bytes`)
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
