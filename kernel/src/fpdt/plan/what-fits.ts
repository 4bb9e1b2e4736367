/** What fits a device: the longest sequence, and what to try when a step does not. Plans, and never allocates. */
import { FpdtError } from '../../errors.js'
import type { ModelConfig } from '../../model/config.js'
import { SYSTEMS } from '../../schedule/systems.js'
import type { Tier } from '../../trace/schema.js'
import { counted } from '../../trace/words/format.js'
import { formatBytes, parseTokens } from '../sizes.js'
import { bytesOfStep, stepBytes } from './step-bytes.js'
import { type Budgets, plannedChunks, planTraining, stepOf, type TrainingPlan, type TrainOptions } from './training-plan.js'

type Sizes = Omit<TrainOptions, 'sequence'>

/** `planTraining`; an `out_of_memory` error ends with what would fit. */
export function planThatFits(model: ModelConfig, options: TrainOptions, machine: Budgets): TrainingPlan {
  try {
    const training = planTraining(model, options, machine)
    refuseTogether(training, machine)
    return training
  } catch (error) {
    if (!(error instanceof FpdtError && error.code === 'out_of_memory')) throw error
    throw new FpdtError('out_of_memory', `${error.message}. ${advice(model, options, machine)}${release(machine)}`, { cause: error })
  }
}

/** Budgets are of one rank, and the memory of a machine or a GPU is of all that are on it. */
function refuseTogether({ plan: { arenaBytes }, config: { ranks } }: TrainingPlan, machine: Budgets): void {
  const excess = excessTogether(ranks, arenaBytes, machine)
  if (excess) throw new FpdtError('out_of_memory', excess)
}

/** In words, what so many ranks take together beyond what there is; undefined: all fit. */
function excessTogether(ranks: number, { device, host }: Readonly<Record<'device' | 'host', number>>, { memory, gpus }: Budgets): string | undefined {
  if (memory !== undefined && ranks * (device + host) > memory)
    return `${ranks} ranks with ${formatBytes(device)} of the device tier and ${formatBytes(host)} of the host tier each take ${formatBytes(ranks * (device + host))}, and the machine has ${formatBytes(memory)} for all of them`
  if (!gpus) return undefined
  const onOne = Math.ceil(ranks / gpus.count)
  if (onOne * device > gpus.freeBytes)
    return `${counted(onOne, 'rank')} with ${formatBytes(device)} of the device tier ${onOne === 1 ? 'is' : 'are'} on one GPU, which had ${formatBytes(gpus.freeBytes)} free of ${formatBytes(gpus.memoryBytes)}`
  if (ranks * host > gpus.hostBytes)
    return `${ranks} ranks with ${formatBytes(host)} of the host tier each take ${formatBytes(ranks * host)}, and the machine has ${formatBytes(gpus.hostBytes)} for all of them`
  return undefined
}

/** What would free memory of GPUs that others hold in part. */
function release({ gpus }: Budgets): string {
  if (!gpus || gpus.freeBytes > 0.95 * gpus.memoryBytes) return ''
  const held = formatBytes(gpus.memoryBytes - gpus.freeBytes)
  return ` When the device was opened, ${held} of the GPU's ${formatBytes(gpus.memoryBytes)} were taken and ${formatBytes(gpus.freeBytes)} free: nvidia-smi shows by whom. Ending them, or another notebook's kernel, and opening the device again gives a larger budget.`
}

/** The longest sequence that can be trained, in tokens: it fits the budgets (`longestInMemory`), and a plan holds its ops. */
export function longestSequence(model: ModelConfig, sizes: Sizes, machine: Budgets): number {
  return Math.min(longestInMemory(model, sizes, machine), longestPlanned(model, sizes))
}

/** The longest sequence whose ops a plan holds, in tokens, of whole chunks; Infinity un-chunked. With a larger chunk it is longer. */
export function longestPlanned(model: ModelConfig, sizes: Sizes): number {
  const chunk = chunkOf(sizes)
  const planned = plannedChunks(stepOf(model, { ...sizes, sequence: Math.max(2, sizes.ranks ?? 1) }))
  return planned === 0 ? 0 : planned * (chunk ?? Number.POSITIVE_INFINITY)
}

/**
 * The longest sequence that fits the budgets, in tokens; 0 when none does, Infinity when nothing limits it. FPDT: whole chunks (4096
 * tokens unless given), found by the bytes that short walks foretell and then, where whole walks are affordable, by theirs.
 * Un-chunked: the largest multiple of 256 tokens.
 */
export function longestInMemory(model: ModelConfig, sizes: Sizes, machine: Budgets): number {
  const { budgets, memory, gpus, ...target } = machine
  const chunk = chunkOf(sizes)
  const unit = chunk ?? UNIT
  const step = stepBytes(target)
  const limits = Object.entries(budgets) as [Tier, number][]
  const fits = (units: number, mostOps?: number): boolean => {
    const bytes = step(stepOf(model, { ...sizes, ...(chunk ? { chunk } : {}), sequence: Math.max(2, units * unit) }), mostOps)
    return !excessTogether(sizes.ranks ?? 1, bytes, machine) && limits.every(([tier, budget]) => bytes[tier] <= budget)
  }
  const { positions } = model
  const most = Math.floor((positions.kind === 'learned' && !sizes.documents ? positions.length : MOST_TOKENS) / unit)
  if (most === 0 || !fits(1)) return 0
  // An un-chunked step is walked whole, and its parts of logits grow with it: never far beyond the answer.
  if ((limits.length === 0 && memory === undefined && !gpus) || (chunk && fits(most, 0)))
    return positions.kind === 'learned' ? most * unit : Number.POSITIVE_INFINITY
  let units = lastOf(most, (n) => fits(n, 0))
  while (units > 0 && !fits(units)) units--
  while (units < most && fits(units + 1)) units++
  return unit * units
}

/** Granularity of the answer for Ulysses, in tokens. */
const UNIT = 256
/** Longest sequence that a step can have. */
const MOST_TOKENS = 2 ** 40

function chunkOf(sizes: Sizes): number | undefined {
  return isChunked(sizes) ? parseTokens(sizes.chunk ?? 4096, 'chunk') : undefined
}
function isChunked({ system = 'fpdt' }: Sizes): boolean {
  return SYSTEMS[system].chunked
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
  const least = bytesOfStep(model, { ...others, sequence: Math.max(2, ranks), chunk: ranks, lossRows: 1, feedForwardRows: 1 }, machine)
  const onDevice = config.parameters === 'device' || config.states === 'device'
  const elsewhere = onDevice ? "keep them on the host (parameters: 'host', optimizer: adamW({ tier: 'host' })), " : ''
  return `No chunk fits: parameters, gradients and optimizer state alone take ${formatBytes(least.device)} a rank; ${elsewhere}give more memory, more ranks or a smaller model.`
}

/** Largest n up to `most`, or 0, of which `holds` is true; true up to some n and false above. */
function lastOf(most: number, holds: (n: number) => boolean): number {
  let [low, high] = [0, 1]
  while (high <= most && holds(high)) [low, high] = [high, high * 2]
  high = Math.min(high, most + 1)
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (holds(middle)) low = middle
    else high = middle
  }
  return low
}
