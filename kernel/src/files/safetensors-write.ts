/** Writing safetensors files, tensor by tensor: the header is known before the values are, so a model of any size costs one piece. */
import { toBf16 } from '../model/bf16.js'
import { writeWhole } from './whole-file.js'

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
