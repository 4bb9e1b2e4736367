/**
 * Bytes that a step takes, also one that is too long to be planned op by op: a model of 80 layers makes three million ops of 64
 * chunks, and their number grows with the square.
 *
 * From a few chunks on the pipeline is as full as it gets. Then what is alive at most in each phase of each layer grows by the same
 * bytes with every chunk (on the device by none, where chunks wait elsewhere), so that two short walks foretell what is alive in
 * every longer one, to the byte, and its arenas but for what the gaps between buffers change (under 1 %). They go through all layers,
 * since gradients pile up over them and the peak moves, and through an even or odd number of chunks, as the step has, since the
 * backward's inner loop turns round from row to row.
 */
import type { ModelConfig } from '../model/config.js'
import { bytesOfOps, type WalkedBytes } from '../plan/bytes.js'
import { workspaceBytes } from '../plan/cpu-workspace.js'
import type { WorkspaceBytes } from '../plan/entries.js'
import type { StepConfig } from '../schedule/config.js'
import { standing, trainingStep } from '../schedule/step.js'
import { stepValues } from '../schedule/step-values.js'
import { TIERS, type Tier } from '../trace/schema.js'
import { aboutOps, type Budgets, stepOf, type TrainOptions } from './training-plan.js'

export interface StepBytes extends Readonly<Record<Tier, number>> {
  /** Chunks of the longest walk made, of how many the step has. Fewer: its arenas are foretold from the walk's. */
  readonly walked: { readonly chunks: number; readonly of: number }
}

/** Ops that are walked one by one: a second or two. */
const MOST_OPS = 500_000

/**
 * Arena bytes per rank of a step, of each tier. Throws FpdtError `config` for what cannot work; nothing is too long, and nothing is
 * allocated. Steps of at most `mostOps` ops are walked whole.
 */
export function bytesOfStep(model: ModelConfig, options: TrainOptions, { threads }: Pick<Budgets, 'threads'>, mostOps = MOST_OPS): StepBytes {
  return stepBytes(threads)(stepOf(model, options), mostOps)
}

/** The same of many steps that differ in their sequence alone: short walks are made once. */
export function stepBytes(threads: number): (config: StepConfig, mostOps?: number) => StepBytes {
  const walks = new Map<string, WalkedBytes>()
  const walk = (config: StepConfig, chunks: number): WalkedBytes => {
    const key = `${chunks} ${config.chunk} ${config.backwardOrder}`
    const known = walks.get(key)
    if (known) return known
    const walked = { ...config, chunks, tokens: chunks * config.chunk }
    const values = stepValues(walked)
    const workspace: WorkspaceBytes = (kernel, parameters) => workspaceBytes(kernel, parameters, threads)
    const bytes = bytesOfOps(trainingStep(walked, values), standing(walked, values), workspace)
    walks.set(key, bytes)
    return bytes
  }
  return (config, mostOps = MOST_OPS) => {
    const of = config.chunks
    const long = enoughChunks(config) + ((of - enoughChunks(config)) & 1) + 2
    if (of <= long || aboutOps(config) <= mostOps) return { ...walk(config, of).arena, walked: { chunks: of, of } }
    const [shorter, longer] = [walk(config, long - 2), walk(config, long)]
    const foretold = TIERS.map((tier) => [tier, longer.arena[tier] + growth(shorter.alive[tier], longer.alive[tier], (of - long) / 2)] as const)
    return { ...(Object.fromEntries(foretold) as Record<Tier, number>), walked: { chunks: long, of } }
  }
}

/** From this many chunks on, one more adds the same bytes to every phase of every layer. */
function enoughChunks({ prefetch }: StepConfig): number {
  return prefetch + 8
}

/** By how much the most bytes alive grow when every phase of a layer grows `times` over what it did from the shorter walk to the longer. */
function growth(shorter: ReadonlyMap<string, number>, longer: ReadonlyMap<string, number>, times: number): number {
  let [now, then] = [0, 0]
  for (const [phase, bytes] of longer) {
    now = Math.max(now, bytes)
    then = Math.max(then, bytes + times * (bytes - (shorter.get(phase) ?? 0)))
  }
  return then - now
}
