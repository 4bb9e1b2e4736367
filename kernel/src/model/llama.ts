/** Models of Llama's shape, by the words a notebook uses. */
import { FpdtError } from '../errors.js'
import type { ModelConfig, RotaryScaling } from './config.js'

export interface LlamaOptions {
  readonly layers: number
  readonly width: number
  readonly heads: number
  /** Defaults to `heads` (MHA). */
  readonly kvHeads?: number
  /** Defaults to width / heads. */
  readonly headSize?: number
  /** Defaults to 8/3 of the width, rounded up to a multiple of 16. */
  readonly feedForward?: number
  /** Words. Defaults to GPT-2's 50,257. */
  readonly vocab?: number
  /** The head's matrix is the embedding table. Default true. */
  readonly tied?: boolean
  /** Base of the rotary frequencies. Default 10,000. */
  readonly theta?: number
  readonly scaling?: RotaryScaling
  readonly normEps?: number
}

const KNOWN = new Set(['layers', 'width', 'heads', 'kvHeads', 'headSize', 'feedForward', 'vocab', 'tied', 'theta', 'scaling', 'normEps'])

/** A model of Llama's shape (arXiv 2302.13971, grouped-query attention as in Llama 2). Throws FpdtError `config` for an unknown or missing size. */
export function llama(options: LlamaOptions): ModelConfig {
  if (typeof options !== 'object' || options === null)
    throw new FpdtError('config', `llama() needs its sizes as an object, { layers, width, heads, … }; got ${String(options)}.`)
  for (const name of Object.keys(options)) {
    if (!KNOWN.has(name)) throw new FpdtError('config', `llama({ ${name} }) is not a size of the model; known are ${[...KNOWN].join(', ')}.`)
  }
  for (const name of ['layers', 'width', 'heads'] as const) {
    if (typeof options[name] !== 'number') throw new FpdtError('config', `llama() needs ${name}, a whole number; got ${JSON.stringify(options[name])}.`)
  }
  const { layers, width, heads } = options
  const headSize = options.headSize ?? width / heads
  if (!Number.isInteger(headSize))
    throw new FpdtError(
      'config',
      `width ${width} is not a multiple of the ${heads} heads; give headSize, or try width ${Math.ceil(width / heads / 8) * 8 * heads}.`,
    )
  return {
    family: 'llama',
    layers,
    width,
    heads,
    kvHeads: options.kvHeads ?? heads,
    headSize,
    feedForward: options.feedForward ?? Math.ceil((8 * width) / 3 / 16) * 16,
    vocabulary: options.vocab ?? 50257,
    tied: options.tied ?? true,
    positions: { kind: 'rotary', theta: options.theta ?? 10_000, ...(options.scaling ? { scaling: options.scaling } : {}) },
    norm: 'rms',
    normEps: options.normEps ?? 1e-5,
    activation: 'swiglu',
    bias: { attention: false, feedForward: false },
  }
}
