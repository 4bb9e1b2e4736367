/**
 * Tokens that lie in files, read as they are needed: a text of any length costs what one step takes of it.
 *
 * Read by position, through the page cache, and not mapped into memory: a mapped file that another process truncates ends this one with
 * SIGBUS, which no program can turn into an error. A read costs one copy more, 0.3 ms for a million tokens, beside a step of seconds.
 * Nor is a file kept open: a text then needs no close(), and each read finds out whether the file is still the one it was.
 */
import { randomUUID } from 'node:crypto'
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { displayHost } from '../display.js'
import { FpdtError } from '../errors.js'
import { checkDocumentOptions, DOCUMENT_OPTIONS, type DocumentOptions, findDocuments, givenDocuments } from './documents.js'
import { joinedText } from './joined-text.js'
import { HEAD_BYTES, TOKEN_BYTES, type TokenDtype, type TokenLayout, tokenLayout } from './token-format.js'
import { atLeastTwo, type LongText, refuseUnknownOptions } from './tokens.js'
import { textInWords } from './words.js'

export interface TokenFileOptions extends DocumentOptions {
  /** What the numbers of a file without a header are, little-endian. A header (.npy, llm.c) says it itself. */
  readonly dtype?: TokenDtype
}

/** Most bytes of one read call, which takes a signed 32-bit count. */
const MOST_BYTES = 2 ** 30
/** A scan for documents is first shown after this long, and then this often. */
const FIRST_MS = 2000
const EVERY_MS = 1000

/**
 * A text whose tokens lie in a file, or in several that follow one another: nanoGPT's raw .bin (say `dtype`), llm.c's .bin, or .npy.
 *
 *   const text = await tokenFile('train.bin', { dtype: 'uint16', separator: 50256 })
 *   const text = await tokenFile(['fineweb_000001.bin', 'fineweb_000002.bin'], { beginning: 50256 })
 *
 * A shard need not end a document. With `separator` or `beginning` the files are read through once, to find where documents begin (8 bytes
 * are kept of each); progress is shown when that takes more than two seconds. Without, nothing but headers is read here.
 * Throws FpdtError `text` for a file that is missing, empty, of another size than it should have, or in a format that is not read; `stopped`
 * when a scan is interrupted. A file that changes later makes the step that reads it throw `text`.
 */
export async function tokenFile(path: string | readonly string[], options: TokenFileOptions = {}): Promise<LongText> {
  refuseUnknownOptions('tokenFile', options, ['dtype', ...DOCUMENT_OPTIONS])
  checkDocumentOptions('tokenFile()', options)
  const { dtype, documents } = options
  if (dtype !== undefined && !Object.hasOwn(TOKEN_BYTES, dtype))
    throw new FpdtError('text', `tokenFile(): dtype ${JSON.stringify(dtype)} is not 'uint16' or 'uint32'.`)
  const paths = typeof path === 'string' ? [path] : path
  if (!Array.isArray(paths) || paths.length === 0 || !paths.every((one) => typeof one === 'string'))
    throw new FpdtError('text', `tokenFile(${String(path)}) needs the path of a file, or an array of paths.`)
  const shards = paths.map((one) => openShard(one, dtype))
  const names = `${basename(paths[0])} to ${basename(paths[paths.length - 1])}`
  const text = atLeastTwo(shards.length === 1 ? shards[0] : joinedText(`${shards.length} files, ${names}`, shards))
  const begins = documents ? givenDocuments(text, documents) : await watched(text.source, findDocuments(text, options))
  return textInWords(begins ? { ...text, documents: begins } : text)
}

/** Which file it is, and how it was when it was opened. */
interface Shard {
  readonly path: string
  readonly bytes: number
  readonly modified_ms: number
  readonly layout: TokenLayout
}

function openShard(path: string, dtype: TokenDtype | undefined): LongText {
  // Asked before it is opened: to open a pipe would wait for its other end.
  if (!attempt(path, () => statSync(path)).isFile()) throw new FpdtError('text', `${path} is not a file; give the paths of its files.`)
  const shard = withFile(path, (file): Shard => {
    const { size: bytes, mtimeMs: modified_ms } = fstatSync(file)
    const head = Buffer.alloc(Math.min(bytes, HEAD_BYTES))
    if (!readInto(file, head, 0)) throw changed(path)
    const refuse = (problem: string): never => {
      throw new FpdtError('text', `${path} ${problem}.`)
    }
    return { path, bytes, modified_ms, layout: tokenLayout(head, bytes, dtype, refuse) }
  })
  return { source: path, length: shard.layout.count, read: (position, count) => readShard(shard, position, count) }
}

function readShard({ path, bytes, modified_ms, layout: { dtype, begin, count: all } }: Shard, position: number, count: number): Uint32Array {
  if (!(position >= 0 && count >= 0 && position + count <= all))
    throw new FpdtError('text', `${path} has ${all} tokens; ${count} from ${position} on are not all among them.`)
  // Its own allocation, so that typed arrays can lie on it.
  const buffer = Buffer.allocUnsafeSlow(count * TOKEN_BYTES[dtype])
  withFile(path, (file) => {
    const now = fstatSync(file)
    if (now.size !== bytes || now.mtimeMs !== modified_ms || !readInto(file, buffer, begin + position * TOKEN_BYTES[dtype])) throw changed(path)
  })
  return dtype === 'uint32' ? new Uint32Array(buffer.buffer) : new Uint32Array(new Uint16Array(buffer.buffer))
}

/** Fills the buffer from a position of the file; false when the file ends before. */
function readInto(file: number, buffer: Buffer, position: number): boolean {
  for (let done = 0; done < buffer.length; ) {
    const read = readSync(file, buffer, done, Math.min(buffer.length - done, MOST_BYTES), position + done)
    if (read === 0) return false
    done += read
  }
  return true
}
function changed(path: string): FpdtError {
  return new FpdtError('text', `${path} is not what it was when it was opened: its size or time of change is another. Open it again with tokenFile().`)
}

function withFile<T>(path: string, use: (file: number) => T): T {
  const file = attempt(path, () => openSync(path, 'r'))
  try {
    return attempt(path, () => use(file))
  } finally {
    closeSync(file)
  }
}
/** A system's error as one that names the file. */
function attempt<T>(path: string, act: () => T): T {
  try {
    return act()
  } catch (error) {
    if (error instanceof FpdtError) throw error
    throw new FpdtError('text', `${path} cannot be read (${(error as NodeJS.ErrnoException).code}); is the path right?`, { cause: error })
  }
}

/** Carries a scan through piece by piece, the notebook alive between pieces: it hears an interrupt, and shows how far the scan is. */
async function watched<T>(source: string, scan: Generator<number, T, void>): Promise<T> {
  const host = displayHost()
  let interrupted = false
  const release = host?.onInterrupt(() => {
    interrupted = true
  })
  const displayId = randomUUID()
  const begin = Date.now()
  let shown_ms: number | undefined
  const show = (words: string): void => {
    host?.display({ 'text/plain': words }, { displayId, update: shown_ms !== undefined })
    shown_ms = Date.now()
  }
  try {
    for (;;) {
      const { done, value } = scan.next()
      const seconds = Math.round((Date.now() - begin) / 1000)
      if (done) {
        if (shown_ms !== undefined) show(`looked through ${source} in ${seconds} s`)
        return value
      }
      if (Date.now() >= (shown_ms === undefined ? begin + FIRST_MS : shown_ms + EVERY_MS))
        show(`looking for documents in ${source}: ${Math.floor(100 * value)} % in ${seconds} s`)
      await setImmediate()
      if (interrupted)
        throw new FpdtError('stopped', `stopped while looking for documents in ${source}; without separator and beginning it is not looked through.`)
    }
  } finally {
    release?.()
  }
}
