/** Writing a model in Hugging Face layout, which every tool of the field reads. */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { FpdtError } from '../errors.js'
import type { ModelConfig } from '../model/config.js'
import { type Group, groupsOf, parameterLayout } from '../model/parameters.js'
import { type Json, writeConfig } from './huggingface-config.js'
import type { ReadGroup } from './huggingface-load.js'
import { checkFamily, type StoredPart, storedParts } from './huggingface-names.js'
import { newStage, takeStage } from './model-folder.js'
import { copyCompanions, type ModelSource } from './model-source.js'
import { savedBytes, type TensorToSave, writeSafetensors } from './safetensors-write.js'
import { asDiskError, writeWhole } from './whole-file.js'

export interface SaveOptions {
  /** Of the tensors in the files; bf16 rounds to nearest even. Default that of the source, else f32. */
  readonly dtype?: 'bf16' | 'f32'
  /** Bytes of tensors in one file at most, unless one tensor is larger. Default 5e9, as transformers has it. */
  readonly shardBytes?: number
  /** Keys for `config.json` that describe the model and take no part in it, as `loadHuggingFace` gives them. */
  readonly carried?: Json
  /** Length of the sequences that it was trained on; `max_position_embeddings` is at least this. */
  readonly sequence?: number
  /** Where the model was loaded from: its dtype, what its `config.json` carries, and the files beside it go with it. */
  readonly source?: ModelSource
  /** Style of the keys of `config.json`. Default classic: all versions of transformers read it. */
  readonly keys?: 'classic' | 'v5'
}

const SHARD_BYTES = 5e9
/** Elements of a transposed matrix that are gathered at a time. */
const PIECE = 2 ** 20

export interface Tensor extends TensorToSave {
  readonly group: Group
  readonly part: StoredPart
}

/**
 * Saves a model into a folder: `config.json` and `model.safetensors`, or shards with their index. `values` gives the f32 values of a
 * group and is asked once a group, in the order of the layout.
 *
 * All files are written and synced in a folder within, then put in their places. Until then a former model in `dir` stays as it was,
 * and from there on the new one loads, also after a kill. Other files in `dir` are left alone.
 * Throws FpdtError `layout` for a model that no family of files can describe, `disk_full` or `disk` when the disk refuses.
 */
export async function saveHuggingFace(dir: string, model: ModelConfig, values: ReadGroup, options: SaveOptions = {}): Promise<void> {
  const { source, dtype = source?.dtype ?? 'f32', shardBytes = SHARD_BYTES, keys, sequence = 0 } = options
  const carried = { ...source?.carried, ...options.carried }
  checkFamily(model)
  if (dtype !== 'bf16' && dtype !== 'f32') throw new FpdtError('config', `dtype ${JSON.stringify(dtype)} is not one of 'bf16', 'f32'.`)
  if (!(shardBytes > 0)) throw new FpdtError('config', `shardBytes ${String(shardBytes)} is not a number of bytes above 0.`)
  const shards = cut(tensorsOf(model, dtype), shardBytes)
  const pieces = piecesOf(values)
  try {
    await mkdir(dir, { recursive: true })
    const stage = await newStage(dir)
    try {
      for (const { file, tensors } of shards) {
        const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]))
        await writeSafetensors(join(stage, file), tensors, ({ name }) => pieces(byName.get(name) as Tensor))
      }
      if (shards.length > 1) await writeJson(join(stage, 'model.safetensors.index.json'), indexOf(shards))
      await writeJson(join(stage, 'config.json'), writeConfig(model, dtype === 'bf16' ? 'bfloat16' : 'float32', { carried, keys, sequence }))
      if (source) await copyCompanions(source.folder, dir, stage)
      await takeStage(dir, stage)
    } finally {
      await rm(stage, { recursive: true, force: true })
    }
  } catch (error) {
    throw asDiskError(error, dir)
  }
}

/** One tensor for each parameter, in the order of the layout; `partsOf` names them. */
export function tensorsOf(model: ModelConfig, dtype: 'bf16' | 'f32', partsOf: typeof storedParts = storedParts): Tensor[] {
  return groupsOf(parameterLayout(model, 1)).flatMap((group) =>
    partsOf(model, group).map((part): Tensor => ({ name: part.name, dtype: dtype === 'bf16' ? 'BF16' : 'F32', shape: part.shape, group, part })),
  )
}

interface Shard {
  readonly file: string
  readonly tensors: readonly Tensor[]
}

function cut(tensors: readonly Tensor[], shardBytes: number): Shard[] {
  const lists: Tensor[][] = []
  let room = 0
  for (const tensor of tensors) {
    const bytes = savedBytes(tensor)
    if (lists.length === 0 || bytes > room) {
      lists.push([])
      room = shardBytes
    }
    lists.at(-1)?.push(tensor)
    room -= bytes
  }
  const number = (i: number): string => String(i).padStart(5, '0')
  return lists.map((list, i) => ({
    file: lists.length === 1 ? 'model.safetensors' : `model-${number(i + 1)}-of-${number(lists.length)}.safetensors`,
    tensors: list,
  }))
}

function indexOf(shards: readonly Shard[]): Json {
  const all = shards.flatMap(({ tensors }) => tensors)
  return {
    metadata: { total_size: all.reduce((sum, tensor) => sum + savedBytes(tensor), 0) },
    weight_map: Object.fromEntries(shards.flatMap(({ file, tensors }) => tensors.map(({ name }) => [name, file]))),
  }
}

/** Values of a tensor, in pieces. Tensors come group by group, so the last group is all that is kept. */
export function piecesOf(values: ReadGroup): (tensor: Tensor) => AsyncGenerator<Float32Array> {
  let last: { group: Group; values: Float32Array } | undefined
  return async function* ({ group, part, shape }) {
    if (last?.group !== group) {
      last = undefined
      last = { group, values: await values(group) }
    }
    if (last.values.length < group.count) throw new Error(`group ${group.name} has ${group.count} parameters, and ${last.values.length} values came`)
    const stretch = last.values.subarray(part.offset, part.offset + shape.reduce((product, extent) => product * extent, 1))
    if (part.transposed) yield* transposed(stretch, shape as [number, number])
    else yield stretch
  }
}

/** Rows of the (rows, columns) matrix whose transpose `values` is. */
function* transposed(values: Float32Array, [rows, columns]: readonly [number, number]): Generator<Float32Array> {
  const most = Math.max(1, Math.floor(PIECE / columns))
  for (let first = 0; first < rows; first += most) {
    const count = Math.min(most, rows - first)
    const block = new Float32Array(count * columns)
    for (let column = 0; column < columns; column++)
      for (let row = 0; row < count; row++) block[row * columns + column] = values[column * rows + first + row] as number
    yield block
  }
}

function writeJson(path: string, value: Json): Promise<void> {
  return writeWhole(path, (append) => append(Buffer.from(`${JSON.stringify(value, null, 2)}\n`)))
}
