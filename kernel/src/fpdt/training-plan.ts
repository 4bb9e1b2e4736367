/** From a model and options to a plan: what will run, where everything lies, whether it fits. Pure: no device is touched. */
import { FpdtError } from '../errors.js'
import type { ModelConfig } from '../model/config.js'
import { workspaceBytes } from '../plan/cpu-workspace.js'
import { type Plan, plan } from '../plan/plan.js'
import { type AdamWConfig, type StepConfig, stepConfig } from '../schedule/config.js'
import { KERNEL_NAMES } from '../schedule/kernels.js'
import type { Op } from '../schedule/ops.js'
import type { Standing } from '../schedule/standing.js'
import { fpdtStep, standing } from '../schedule/step.js'
import { type StepValues, stepValues } from '../schedule/step-values.js'
import { ulyssesStep, unchunked } from '../schedule/ulysses.js'
import type { Tier } from '../trace/schema.js'
import { parseTokens, refuseUnknown } from './sizes.js'

export type System = 'fpdt' | 'ulysses'

/** AdamW with its learning rate. Made by `adamW`. */
export interface Optimizer extends AdamWConfig {
  readonly rate: number
}

const OPTIMIZER = ['rate', 'beta1', 'beta2', 'eps', 'decay', 'maxNorm']

/** AdamW (arXiv 1711.05101): decoupled decay of matrices, gradients clipped to the global norm `maxNorm` (Infinity: not at all). */
export function adamW(options: Partial<Optimizer> = {}): Optimizer {
  refuseUnknown('adamW', options, OPTIMIZER)
  return { rate: 3e-4, beta1: 0.9, beta2: 0.95, eps: 1e-8, decay: 0.1, maxNorm: 1, ...options }
}

export interface TrainOptions {
  /** Tokens of the sequence: a number, `'32K'` or `'2M'`. */
  readonly sequence: number | string
  /** Tokens of a chunk over all ranks, C. Not for `ulysses`, whose only chunk is the sequence. */
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
  readonly values: StepValues
  readonly standing: readonly Standing[]
  readonly plan: Plan
  /** The ops of a step, from the beginning. */
  readonly ops: () => Iterable<Op>
  /** Line of the first op that changes a parameter: before it a step can be dropped without a trace. */
  readonly firstUpdate: number
}

export interface Budgets {
  /** Bytes a rank may take of each tier; a tier that is not named is not limited. */
  readonly budgets: Partial<Record<Tier, number>>
  /** Threads of the compute pool: workspaces depend on it. */
  readonly threads: number
}

/** Options that only a chunked system has. */
const CHUNKED = ['chunk', 'lookAhead', 'prefetch', 'feedForwardRows'] as const
const KNOWN = ['sequence', 'chunk', 'ranks', 'system', 'dtype', 'optimizer', 'lookAhead', 'prefetch', 'feedForwardRows', 'lossRows', 'seed']

/** Plans a training step. Throws FpdtError `config` for what cannot work, `out_of_memory` for what does not fit (`what-fits.ts` adds what would). */
export function planTraining(model: ModelConfig, options: TrainOptions, { budgets, threads }: Budgets): TrainingPlan {
  const { optimizer = adamW(), seed = 1, system = 'fpdt' } = options
  if (typeof optimizer !== 'object') throw new FpdtError('config', `optimizer ${JSON.stringify(optimizer)} is not made by adamW({ rate: 3e-4 }).`)
  if (!(optimizer.rate >= 0 && Number.isFinite(optimizer.rate)))
    throw new FpdtError('config', `adamW rate ${String(optimizer.rate)} is not a number of 0 or more.`)
  if (!Number.isSafeInteger(seed)) throw new FpdtError('config', `seed ${String(seed)} is not a whole number.`)
  const config = stepOf(model, options)
  refuseTooManyOps(config)
  const values = stepValues(config)
  const initial = standing(config, values)
  const ops = (): Iterable<Op> => (system === 'fpdt' ? fpdtStep(config, values) : ulyssesStep(config, values))
  const made = plan(ops(), { ranks: config.ranks, initial, workspace: (kernel, parameters) => workspaceBytes(kernel, parameters, threads), budgets })
  const { entries } = made
  const firstUpdate = entries.op[entries.kernel.indexOf(KERNEL_NAMES.indexOf('adamW'))]
  return { system, config, optimizer, seed, values, standing: initial, ops, plan: made, firstUpdate }
}

/** Sizes of a step, from the options of a notebook. Throws FpdtError `config`, naming the value and what to try. */
export function stepOf(model: ModelConfig, options: TrainOptions): StepConfig {
  refuseUnknown('train', options, KNOWN)
  const { optimizer, system = 'fpdt', ranks = 1 } = options
  if (system !== 'fpdt' && system !== 'ulysses') throw new FpdtError('config', `system ${JSON.stringify(system)} is not one of 'fpdt', 'ulysses'.`)
  const sequence = parseTokens(options.sequence, 'sequence')
  if (system === 'ulysses') {
    const ignored = CHUNKED.filter((name) => options[name] !== undefined)
    if (ignored.length > 0)
      throw new FpdtError(
        'config',
        `${ignored.join(', ')} cannot be given with system 'ulysses': its one chunk is the sequence. Leave out, or use system 'fpdt'.`,
      )
  }
  // The baseline has no chunks: the smallest legal one lets the shared checks pass, and `unchunked` replaces it.
  const chunk = system === 'ulysses' ? ranks : parseTokens(options.chunk ?? defaultChunk(sequence, ranks), 'chunk')
  const { dtype, lookAhead, prefetch, feedForwardRows, lossRows } = options
  const given = Object.fromEntries(Object.entries({ dtype, lookAhead, prefetch, feedForwardRows, lossRows }).filter(([, value]) => value !== undefined))
  const base = system === 'ulysses' ? { model, sequence, chunk, ranks, dtype: dtype ?? 'bf16' } : { model, sequence, chunk, ranks, ...given }
  const config = stepConfig({ ...base, ...(optimizer ? { adamW: optimizer } : {}) } as Parameters<typeof stepConfig>[0])
  return system === 'ulysses' ? unchunked(config, lossRows) : config
}

/** Ops a plan holds at most: each takes about half a kilobyte and 20 µs to plan. */
const MOST_OPS = 2_000_000

/** The number of ops grows with the square of the number of chunks: says so before anything takes a minute. */
function refuseTooManyOps({ model, chunks, chunk }: StepConfig): void {
  const ops = (u: number): number => model.layers * (12 * u * u + 80 * u)
  if (ops(chunks) <= MOST_OPS) return
  const fitting = Math.floor(Math.sqrt(MOST_OPS / (12 * model.layers) + 11) - 3.4)
  throw new FpdtError(
    'config',
    `${chunks} chunks of ${chunk} tokens in ${model.layers} layers make about ${Math.round(ops(chunks) / 1e6)} million ops, more than a plan holds (${MOST_OPS / 1e6} million). Try chunk ${Math.ceil((chunks * chunk) / fitting)} or more: ${fitting} chunks.`,
  )
}

/** Eight chunks, but none under 512 tokens: enough of a pipeline to see, and chunks the kernels run well on. */
function defaultChunk(sequence: number, ranks: number): number {
  const eighth = Math.max(512, Math.ceil(sequence / 8))
  return Math.ceil(eighth / ranks) * ranks
}
