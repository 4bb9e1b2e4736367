/** What one training step is made of: sizes, system and policy. Everything a schedule needs, nothing it could derive wrongly. */
import { FpdtError } from '../errors.js'
import { checkModel, divisorsOf } from '../model/check.js'
import type { ModelConfig } from '../model/config.js'
import type { Tier } from '../trace/schema.js'

/** AdamW (arXiv 1711.05101) with global-norm clipping. The rate changes from step to step and is not here. */
export interface AdamWConfig {
  readonly beta1: number
  readonly beta2: number
  readonly eps: number
  /** Decoupled weight decay of matrices; norm weights and biases are not decayed. */
  readonly decay: number
  /** Whether the embedding and position tables (and with a tied head its matrix) are decayed too. */
  readonly decayEmbeddings: boolean
  /** Gradients are scaled down to this global norm. */
  readonly maxNorm: number
}
export const ADAMW_DEFAULTS: AdamWConfig = { beta1: 0.9, beta2: 0.95, eps: 1e-8, decay: 0.1, decayEmbeddings: true, maxNorm: 1 }

/** What the forward of a layer leaves for its backward, and where things wait. Systems are names for these (`systems.ts`). */
export interface Policy {
  /** Where chunks wait between uses within a phase: k, v, q, dO, gradients of the hidden state. */
  readonly offload: 'device' | 'host'
  /** Where the input of each layer waits from its forward to its backward. */
  readonly checkpoints: Tier
  /** `recompute`: the backward computes a layer again from its input. A tier: q, k, v, o and lse wait there, and attention is not computed again. `all`: every activation stays on the device. */
  readonly keep: 'recompute' | Tier | 'all'
  /** Outer loop of the attention's backward: key/value chunks ascending (the paper's), or query chunks descending. */
  readonly backwardOrder: 'kv' | 'q'
  /** Where this rank's share of the compute weights lives. */
  readonly parameters: 'device' | 'host'
  /** Where the optimizer's states live (and, unless on the device, gradient partitions wait on the host). */
  readonly states: Tier
}

export const BACKWARD_ORDERS: readonly Policy['backwardOrder'][] = ['kv', 'q']

export interface StepConfig extends Policy {
  readonly model: ModelConfig
  /** T: dtype of activations and of the weights that compute uses. */
  readonly dtype: 'bf16' | 'f32'
  /** H: dtype of the hidden state between ops, and of its gradient. T or f32. */
  readonly hidden: 'bf16' | 'f32'
  /** Ranks of the sequence-parallel group, P. */
  readonly ranks: number
  /** Tokens of a sequence as asked for; padded to `chunks * chunk`. */
  readonly tokens: number
  /** Tokens of a chunk over all ranks, C. */
  readonly chunk: number
  /** Chunks of a sequence, u. */
  readonly chunks: number
  /** Sequences that go through a layer together: its weights are gathered once for all of them. */
  readonly batch: number
  /** Batches whose gradients are summed before the optimizer's update. */
  readonly accumulate: number
  /** Sequences hold documents, and attention is causal within a document. */
  readonly documents: boolean
  /** 1: the projection of chunk i+1 is emitted before the attention of chunk i, so that all-to-alls hide. 0: the paper's order. */
  readonly lookAhead: 0 | 1
  /** Chunks fetched ahead of the one in use: 1 is double buffering, 0 shows what is lost without it. */
  readonly prefetch: number
  /** Local rows the feed-forward layer takes at a time. */
  readonly feedForwardRows: number
  /** Local rows the loss head takes at a time: its logits are (lossRows, V) f32. */
  readonly lossRows: number
  readonly adamW: AdamWConfig
}

export interface StepOptions extends Partial<Policy> {
  readonly model: ModelConfig
  readonly sequence: number
  readonly chunk: number
  readonly ranks?: number
  readonly dtype?: 'bf16' | 'f32'
  readonly hidden?: 'bf16' | 'f32'
  readonly batch?: number
  readonly accumulate?: number
  readonly documents?: boolean
  readonly lookAhead?: 0 | 1
  readonly prefetch?: number
  readonly feedForwardRows?: number
  readonly lossRows?: number
  readonly adamW?: Partial<AdamWConfig>
}

export const MAX_RANKS = 64
/** Smallest normal f32. A factor that underflows to 0 would read as `not finite`, and no parameter would move. */
export const LEAST_NORM = 2 ** -126
/** H in bf16 mode, unless given: half the bytes to keep and to move. f32 keeps deep models as near to fp64 as autocast is, whose hidden state is f32. */
export const HIDDEN: StepConfig['hidden'] = 'bf16'
/** Rows below which a matrix product loses much of its rate: a part of the feed-forward layer has no fewer by default. */
const GEMM_ROWS = 512
/** Default bound of one part of the logits: large enough for the GEMM rate, small beside a chunk's other buffers. */
const LOGITS_BYTES = 64 * 2 ** 20

/** Local tokens of a chunk, c = C / P. */
export function localChunk(config: StepConfig): number {
  return config.chunk / config.ranks
}
/** Tokens of a sequence after padding, u C. */
export function paddedTokens(config: StepConfig): number {
  return config.chunk * config.chunks
}
/** Chunks of all sequences of a batch; chunk i belongs to sequence ⌊i / u⌋ of it. */
export function batchChunks(config: StepConfig): number {
  return config.chunks * config.batch
}
/** Sequences of a step. */
export function sequencesOf(config: StepConfig): number {
  return config.batch * config.accumulate
}
/** Tokens of a step, pads not counted. */
export function stepTokenCount(config: StepConfig): number {
  return config.tokens * sequencesOf(config)
}
/** Rows 0 .. count cut into parts of `size` (the last may be smaller), as [first, count]. */
export function parts(count: number, size: number): [first: number, count: number][] {
  const out: [number, number][] = []
  for (let first = 0; first < count; first += size) out.push([first, Math.min(size, count - first)])
  return out
}

/** Fills in defaults and refuses what cannot work. Throws FpdtError `config`, naming the value and what to try. */
export function stepConfig(options: StepOptions): StepConfig {
  const { model, sequence, chunk } = options
  const ranks = options.ranks ?? 1
  checkModel(model)
  wholeNumber('ranks', ranks, 1, MAX_RANKS)
  wholeNumber('sequence', sequence, 2, 2 ** 40)
  wholeNumber('chunk', chunk, 1, 2 ** 31)
  if (model.heads % ranks !== 0)
    refuse(
      `ranks ${ranks} does not divide the ${model.heads} query heads; the all-to-all gives each rank a whole share of them. Try ${sharings(model).join(' or ')}.`,
    )
  if (model.kvHeads % ranks !== 0 && ranks % model.kvHeads !== 0)
    refuse(
      `ranks ${ranks} and the ${model.kvHeads} key/value heads do not divide each other: a rank gets a whole share of them, or one that it shares with other ranks. Try ${sharings(model).join(' or ')}.`,
    )
  if (chunk % ranks !== 0) {
    const below = chunk - (chunk % ranks)
    refuse(`chunk ${chunk} is not a multiple of the ${ranks} ranks that share it; try ${below > 0 ? `${below} or ` : ''}${below + ranks}.`)
  }
  if (model.positions.kind === 'learned' && sequence > model.positions.length && !options.documents)
    refuse(
      `sequence ${sequence} is longer than the model's ${model.positions.length} learned positions; try sequence ${model.positions.length}, or a model with positions: ${sequence}.`,
    )
  const documents = options.documents ?? false
  if (typeof documents !== 'boolean') refuse(`documents ${JSON.stringify(documents)} is neither true nor false.`)
  const batch = options.batch ?? 1
  const accumulate = options.accumulate ?? 1
  wholeNumber('batch', batch, 1, 2 ** 16)
  wholeNumber('accumulate', accumulate, 1, 2 ** 16)
  const prefetch = options.prefetch ?? 1
  wholeNumber('prefetch', prefetch, 0, 64)
  const lookAhead = options.lookAhead ?? 1
  if (lookAhead !== 0 && lookAhead !== 1) refuse(`lookAhead ${String(lookAhead)} is neither 0 (the paper's order) nor 1.`)
  const dtype = options.dtype ?? 'bf16'
  oneOf('dtype', dtype, ['bf16', 'f32'])
  const hidden = options.hidden ?? (dtype === 'f32' ? 'f32' : HIDDEN)
  oneOf('hidden', hidden, ['bf16', 'f32'])
  if (dtype === 'f32' && hidden === 'bf16')
    refuse("hidden 'bf16' goes with dtype 'bf16' alone: in dtype 'f32' the hidden state is f32. Try hidden 'f32', or dtype 'bf16'.")
  const local = chunk / ranks
  const localRows = ` (a rank's ${local} rows of a chunk of ${chunk})`
  const feedForwardRows = options.feedForwardRows ?? Math.max(Math.min(local, GEMM_ROWS), Math.ceil(local / 2))
  wholeNumber('feedForwardRows', feedForwardRows, 1, local, localRows)
  const lossRows = options.lossRows ?? Math.max(1, Math.min(local, 2 ** Math.floor(Math.log2(LOGITS_BYTES / (4 * model.vocabulary)))))
  wholeNumber('lossRows', lossRows, 1, local, localRows)
  const adamW = { ...ADAMW_DEFAULTS, ...options.adamW }
  checkAdamW(adamW)
  const sizes = {
    model,
    dtype,
    hidden,
    ranks,
    tokens: sequence,
    chunk,
    chunks: Math.ceil(sequence / chunk),
    batch,
    accumulate,
    documents,
  }
  return { ...sizes, lookAhead, prefetch, feedForwardRows, lossRows, adamW, ...policyOf(options) }
}

function policyOf(options: StepOptions): Policy {
  const offload = options.offload ?? 'host'
  const policy: Policy = {
    offload,
    checkpoints: options.checkpoints ?? offload,
    keep: options.keep ?? 'recompute',
    backwardOrder: options.backwardOrder ?? 'kv',
    parameters: options.parameters ?? 'device',
    states: options.states ?? 'device',
  }
  oneOf('offload', policy.offload, ['device', 'host'])
  oneOf('checkpoints', policy.checkpoints, ['device', 'host', 'disk'])
  oneOf('keep', policy.keep, ['recompute', 'device', 'host', 'disk', 'all'])
  oneOf('backwardOrder', policy.backwardOrder, BACKWARD_ORDERS)
  oneOf('parameters', policy.parameters, ['device', 'host'])
  oneOf('states', policy.states, ['device', 'host', 'disk'])
  if (policy.keep === 'all' && (offload !== 'device' || policy.checkpoints !== 'device'))
    refuse(`keep 'all' leaves every activation on the device, so offload and checkpoints are 'device' with it; got '${offload}' and '${policy.checkpoints}'.`)
  return policy
}

function checkAdamW({ beta1, beta2, eps, decay, decayEmbeddings, maxNorm }: AdamWConfig): void {
  for (const [name, value] of Object.entries({ beta1, beta2 }))
    if (!(value >= 0 && value < 1)) refuse(`adamW ${name} ${String(value)} is not a number from 0 up to, not with, 1.`)
  if (!(eps > 0 && eps < 1))
    refuse(`adamW eps ${String(eps)} is not a number above 0: it keeps parameters without a gradient from a division of 0 by 0. Try 1e-8.`)
  if (!(decay >= 0 && Number.isFinite(decay))) refuse(`adamW decay ${String(decay)} is not a number of 0 or more.`)
  if (typeof decayEmbeddings !== 'boolean') refuse(`adamW decayEmbeddings ${String(decayEmbeddings)} is neither true nor false.`)
  if (!(maxNorm > 0)) refuse(`adamW maxNorm ${String(maxNorm)} is not a number above 0; give Infinity for no clipping.`)
  if (maxNorm < LEAST_NORM)
    refuse(`adamW maxNorm ${String(maxNorm)} is below 1.2e-38, where f32 ends: every gradient would be scaled to 0. Give Infinity for no clipping.`)
}

/** Numbers of ranks that a model's heads can be shared by. */
/** Numbers of ranks that can share a model's heads. */
export function sharings({ heads, kvHeads }: ModelConfig): number[] {
  return divisorsOf(heads).filter((ranks) => ranks <= MAX_RANKS && (kvHeads % ranks === 0 || ranks % kvHeads === 0))
}
function wholeNumber(name: string, value: number, low: number, high: number, why = ''): void {
  if (!Number.isInteger(value) || value < low || value > high) refuse(`${name} ${String(value)} is not a whole number from ${low} to ${high}${why}.`)
}
function oneOf(name: string, value: string, known: readonly string[]): void {
  if (!known.includes(value)) refuse(`${name} ${JSON.stringify(value)} is not one of ${known.map((word) => `'${word}'`).join(', ')}.`)
}
function refuse(message: string): never {
  throw new FpdtError('config', message)
}
