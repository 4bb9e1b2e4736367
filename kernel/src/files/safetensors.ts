/**
 * Reading safetensors files: 8 bytes length of the header (little-endian), the header in JSON, the bytes of the tensors.
 *
 * A file is not trusted: every number of its header is held against its size before anything is read or allocated, and a file
 * that says one thing twice is refused. Tensors are read by position, a piece at a time, so that a model of any size costs one piece.
 * Format: https://huggingface.co/docs/safetensors
 */
import { type FileHandle, open } from 'node:fs/promises'
import { FpdtError } from '../errors.js'
import { fromBf16 } from '../model/bf16.js'

/** Bytes of an element, of every dtype that is cut at whole bytes. */
const ELEMENT_BYTES: Readonly<Record<string, number>> = {
  ...{ F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, I16: 2, I8: 1, U64: 8, U32: 4, U16: 2, U8: 1, BOOL: 1, C64: 8 },
  ...{ F8_E4M3: 1, F8_E5M2: 1, F8_E8M0: 1 },
}
/** As in the format's own implementation. */
const LONGEST_HEADER = 100_000_000
/** `{ "name": { "shape": [ 1 ] } }`. */
const DEEPEST_HEADER = 3
/** Elements read at a time: 4 MiB of f32. */
const PIECE = 2 ** 20

export interface StoredTensor {
  readonly name: string
  readonly dtype: string
  readonly shape: readonly number[]
  /** Product of the shape. */
  readonly count: number
  /** Bytes from the start of the file. */
  readonly begin: number
  readonly end: number
}
export interface SafetensorsFile {
  readonly path: string
  readonly bytes: number
  /** When the file was written, by which a later read knows it for the same. */
  readonly modified: number
  readonly tensors: ReadonlyMap<string, StoredTensor>
  readonly metadata: Readonly<Record<string, string>>
}
/** Some consecutive elements of a tensor, in row-major order. The values are good until the next piece. */
export interface Piece {
  readonly first: number
  readonly values: Float32Array
}

/** Reads and checks the header. Throws FpdtError `checkpoint`: path, what is wrong, where. */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  return withFile(path, async (file) => {
    const { size: bytes, mtimeMs: modified } = await file.stat()
    const refuse: Refuse = (problem) => {
      throw new FpdtError('checkpoint', `${path} is no safetensors file: ${problem}.`)
    }
    if (bytes < 8) refuse(`it has ${bytes} bytes, and the length of the header alone takes 8`)
    const length = Number((await readExactly(file, path, 0, 8)).readBigUInt64LE())
    if (length > bytes - 8) refuse(`its header is to have ${length} bytes, and ${bytes - 8} follow`)
    if (length > LONGEST_HEADER) refuse(`its header is to have ${length} bytes, more than the ${LONGEST_HEADER} that the format allows`)
    const header = parseHeader(await readExactly(file, path, 8, length), refuse)
    return { path, bytes, modified, ...readEntries(header, 8 + length, bytes, refuse) }
  })
}

/** Elements of a tensor as f32, piece by piece. F64 is rounded. Throws FpdtError `checkpoint` for a dtype of no real numbers, or a file that changed. */
export async function* readPieces({ path, bytes, modified }: SafetensorsFile, tensor: StoredTensor): AsyncGenerator<Piece> {
  const decode = decoders[tensor.dtype]
  if (!decode)
    throw new FpdtError('checkpoint', `${tensor.name} of ${path} has dtype ${tensor.dtype}; parameters are read from ${Object.keys(decoders).join(', ')}.`)
  const size = ELEMENT_BYTES[tensor.dtype] as number
  const file = await openOrRefuse(path)
  try {
    const now = await file.stat()
    if (now.size !== bytes || now.mtimeMs !== modified) throw new FpdtError('checkpoint', `${path} changed after its header was read; load it again.`)
    // Its own allocation, so that typed arrays can lie on it.
    const buffer = Buffer.allocUnsafeSlow(Math.min(PIECE, tensor.count) * size)
    for (let first = 0; first < tensor.count; first += PIECE) {
      const count = Math.min(PIECE, tensor.count - first)
      await readExactly(file, path, tensor.begin + first * size, count * size, buffer)
      yield { first, values: decode(buffer.buffer as ArrayBuffer, count) }
    }
  } finally {
    await file.close()
  }
}

const decoders: Readonly<Record<string, (bytes: ArrayBuffer, count: number) => Float32Array>> = {
  F32: (bytes, count) => new Float32Array(bytes, 0, count),
  BF16: (bytes, count) => fromBf16(new Uint16Array(bytes, 0, count)),
  F16: (bytes, count) => fromHalf(new Uint16Array(bytes, 0, count)),
  F64: (bytes, count) => new Float32Array(new Float64Array(bytes, 0, count)),
}

/** IEEE 754 binary16, by a table of all its values: a checkpoint has billions. */
function fromHalf(bits: Uint16Array): Float32Array {
  halves ??= Float32Array.from({ length: 2 ** 16 }, (_, half) => halfValue(half))
  const out = new Float32Array(bits.length)
  for (let i = 0; i < bits.length; i++) out[i] = halves[bits[i] as number] as number
  return out
}
let halves: Float32Array | undefined

function halfValue(bits: number): number {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >>> 10) & 31, bits & 1023]
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15))
}

type Refuse = (problem: string) => never
type Json = Readonly<Record<string, unknown>>

function parseHeader(bytes: Buffer, refuse: Refuse): Json {
  let text = ''
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    refuse('its header is not UTF-8')
  }
  if (!text.startsWith('{')) refuse(`its header begins with ${JSON.stringify(text.slice(0, 8))}, not with {`)
  checkNesting(text, refuse)
  try {
    return JSON.parse(text) as Json
  } catch (error) {
    return refuse(`its header is not JSON (${(error as Error).message})`)
  }
}

/** Refuses what `JSON.parse` would accept in silence: a key given twice in one object (the last would win), and any depth. */
function checkNesting(text: string, refuse: Refuse): void {
  const open: (Set<string> | null)[] = [] // keys of the objects around, null for an array
  for (let i = 0; i < text.length; i++) {
    const character = text[i]
    if (character === '{' || character === '[') {
      if (open.push(character === '{' ? new Set() : null) > DEEPEST_HEADER) refuse(`its header is nested more than ${DEEPEST_HEADER} deep`)
    } else if (character === '}' || character === ']') open.pop()
    else if (character === '"') {
      const end = endOfString(text, i)
      const keys = open.at(-1)
      if (keys && followedByColon(text, end)) {
        const key = unquote(text.slice(i, end), refuse)
        if (keys.has(key)) refuse(`${quote(key)} is given twice`)
        keys.add(key)
      }
      i = end - 1
    }
  }
}

/** Where the string that begins at `start` is over; the end of the text when it never is. */
function endOfString(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i++) {
    if (text[i] === '"') return i + 1
    if (text[i] === '\\') i++
  }
  return text.length
}
function followedByColon(text: string, end: number): boolean {
  let i = end
  while (text[i] === ' ' || text[i] === '\n' || text[i] === '\r' || text[i] === '\t') i++
  return text[i] === ':'
}
/** A key as JSON reads it: `"\u0061"` is `a`. */
function unquote(quoted: string, refuse: Refuse): string {
  if (!quoted.includes('\\')) return quoted.slice(1, -1)
  try {
    return JSON.parse(quoted) as string
  } catch {
    return refuse(`its header has the name ${quoted.slice(0, 80)}, which is not JSON`)
  }
}

/** All tensors of a header. Their bytes must follow one another without hole or overlap, to the end of the file. */
function readEntries(header: Json, start: number, bytes: number, refuse: Refuse): Pick<SafetensorsFile, 'tensors' | 'metadata'> {
  const { __metadata__: metadata = {}, ...entries } = header
  if (!isObject(metadata) || !Object.values(metadata).every((value) => typeof value === 'string')) refuse('its __metadata__ is not an object of strings')
  const tensors = Object.entries(entries).map(([name, entry]) => readEntry(name, entry, start, refuse))
  let end = start
  for (const tensor of [...tensors].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (tensor.begin !== end)
      refuse(
        `${quote(tensor.name)} begins at byte ${tensor.begin - start}, ${tensor.begin < end ? 'inside' : 'with a hole after'} the tensors before, which end at ${end - start}`,
      )
    end = tensor.end
  }
  if (end !== bytes) refuse(`its tensors end at byte ${end} and the file at ${bytes}`)
  return { tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])), metadata: metadata as Record<string, string> }
}

function readEntry(name: string, entry: unknown, start: number, refuse: Refuse): StoredTensor {
  if (!isObject(entry)) return refuse(`${quote(name)} is not described by an object`)
  const { dtype, shape, data_offsets: offsets } = entry
  const size = typeof dtype === 'string' && Object.hasOwn(ELEMENT_BYTES, dtype) ? (ELEMENT_BYTES[dtype] as number) : undefined
  if (size === undefined) return refuse(`${quote(name)} has dtype ${quote(dtype)}; known are ${Object.keys(ELEMENT_BYTES).join(', ')}`)
  if (!isCounts(shape)) return refuse(`${quote(name)} has shape ${quote(shape)}, not an array of whole numbers`)
  if (!isCounts(offsets) || offsets.length !== 2) return refuse(`${quote(name)} has data_offsets ${quote(offsets)}, not [begin, end]`)
  const [begin, end] = offsets as [number, number]
  const count = shape.reduce((product, extent) => product * extent, 1)
  // Past 2^53 the product is not exact, and no file is that long: only an equality that holds in whole numbers counts.
  if (!Number.isSafeInteger(count * size) || end - begin !== count * size)
    refuse(`${quote(name)} has ${end - begin} bytes; shape ${quote(shape)} of ${dtype} takes ${count * size}`)
  return { name, dtype: dtype as string, shape, count, begin: start + begin, end: start + end }
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
function isCounts(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((count) => Number.isSafeInteger(count) && count >= 0)
}
/** A value of the file in an error: what it says is not to flood the message. */
function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? 'missing'
  return text.length > 80 ? `${text.slice(0, 80)}…` : text
}

async function withFile<T>(path: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
  const file = await openOrRefuse(path)
  try {
    return await use(file)
  } finally {
    await file.close()
  }
}

async function openOrRefuse(path: string): Promise<FileHandle> {
  try {
    const file = await open(path, 'r')
    if ((await file.stat()).isFile()) return file
    await file.close()
  } catch (error) {
    throw new FpdtError('checkpoint', `${path} cannot be read (${(error as NodeJS.ErrnoException).code}); is the path right?`, { cause: error })
  }
  throw new FpdtError('checkpoint', `${path} is not a file.`)
}

/** `length` bytes at `position`; one `read` may give fewer. */
async function readExactly(file: FileHandle, path: string, position: number, length: number, into = Buffer.alloc(length)): Promise<Buffer> {
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(into, done, length - done, position + done)
    if (bytesRead === 0) throw new FpdtError('checkpoint', `${path} ends at byte ${position + done}, in the middle of what its header promises.`)
    done += bytesRead
  }
  return into
}
