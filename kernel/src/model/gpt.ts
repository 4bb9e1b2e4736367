/** Models of GPT's shape, by the words a notebook uses. */
import { FpdtError } from '../errors.js'
import type { ModelConfig, Positions, RotaryScaling } from './config.js'
import { type BiasOption, biasOf, checkOptions, headSizeOf } from './options.js'
import { type GptPreset, presetOptions } from './presets.js'

export interface GptOptions {
  readonly layers: number
  readonly width: number
  readonly heads: number
  /** Defaults to `heads` (MHA), which is all that GPT-2 knows. */
  readonly kvHeads?: number
  /** Defaults to width / heads. */
  readonly headSize?: number
  /** Defaults to 4 times the width. */
  readonly feedForward?: number
  /** Words. Defaults to GPT-2's 50,257. */
  readonly vocab?: number
  /** The head's matrix is the embedding table. Default true. */
  readonly tied?: boolean
  /**
   * Vectors of the learned position table, and so the longest sequence: GPT-2's 1024 by default. `'rotary'` for none: long
   * sequences are trained so, a table for 2 M tokens would hold more parameters than the model.
   */
  readonly positions?: number | 'rotary'
  /** Base of the rotary frequencies, with `positions: 'rotary'`. Default 10,000. */
  readonly theta?: number
  readonly scaling?: RotaryScaling
  /** Default 1e-5. */
  readonly normEps?: number
  /** Biases of the projections. Default all. */
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
  ['positions', 'any'],
  ['theta', 'number'],
  ['scaling', 'object'],
  ['normEps', 'number'],
  ['bias', 'any'],
] as const)

/**
 * A model of GPT-2's shape (Radford et al., 2019): LayerNorm, GELU, biases, learned positions. By its sizes, or a published one by
 * name, `gpt('2.7b')`, with what shall differ: `gpt('2-medium', { positions: 4096 })`. Throws FpdtError `config` for an unknown or
 * missing size, `preset` for an unknown name.
 */
export function gpt(options: GptOptions): ModelConfig
export function gpt(preset: GptPreset | (string & {}), changes?: Partial<GptOptions>): ModelConfig
export function gpt(what: GptOptions | string, changes: Partial<GptOptions> = {}): ModelConfig {
  const options = typeof what === 'string' ? changed(presetOptions('gpt', what), changes) : what
  checkOptions('gpt', options, KNOWN)
  const { layers, width, heads } = options
  return {
    family: 'gpt2',
    layers,
    width,
    heads,
    kvHeads: options.kvHeads ?? heads,
    headSize: headSizeOf(options),
    feedForward: options.feedForward ?? 4 * width,
    vocabulary: options.vocab ?? 50257,
    tied: options.tied ?? true,
    positions: positionsOf(options),
    norm: 'layer',
    normEps: options.normEps ?? 1e-5,
    activation: 'gelu',
    bias: biasOf(options.bias ?? true),
  }
}

/** A preset that rotates brings theta along, which a learned table has no use for. */
function changed(preset: GptOptions, changes: Partial<GptOptions>): GptOptions {
  const { theta, ...rest } = preset
  return { ...(typeof changes.positions === 'number' ? rest : preset), ...changes }
}

function positionsOf({ positions = 1024, theta, scaling }: GptOptions): Positions {
  if (positions === 'rotary') return { kind: 'rotary', theta: theta ?? 10_000, ...(scaling ? { scaling } : {}) }
  if (typeof positions !== 'number')
    throw new FpdtError('config', `gpt({ positions: ${JSON.stringify(positions)} }) is neither the length of the learned table nor 'rotary'.`)
  for (const [name, value] of Object.entries({ theta, scaling }))
    if (value !== undefined)
      throw new FpdtError('config', `gpt({ ${name} }) is about rotary frequencies, and the positions are a learned table; give positions: 'rotary' as well.`)
  return { kind: 'learned', length: positions }
}
