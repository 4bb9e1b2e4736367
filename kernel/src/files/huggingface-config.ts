/**
 * `config.json` of Hugging Face transformers and our `ModelConfig`: LlamaForCausalLM and GPT2LMHeadModel.
 *
 * Both key styles: classic (`rope_theta`, `rope_scaling`, `torch_dtype`) and that of transformers 5 (`rope_parameters`, `dtype`).
 * A key that would change what the model computes and that we do not have is refused with its value and the reason; a key that has
 * no part in the computation is carried along. Absent keys have the defaults of transformers.
 */
import { FpdtError } from '../errors.js'
import type { ModelConfig, RotaryScaling } from '../model/config.js'
import type { Family } from './huggingface-names.js'

export type Json = Readonly<Record<string, unknown>>

export interface ReadConfig {
  readonly model: ModelConfig
  /** What is different in training here from what the config asks for, in words. */
  readonly notes: readonly string[]
  /** Keys that describe the model and take no part in it: token ids, lengths, ranges. A save can carry them on. */
  readonly carried: Json
}

/** Architectures that are read, and the family of each. The bare models lack the head, which a tied model has all the same. */
const ARCHITECTURES: Readonly<Record<string, Family>> = { LlamaForCausalLM: 'llama', LlamaModel: 'llama', GPT2LMHeadModel: 'gpt2', GPT2Model: 'gpt2' }
const CARRIED: Readonly<Record<Family, readonly string[]>> = {
  llama: ['bos_token_id', 'eos_token_id', 'pad_token_id', 'initializer_range', 'max_position_embeddings', 'attention_dropout', 'use_cache'],
  gpt2: ['bos_token_id', 'eos_token_id', 'pad_token_id', 'initializer_range', 'attn_pdrop', 'embd_pdrop', 'resid_pdrop', 'use_cache'],
}
const MOST_LAYERS = 1000
/** `max_position_embeddings` of a model of which no length is known: the default of transformers. */
const LONGEST_UNKNOWN = 2048

/** Reads a config; `where` is its path, for errors. Throws FpdtError `unsupported` for what is understood and not there, `checkpoint` for nonsense. */
export function readConfig(config: Json, where: string): ReadConfig {
  const read = reader(config, where)
  const family = familyOf(config, read)
  // Keys that any architecture may have.
  read.only('quantization_config', [undefined, null], 'its weights are not plain numbers')
  const model = family === 'llama' ? llamaModel(read) : gpt2Model(read)
  const carried = Object.fromEntries(CARRIED[family].filter((key) => config[key] !== undefined).map((key) => [key, config[key]]))
  const notes = ['attention_dropout', 'attn_pdrop', 'embd_pdrop', 'resid_pdrop']
    .filter((key) => CARRIED[family].includes(key) && Number(config[key] ?? 0) > 0)
    .map((key) => `${key} is ${config[key]} in ${where}; training here has no dropout.`)
  return { model, notes, carried }
}

/**
 * The config of a model that `checkFamily` lets pass. `keys`: which of the two styles; every version of transformers reads the
 * classic one. `sequence`: the longest that it was trained on.
 */
export function writeConfig(
  model: ModelConfig,
  dtype: 'float32' | 'bfloat16',
  { carried = {}, keys = 'classic', sequence = 0 }: { readonly carried?: Json; readonly keys?: 'classic' | 'v5' | undefined; readonly sequence?: number } = {},
): Json {
  const dtypeKey = keys === 'classic' ? 'torch_dtype' : 'dtype'
  if (model.positions.kind === 'learned') {
    return {
      ...carried,
      architectures: ['GPT2LMHeadModel'],
      model_type: 'gpt2',
      activation_function: 'gelu_new',
      layer_norm_epsilon: model.normEps,
      n_embd: model.width,
      n_head: model.heads,
      n_inner: model.feedForward === 4 * model.width ? null : model.feedForward,
      n_layer: model.layers,
      n_positions: model.positions.length,
      tie_word_embeddings: model.tied,
      vocab_size: model.vocabulary,
      [dtypeKey]: dtype,
    }
  }
  const { theta, scaling } = model.positions
  const rope = scaling && writeScaling(scaling)
  const stretched = scaling && 'original' in scaling ? scaling.original * scaling.factor : 0
  const known = carried.max_position_embeddings ?? stretched
  return {
    ...carried,
    max_position_embeddings: Math.max(typeof known === 'number' ? known : 0, sequence) || LONGEST_UNKNOWN,
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    attention_bias: model.bias.attention,
    head_dim: model.headSize,
    hidden_act: 'silu',
    hidden_size: model.width,
    intermediate_size: model.feedForward,
    mlp_bias: model.bias.feedForward,
    num_attention_heads: model.heads,
    num_hidden_layers: model.layers,
    num_key_value_heads: model.kvHeads,
    rms_norm_eps: model.normEps,
    tie_word_embeddings: model.tied,
    vocab_size: model.vocabulary,
    [dtypeKey]: dtype,
    ...(keys === 'classic'
      ? { rope_theta: theta, rope_scaling: rope ?? null }
      : { rope_parameters: { rope_theta: theta, ...(rope ?? { rope_type: 'default' }) } }),
  }
}

function familyOf(config: Json, read: Reader): Family {
  const architectures = config.architectures ?? []
  const [name, ...others] = Array.isArray(architectures) ? architectures : [architectures]
  const known = `read are ${Object.keys(ARCHITECTURES).join(', ')}`
  if (others.length > 0) read.refuse('architectures', 'one model is read at a time')
  if (name !== undefined) return (typeof name === 'string' && ARCHITECTURES[name]) || read.refuse('architectures', known)
  const type = config.model_type
  return type === 'llama' || type === 'gpt2' ? type : read.refuse('model_type', known)
}

function llamaModel(read: Reader): ModelConfig {
  read.only('model_type', ['llama'], 'the architecture is Llama')
  read.only('hidden_act', ['silu', 'swish', undefined], "the feed-forward layer of Llama is computed with 'silu'")
  read.only('sliding_window', [undefined, null], 'attention here sees the whole sequence')
  read.only('pretraining_tp', [undefined, null, 1], 'projections here are not summed in slices')
  if (Array.isArray(read.config.layer_types) && read.config.layer_types.some((type) => type !== 'full_attention'))
    read.refuse('layer_types', 'all layers here have full attention')
  const [width, heads] = [read.count('hidden_size'), read.count('num_attention_heads')]
  const headSize = read.count('head_dim', width / heads)
  if (headSize % 2 !== 0) read.refuse('head_dim', 'halves of a head are rotated, so it must be even')
  const kvHeads = read.count('num_key_value_heads', heads)
  if (heads % kvHeads !== 0) read.refuse('num_key_value_heads', `it does not divide the ${heads} of num_attention_heads`)
  return {
    family: 'llama',
    layers: read.count('num_hidden_layers', undefined, MOST_LAYERS),
    width,
    heads,
    kvHeads,
    headSize,
    feedForward: read.count('intermediate_size'),
    vocabulary: read.count('vocab_size'),
    tied: read.flag('tie_word_embeddings', false),
    positions: { kind: 'rotary', ...readRope(read) },
    norm: 'rms',
    normEps: read.positive('rms_norm_eps', 1e-6),
    activation: 'swiglu',
    bias: { attention: read.flag('attention_bias', false), feedForward: read.flag('mlp_bias', false) },
  }
}

function gpt2Model(read: Reader): ModelConfig {
  read.only('model_type', ['gpt2'], 'the architecture is GPT-2')
  read.only('activation_function', ['gelu_new', 'gelu_pytorch_tanh', undefined], 'GELU here has the tanh form')
  read.only('scale_attn_weights', [true, undefined], 'scores here are divided by the root of the head size')
  read.only('scale_attn_by_inverse_layer_idx', [false, undefined], 'scores here are scaled alike in all layers')
  read.only('reorder_and_upcast_attn', [false, undefined], 'attention here has one order of operations')
  read.only('add_cross_attention', [false, undefined], 'there is no second sequence')
  const [width, heads] = [read.count('n_embd'), read.count('n_head')]
  if (width % heads !== 0) read.refuse('n_head', `it does not divide the ${width} of n_embd`)
  return {
    family: 'gpt2',
    layers: read.count('n_layer', undefined, MOST_LAYERS),
    width,
    heads,
    kvHeads: heads,
    headSize: width / heads,
    feedForward: read.count('n_inner', 4 * width),
    vocabulary: read.count('vocab_size'),
    tied: read.flag('tie_word_embeddings', true),
    positions: { kind: 'learned', length: read.count('n_positions') },
    norm: 'layer',
    normEps: read.positive('layer_norm_epsilon', 1e-5),
    activation: 'gelu',
    bias: { attention: true, feedForward: true },
  }
}

/** `rope_parameters` of transformers 5 holds what `rope_theta` and `rope_scaling` hold before. */
function readRope(read: Reader): { theta: number; scaling?: RotaryScaling } {
  const { rope_parameters: v5, rope_scaling: classic } = read.config
  read.only('partial_rotary_factor', [undefined, null, 1], 'here the whole head is rotated')
  if (v5 && classic && JSON.stringify(readScaling(v5, 'rope_parameters', read)) !== JSON.stringify(readScaling(classic, 'rope_scaling', read)))
    read.refuse('rope_scaling', 'it contradicts rope_parameters')
  const key = v5 ? 'rope_parameters' : 'rope_scaling'
  const rope = v5 || classic
  const inner = isObject(rope) ? rope.rope_theta : undefined
  const outer = read.config.rope_theta
  if (typeof inner === 'number' && typeof outer === 'number' && inner !== outer) read.refuse('rope_theta', `it contradicts the ${inner} of ${key}`)
  const theta = inner === undefined ? read.positive('rope_theta', 10_000) : read.within(key, rope as Json).positive('rope_theta')
  const scaling = rope ? readScaling(rope, key, read) : undefined
  return scaling ? { theta, scaling } : { theta }
}

function readScaling(rope: unknown, key: string, read: Reader): RotaryScaling | undefined {
  if (!isObject(rope)) return read.refuse(key, 'it is not an object')
  const inner = read.within(key, rope)
  const nested = Object.keys(rope).find((name) => isObject(rope[name]))
  if (nested) inner.refuse(nested, 'all layers here have the same positions')
  const type = rope.rope_type ?? rope.type ?? 'default'
  inner.only('partial_rotary_factor', [undefined, null, 1], 'here the whole head is rotated')
  const longest = (): number => read.positive('max_position_embeddings', 2048)
  const original = (): number =>
    read.config.original_max_position_embeddings === undefined
      ? inner.positive('original_max_position_embeddings', longest())
      : read.positive('original_max_position_embeddings')
  switch (type) {
    case 'default':
      return undefined
    case 'linear':
      return { kind: 'linear', factor: inner.positive('factor') }
    case 'llama3': {
      const [lowFrequency, highFrequency] = [inner.positive('low_freq_factor'), inner.positive('high_freq_factor')]
      if (highFrequency <= lowFrequency) inner.refuse('high_freq_factor', `it is not above the ${lowFrequency} of low_freq_factor`)
      return { kind: 'llama3', factor: inner.positive('factor'), lowFrequency, highFrequency, original: original() }
    }
    case 'yarn': {
      inner.only('truncate', [true, undefined], 'the range of stretched pairs is cut at whole pairs')
      const factor = inner.positive('factor', longest() / original())
      const [betaFast, betaSlow] = [inner.positive('beta_fast', 32), inner.positive('beta_slow', 1)]
      return { kind: 'yarn', factor, betaFast, betaSlow, original: original(), magnitude: inner.positive('attention_factor', yarnMagnitude(factor, inner)) }
    }
    default:
      return read.refuse(key, `rope_type ${JSON.stringify(type)} is not one of 'default', 'linear', 'llama3', 'yarn'`)
  }
}

/** YaRN's default (arXiv 2309.00071 eq. 22), or the ratio that DeepSeek asks for. */
function yarnMagnitude(factor: number, rope: Reader): number {
  const magnitude = (scale: number): number => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1)
  const { mscale, mscale_all_dim: all } = rope.config
  return mscale && all ? magnitude(rope.positive('mscale')) / magnitude(rope.positive('mscale_all_dim')) : magnitude(1)
}

function writeScaling(scaling: RotaryScaling): Json {
  switch (scaling.kind) {
    case 'linear':
      return { rope_type: 'linear', factor: scaling.factor }
    case 'llama3':
      return {
        rope_type: 'llama3',
        factor: scaling.factor,
        low_freq_factor: scaling.lowFrequency,
        high_freq_factor: scaling.highFrequency,
        original_max_position_embeddings: scaling.original,
      }
    case 'yarn':
      return {
        rope_type: 'yarn',
        factor: scaling.factor,
        beta_fast: scaling.betaFast,
        beta_slow: scaling.betaSlow,
        original_max_position_embeddings: scaling.original,
        attention_factor: scaling.magnitude,
      }
    default:
      return scaling satisfies never
  }
}

/** Reads keys of one object; `null` is as good as absent, as in transformers. */
interface Reader {
  readonly config: Json
  /** A whole number from 1. */
  count(key: string, otherwise?: number, most?: number): number
  positive(key: string, otherwise?: number): number
  flag(key: string, otherwise: boolean): boolean
  /** Any other value is understood and not supported. */
  only(key: string, allowed: readonly unknown[], reason: string): void
  refuse(key: string, reason: string): never
  within(key: string, inner: Json): Reader
}

function reader(config: Json, where: string, path = ''): Reader {
  const shown = (key: string): string => `${path}${key}: ${JSON.stringify(config[key])?.slice(0, 200)}`
  const nonsense = (key: string, wanted: string): never => {
    const problem = config[key] === undefined ? `lacks ${path}${key}, ${wanted}` : `has ${shown(key)}, which is not ${wanted}`
    throw new FpdtError('checkpoint', `${where} ${problem}.`)
  }
  const number = (key: string, otherwise: number | undefined, wanted: string, fits: (value: number) => boolean): number => {
    const value = config[key] ?? otherwise
    return typeof value === 'number' && fits(value) ? value : nonsense(key, wanted)
  }
  const refuse = (key: string, reason: string): never => {
    throw new FpdtError('unsupported', `${where} has ${shown(key)}, which cannot be used here: ${reason}.`)
  }
  return {
    config,
    count: (key, otherwise, most = 2 ** 31) =>
      number(key, otherwise, `a whole number from 1 to ${most}`, (value) => Number.isInteger(value) && value >= 1 && value <= most),
    positive: (key, otherwise) => number(key, otherwise, 'a number above 0', (value) => value > 0 && Number.isFinite(value)),
    flag: (key, otherwise) => {
      const value = config[key] ?? otherwise
      return typeof value === 'boolean' ? value : nonsense(key, 'true or false')
    },
    only: (key, allowed, reason) => {
      if (!allowed.includes(config[key])) refuse(key, reason)
    },
    refuse,
    within: (key, inner) => reader(inner, where, `${path}${key}.`),
  }
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
