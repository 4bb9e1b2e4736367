/**
 * `fpdt train`: a configuration into a run, steps into lines. Knows nothing of how a step is done.
 *
 *   read all of it  ->  open the device  ->  begin or resume  ->  steps, evaluations, checkpoints  ->  save  ->  close
 *
 * An interrupt ends it between two ops: the run's state is saved where there is a folder for it, and nothing else is left behind.
 */
import { accessSync, constants, existsSync, mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { isBegun } from '../checkpoint/folder.js'
import { FpdtError } from '../errors.js'
import { checkFamily } from '../files/huggingface-names.js'
import { asDiskError } from '../files/whole-file.js'
import { Device } from '../fpdt/device.js'
import { adamW, type Optimizer } from '../fpdt/plan/optimizer.js'
import type { TrainOptions } from '../fpdt/plan/training-plan.js'
import { checkHeldOut } from '../fpdt/run/evaluation.js'
import type { TrainingRun } from '../fpdt/run/training-run.js'
import { formatBytes } from '../fpdt/sizes.js'
import type { LongText } from '../text/tokens.js'
import { counted } from '../trace/words/format.js'
import { type Arguments, asRefused, type Command, readArguments, UsageError } from './command.js'
import { configInWords, readTrainConfig, type TrainConfig, type TrainFile } from './config.js'
import { modelOf, refuseForeignWords, textOf } from './inputs.js'
import { evaluationOf, follow, type Printing, type Texts } from './steps.js'
import { INTERRUPTED, Terminal } from './terminal.js'

const options = {
  json: { means: 'prints one JSON object a step on stdout and nothing else there' },
  steps: { value: 'N', means: 'steps in all, in the place of the key steps' },
  resume: { means: 'goes on from the newest checkpoint of checkpoint.folder, where there is one' },
  'save-gradients': {
    value: 'FILE.safetensors',
    means:
      'gradients of the first step that is done, before clipping, in f32; under their Hugging Face names where the model has that layout, else as group/part',
  },
}

export const train: Command = {
  operands: 'CONFIG.json',
  does: 'trains a model on a long text, as the configuration says',
  options,
  more: configInWords,
  async run(args) {
    const { operands, given } = readArguments(args, options)
    const [file, ...more] = operands
    if (file === undefined || more.length > 0) throw new UsageError('needs one configuration, CONFIG.json; fpdt train --help says what it holds')
    const read = readTrainConfig(file)
    const json = given.has('json')
    const terminal = new Terminal(json ? process.stderr : process.stdout)
    try {
      return await trainAs({ ...read, config: withArguments(read.config, given) }, { terminal, json, gradients: given.get('save-gradients') })
    } catch (error) {
      if (terminal.interrupted && error instanceof FpdtError && error.code === 'stopped') return INTERRUPTED
      throw read.placed(error)
    } finally {
      terminal.close()
    }
  },
}

function withArguments(config: TrainConfig, given: Arguments['given']): TrainConfig {
  const steps = given.get('steps')
  if (steps !== undefined && !/^[1-9]\d*$/.test(steps)) throw new UsageError(`--steps ${steps} is not a whole number above 0`)
  return {
    ...config,
    ...(steps === undefined ? {} : { steps: Number(steps) }),
    ...(given.has('resume') ? { checkpoint: { ...config.checkpoint, resume: true } } : {}),
  }
}

async function trainAs(file: TrainFile, printing: Printing): Promise<number | undefined> {
  const { config, path } = file
  checkCounts(config)
  const text = await at(file, 'text', () => textOf(config.text, path))
  const heldOut = config.evaluation?.text
  const held = heldOut === undefined ? undefined : await at(file, 'evaluation.text', () => textOf(heldOut, path))
  for (const folder of [config.checkpoint?.folder, config.save?.folder]) if (folder !== undefined) makeFolder(path(folder))
  const device = await openDevice(file)
  try {
    const run = await begin(device, file, { text, held }, printing.terminal)
    if (held) checkEvaluation(file, run, held)
    if (config.save) checkFamily(run.training.config.model)
    printing.terminal.listen()
    return await follow(run, file, { text, held }, printing)
  } finally {
    await device.close()
  }
}

/** Keys of a device that only one backend has. */
const OF_CPU = ['threads', 'path'] as const
const OF_CUDA = ['devices'] as const

/** Throws as `Device.cpu` and `Device.cuda` do, with the place of the key. */
async function openDevice({ config, path, placed }: TrainFile): Promise<Device> {
  const { backend = 'cpu', diskFolder, ...given } = config.device ?? {}
  const options = { ...given, ...(diskFolder === undefined ? {} : { diskFolder: path(diskFolder) }) }
  try {
    return await Device[backend](options)
  } catch (error) {
    const told = placed(error)
    if (told !== error || !(error instanceof FpdtError)) throw told
    const named = given.path !== undefined && error.message.includes(`"${given.path}"`) ? 'device.path' : 'device'
    throw placed(error, backend === 'cpu' ? named : error.code === 'config' ? 'device.devices' : 'device.backend')
  }
}

/** What the library never sees. */
function checkCounts({ steps = 1, evaluation, checkpoint, save, device = {} }: TrainConfig): void {
  const atLeastOne = { steps, 'evaluation.every': evaluation?.every, 'checkpoint.every': checkpoint?.every, 'checkpoint.keep': checkpoint?.keep }
  for (const [name, value] of Object.entries(atLeastOne))
    if (value !== undefined && value < 1) throw new FpdtError('config', `${name} ${value} is not a whole number above 0.`)
  const { backend = 'cpu' } = device
  for (const name of backend === 'cpu' ? OF_CUDA : OF_CPU)
    if (device[name] !== undefined)
      throw new FpdtError(
        'config',
        backend === 'cpu'
          ? `device.${name} names GPUs, and training is on the CPU; write { "backend": "cuda", "${name}": ${JSON.stringify(device[name])} }, or leave it out.`
          : `device.${name} is of the CPU, and training is on GPUs; leave it out.`,
      )
  if (checkpoint && checkpoint.folder === undefined) throw new FpdtError('config', 'checkpoint needs its folder: { "folder": "run" }.')
  if (save && save.folder === undefined) throw new FpdtError('config', 'save needs its folder: { "folder": "model" }.')
  if (evaluation && evaluation.text === undefined) throw new FpdtError('config', 'evaluation needs its text: { "text": "held-out.txt" }.')
}

/** What the first evaluation would find out, maybe after hours. */
function checkEvaluation({ config, placed }: TrainFile, { training }: TrainingRun, held: LongText): void {
  try {
    checkHeldOut(training, held, evaluationOf(config.evaluation))
  } catch (error) {
    throw placed(error, error instanceof FpdtError && error.code === 'config' ? 'evaluation.sequences' : 'evaluation.text')
  }
}

/** Options of the library; what a configuration leaves out stays out, so that a resumed run keeps its own. */
function optionsOf(config: TrainConfig): Omit<TrainOptions, 'optimizer'> & { readonly optimizer?: Partial<Optimizer> } {
  const { model: _, text, evaluation, steps, device, checkpoint, save, optimizer, ...given } = config
  if (optimizer === undefined) return given
  const { maxNorm, ...rest } = optimizer
  return { ...given, optimizer: { ...rest, ...(maxNorm === undefined ? {} : { maxNorm: maxNorm ?? Number.POSITIVE_INFINITY }) } }
}

/** What went wrong with the value of a key, with its place. */
async function at<T>({ placed }: TrainFile, key: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw placed(error, key)
  }
}

/** Before anything is computed: a folder that cannot be written should not be found out after hours. */
function makeFolder(path: string): void {
  try {
    if (!existsSync(path)) {
      makeFolder(dirname(path)) // mkdirSync's own recursion never ends where the system says ENOENT to all, as in /proc
      mkdirSync(path)
    }
    if (!statSync(path).isDirectory()) throw new FpdtError('disk', `${path} is a file; give the path of a folder.`)
    accessSync(path, constants.W_OK)
  } catch (error) {
    throw asDiskError(error, path)
  }
}

async function begin(device: Device, file: TrainFile, { text, held }: Texts, terminal: Terminal): Promise<TrainingRun> {
  const { config, path } = file
  const { model, weights, notes } = await at(file, 'model', () => modelOf(config.model, path))
  await at(file, 'text', () => refuseForeignWords(config.text, text, weights?.source))
  if (held && config.evaluation?.text !== undefined) {
    const given = config.evaluation.text
    await at(file, 'evaluation.text', () => refuseForeignWords(given, held, weights?.source))
  }
  const { folder, resume } = config.checkpoint ?? {}
  const from = folder === undefined ? undefined : path(folder)
  if (resume && from !== undefined && isBegun(from)) {
    const { seed, ...overrides } = optionsOf(config)
    const run = await orRefused(file, device.resume(from, overrides))
    if (seed !== undefined && seed !== run.training.seed)
      throw new FpdtError(
        'config',
        `seed ${seed} cannot be given to the run in ${from}, which began with ${run.training.seed} and has its parameters; leave it, or give another checkpoint.folder.`,
      )
    if (!isDeepStrictEqual(run.training.config.model, model))
      throw new FpdtError('config', `model is not the one of the checkpoint in ${from}; resume with that one, or give another checkpoint.folder.`)
    terminal.say(`${run.head.title}: goes on after step ${run.stepsDone}, on ${deviceInWords(run)}`)
    sayNotes(run, terminal)
    return run
  }
  if (resume) terminal.say(`note: ${from ?? 'checkpoint.folder'} has no checkpoint, so the run begins`)
  for (const note of notes) terminal.say(`note: ${note}`)
  const { optimizer, ...options } = optionsOf(config)
  const run = await orRefused(file, device.train(model, { ...options, optimizer: adamW(optimizer), ...(weights ? { weights } : {}) }))
  const tiers = run.head.tiers.map(({ tier, predicted_bytes }) => `${tier} ${formatBytes(predicted_bytes)}`)
  terminal.say(`${run.head.title}; ${tiers.join(', ')} a rank; on ${deviceInWords(run)}`)
  sayNotes(run, terminal)
  return run
}

/** Exit code 3 where training does not begin, as for `fpdt plan`. */
async function orRefused({ placed }: TrainFile, run: Promise<TrainingRun>): Promise<TrainingRun> {
  try {
    return await run
  } catch (error) {
    throw asRefused(placed(error))
  }
}

/** `AMD EPYC (avx512bf16), 2 threads`, `NVIDIA A100 (sm_80)`. */
function deviceInWords({ head: { device } }: TrainingRun): string {
  return device.backend === 'cpu' ? `${device.name}, ${counted(device.threads, 'thread')}` : device.name
}

/** What makes steps slow, or their times those of others too. That ranks share the cores of a CPU is always so, and not said. */
function sayNotes({ head: { device } }: TrainingRun, terminal: Terminal): void {
  if (device.backend !== 'cpu' && device.note !== '') terminal.say(`note: ${device.note}`)
}
