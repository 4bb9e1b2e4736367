/**
 * The systems that are compared: one schedule under five policies, so that what differs is the policy and nothing else.
 *
 *   ulysses              un-chunked; every activation of every layer stays on the device    arXiv 2309.14509
 *   ulysses-checkpoint   un-chunked; a layer's input stays, the rest is computed again       activation checkpointing, arXiv 1604.06174
 *   ulysses-offload      un-chunked; a layer's input waits on the host
 *   fpdt-device          chunked; chunks wait on the device
 *   fpdt                 chunked; chunks wait on the host                                    arXiv 2408.16978
 */
import type { Policy, StepConfig } from './config.js'

export interface System {
  /** In a title. */
  readonly words: string
  readonly chunked: boolean
  readonly policy: Pick<Policy, 'offload' | 'checkpoints' | 'keep'>
}

export const SYSTEMS = {
  ulysses: { words: 'Ulysses', chunked: false, policy: { offload: 'device', checkpoints: 'device', keep: 'all' } },
  'ulysses-checkpoint': { words: 'Ulysses, checkpointed', chunked: false, policy: { offload: 'device', checkpoints: 'device', keep: 'recompute' } },
  'ulysses-offload': { words: 'Ulysses, checkpoints offloaded', chunked: false, policy: { offload: 'device', checkpoints: 'host', keep: 'recompute' } },
  'fpdt-device': { words: 'FPDT without offload', chunked: true, policy: { offload: 'device', checkpoints: 'device', keep: 'recompute' } },
  fpdt: { words: 'FPDT', chunked: true, policy: { offload: 'host', checkpoints: 'host', keep: 'recompute' } },
} as const satisfies Record<string, System>

export type SystemName = keyof typeof SYSTEMS
export const SYSTEM_NAMES = Object.keys(SYSTEMS) as SystemName[]

/** The configuration of an un-chunked system for the same sequence: one chunk, parts as large as it; `lossRows` cuts its logits all the same. */
export function unchunked(config: StepConfig, lossRows?: number): StepConfig {
  const chunk = Math.ceil(config.tokens / config.ranks) * config.ranks
  const local = chunk / config.ranks
  return { ...config, chunk, chunks: 1, lookAhead: 0, prefetch: 0, feedForwardRows: local, lossRows: Math.min(lossRows ?? local, local) }
}

/** The same step under another system. */
export function under(config: StepConfig, name: SystemName): StepConfig {
  const { chunked, policy } = SYSTEMS[name]
  return { ...(chunked ? config : unchunked(config)), ...policy }
}
