/** What one system takes for a step, and how far the budgets reach with it. */
import { paddingInWords, slowInWords } from '../fpdt/plan/notes.js'
import { bytesOfStep } from '../fpdt/plan/step-bytes.js'
import { type LinkTotals, linksOfStep } from '../fpdt/plan/step-links.js'
import { aboutOps, optionsUnder, PLANNED_OPS, planTraining, stepOf, type TrainOptions } from '../fpdt/plan/training-plan.js'
import { longestInMemory, longestPlanned } from '../fpdt/plan/what-fits.js'
import type { ModelConfig } from '../model/config.js'
import type { Target } from '../plan/workspace.js'
import type { StepConfig } from '../schedule/config.js'
import { SYSTEMS, type SystemName } from '../schedule/systems.js'
import { TIERS, type Tier } from '../trace/schema.js'
import { largestInWords } from '../trace/words/format.js'

export interface Asked {
  /** Of the model, as it was given. */
  readonly name: string
  readonly model: ModelConfig
  readonly options: TrainOptions
  readonly budgets: Partial<Record<Tier, number>>
  readonly target: Target
}

/** Bytes are of one rank. */
export interface Outlook {
  readonly system: SystemName
  readonly chunk: number
  readonly chunks: number
  readonly bytes: Readonly<Record<Tier, number>>
  /** Most that is alive on the device at once, at which op, and what it is: of a step of this many chunks, fewer where all would take long to plan. */
  readonly peak: { readonly bytes: number; readonly words: string; readonly largest: string; readonly chunks: number }
  readonly links: LinkTotals
  /** Undefined where no budget is given: nothing is asked then. */
  readonly longest: number | undefined
  /** Tokens at which a plan of this chunk has as many ops as it holds; training ends there, whatever the memory. Infinity un-chunked. */
  readonly planned: number
  /** The budgets hold it, and training does not refuse it. Undefined where no budget is given. */
  readonly fits: boolean | undefined
  /** Training refuses the step, as it makes more ops than a plan holds. */
  readonly refused: boolean
  /** How tokens and chunks divide, where they do not. */
  readonly padding: string | undefined
  /** A choice that is slow on the backend, and what to do. */
  readonly slow: string | undefined
}

/** A step of more ops is planned with fewer chunks to see what makes its peak: some seconds. */
const OUTLOOK_OPS = 200_000

/** Of one system as it is asked for, or of one among `all`: options of chunks are then left out where it has none. `progress` is told in words what takes time. */
export function outlookOf({ model, options: given, budgets, target }: Asked, system: SystemName, all: boolean, progress: (words: string) => void): Outlook {
  const options = { ...(all ? optionsUnder(given, system) : given), system }
  const config = stepOf(model, options)
  const { chunk, chunks } = config
  progress(`${system}: bytes of a step`)
  const { walked, ...bytes } = bytesOfStep(model, options, target)
  progress(`${system}: bytes over the links`)
  const links = linksOfStep(config)
  progress(`${system}: what makes the peak`)
  const peak = peakOf(model, options, config, target)
  progress(`${system}: the longest sequence`)
  const { sequence, ...sizes } = options
  const cut = SYSTEMS[system].chunked ? { ...sizes, chunk } : sizes
  const unlimited = Object.keys(budgets).length === 0
  const longest = unlimited ? undefined : longestInMemory(model, cut, { budgets, ...target })
  const planned = longestPlanned(model, cut)
  const within = (tier: Tier): boolean => bytes[tier] <= (budgets[tier] ?? Number.POSITIVE_INFINITY)
  const refused = aboutOps(config) > PLANNED_OPS
  return {
    ...{ system, chunk, chunks, bytes, peak, links, longest, planned },
    fits: unlimited ? undefined : TIERS.every(within) && !refused,
    refused,
    padding: paddingInWords(config),
    slow: slowInWords(config, target.backend ?? 'cpu'),
  }
}

function peakOf(model: ModelConfig, options: TrainOptions, config: StepConfig, target: Target): Outlook['peak'] {
  let chunks = config.chunks
  while (chunks > config.prefetch + 3 && aboutOps({ ...config, chunks }) > OUTLOOK_OPS) chunks--
  const sequence = chunks < config.chunks ? chunks * config.chunk : config.tokens
  const { plan } = planTraining(model, { ...options, sequence }, { budgets: {}, ...target })
  const { bytes, line, residencies } = plan.peaks.device
  return { bytes, words: plan.words(line), largest: largestInWords(residencies), chunks }
}
