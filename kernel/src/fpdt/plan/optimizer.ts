/** AdamW with its learning rate: the words a notebook uses. */
import { FpdtError } from '../../errors.js'
import { ADAMW_DEFAULTS, type AdamWConfig } from '../../schedule/config.js'
import type { Tier } from '../../trace/schema.js'
import { refuseUnknown } from '../sizes.js'

/** AdamW, its rate over the steps, and where its states live. Made by `adamW`. */
export interface Optimizer extends AdamWConfig {
  /** Highest rate. */
  readonly rate: number
  /** Steps over which the rate rises linearly from 0 to `rate`. */
  readonly warmup: number
  /** Steps after which a cosine has brought the rate down to `rate * floor`; undefined: it stays. */
  readonly steps: number | undefined
  /** Share of the rate that is left at the end. */
  readonly floor: number
  /** Where master weights and moments live: `device`, `host` or `disk`. */
  readonly tier: Tier
}

export const OPTIMIZER_DEFAULTS: Optimizer = { rate: 3e-4, warmup: 0, steps: undefined, floor: 0.1, tier: 'device', ...ADAMW_DEFAULTS }

/**
 * AdamW (arXiv 1711.05101): decoupled decay of matrices, gradients clipped to the global norm `maxNorm` (Infinity: not at all).
 * `warmup` and `steps` shape the rate: linear rise, then a cosine down to `floor` of it (arXiv 1608.03983). Throws FpdtError `config`.
 */
export function adamW(options: Partial<Optimizer> = {}): Optimizer {
  refuseUnknown('adamW', options, Object.keys(OPTIMIZER_DEFAULTS))
  const made = { ...OPTIMIZER_DEFAULTS, ...options }
  checkOptimizer(made)
  return made
}

/** Throws FpdtError `config`: an optimizer may also be written by hand. */
export function checkOptimizer(optimizer: Optimizer): void {
  if (typeof optimizer !== 'object' || optimizer === null) refuse(`optimizer ${JSON.stringify(optimizer)} is not made by adamW({ rate: 3e-4 }).`)
  refuseUnknown('optimizer', optimizer, Object.keys(OPTIMIZER_DEFAULTS))
  const { rate, warmup, steps, floor, tier } = optimizer
  if (!(rate >= 0 && Number.isFinite(rate))) refuse(`adamW rate ${String(rate)} is not a number of 0 or more.`)
  if (!(Number.isInteger(warmup) && warmup >= 0)) refuse(`adamW warmup ${String(warmup)} is not a whole number of steps of 0 or more.`)
  if (steps !== undefined && !(Number.isInteger(steps) && steps > warmup))
    refuse(`adamW steps ${String(steps)} is not a whole number above the ${warmup} steps of warmup.`)
  if (!(floor >= 0 && floor <= 1)) refuse(`adamW floor ${String(floor)} is not a share from 0 to 1 of the rate.`)
  if (!['device', 'host', 'disk'].includes(tier)) refuse(`adamW tier ${JSON.stringify(tier)} is not one of 'device', 'host', 'disk'.`)
}

/** The rate of a step, counted from 1. */
export function rateAt({ rate, warmup, steps, floor }: Optimizer, step: number): number {
  if (step <= warmup) return (rate * step) / warmup
  if (steps === undefined) return rate
  const share = Math.min(1, (step - warmup) / (steps - warmup))
  return rate * (floor + (1 - floor) * 0.5 * (1 + Math.cos(Math.PI * share)))
}

function refuse(message: string): never {
  throw new FpdtError('config', message)
}
