/** How many ranks train where none are given: one for each GPU of the device, and one on the CPU. */
import { FpdtError } from '../../errors.js'
import { checkModel } from '../../model/check.js'
import type { ModelConfig } from '../../model/config.js'
import { sharings } from '../../schedule/config.js'
import type { Budgets, TrainOptions } from './training-plan.js'

/** Options with their ranks where the device has several GPUs. Throws FpdtError `config` where so many ranks cannot share the model's heads. */
export function withRanks<Options extends Pick<TrainOptions, 'ranks'>>(model: ModelConfig, options: Options, { gpus }: Pick<Budgets, 'gpus'>): Options {
  if (!gpus || gpus.count === 1 || typeof options !== 'object' || options === null || options.ranks !== undefined) return options
  const ranks = gpus.count
  checkModel(model)
  const possible = sharings(model)
  if (possible.includes(ranks)) return { ...options, ranks }
  throw new FpdtError(
    'config',
    `devices are ${ranks} GPUs, with a rank each unless ranks are given, and ${ranks} ranks cannot share the ${model.heads} query heads and ${model.kvHeads} key/value heads; give ranks ${possible.join(' or ')}, or name fewer GPUs.`,
  )
}
