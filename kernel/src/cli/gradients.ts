/** Gradients into a file that every tool of the field reads. */
import { FpdtError } from '../errors.js'
import { checkFamily, type StoredPart, storedParts } from '../files/huggingface-names.js'
import { piecesOf, tensorsOf } from '../files/huggingface-save.js'
import { writeSafetensors } from '../files/safetensors-write.js'
import type { ParameterValues } from '../fpdt/run/parameters.js'
import type { ModelConfig } from '../model/config.js'
import type { Group } from '../model/parameters.js'

/** Writes one f32 tensor for each parameter: as the model's Hugging Face layout names and shapes it, or as `layer 0/qkv` where it has none. Throws FpdtError `disk_full`, `disk`. */
export async function saveGradients(path: string, model: ModelConfig, gradients: ParameterValues): Promise<void> {
  const tensors = tensorsOf(model, 'f32', hasLayout(model) ? storedParts : ownParts)
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]))
  const pieces = piecesOf(({ name }) => gradients.get(name) as Float32Array)
  await writeSafetensors(path, tensors, ({ name }) => pieces(byName.get(name) as (typeof tensors)[number]))
}

function hasLayout(model: ModelConfig): boolean {
  try {
    checkFamily(model)
    return true
  } catch (error) {
    if (error instanceof FpdtError && error.code === 'layout') return false
    throw error
  }
}

function ownParts(_: ModelConfig, group: Group): StoredPart[] {
  return group.parts.map(({ name, shape, offset }) => ({ name: `${group.name}/${name}`, shape, offset, transposed: false }))
}
