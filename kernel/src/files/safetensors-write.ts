/**
 * Writing safetensors files, tensor by tensor: the header is known before the values are, so a model of any size costs one piece.
 * A file is written beside its place and renamed when it is whole and on the disk: a reader sees all of it or none.
 */
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { FpdtError } from '../errors.js'
import { toBf16 } from '../model/bf16.js'

export type SavedDtype = 'F32' | 'BF16'

export interface TensorToSave {
  readonly name: string
  readonly dtype: SavedDtype
  readonly shape: readonly number[]
}
/** Values of a tensor in row-major order, in pieces of any size. */
export type Pieces = Iterable<Float32Array> | AsyncIterable<Float32Array>

/** Elements encoded at a time. */
const PIECE = 2 ** 20
const BYTES = { F32: 4, BF16: 2 } as const

export function savedBytes({ dtype, shape }: TensorToSave): number {
  return shape.reduce((product, extent) => product * extent, BYTES[dtype])
}

/** Writes `path` from the values that `pieces` gives for each tensor, in the given order. Throws FpdtError `disk_full` or `disk` when the disk refuses; a former file stays. */
export async function writeSafetensors(
  path: string,
  tensors: readonly TensorToSave[],
  pieces: (tensor: TensorToSave) => Pieces,
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
): Promise<void> {
  await writeWhole(path, async (append) => {
    await append(header(tensors, metadata))
    for (const tensor of tensors) {
      const due = savedBytes(tensor)
      let done = 0
      for await (const piece of pieces(tensor)) {
        for (let first = 0; first < piece.length; first += PIECE) {
          const bytes = encode(piece.subarray(first, first + PIECE), tensor.dtype)
          await append(bytes)
          done += bytes.byteLength
        }
      }
      if (done !== due) throw new Error(`${tensor.name} came with ${done} bytes of ${tensor.dtype}, not the ${due} of its shape`)
    }
  })
}

/** Puts a file in its place whole: written beside, synced, renamed, and the folder synced. Throws FpdtError `disk_full`, `disk`. */
export async function writeWhole(path: string, write: (append: (bytes: Uint8Array) => Promise<void>) => Promise<void>): Promise<void> {
  const beside = `${path}.${process.pid}.part`
  let written = 0
  let file: FileHandle | undefined
  try {
    file = await open(beside, 'w')
    const handle = file
    await write(async (bytes) => {
      for (let done = 0; done < bytes.byteLength; ) {
        const { bytesWritten } = await handle.write(bytes, done)
        done += bytesWritten
      }
      written += bytes.byteLength
    })
    await file.sync()
    await file.close()
    file = undefined
    await rename(beside, path)
    await syncFolder(dirname(path))
  } catch (error) {
    await file?.close()
    await rm(beside, { force: true })
    throw asDiskError(error, path, written)
  }
}

/** A rename is on the disk when its folder is. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

const FULL: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full; free some space or give another folder',
  EDQUOT: 'the quota of this user is full; free some space or give another folder',
  EFBIG: 'a file may not grow that large here (`ulimit -f`, or the file system); raise the limit or give another folder',
}

/** What the system said of a path, in words; an error that is not of the system stays as it is. */
export function asDiskError(error: unknown, path: string, written = 0): unknown {
  const { code, syscall } = error as NodeJS.ErrnoException
  if (error instanceof FpdtError || typeof code !== 'string' || !syscall) return error
  const problem = FULL[code] ?? `the system says ${code} to ${syscall}; is the path right?`
  return new FpdtError(code in FULL ? 'disk_full' : 'disk', `${path} could not be written${written > 0 ? ` after ${written} bytes` : ''}: ${problem}`, {
    cause: error,
  })
}

function header(tensors: readonly TensorToSave[], metadata: Readonly<Record<string, string>>): Buffer {
  let end = 0
  const entries = tensors.map((tensor) => {
    const begin = end
    end += savedBytes(tensor)
    return [tensor.name, { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [begin, end] }] as const
  })
  if (new Set(entries.map(([name]) => name)).size !== entries.length) throw new Error('two tensors have one name')
  const text = Buffer.from(JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(entries) }))
  // Spaces after it let the values begin at a multiple of 8 bytes.
  const padded = Buffer.alloc(8 + Math.ceil(text.length / 8) * 8, ' ')
  padded.writeBigUInt64LE(BigInt(padded.length - 8))
  text.copy(padded, 8)
  return padded
}

function encode(values: Float32Array, dtype: SavedDtype): Uint8Array {
  const encoded = dtype === 'F32' ? values : toBf16(values)
  return new Uint8Array(encoded.buffer, encoded.byteOffset, encoded.byteLength)
}
