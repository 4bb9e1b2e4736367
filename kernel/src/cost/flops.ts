/** Model FLOPs and MFU: what a step is worth, whatever was computed twice. */
import type { ModelConfig } from '../model/config.js'
import { parameterCount, parameterLayout } from '../model/parameters.js'

/**
 * Model FLOPs of one training step (pads and recomputation not counted):
 * 6 x parameters (without embedding and position tables; the head's matrix once, tied or not) x tokens
 * + 6 x layers x (sum of squared document lengths) x heads x head size: causal attention, forward 2 and backward 4.
 */
export function modelFlops(model: ModelConfig, documents: readonly number[]): number {
  const { embedding, positions } = parameterLayout(model, 1)
  const tables = embedding.count + (positions?.count ?? 0)
  const counted = parameterCount(model) - tables + (model.tied ? model.vocabulary * model.width : 0)
  const tokens = documents.reduce((sum, length) => sum + length, 0)
  const squares = documents.reduce((sum, length) => sum + length * length, 0)
  return 6 * counted * tokens + 6 * model.layers * squares * model.heads * model.headSize
}

/** The formula of `mfu`, to be shown with the number. */
export const MFU_FORMULA =
  'MFU = (6·params·N + 6·L·N²·H·D) / time / peak; peak of all GPUs that have a rank, or of the CPU that all share; params without embedding and position tables, head once; causal; recomputation not counted'

/** Model FLOPs utilisation: a share of `peakFlopsPerSecond`. */
export function mfu(flops: number, seconds: number, peakFlopsPerSecond: number): number {
  return flops / seconds / peakFlopsPerSecond
}
