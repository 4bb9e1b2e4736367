/**
 * What a file of tokens says of itself. Three formats are known by their first bytes, nothing is guessed from a name:
 *
 *   NumPy's .npy   its own header: dtype, order and shape             https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 *   llm.c's .bin   256 int32: magic, version, tokens; then the tokens dev/data/data_common.py of llm.c, also of modded-nanogpt and fineweb
 *   raw            tokens alone, as nanoGPT's .bin                    the caller says which dtype
 *
 * A header is not trusted: what it promises is held against the size of the file before anything is read.
 */

export type TokenDtype = 'uint16' | 'uint32'

export interface TokenLayout {
  /** Little-endian. */
  readonly dtype: TokenDtype
  /** Bytes before the first token. */
  readonly begin: number
  readonly count: number
}

/** Bytes from the start of a file that tell its format: the longest header of .npy version 1, and what stands before it. */
export const HEAD_BYTES = 10 + 2 ** 16
export const TOKEN_BYTES: Readonly<Record<TokenDtype, number>> = { uint16: 2, uint32: 4 }

const NPY = Buffer.from('\x93NUMPY', 'latin1')
const NPY_DTYPES: Readonly<Record<string, TokenDtype>> = { '<u2': 'uint16', '<u4': 'uint32' }
const LLM_C: Readonly<Record<number, { readonly version: number; readonly dtype: TokenDtype }>> = {
  20240520: { version: 1, dtype: 'uint16' }, // tokens of GPT-2
  20240801: { version: 7, dtype: 'uint32' }, // tokens of Llama 3
}
const LLM_C_HEADER = 1024

/** Ends reading with a sentence about the file: `problem` follows its path. */
type Refuse = (problem: string) => never

/** Where the tokens of a file lie, from its first bytes, its size and what the caller knows of it. */
export function tokenLayout(head: Buffer, bytes: number, dtype: TokenDtype | undefined, refuse: Refuse): TokenLayout {
  if (bytes === 0) refuse('is empty')
  const told = head.subarray(0, NPY.length).equals(NPY) ? npyLayout(head, refuse) : llmCLayout(head, refuse)
  if (!told) return rawLayout(bytes, dtype, refuse)
  if (dtype !== undefined && dtype !== told.dtype) refuse(`says that it holds ${told.dtype}, and dtype is '${dtype}'; leave dtype out, its header is enough`)
  const end = told.begin + told.count * TOKEN_BYTES[told.dtype]
  if (end !== bytes) refuse(`is to end at byte ${end} by its header, ${told.count} tokens of ${told.dtype}, and ends at ${bytes}; was all of it copied?`)
  return told
}

function rawLayout(bytes: number, dtype: TokenDtype | undefined, refuse: Refuse): TokenLayout {
  if (dtype === undefined) return refuse(`has no header that says what its numbers are; say dtype: 'uint16' (as nanoGPT writes) or 'uint32'`)
  const count = bytes / TOKEN_BYTES[dtype]
  if (!Number.isInteger(count))
    refuse(`has ${bytes} bytes, which is not a multiple of the ${TOKEN_BYTES[dtype]} of a ${dtype}; is dtype right, was all of it copied?`)
  return { dtype, begin: 0, count }
}

function llmCLayout(head: Buffer, refuse: Refuse): TokenLayout | undefined {
  const known = head.length >= 4 ? LLM_C[head.readInt32LE(0)] : undefined
  if (!known) return undefined
  if (head.length < LLM_C_HEADER) return refuse(`begins as a file of llm.c and ends inside its header, at byte ${head.length} of ${LLM_C_HEADER}`)
  const [version, count] = [head.readInt32LE(4), head.readInt32LE(8)]
  if (version !== known.version) refuse(`is a file of llm.c of version ${version}; ${known.version} is read`)
  if (count < 0) refuse(`is to hold ${count} tokens by its header`)
  return { dtype: known.dtype, begin: LLM_C_HEADER, count }
}

function npyLayout(head: Buffer, refuse: Refuse): TokenLayout {
  const version = head[6]
  const before = version === 1 ? 10 : 12 // magic, version, length of the header in 2 bytes or 4
  if (head.length < before) return refuse('begins as a .npy file and ends inside its header')
  if (version < 1 || version > 3) return refuse(`is a .npy file of version ${version}; 1 to 3 are read: write it again with numpy.save`)
  const begin = before + (version === 1 ? head.readUInt16LE(8) : head.readUInt32LE(8))
  if (begin > head.length) return refuse(`is a .npy file whose header is to end at byte ${begin}; no header of an array of tokens is that long`)
  const header = head.toString('latin1', before, begin)
  const field = (name: string, value: string): string | undefined => new RegExp(`'${name}':\\s*${value}`).exec(header)?.[1]
  const [descr, order, shape] = [field('descr', "'([^']*)'"), field('fortran_order', '(True|False)'), field('shape', '\\(([\\d\\s,]*)\\)')]
  if (order === undefined || shape === undefined) return refuse(`is a .npy file whose header cannot be read: ${JSON.stringify(header.slice(0, 100))}`)
  const dtype = descr === undefined ? undefined : NPY_DTYPES[descr]
  if (!dtype) return refuse(`is a .npy file of ${descr ?? 'records'}; uint16 and uint32 are read: numpy.save(path, tokens.astype('<u4'))`)
  const extents = shape
    .split(',')
    .filter((extent) => extent.trim() !== '')
    .map(Number)
  if (order === 'True' && extents.length > 1)
    refuse('is a .npy file in Fortran order; write rows one after the other: numpy.save(path, numpy.ascontiguousarray(tokens))')
  return { dtype, begin, count: extents.reduce((product, extent) => product * extent, 1) }
}
