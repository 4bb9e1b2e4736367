/**
 * The saved form of a run: what a notebook keeps and a widget draws with no kernel. Tables and listing are gzipped and in
 * base64, by what browsers and Node both have. Bounded both ways: at most MAX_SPANS spans are saved, and a payload that would
 * unpack to more than its limit is refused while it is being unpacked.
 */
import { FpdtError } from '../errors.js'
import { decodeMemory, decodeSpans, encodeMemory, encodeSpans } from './codec.js'
import type { RunTables } from './draw/run.js'
import { type MemoryColumns, type PackedTable, type PackedText, RUN_SCHEMA, RUN_VERSION, type RunHead, type SavedRun } from './schema.js'
import { joinColumns, selectRows } from './spans.js'

/** Spans that a saved run keeps: a few megabytes of notebook at most, and drawn without a stutter. */
export const MAX_SPANS = 20_000
/** Bytes that a table or the listing of a payload may unpack to. */
const MAX_UNPACKED = 256 * 2 ** 20

/** Packs a run: whole newest steps, as many as fit MAX_SPANS. `head.kept` says what was kept. */
export async function saveRun(tables: RunTables): Promise<SavedRun> {
  const { head, listing, spans, memory } = keepNewest(tables)
  const [text, spanBytes, memoryBytes] = await Promise.all([
    gzip(new TextEncoder().encode(listing.join('\n'))),
    gzip(encodeSpans(spans)),
    gzip(encodeMemory(memory)),
  ])
  const table = (rows: number, data: Uint8Array): PackedTable => ({ encoding: 'arrow-stream+gzip+base64', rows, data: toBase64(data) })
  return {
    head,
    listing: { encoding: 'text+gzip+base64', lines: listing.length, data: toBase64(text) },
    tables: { spans: table(spans.op.length, spanBytes), memory: table(memory.op.length, memoryBytes) },
  }
}

/** Unpacks the payload of `RUN_MIME`, whoever wrote it. Throws FpdtError `payload` with what is wrong. */
export async function decodeSavedRun(payload: unknown): Promise<RunTables> {
  const head = field(payload, 'head') as RunHead | null
  if (typeof head !== 'object' || head?.schema !== RUN_SCHEMA) throw broken(`its head is not of an ${RUN_SCHEMA}`)
  if (head.version !== RUN_VERSION) throw broken(`it has version ${String(head.version)}, and version ${RUN_VERSION} is known; a newer fpdt reads it`)
  const packed = (where: unknown, name: string, encoding: string, count: 'rows' | 'lines'): { data: string; count: number } => {
    const [found, data, size] = [field(where, 'encoding'), field(where, 'data'), field(where, count)]
    if (found !== encoding) throw broken(`the encoding of ${name} is ${String(found).slice(0, 60)}, not ${encoding}`)
    if (typeof data !== 'string') throw broken(`${name} has no data`)
    if (!Number.isSafeInteger(size) || (size as number) < 0) throw broken(`${name} does not say how many ${count} it has`)
    return { data, count: size as number }
  }
  const tables = field(payload, 'tables')
  const tableEncoding: PackedTable['encoding'] = 'arrow-stream+gzip+base64'
  const textEncoding: PackedText['encoding'] = 'text+gzip+base64'
  const text = packed(field(payload, 'listing'), 'the listing', textEncoding, 'lines')
  const spanTable = packed(field(tables, 'spans'), 'the spans table', tableEncoding, 'rows')
  const memoryTable = packed(field(tables, 'memory'), 'the memory table', tableEncoding, 'rows')

  const lines = new TextDecoder().decode(await gunzip(text.data, 'the listing'))
  const listing = lines === '' ? [] : lines.split('\n')
  const spans = decodeSpans(await gunzip(spanTable.data, 'the spans table'))
  const memory = decodeMemory(await gunzip(memoryTable.data, 'the memory table'))
  for (const [name, said, found] of [
    ['listing', text.count, listing.length],
    ['spans table', spanTable.count, spans.op.length],
    ['memory table', memoryTable.count, memory.op.length],
  ] as const) {
    if (said !== found) throw broken(`its ${name} says ${said} and holds ${found}`)
  }
  return { head, listing, spans, memory }
}

// ---- what is kept --------------------------------------------------------------------------------------------------

/** Whole newest steps up to `most` spans; of a newest step that alone has more, its beginning. */
export function keepNewest(tables: RunTables, most = MAX_SPANS): RunTables {
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

function withKept(head: RunHead, spans: number, of: number, steps: number[], reason: string): RunHead {
  return { ...head, kept: { spans, of, steps, reason } }
}

/** Rows from the first that `begins` on, while `keep`; what stood before is summed into one opening row for each category. */
function memoryFrom(memory: MemoryColumns, begins: (row: number) => boolean, keep: (row: number) => boolean = () => true): MemoryColumns {
  const first = memory.op.findIndex((_, row) => begins(row))
  if (first <= 0) return selectRows(memory, keep)
  const standing = new Map<string, { row: number; bytes: number }>() // by rank, tier and category
  for (let row = 0; row < first; row++) {
    const key = `${memory.rank[row]} ${memory.tier[row]} ${memory.category[row]}`
    standing.set(key, { row, bytes: (standing.get(key)?.bytes ?? 0) + memory.delta_bytes[row] })
  }
  const totals = new Map<string, number>()
  const openings = [...standing.values()].filter(({ bytes }) => bytes > 0)
  const opening = selectRows(memory, () => false)
  const rows = openings.map(({ row, bytes }) => {
    const arena = `${memory.rank[row]} ${memory.tier[row]}`
    const total = (totals.get(arena) ?? 0) + bytes
    totals.set(arena, total)
    return {
      step: memory.step[first],
      op: 0,
      rank: memory.rank[row],
      tier: memory.tier[row],
      category: memory.category[row],
      time_ns: memory.time_ns[first],
      delta_bytes: bytes,
      total_bytes: total,
    }
  })
  const opened = Object.fromEntries(
    Object.entries(opening).map(([name, column]) => [
      name,
      (column.constructor as Float64ArrayConstructor).from(rows.map((row) => row[name as keyof MemoryColumns])),
    ]),
  ) as unknown as MemoryColumns
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
