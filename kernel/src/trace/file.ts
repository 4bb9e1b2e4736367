/**
 * A run as a file, `step.arrow`: all of it, where a notebook keeps what fits. Arrow IPC streams one after the other, which any
 * Arrow reader reads in turn (`pa.ipc.open_stream(file)` as long as there is something left):
 *
 *   spans       metadata `head`: the head as JSON, `listing`: the ops, a line each
 *   memory
 *   buffers     metadata `names`: the names of the buffers, a line each
 *   uses, waits
 *   predicted   spans as the plan foretells them, where it did
 */
import { FpdtError } from '../errors.js'
import { decodeTables, encodeTable, type FoundTable } from './codec.js'
import { linesOf, MOST_LINES, textOf } from './lines.js'
import { RUN_SCHEMA, RUN_VERSION, type RunHead, type RunTables } from './schema.js'

const PARTS = ['spans', 'memory', 'buffers', 'uses', 'waits', 'predicted'] as const

/** The streams of a file, made one at a time. `head.kept` says that this is everything, or of how much it was cut before. */
export function* encodeRunFile(tables: RunTables): Generator<Uint8Array, void, undefined> {
  const rows = tables.spans.op.length
  const { kept } = tables.head
  const all = { spans: rows, of: rows, steps: [...new Set(tables.spans.step)], reason: 'everything' }
  const head: RunHead = { ...tables.head, kept: kept.of > rows ? kept : all }
  yield encodeTable('spans', tables.spans, { head: JSON.stringify(head), listing: textOf(tables.listing) })
  yield encodeTable('memory', tables.memory)
  yield encodeTable('buffers', tables.buffers, { names: textOf(tables.names) })
  yield encodeTable('uses', tables.uses)
  yield encodeTable('waits', tables.waits)
  if (tables.predicted) yield encodeTable('spans', tables.predicted, { table: 'predicted' })
}

/** Reads the bytes of such a file, whoever wrote it; columns are views of them. Throws FpdtError `payload` with what is wrong. */
export function decodeRunFile(bytes: Uint8Array): RunTables {
  if (String.fromCharCode(...bytes.subarray(0, 6)) === 'ARROW1') throw broken(`it is an Arrow file of another program; fpdt writes Arrow streams`)
  const parts = found(bytes)
  const part = (name: (typeof PARTS)[number]): FoundTable => parts.get(name) ?? missing(name)
  const lines = (of: FoundTable, name: string): readonly string[] => {
    const list = linesOf(of.about.get(name) ?? missing(name), MOST_LINES)
    if (list === null) throw broken(`its ${name} has more than ${MOST_LINES} lines`)
    return list
  }
  const spans = part('spans')
  const buffers = part('buffers')
  return {
    head: headOf(spans.about.get('head') ?? missing('head')),
    listing: lines(spans, 'listing'),
    names: lines(buffers, 'names'),
    spans: spans.columns('spans'),
    memory: part('memory').columns('memory'),
    buffers: buffers.columns('buffers'),
    uses: part('uses').columns('uses'),
    waits: part('waits').columns('waits'),
    predicted: parts.get('predicted')?.columns('spans') ?? null,
  }
}

function found(bytes: Uint8Array): Map<string, FoundTable> {
  try {
    return decodeTables(PARTS, bytes)
  } catch (error) {
    if (error instanceof FpdtError) throw broken(error.message)
    throw error
  }
}

function headOf(json: string): RunHead {
  let head: RunHead | null
  try {
    head = JSON.parse(json)
  } catch (error) {
    throw broken(`its head is not JSON (${error instanceof Error ? error.message.slice(0, 80) : String(error)})`)
  }
  if (head?.schema !== RUN_SCHEMA || head.version !== RUN_VERSION) throw broken(`its head is not of an ${RUN_SCHEMA} of version ${RUN_VERSION}`)
  return head
}

function missing(name: string): never {
  throw broken(`it has no ${name}`)
}
function broken(reason: string): FpdtError {
  return new FpdtError('payload', `this file is no run that can be drawn: ${reason}`)
}
