/** What the attention's backward moves between device and host, in either loop order: by walking the schedule, not by a formula. */
import { attentionBackward } from './attention-backward.js'
import { batchChunks, type Policy, type StepConfig } from './config.js'
import { contextOf } from './context.js'
import { stepValues } from './step-values.js'
import { bytesOf } from './values.js'

export interface LinkBytes {
  /** Device to host, and host to device, bytes a rank, of one layer's attention backward over one batch. */
  readonly out: number
  readonly in: number
}
export const BACKWARD_ORDERS: readonly Policy['backwardOrder'][] = ['kv', 'q']

/** Bytes over the host link of one layer's attention backward (schedule.md 5). 0 where chunks wait on the device. */
export function attentionBackwardBytes(config: StepConfig, order: Policy['backwardOrder']): LinkBytes {
  const ordered = { ...config, backwardOrder: order }
  const bytes = { out: 0, in: 0 }
  for (const op of attentionBackward(contextOf(ordered, stepValues(ordered)), 0)) {
    if (op.kind === 'offload') bytes.out += bytesOf(op.value)
    if (op.kind === 'fetch') bytes.in += bytesOf(op.value)
  }
  return bytes
}

/** Chunks beyond which a longer walk cannot turn the choice: bytes of both orders grow with their square. */
const ENOUGH = 16

/** The order that moves fewer bytes: query chunks outside where key/value heads are few (2.4 times fewer at 4 query heads for one). */
export function cheaperOrder(config: StepConfig): Policy['backwardOrder'] {
  if (config.offload === 'device' || batchChunks(config) === 1) return 'kv'
  const shortened = { ...config, batch: 1, chunks: Math.min(config.chunks, ENOUGH) }
  const moved = (order: Policy['backwardOrder']): number => {
    const bytes = attentionBackwardBytes(shortened, order)
    return bytes.in + bytes.out
  }
  return moved('q') < moved('kv') ? 'q' : 'kv'
}
