/** From a model and options to a plan: what will run, where everything lies, whether it fits. Pure: no device is touched. */
import { FpdtError } from '../../errors.js'
import type { ReadGroup } from '../../files/huggingface.js'
import type { ModelConfig } from '../../model/config.js'
import { type Plan, plan } from '../../plan/plan.js'
import { type Target, workspacesOf } from '../../plan/workspace.js'
import { cheaperOrder } from '../../schedule/backward-order.js'
import { type Policy, type StepConfig, type StepOptions, sequencesOf, stepConfig } from '../../schedule/config.js'
import { KERNEL_NAMES } from '../../schedule/kernels.js'
import type { Op } from '../../schedule/ops.js'
import type { Standing } from '../../schedule/standing.js'
import { standing, trainingStep } from '../../schedule/step.js'
import { type StepValues, stepValues } from '../../schedule/step-values.js'
import { SYSTEM_NAMES, SYSTEMS, type SystemName, unchunked } from '../../schedule/systems.js'
import { PHASES, type Tier } from '../../trace/schema.js'
import { parseTokens, refuseUnknown } from '../sizes.js'
import { adamW, checkOptimizer, type Optimizer } from './optimizer.js'

export interface TrainOptions {
  /** Tokens of a sequence: a number, `'32K'` or `'2M'`. */
  readonly sequence: number | string
  /** Tokens of a chunk over all ranks, C. Not for the un-chunked systems, whose only chunk is the sequence. */
  readonly chunk?: number | string
  /** Ranks that share the sequence. Default: one for each GPU of the device, 1 on the CPU. */
  readonly ranks?: number
  /** Sequences that go through a layer together. Default 1. */
  readonly batch?: number
  /** Batches whose gradients are summed for one update. Default 1. */
  readonly accumulate?: number
  /** Attention stays within the documents of a text (`longText([first, second, …])`). Default: it crosses them. */
  readonly documents?: boolean
  /** `'fpdt'` unless given; the others are what it is compared with (`schedule/systems.ts`). */
  readonly system?: SystemName
  /** Of activations and of the weights that compute uses. Default `'bf16'`. */
  readonly dtype?: 'bf16' | 'f32'
  /** With dtype `'bf16'`: of the hidden state between ops, and of its gradient. `'f32'`, as under autocast, is more exact and twice the bytes. */
  readonly hidden?: 'bf16' | 'f32'
  readonly optimizer?: Optimizer
  /** Where chunks wait between uses. Given by the system. */
  readonly offload?: Policy['offload']
  /** Where the input of each layer waits for its backward. Given by the system. */
  readonly checkpoints?: Policy['checkpoints']
  /** What the forward leaves for the backward besides: nothing ('recompute'), or q, k, v, o and lse on a tier. Given by the system. */
  readonly keep?: Policy['keep']
  /** Outer loop of the attention's backward: 'kv' chunks, 'q' chunks, or (default) the one that moves fewer bytes. */
  readonly backwardOrder?: Policy['backwardOrder'] | 'auto'
  /** Where compute weights live: 'host' fetches each layer one ahead. Default 'device'. */
  readonly parameters?: Policy['parameters']
  readonly lookAhead?: 0 | 1
  readonly prefetch?: number
  readonly feedForwardRows?: number
  readonly lossRows?: number
  /** Seed of the first parameters. */
  readonly seed?: number
  /** First parameters, those of a saved model, in place of drawn ones: `const { model, weights } = await load(dir)`. */
  readonly weights?: ReadGroup
}

export interface TrainingPlan {
  /** As they were given. */
  readonly options: TrainOptions
  readonly system: SystemName
  readonly config: StepConfig
  readonly optimizer: Optimizer
  readonly seed: number
  readonly values: StepValues
  readonly standing: readonly Standing[]
  readonly plan: Plan
  /** The ops of a step, from the beginning. */
  readonly ops: () => Iterable<Op>
  /** Line of the last op of the last backward: all gradients are there, and stay until the optimizer takes them. */
  readonly gradientsDone: number
  /** Line of the first op that changes a parameter: before it a step can be dropped without a trace. */
  readonly firstUpdate: number
}

/** What a plan is made for. */
export interface Budgets extends Target {
  /** Bytes a rank may take of each tier; a tier that is not named is not limited. */
  readonly budgets: Partial<Record<Tier, number>>
  /** Bytes that device and host of all ranks may take together, where they are one machine's memory; undefined: not limited. */
  readonly memory?: number
  /** Where the device tier is memory of GPUs: over how many ranks are spread, what each had free when it was opened and has in all, and what the host has for all ranks. */
  readonly gpus?: { readonly count: number; readonly freeBytes: number; readonly memoryBytes: number; readonly hostBytes: number }
}

/** Options that only a chunked system has. */
const CHUNKED = ['chunk', 'lookAhead', 'prefetch', 'feedForwardRows', 'backwardOrder'] as const
/** Options that go into the schedule as they are. */
const PASSED = [
  'ranks',
  'batch',
  'accumulate',
  'documents',
  'dtype',
  'hidden',
  'lookAhead',
  'prefetch',
  'feedForwardRows',
  'lossRows',
  'offload',
  'checkpoints',
  'keep',
  'parameters',
] as const
const KNOWN = ['sequence', 'chunk', 'system', 'optimizer', 'backwardOrder', 'seed', 'weights', ...PASSED]

/** Plans a training step. Throws FpdtError `config` for what cannot work, `out_of_memory` for what does not fit (`what-fits.ts` adds what would). */
export function planTraining(model: ModelConfig, options: TrainOptions, { budgets, ...target }: Budgets): TrainingPlan {
  const { optimizer = adamW(), seed = 1, system = 'fpdt' } = options
  if (!Number.isSafeInteger(seed)) throw new FpdtError('config', `seed ${String(seed)} is not a whole number.`)
  const config = stepOf(model, options)
  refuseTooManyOps(config)
  const values = stepValues(config)
  const initial = standing(config, values)
  const ops = (): Iterable<Op> => trainingStep(config, values)
  const made = plan(ops(), { ranks: config.ranks, initial, workspace: workspacesOf(target), budgets })
  const { entries } = made
  const firstUpdate = entries.op[entries.kernel.indexOf(KERNEL_NAMES.indexOf('adamW'))]
  const gradientsDone = entries.op[entries.phase.indexOf(PHASES.indexOf('optimizer'))] - 1
  return { options, system, config, optimizer, seed, values, standing: initial, ops, plan: made, gradientsDone, firstUpdate }
}

/** Sizes of a step, from the options of a notebook. Throws FpdtError `config`, naming the value and what to try. */
export function stepOf(model: ModelConfig, options: TrainOptions): StepConfig {
  refuseUnknown('train', options, KNOWN)
  const { optimizer = adamW(), system = 'fpdt', backwardOrder = 'auto', lossRows } = options
  checkOptimizer(optimizer)
  if (!SYSTEM_NAMES.includes(system))
    throw new FpdtError('config', `system ${JSON.stringify(system)} is not one of ${SYSTEM_NAMES.map((name) => `'${name}'`).join(', ')}.`)
  const { chunked, policy } = SYSTEMS[system]
  if (!chunked) refuseGiven(options, system)
  const sequence = parseTokens(options.sequence, 'sequence')
  const ranks = options.ranks ?? 1
  // An un-chunked system has no chunks: the smallest legal one lets the shared checks pass, and `unchunked` replaces it.
  const chunk = chunked ? parseTokens(options.chunk ?? defaultChunk(sequence, ranks), 'chunk') : ranks
  const given: Record<string, unknown> = { ...policy }
  for (const name of PASSED) if (options[name] !== undefined && (chunked || name !== 'lossRows')) given[name] = options[name]
  const order = backwardOrder === 'auto' ? {} : { backwardOrder }
  const config = stepConfig({ model, sequence, chunk, ...given, ...order, states: optimizer.tier, adamW: optimizer } as StepOptions)
  if (!chunked) return unchunked(config, lossRows)
  return backwardOrder === 'auto' ? { ...config, backwardOrder: cheaperOrder(config) } : config
}

function refuseGiven(options: TrainOptions, system: SystemName): void {
  const ignored = CHUNKED.filter((name) => options[name] !== undefined)
  if (ignored.length > 0)
    throw new FpdtError(
      'config',
      `${ignored.join(', ')} cannot be given with system '${system}': its one chunk is the sequence. Leave out, or use system 'fpdt'.`,
    )
}

/** Options of a run that goes on under another system: an un-chunked one leaves those of chunks out, which the run chose for itself or was given. */
export function optionsUnder(options: TrainOptions, system = options.system): TrainOptions {
  if (system === undefined || SYSTEMS[system]?.chunked !== false) return options
  return Object.fromEntries(Object.entries(options).filter(([name]) => !CHUNKED.some((chunked) => chunked === name))) as unknown as TrainOptions
}

/** Ops a plan holds at most: each takes about half a kilobyte and 20 µs to plan. */
export const PLANNED_OPS = 2_000_000

/** About as many ops as a step has, seldom fewer. */
export function aboutOps(config: StepConfig): number {
  const { model, chunks } = config
  return model.layers * sequencesOf(config) * (12 * chunks * chunks + 80 * chunks)
}

/** Chunks that a sequence can have for a plan to hold the ops of a step: `aboutOps`, turned round. */
export function plannedChunks(config: StepConfig): number {
  const ops = PLANNED_OPS / (config.model.layers * sequencesOf(config))
  return Math.floor((Math.sqrt(80 * 80 + 4 * 12 * ops) - 80) / (2 * 12))
}

/** The number of ops grows with the square of the number of chunks: says so before anything takes a minute. */
function refuseTooManyOps(config: StepConfig): void {
  const { model, chunks, chunk } = config
  const layers = model.layers * sequencesOf(config)
  const ops = aboutOps(config)
  if (ops <= PLANNED_OPS) return
  const fitting = plannedChunks(config)
  throw new FpdtError(
    'config',
    `${chunks} chunks of ${chunk} tokens in ${layers} layers make about ${Math.round(ops / 1e6)} million ops, more than a plan holds (${PLANNED_OPS / 1e6} million). Try ${fitting > 0 ? `chunk ${roundUp((chunks * chunk) / fitting, config.ranks)} or more` : 'fewer sequences in a step'}.`,
  )
}

/** A number to type: the rank's share goes up by an eighth at most, to a multiple of a power of two. */
function roundUp(chunk: number, ranks: number): number {
  const share = chunk / ranks
  const unit = 2 ** Math.max(0, Math.floor(Math.log2(share)) - 3)
  return ranks * Math.ceil(share / unit) * unit
}

/** Eight chunks where they are of 2048 tokens or more, on which kernels run well; below that fewer, but two at least. */
function defaultChunk(sequence: number, ranks: number): number {
  const size = Math.max(Math.ceil(sequence / 8), Math.min(2048, Math.ceil(sequence / 2)))
  return Math.ceil(size / ranks) * ranks
}
