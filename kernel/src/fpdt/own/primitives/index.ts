/**
 * The steps of training one by one: every kernel and every move that a step is made of, on small tensors from a cell, forward and
 * backward. Each call is a schedule of one op or a few, checked, planned and run by what runs a training step, so what is seen here is
 * what trains. All take and give `Tensor`s, change none of them, and reject with FpdtError `shape` or `dtype` naming what was expected.
 *
 *   const { norm, attend, finish } = device.primitives
 *   const x = random([8, 64])
 *   await norm(x, tensor(new Float32Array(64).fill(1)))
 */
import type { Device } from '../../device.js'
import { attentionPrimitives } from './attention.js'
import { endPrimitives } from './ends.js'
import { exchangePrimitives } from './exchange.js'
import { layerPrimitives } from './layer.js'

export interface Primitives
  extends ReturnType<typeof attentionPrimitives>,
    ReturnType<typeof exchangePrimitives>,
    ReturnType<typeof layerPrimitives>,
    ReturnType<typeof endPrimitives> {}

/** @internal Use `device.primitives`. */
export function primitives(device: Device): Primitives {
  return { ...attentionPrimitives(device), ...exchangePrimitives(device), ...layerPrimitives(device), ...endPrimitives(device) }
}
