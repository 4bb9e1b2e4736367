/** What one training step is made of: sizes, system and policy. Everything a schedule needs, nothing it could derive wrongly. */
import { FpdtError } from '../errors.js'
import type { ModelConfig } from '../model/config.js'

/** AdamW (arXiv 1711.05101) with global-norm clipping. The rate changes from step to step and is not here. */
export interface AdamWConfig {
  readonly beta1: number
  readonly beta2: number
  readonly eps: number
  /** Decoupled weight decay of matrices; norm weights are not decayed. */
  readonly decay: number
  /** Gradients are scaled down to this global norm. */
  readonly maxNorm: number
}

export interface StepConfig {
  readonly model: ModelConfig
  /** T: dtype of activations and of the weights that compute uses. */
  readonly dtype: 'bf16' | 'f32'
  /** Ranks of the sequence-parallel group, P. */
  readonly ranks: number
  /** Tokens of the sequence as asked for; padded to `chunks * chunk`. */
  readonly tokens: number
  /** Tokens of a chunk over all ranks, C. */
  readonly chunk: number
  /** Chunks of the sequence, u. */
  readonly chunks: number
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

export interface StepOptions {
  readonly model: ModelConfig
  readonly sequence: number
  readonly chunk: number
  readonly ranks?: number
  readonly dtype?: 'bf16' | 'f32'
  readonly lookAhead?: 0 | 1
  readonly prefetch?: number
  readonly feedForwardRows?: number
  readonly lossRows?: number
  readonly adamW?: Partial<AdamWConfig>
}

export const MAX_RANKS = 64
/** Default bound of one part of the logits: large enough for the GEMM rate, small beside a chunk's other buffers. */
const LOGITS_BYTES = 64 * 2 ** 20

/** Local tokens of a chunk, c = C / P. */
export function localChunk(config: StepConfig): number {
  return config.chunk / config.ranks
}
/** Tokens after padding, u C. */
export function paddedTokens(config: StepConfig): number {
  return config.chunk * config.chunks
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
  const refuse = (message: string): never => {
    throw new FpdtError('config', message)
  }
  checkModel(model)
  wholeNumber('ranks', ranks, 1, MAX_RANKS)
  wholeNumber('sequence', sequence, 2, 2 ** 40)
  wholeNumber('chunk', chunk, 1, 2 ** 31)
  if (model.heads % ranks !== 0 || model.kvHeads % ranks !== 0) {
    const fitting = divisorsOf(gcd(model.heads, model.kvHeads))
    refuse(
      `ranks ${ranks} does not divide the ${model.heads} query heads and ${model.kvHeads} key/value heads; the all-to-all gives each rank a whole share of heads. Try ${fitting.join(' or ')}.`,
    )
  }
  if (chunk % ranks !== 0) {
    const below = chunk - (chunk % ranks)
    refuse(`chunk ${chunk} is not a multiple of the ${ranks} ranks that share it; try ${below > 0 ? `${below} or ` : ''}${below + ranks}.`)
  }
  const prefetch = options.prefetch ?? 1
  wholeNumber('prefetch', prefetch, 0, 64)
  const lookAhead = options.lookAhead ?? 1
  if (lookAhead !== 0 && lookAhead !== 1) refuse(`lookAhead ${String(lookAhead)} is neither 0 (the paper's order) nor 1.`)
  const dtype = options.dtype ?? 'bf16'
  if (dtype !== 'bf16' && dtype !== 'f32') refuse(`dtype ${JSON.stringify(dtype)} is not one of 'bf16', 'f32'.`)
  const local = chunk / ranks
  const localRows = ` (a rank's ${local} rows of a chunk of ${chunk})`
  const feedForwardRows = options.feedForwardRows ?? Math.ceil(local / 2)
  wholeNumber('feedForwardRows', feedForwardRows, 1, local, localRows)
  const lossRows = options.lossRows ?? Math.max(1, Math.min(local, 2 ** Math.floor(Math.log2(LOGITS_BYTES / (4 * model.vocabulary)))))
  wholeNumber('lossRows', lossRows, 1, local, localRows)
  const adamW = { beta1: 0.9, beta2: 0.95, eps: 1e-8, decay: 0.1, maxNorm: 1, ...options.adamW }
  checkAdamW(adamW)
  return { model, dtype, ranks, tokens: sequence, chunk, chunks: Math.ceil(sequence / chunk), lookAhead, prefetch, feedForwardRows, lossRows, adamW }

  function checkAdamW({ beta1, beta2, eps, decay, maxNorm }: AdamWConfig): void {
    for (const [name, value] of Object.entries({ beta1, beta2 }))
      if (!(value >= 0 && value < 1)) refuse(`adamW ${name} ${String(value)} is not a number from 0 up to, not with, 1.`)
    if (!(eps > 0 && eps < 1))
      refuse(`adamW eps ${String(eps)} is not a number above 0: it keeps parameters without a gradient from a division of 0 by 0. Try 1e-8.`)
    if (!(decay >= 0 && Number.isFinite(decay))) refuse(`adamW decay ${String(decay)} is not a number of 0 or more.`)
    if (!(maxNorm > 0)) refuse(`adamW maxNorm ${String(maxNorm)} is not a number above 0; give Infinity for no clipping.`)
  }
  function checkModel(m: ModelConfig): void {
    wholeNumber('layers', m.layers, 1, 1000)
    wholeNumber('width', m.width, 1, 2 ** 20)
    wholeNumber('heads', m.heads, 1, 4096)
    wholeNumber('kvHeads', m.kvHeads, 1, m.heads)
    wholeNumber('feedForward', m.feedForward, 1, 2 ** 24)
    wholeNumber('vocabulary', m.vocabulary, 2, 2 ** 24)
    if (!(m.theta > 0 && Number.isFinite(m.theta))) refuse(`theta ${String(m.theta)} is not a number above 0; Llama 2 has 10000.`)
    if (!(m.normEps > 0 && m.normEps < 1)) refuse(`normEps ${String(m.normEps)} is not a number between 0 and 1; try 1e-5.`)
    if (m.heads % m.kvHeads !== 0) refuse(`kvHeads ${m.kvHeads} does not divide heads ${m.heads}; try ${divisorsOf(m.heads).join(', ')}.`)
    if (!Number.isInteger(m.headSize) || m.headSize < 8 || m.headSize > 256 || m.headSize % 8 !== 0) {
      refuse(`headSize ${m.headSize} is not a multiple of 8 from 8 to 256; with width ${m.width} and ${m.heads} heads try 32, 64 or 128.`)
    }
  }
  function wholeNumber(name: string, value: number, low: number, high: number, why = ''): void {
    if (!Number.isInteger(value) || value < low || value > high) refuse(`${name} ${String(value)} is not a whole number from ${low} to ${high}${why}.`)
  }
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b)
}
function divisorsOf(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0)
}
