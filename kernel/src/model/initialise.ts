/** First values of the parameters: tables and matrices N(0, 0.02), output projections scaled by 1/√(2L) (GPT-2), norm weights 1, biases 0. */
import type { ModelConfig } from './config.js'
import type { Group } from './parameters.js'
import { fillNormal, randomSource } from './random.js'

const DEVIATION = 0.02
/** Matrices that write into the residual stream. */
const RESIDUAL = new Set(['out', 'down'])

/** f32 values of a whole group, pads zero. Depends on seed and names alone, never on ranks. */
export function initialGroup(model: ModelConfig, group: Group, seed: number): Float32Array {
  const values = new Float32Array(group.padded)
  for (const part of group.parts) {
    const size = part.shape.reduce((product, extent) => product * extent, 1)
    const target = values.subarray(part.offset, part.offset + size)
    if (part.shape.length === 1) target.fill(part.name.endsWith('Bias') ? 0 : 1)
    else
      fillNormal(
        target,
        RESIDUAL.has(part.name) ? DEVIATION / Math.sqrt(2 * model.layers) : DEVIATION,
        randomSource(hash(`${seed}/${group.name}/${part.name}`)),
      )
  }
  return values
}

/** FNV-1a, 32 bits: one independent stream of random numbers a tensor. */
function hash(text: string): number {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  return h >>> 0
}
