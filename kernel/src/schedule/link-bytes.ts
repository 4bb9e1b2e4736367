/** What the attention's backward moves between device and host, in either loop order: by walking the schedule, not by a formula. */
import { attentionBackward } from './attention-backward.js'
import type { Policy, StepConfig } from './config.js'
import { contextOf } from './context.js'
import { stepValues } from './step-values.js'
import { bytesOf } from './values.js'

export interface LinkBytes {
  /** Device to host, and host to device, bytes a rank, of one layer's attention backward over one batch. */
  readonly out: number
  readonly in: number
}

/** Bytes over the host link of one layer's attention backward over a batch. 0 where chunks wait on the device. */
export function attentionBackwardBytes(config: StepConfig, order: Policy['backwardOrder']): LinkBytes {
  const ordered = { ...config, backwardOrder: order }
  const bytes = { out: 0, in: 0 }
  for (const op of attentionBackward(contextOf(ordered, stepValues(ordered)), 0)) {
    if (op.kind === 'offload') bytes.out += bytesOf(op.value)
    if (op.kind === 'fetch') bytes.in += bytesOf(op.value)
  }
  return bytes
}
