/** Models of Llama's shape, by the words a notebook uses. */
import type { ModelConfig, RotaryScaling } from './config.js'
import { type BiasOption, biasOf, checkOptions, headSizeOf } from './options.js'
import { type LlamaPreset, presetOptions } from './presets.js'

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
  /** Default 1e-5. */
  readonly normEps?: number
  /** Biases of the projections. Default none. */
  readonly bias?: BiasOption
}

const KNOWN = new Map([
  ['layers', 'number'],
  ['width', 'number'],
  ['heads', 'number'],
  ['kvHeads', 'number'],
  ['headSize', 'number'],
  ['feedForward', 'number'],
  ['vocab', 'number'],
  ['tied', 'boolean'],
  ['theta', 'number'],
  ['scaling', 'object'],
  ['normEps', 'number'],
  ['bias', 'any'],
] as const)

/**
 * A model of Llama's shape (arXiv 2302.13971, grouped-query attention as in Llama 2): by its sizes, or a published one by name,
 * `llama('3-8b')`, with what shall differ: `llama('3-8b', { vocab: 50304 })`. Throws FpdtError `config` for an unknown or missing
 * size, `preset` for an unknown name.
 */
export function llama(options: LlamaOptions): ModelConfig
export function llama(preset: LlamaPreset | (string & {}), changes?: Partial<LlamaOptions>): ModelConfig
export function llama(what: LlamaOptions | string, changes: Partial<LlamaOptions> = {}): ModelConfig {
  const options = typeof what === 'string' ? { ...presetOptions('llama', what), ...changes } : what
  checkOptions('llama', options, KNOWN)
  const { layers, width, heads } = options
  return {
    family: 'llama',
    layers,
    width,
    heads,
    kvHeads: options.kvHeads ?? heads,
    headSize: headSizeOf(options),
    feedForward: options.feedForward ?? Math.ceil((8 * width) / 3 / 16) * 16,
    vocabulary: options.vocab ?? 50257,
    tied: options.tied ?? true,
    positions: { kind: 'rotary', theta: options.theta ?? 10_000, ...(options.scaling ? { scaling: options.scaling } : {}) },
    norm: 'rms',
    normEps: options.normEps ?? 1e-5,
    activation: 'swiglu',
    bias: biasOf(options.bias ?? false),
  }
}
