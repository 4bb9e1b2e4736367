/**
 * The values of a checkpoint, one safetensors file a group of parameters: master weights and both moments, whole tensors in f32 and
 * not the ranks' partitions, so that any number of ranks can go on. One group at a time is in memory.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { FpdtError } from '../errors.js'
import { openSafetensors, readPieces } from '../files/safetensors.js'
import { type TensorToSave, writeSafetensors } from '../files/safetensors-write.js'
import type { Group, Part } from '../model/parameters.js'

/** What is kept of each parameter between steps: the parameter itself, and AdamW's two moments. */
const STATES = ['master', 'm', 'v'] as const
export type State = (typeof STATES)[number]
/** f32 values of one group: `group.padded` of each, pads zero. */
export type StateValues = Readonly<Record<State, Float32Array>>

/** How a file is known again. */
export interface FileMark {
  readonly name: string
  readonly bytes: number
  readonly sha256: string
}

/** `layer-3.safetensors`. */
export function fileOf(group: Group): string {
  return `${group.name.replaceAll(' ', '-')}.safetensors`
}

/** Writes the file of a group, state after state. Throws FpdtError `disk_full`, `disk`. */
export async function writeStates(folder: string, group: Group, values: (state: State) => Float32Array): Promise<FileMark> {
  const path = join(folder, fileOf(group))
  const entries = new Map(
    STATES.flatMap((state) => group.parts.map((part): [string, { state: State; part: Part }] => [tensorName(state, part), { state, part }])),
  )
  const tensors = [...entries].map(([name, { part }]): TensorToSave => ({ name, dtype: 'F32', shape: part.shape }))
  let last: { state: State; values: Float32Array } | undefined
  await writeSafetensors(path, tensors, ({ name }) => {
    const { state, part } = entries.get(name) as { state: State; part: Part }
    if (last?.state !== state) last = { state, values: values(state) }
    return [stretch(last.values, part)]
  })
  return { name: fileOf(group), bytes: (await stat(path)).size, sha256: await sha256Of(path) }
}

/** Reads the file of a group, once its bytes are known to be those that were written. Throws FpdtError `checkpoint`, naming the file. */
export async function readStates(folder: string, group: Group, mark: FileMark): Promise<StateValues> {
  const path = join(folder, fileOf(group))
  await checkSize(folder, mark)
  const found = await sha256Of(path)
  if (found !== mark.sha256)
    throw new FpdtError('checkpoint', `${path} is not what was saved: its SHA-256 is ${found}, not ${mark.sha256}. Restore that file from a copy.`)
  const file = await openSafetensors(path)
  const read = async (state: State): Promise<Float32Array> => {
    const values = new Float32Array(group.padded)
    for (const part of group.parts) {
      const tensor = file.tensors.get(tensorName(state, part))
      if (tensor?.dtype !== 'F32' || tensor.shape.join() !== part.shape.join())
        throw new FpdtError(
          'checkpoint',
          `${path} ${tensor ? `has ${tensor.name} as ${tensor.dtype} [${tensor.shape.join(', ')}]` : `has no ${tensorName(state, part)}`}; F32 [${part.shape.join(', ')}] is wanted: it is of another model.`,
        )
      for await (const { first, values: piece } of readPieces(file, tensor)) values.set(piece, part.offset + first)
    }
    return values
  }
  return { master: await read('master'), m: await read('m'), v: await read('v') }
}

/** Throws FpdtError `checkpoint` for a file that is missing or cut: quick to tell, before anything is read. */
export async function checkSize(folder: string, { name, bytes }: FileMark): Promise<void> {
  const path = join(folder, name)
  const found = await stat(path).catch(() => undefined)
  if (!found) throw new FpdtError('checkpoint', `${path} is missing; the checkpoint is not whole. Restore that file from a copy.`)
  if (found.size !== bytes)
    throw new FpdtError('checkpoint', `${path} has ${found.size} bytes, and ${bytes} were saved; the checkpoint is not whole. Restore that file from a copy.`)
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of createReadStream(path, { highWaterMark: 2 ** 20 })) hash.update(piece as Buffer)
  return hash.digest('hex')
}

function tensorName(state: State, part: Part): string {
  return `${state}/${part.name}`
}
function stretch(values: Float32Array, { offset, shape }: Part): Float32Array {
  return values.subarray(offset, offset + shape.reduce((product, extent) => product * extent, 1))
}
