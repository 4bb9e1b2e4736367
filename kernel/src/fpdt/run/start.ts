/** What a run begins with: first values of its own, those of a saved model, or where a checkpoint left off (`checkpoint.ts`). */

import { v7 as uuid } from 'uuid'
import type { TextPosition } from '../../checkpoint/manifest.js'
import type { StateValues } from '../../checkpoint/states.js'
import { FpdtError } from '../../errors.js'
import type { ModelSource } from '../../files/huggingface.js'
import { initialGroup } from '../../model/initialise.js'
import type { Group } from '../../model/parameters.js'
import type { TrainingPlan } from '../plan/training-plan.js'

export interface Start {
  /** Id of the run: a resumed one is the same run. */
  readonly run: string
  /** Steps whose updates are in the parameters. */
  readonly step: number
  readonly texts: readonly TextPosition[]
  /** Of a model that was loaded; a save carries it on. */
  readonly source?: ModelSource | undefined
  /** Asked once a group, in order. */
  readonly states: (group: Group) => Promise<StateValues>
}

/** Before the first step: drawn by the seed, or the weights that were given; no moments. */
export function newStart({ options, config, seed }: TrainingPlan): Start {
  const { weights = (group: Group) => initialGroup(config.model, group, seed) } = options
  if (typeof weights !== 'function')
    throw new FpdtError('config', 'weights are no function that gives the values of a group; const { model, weights } = await load(dir) gives one.')
  const states = async (group: Group): Promise<StateValues> => {
    const zeros = new Float32Array(group.padded)
    return { master: padded(group, await weights(group)), m: zeros, v: zeros }
  }
  return { run: uuid(), step: 0, texts: [], source: options.weights?.source, states }
}

/** Exactly `group.padded` values, pads zero: they take part in sums. */
function padded({ name, count, padded }: Group, values: Float32Array): Float32Array {
  if (!(values instanceof Float32Array) || values.length < count)
    throw new FpdtError('config', `weights gave ${values?.length ?? 'no'} values for ${name}, which has ${count}; are they of this model?`)
  const all = new Float32Array(padded)
  all.set(values.subarray(0, count))
  return all
}
