/**
 * Bytes that a step takes, also one that is too long to be planned op by op: a model of 80 layers makes three million ops of 64
 * chunks, and their number grows with the square.
 *
 * From a few chunks on the pipeline is as full as it gets. Then what is alive at most in each stretch of the step grows by the same
 * bytes with every chunk (on the device by none, where chunks wait elsewhere), so that two short walks foretell what is alive in
 * every longer one, to the byte, and its arenas but for what the gaps between buffers change. They go through all layers, since
 * gradients pile up over them and the peak moves, and through an even or odd number of chunks, as the step has, since the
 * backward's inner loop turns round from row to row.
 */
import type { ModelConfig } from '../../model/config.js'
import { bytesOfOps, type WalkedBytes } from '../../plan/bytes.js'
import { type Target, workspacesOf } from '../../plan/workspace.js'
import type { StepConfig } from '../../schedule/config.js'
import type { Place } from '../../schedule/ops.js'
import { standing, trainingStep } from '../../schedule/step.js'
import { stepValues } from '../../schedule/step-values.js'
import type { Tier } from '../../trace/schema.js'
import { aboutOps, stepOf, type TrainOptions } from './training-plan.js'

export interface StepBytes extends Readonly<Record<Tier, number>> {
  /** The most that is alive at once, alignment counted; an arena is larger by the gaps between buffers. */
  readonly alive: Readonly<Record<Tier, number>>
  /** Chunks of the longest walk made, of how many the step has. Fewer: its bytes are foretold from the walk's. */
  readonly walked: { readonly chunks: number; readonly of: number }
}

/** Ops that are walked one by one: a second or two. */
const WALKED_OPS = 500_000

/**
 * Arena bytes per rank of a step, of each tier. Throws FpdtError `config` for what cannot work; nothing is too long, and nothing is
 * allocated. Steps of at most `mostOps` ops are walked whole.
 */
export function bytesOfStep(model: ModelConfig, options: TrainOptions, target: Target, mostOps = WALKED_OPS): StepBytes {
  return stepBytes(target)(stepOf(model, options), mostOps)
}

/** The same of many steps that differ in their sequence alone: short walks are made once. */
export function stepBytes(target: Target): (config: StepConfig, mostOps?: number) => StepBytes {
  const walks = new Map<string, WalkedBytes>()
  const workspace = workspacesOf(target)
  const walk = (config: StepConfig, chunks: number): WalkedBytes => {
    const key = `${chunks} ${config.chunk} ${config.backwardOrder}`
    const known = walks.get(key)
    if (known) return known
    const walked = { ...config, chunks, tokens: chunks * config.chunk }
    const values = stepValues(walked)
    const bytes = bytesOfOps(trainingStep(walked, values), standing(walked, values), workspace, stretchesOf(chunks))
    walks.set(key, bytes)
    return bytes
  }
  return (config, mostOps = WALKED_OPS) => {
    const of = config.chunks
    const long = enoughChunks(config) + ((of - enoughChunks(config)) & 1) + 2
    if (of <= long || aboutOps(config) <= mostOps) {
      const { arena, alive } = walk(config, of)
      return { ...arena, alive: perTier((tier) => mostAlive(alive[tier])), walked: { chunks: of, of } }
    }
    const [shorter, longer] = [walk(config, long - 2), walk(config, long)]
    const alive = perTier((tier) => mostAlive(longer.alive[tier], shorter.alive[tier], (of - long) / 2))
    const arena = perTier((tier) => longer.arena[tier] + alive[tier] - mostAlive(longer.alive[tier]))
    return { ...arena, alive, walked: { chunks: long, of } }
  }
}

/** From this many chunks on, one more adds the same bytes to every stretch of the step. */
function enoughChunks({ prefetch }: StepConfig): number {
  return Math.max(8, 2 * prefetch + 7)
}

/**
 * A stretch is a phase of a layer at its first chunks, at its last, between, or at none. Within a phase what is alive rises or falls
 * evenly from chunk to chunk, so that its most is at one end, and from one end to the other it may move as steps grow longer.
 */
function stretchesOf(chunks: number): (place: Place) => string {
  const end = (chunk: number | null): string => {
    if (chunk === null) return 'none'
    const i = chunk % chunks
    return `${Math.floor(chunk / chunks)}.${i < 2 ? i : Math.max(i - chunks, -3)}`
  }
  return ({ phase, layer, q, kv }) => `${phase} ${layer} ${end(q)} ${end(kv)}`
}

/** The most over all stretches, when each has grown `times` more by as much as since the shorter walk. */
function mostAlive(stretches: ReadonlyMap<string, number>, shorter: ReadonlyMap<string, number> = stretches, times = 0): number {
  let most = 0
  for (const [stretch, bytes] of stretches) most = Math.max(most, bytes + times * (bytes - (shorter.get(stretch) ?? 0)))
  return most
}

function perTier(of: (tier: Tier) => number): Record<Tier, number> {
  return { device: of('device'), host: of('host'), disk: of('disk') }
}
