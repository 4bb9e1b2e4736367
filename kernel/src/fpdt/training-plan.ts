/** From a model and options to a plan: what will run, where everything lies, whether it fits. Pure: no device is touched. */
import { FpdtError } from '../errors.js'
import type { ModelConfig } from '../model/config.js'
import { type Plan, plan } from '../plan/plan.js'
import { workspaceBytes } from '../plan/workspace.js'
import { type Buffers, buffers } from '../schedule/buffers.js'
import { type AdamWConfig, type StepConfig, stepConfig } from '../schedule/config.js'
import { fpdtStep, type Standing, standing } from '../schedule/step.js'
import { ulyssesStep, unchunked } from '../schedule/ulysses.js'
import type { Tier } from '../trace/schema.js'
import { formatBytes, parseTokens } from './sizes.js'

export type System = 'fpdt' | 'ulysses'

/** AdamW with its learning rate. Made by `adamW`. */
export interface Optimizer extends AdamWConfig {
  readonly rate: number
}

/** AdamW (arXiv 1711.05101): decoupled decay of matrices, gradients clipped to the global norm `maxNorm`. */
export function adamW(options: Partial<Optimizer> = {}): Optimizer {
  const optimizer = { rate: 3e-4, beta1: 0.9, beta2: 0.95, eps: 1e-8, decay: 0.1, maxNorm: 1, ...options }
  for (const [name, value] of Object.entries(optimizer)) {
    if (!(Number.isFinite(value) && value >= 0)) throw new FpdtError('config', `adamW({ ${name}: ${String(value)} }) is not a number of 0 or more.`)
  }
  return optimizer
}

export interface TrainOptions {
  /** Tokens of the sequence: a number, `'32K'` or `'2M'`. */
  readonly sequence: number | string
  /** Tokens of a chunk over all ranks, C. Ignored by `ulysses`, whose only chunk is the sequence. */
  readonly chunk?: number | string
  readonly ranks?: number
  readonly system?: System
  readonly dtype?: 'bf16' | 'f32'
  readonly optimizer?: Optimizer
  readonly lookAhead?: 0 | 1
  readonly prefetch?: number
  readonly feedForwardRows?: number
  readonly lossRows?: number
  /** Seed of the first parameters. */
  readonly seed?: number
}

export interface TrainingPlan {
  readonly system: System
  readonly config: StepConfig
  readonly optimizer: Optimizer
  readonly seed: number
  readonly buffers: Buffers
  readonly standing: readonly Standing[]
  readonly plan: Plan
}

export interface Budgets {
  /** Bytes a rank may take of each tier; a tier that is not named is not limited. */
  readonly budgets: Partial<Record<Tier, number>>
  /** Threads of the compute pool: workspaces depend on it. */
  readonly threads: number
}

const KNOWN = new Set(['sequence', 'chunk', 'ranks', 'system', 'dtype', 'optimizer', 'lookAhead', 'prefetch', 'feedForwardRows', 'lossRows', 'seed'])

/**
 * Plans a training step. Throws FpdtError `config` for what cannot work, `out_of_memory` for what does not fit, with the
 * op and the buffers of the peak and the largest sequence or chunk that would.
 */
export function planTraining(model: ModelConfig, options: TrainOptions, machine: Budgets): TrainingPlan {
  const { budgets, threads } = machine
  const config = systemConfig(model, options)
  const system = options.system ?? 'fpdt'
  const b = buffers(config)
  const stands = standing(config, b)
  const ops = system === 'fpdt' ? fpdtStep(config, b) : ulyssesStep(config, b)
  const initial = stands.map((s) => ({ ...s, persistent: true as const }))
  const workspace = (kernel: Parameters<typeof workspaceBytes>[0], parameters: readonly number[]): number => workspaceBytes(kernel, parameters, threads)
  try {
    return {
      system,
      config,
      optimizer: options.optimizer ?? adamW(),
      seed: options.seed ?? 1,
      buffers: b,
      standing: stands,
      plan: plan(ops, { ranks: config.ranks, initial, workspace, budgets }),
    }
  } catch (error) {
    if (error instanceof FpdtError && error.code === 'out_of_memory')
      throw new FpdtError('out_of_memory', `${error.message}. ${whatFits(model, options, threads, budgets)}`)
    throw error
  }
}

function systemConfig(model: ModelConfig, options: TrainOptions): StepConfig {
  for (const name of Object.keys(options)) {
    if (!KNOWN.has(name)) throw new FpdtError('config', `option ${name} is not known; known are ${[...KNOWN].join(', ')}.`)
  }
  const { optimizer, system = 'fpdt', ranks = 1 } = options
  if (system !== 'fpdt' && system !== 'ulysses') throw new FpdtError('config', `system ${JSON.stringify(system)} is not one of 'fpdt', 'ulysses'.`)
  const sequence = parseTokens(options.sequence, 'sequence')
  // The baseline has no chunks: the smallest legal one lets the shared checks pass, and `unchunked` replaces it.
  const chunk = system === 'ulysses' ? ranks : parseTokens(options.chunk ?? defaultChunk(sequence, ranks), 'chunk')
  const { dtype, lookAhead, prefetch, feedForwardRows, lossRows } = options
  const given = Object.fromEntries(Object.entries({ dtype, lookAhead, prefetch, feedForwardRows, lossRows }).filter(([, value]) => value !== undefined))
  const base = system === 'ulysses' ? { model, sequence, chunk, ranks, dtype: dtype ?? 'bf16' } : { model, sequence, chunk, ranks, ...given }
  const config = stepConfig({ ...base, ...(optimizer ? { adamW: optimizer } : {}) } as Parameters<typeof stepConfig>[0])
  return system === 'ulysses' ? unchunked(config) : config
}

/** Eight chunks, but none under 512 tokens: enough of a pipeline to see, and chunks the kernels run well on. */
function defaultChunk(sequence: number, ranks: number): number {
  const eighth = Math.max(512, Math.ceil(sequence / 8))
  return Math.ceil(eighth / ranks) * ranks
}

function whatFits(model: ModelConfig, options: TrainOptions, threads: number, budgets: Partial<Record<Tier, number>>): string {
  const ranks = options.ranks ?? 1
  if ((options.system ?? 'fpdt') === 'fpdt') {
    const config = systemConfig(model, options)
    for (let lossRows = Math.floor(config.lossRows / 2); lossRows >= 16; lossRows = Math.floor(lossRows / 2)) {
      if (fits(model, { ...options, lossRows, sequence: Math.min(config.tokens, config.chunk * ENOUGH_CHUNKS) }, threads, budgets))
        return `lossRows: ${lossRows} fits (${config.lossRows} rows of logits at a time do not).`
    }
    for (let chunk = Math.floor(config.chunk / 2 / ranks) * ranks; chunk >= ranks; chunk = Math.floor(chunk / 2 / ranks) * ranks) {
      const { lossRows: _, feedForwardRows: __, ...rest } = options
      // The device peak does not depend on the number of chunks from a handful on; the host's does.
      const sequence = Math.min(config.tokens, chunk * ENOUGH_CHUNKS)
      if (fits(model, { ...rest, sequence, chunk }, threads, budgets.device === undefined ? {} : { device: budgets.device })) {
        const longest = longestSequence(model, { ...rest, chunk }, { budgets, threads })
        return `Chunk ${chunk} fits the device${longest < config.tokens ? `, with a sequence of at most ${longest} tokens (host budget)` : ''}.`
      }
    }
    const least = planTraining(model, { ...options, sequence: ranks, chunk: ranks, lossRows: 1, feedForwardRows: 1 }, { budgets: {}, threads }).plan
    return `No chunk fits: parameters, gradients and optimizer state alone take ${formatBytes(least.arenaBytes.device)} a rank; give more memory, more ranks or a smaller model.`
  }
  const longest = longestSequence(model, options, { budgets, threads })
  return longest > 0
    ? `The longest sequence that fits is ${longest} tokens; system 'fpdt' fits longer ones.`
    : `No sequence fits: give more memory, or use system 'fpdt'.`
}

/** From this many chunks on, a longer FPDT sequence needs not one device byte more; host bytes grow by an equal amount a chunk. */
const ENOUGH_CHUNKS = 8

function fits(model: ModelConfig, options: TrainOptions, threads: number, budgets: Partial<Record<Tier, number>>): boolean {
  const { plan } = planTraining(model, options, { budgets: {}, threads })
  return (Object.entries(budgets) as [Tier, number][]).every(([tier, budget]) => plan.arenaBytes[tier] <= budget)
}

/**
 * The longest sequence that fits the budgets, in tokens; 0 when none does. FPDT: the device either takes every length or none,
 * so host bytes decide, which grow by the same amount with every chunk: two plans give the slope and a third confirms it.
 * Ulysses: the largest multiple of 256 tokens, by bisection over plans.
 */
export function longestSequence(model: ModelConfig, options: Omit<TrainOptions, 'sequence'> & { readonly sequence?: unknown }, machine: Budgets): number {
  const { budgets, threads } = machine
  const { sequence: _, ...rest } = options
  const arena = (sequence: number): Readonly<Record<Tier, number>> =>
    planTraining(model, { ...rest, sequence } as TrainOptions, { budgets: {}, threads }).plan.arenaBytes
  const allowed = (bytes: Readonly<Record<Tier, number>>): boolean =>
    (Object.entries(budgets) as [Tier, number][]).every(([tier, budget]) => bytes[tier] <= budget)
  if (options.system === 'ulysses') {
    const unit = 256
    if (!allowed(arena(unit))) return 0
    let [low, high] = [1, 2]
    while (allowed(arena(high * unit))) [low, high] = [high, high * 2]
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2)
      if (allowed(arena(middle * unit))) low = middle
      else high = middle
    }
    return low * unit
  }
  const chunk = parseTokens(options.chunk ?? 4096, 'chunk')
  const at = (chunks: number): Readonly<Record<Tier, number>> => arena(chunks * chunk)
  const [one, two] = [at(ENOUGH_CHUNKS), at(ENOUGH_CHUNKS + 1)]
  if (!allowed({ ...one, host: 0 })) return shortest(at, allowed, ENOUGH_CHUNKS) * chunk
  if (budgets.host === undefined) return Number.POSITIVE_INFINITY
  const slope = two.host - one.host
  const predicted = ENOUGH_CHUNKS + Math.floor((budgets.host - one.host) / slope)
  if (predicted <= ENOUGH_CHUNKS) return shortest(at, allowed, ENOUGH_CHUNKS) * chunk
  return predicted * chunk
}

/** Most chunks below `limit` that are allowed. */
function shortest(at: (chunks: number) => Readonly<Record<Tier, number>>, allowed: (bytes: Readonly<Record<Tier, number>>) => boolean, limit: number): number {
  let chunks = limit
  while (chunks > 0 && !allowed(at(chunks))) chunks--
  return chunks
}
