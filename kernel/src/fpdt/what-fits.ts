/** What fits a device: the longest sequence, and what to try when a step does not. Plans, and never allocates. */
import { FpdtError } from '../errors.js'
import type { ModelConfig } from '../model/config.js'
import { SYSTEMS } from '../schedule/systems.js'
import type { Tier } from '../trace/schema.js'
import { formatBytes, parseTokens } from './sizes.js'
import { type Budgets, planTraining, stepOf, type TrainingPlan, type TrainOptions } from './training-plan.js'

type Sizes = Omit<TrainOptions, 'sequence'>

/** `planTraining`; an `out_of_memory` error ends with what would fit. */
export function planThatFits(model: ModelConfig, options: TrainOptions, machine: Budgets): TrainingPlan {
  try {
    return planTraining(model, options, machine)
  } catch (error) {
    if (!(error instanceof FpdtError && error.code === 'out_of_memory')) throw error
    throw new FpdtError('out_of_memory', `${error.message}. ${advice(model, options, machine)}`, { cause: error })
  }
}

/**
 * The longest sequence that fits the budgets, in tokens; 0 when none does, Infinity when nothing limits it.
 * Un-chunked: the largest multiple of 256 tokens, by bisection over plans. FPDT (chunk 4096 unless given): see `longestChunked`.
 */
export function longestSequence(model: ModelConfig, sizes: Sizes, machine: Budgets): number {
  const bytes = (options: Sizes, sequence: number): Bytes => planTraining(model, { ...options, sequence }, { ...machine, budgets: {} }).plan.arenaBytes
  const allowed = (needed: Bytes): boolean => limits(machine).every(([tier, budget]) => needed[tier] <= budget)
  if (!isChunked(sizes)) return UNIT * most((units) => allowed(bytes(sizes, units * UNIT)))
  const chunk = parseTokens(sizes.chunk ?? 4096, 'chunk')
  const { offload, checkpoints, keep } = stepOf(model, { ...sizes, chunk, sequence: Math.max(2, chunk) })
  // What stays on the device grows with the sequence there, chunk by chunk.
  if ([offload, checkpoints, keep].includes('device')) return chunk * most((chunks) => allowed(bytes({ ...sizes, chunk }, Math.max(2, chunks * chunk))))
  return chunk * longestChunked(enoughChunks(sizes), (chunks) => bytes({ ...sizes, chunk }, Math.max(2, chunks * chunk)), allowed, machine.budgets)
}

function isChunked({ system = 'fpdt' }: Sizes): boolean {
  return SYSTEMS[system].chunked
}

type Bytes = Readonly<Record<Tier, number>>
/** Granularity of the answer for Ulysses, in tokens. */
const UNIT = 256
const limits = ({ budgets }: Budgets): [Tier, number][] => Object.entries(budgets) as [Tier, number][]

/** From this many chunks on, a longer FPDT sequence needs not one device byte more: every stage of the pipeline is as full as it gets. */
function enoughChunks({ prefetch = 1 }: Sizes): number {
  return prefetch + 8
}

/**
 * Most chunks of an FPDT sequence. The device takes every number of chunks or, from `enough` on, none; so host and disk decide,
 * whose bytes grow by the same amount with every chunk. Two plans give the slope; where a third, twice as long, shows a steeper
 * one, that is taken.
 */
function longestChunked(enough: number, bytes: (chunks: number) => Bytes, allowed: (needed: Bytes) => boolean, budgets: Budgets['budgets']): number {
  if (!allowed(bytes(1))) return 0
  const one = bytes(enough)
  if (!allowed(one)) return most((chunks) => chunks < enough && allowed(bytes(chunks)))
  const [next, twice] = [bytes(enough + 1), bytes(2 * enough)]
  const room = (['host', 'disk'] as const).map((tier) => {
    const slope = Math.max(next[tier] - one[tier], (twice[tier] - one[tier]) / enough)
    return slope > 0 ? Math.floor(((budgets[tier] ?? Number.POSITIVE_INFINITY) - one[tier]) / slope) : Number.POSITIVE_INFINITY
  })
  return enough + Math.min(...room)
}

/** What to try, most welcome first: a shorter sequence where only the host is short, fewer rows of logits, a smaller chunk. */
function advice(model: ModelConfig, options: TrainOptions, machine: Budgets): string {
  const longest = (sizes: Sizes): number => longestSequence(model, sizes, machine)
  const { sequence, ...sizes } = options
  if (!isChunked(options)) {
    const tokens = longest(sizes)
    return tokens > 0
      ? `The longest sequence that fits is ${tokens} tokens; system 'fpdt' fits longer ones.`
      : `No sequence fits: give more memory, or use system 'fpdt'.`
  }
  const config = stepOf(model, options)
  const { chunk, ranks, tokens } = config
  const atChunk = longest({ ...sizes, chunk })
  if (atChunk > 0) return `With chunk ${chunk} the longest sequence that fits is ${atChunk} tokens.`
  const note = (fitting: number): string => (fitting < tokens ? `, with a sequence of at most ${fitting} tokens` : '')
  for (let lossRows = Math.floor(config.lossRows / 2); lossRows >= 16; lossRows = Math.floor(lossRows / 2)) {
    const fitting = longest({ ...sizes, chunk, lossRows })
    if (fitting > 0) return `lossRows: ${lossRows} fits (${config.lossRows} rows of logits at a time do not)${note(fitting)}.`
  }
  const { lossRows: _, feedForwardRows: __, ...others } = sizes
  for (let smaller = Math.floor(chunk / 2 / ranks) * ranks; smaller >= ranks; smaller = Math.floor(smaller / 2 / ranks) * ranks) {
    const fitting = longest({ ...others, chunk: smaller })
    if (fitting > 0) return `Chunk ${smaller} fits${note(fitting)}.`
  }
  const least = planTraining(model, { ...others, sequence: Math.max(2, ranks), chunk: ranks, lossRows: 1, feedForwardRows: 1 }, { ...machine, budgets: {} })
  return `No chunk fits: parameters, gradients and optimizer state alone take ${formatBytes(least.plan.arenaBytes.device)} a rank; give more memory, more ranks or a smaller model.`
}

/** Largest n of which `holds` is true; true up to some n and false above. */
function most(holds: (n: number) => boolean): number {
  if (!holds(1)) return 0
  let [low, high] = [1, 2]
  while (holds(high)) [low, high] = [high, high * 2]
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (holds(middle)) low = middle
    else high = middle
  }
  return low
}
