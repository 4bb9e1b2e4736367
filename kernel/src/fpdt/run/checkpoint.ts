/** A run into a checkpoint and back: parameters, moments, step, texts, and the options that planned it. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { addCheckpoint, listCheckpoints } from '../../checkpoint/folder.js'
import { MANIFEST, readManifest, writeManifest } from '../../checkpoint/manifest.js'
import { checkSize, type FileMark, fileOf, readStates, writeStates } from '../../checkpoint/states.js'
import { FpdtError } from '../../errors.js'
import type { NativeStep } from '../../execute/native.js'
import { isModelSource } from '../../files/model-source.js'
import type { ModelConfig } from '../../model/config.js'
import { SYSTEMS } from '../../schedule/systems.js'
import type { Optimizer } from '../plan/optimizer.js'
import type { TrainingPlan, TrainOptions } from '../plan/training-plan.js'
import { refuseUnknown } from '../sizes.js'
import { readGroup } from './parameters.js'
import type { Start } from './start.js'

export interface SaveRunOptions {
  /** Checkpoints of this run that stay in the folder, the new one among them. Default 2. */
  readonly keep?: number
}
/** Where a run stands between two steps. */
export type Standpoint = Omit<Start, 'states'>

/** Throws FpdtError `config`. */
export function checkSave(options: SaveRunOptions): Required<SaveRunOptions> {
  refuseUnknown('save', options, ['keep'])
  const { keep = 2 } = options
  if (!(Number.isInteger(keep) && keep >= 1)) throw new FpdtError('config', `keep ${String(keep)} is not a whole number of checkpoints, 1 or more.`)
  return { keep }
}

/** Adds a checkpoint to a folder; gives its path. `refuse` is asked between files and throws when saving is to stop. */
export function saveCheckpoint(
  dir: string,
  keep: number,
  native: NativeStep,
  training: TrainingPlan,
  { run, step, texts, source }: Standpoint,
  refuse: () => void,
): Promise<string> {
  return addCheckpoint(dir, { run, step }, keep, async (folder) => {
    const files: FileMark[] = []
    for (const group of training.values.groups) {
      refuse()
      files.push(await writeStates(folder, group.group, (state) => readGroup(native, training, group, state)))
    }
    refuse()
    const { config } = training
    await writeManifest(folder, {
      run,
      step,
      created: new Date().toISOString(),
      model: config.model,
      options: optionsOf(training),
      texts,
      files,
      ...(source ? { source } : {}),
    })
  })
}

export interface Checkpoint {
  readonly model: ModelConfig
  readonly options: TrainOptions
  readonly start: Start
}

/**
 * Opens the newest checkpoint of a folder, or the one whose own path is given. Its values are read by `start.states`, checked by
 * their checksums. Throws FpdtError `checkpoint` for what is missing or damaged, naming the file and the checkpoint before it.
 */
export async function openCheckpoint(dir: string): Promise<Checkpoint> {
  const itself = existsSync(join(dir, MANIFEST))
  const [newest, before] = itself ? [] : await listCheckpoints(dir)
  if (!itself && !newest) throw new FpdtError('checkpoint', `${dir} names no checkpoint; give the folder that run.save() was given.`)
  const folder = newest ? join(dir, newest.name) : dir
  const advise = (error: unknown): never => {
    if (!before || !(error instanceof FpdtError && error.code === 'checkpoint')) throw error
    const path = join(dir, before.name)
    throw new FpdtError(
      'checkpoint',
      `${error.message} The one saved before it, of step ${before.step}, is ${path}: resume from that path to go on from there.`,
      { cause: error },
    )
  }
  const manifest = await readManifest(folder).catch(advise)
  for (const file of manifest.files) await checkSize(folder, file).catch(advise)
  const { run, step, texts } = manifest
  const source = isModelSource(manifest.source) ? manifest.source : undefined
  const marks = new Map(manifest.files.map((file) => [file.name, file]))
  const states: Start['states'] = async (group) => {
    const mark = marks.get(fileOf(group))
    if (!mark) return advise(new FpdtError('checkpoint', `${join(folder, MANIFEST)} names no file for ${group.name}; it is of another model.`))
    return readStates(folder, group, mark).catch(advise)
  }
  return { model: manifest.model as ModelConfig, options: readOptions(manifest.options), start: { run, step, texts, source, states } }
}

/** JSON has no infinity: `maxNorm: Infinity` (no clipping) is left as this word. */
const INFINITE = 'Infinity'

/** Options as given, and what was chosen for them: the order of the backward and the ranks, so that sums are the same also where other tiers or another device would have chosen others. */
function optionsOf({ options, system, config, optimizer, seed }: TrainingPlan): object {
  const { weights: _, ...given } = options
  const order = SYSTEMS[system].chunked ? { backwardOrder: config.backwardOrder } : {}
  const { maxNorm } = optimizer
  return {
    ...given,
    ...order,
    ranks: config.ranks,
    system,
    seed,
    optimizer: { ...optimizer, maxNorm: maxNorm === Number.POSITIVE_INFINITY ? INFINITE : maxNorm },
  }
}
function readOptions(options: object): TrainOptions {
  const read = options as Omit<TrainOptions, 'optimizer'> & { readonly optimizer: Omit<Optimizer, 'maxNorm'> & { readonly maxNorm: number | string } }
  const { maxNorm } = Object(read.optimizer)
  return { ranks: 1, ...read, optimizer: { ...read.optimizer, maxNorm: maxNorm === INFINITE ? Number.POSITIVE_INFINITY : (maxNorm as number) } }
}
