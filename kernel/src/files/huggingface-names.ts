/**
 * Which tensors a checkpoint in Hugging Face layout has, and where each lies among our parameters. One table for both directions.
 *
 *   Llama                                         ours            GPT-2 (matrices transposed: its Conv1D holds (inputs, outputs))
 *   q_proj, k_proj, v_proj (one below another)    qkv             c_attn
 *   gate_proj, up_proj (one below another)        gateUp | up     c_fc
 */
import { FpdtError } from '../errors.js'
import type { ModelConfig } from '../model/config.js'
import type { Group } from '../model/parameters.js'

export interface StoredPart {
  /** With the prefix of the whole model: `model.layers.0.mlp.up_proj.weight`. */
  readonly name: string
  /** As it stands in the file. */
  readonly shape: readonly number[]
  /** First element among the group's; the tensor fills the stretch from there. */
  readonly offset: number
  /** The file has (inputs, outputs), the group (outputs, inputs). */
  readonly transposed: boolean
}
export type Family = ModelConfig['family']

/** Prefix of all names but the head's. Files of the bare model (`LlamaModel`, the first GPT-2 files) leave it out. */
export const PREFIX: Readonly<Record<Family, string>> = { llama: 'model.', gpt2: 'transformer.' }
export const EMBEDDING: Readonly<Record<Family, string>> = { llama: 'model.embed_tokens.weight', gpt2: 'transformer.wte.weight' }
export const HEAD = 'lm_head.weight'
/** Buffers that older versions stored beside the parameters: they follow from the config. */
export const BUFFER: Readonly<Record<Family, RegExp>> = {
  llama: /\brotary_emb\.inv_freq$/,
  gpt2: /\bh\.\d+\.attn\.(bias|masked_bias)$/,
}

/** Tensors of one of our parts: names within the layer or the model, and rows where one part is several tensors. */
type Stored = readonly (readonly [name: string, rows?: number])[]

/** Tensors of a group of parameters, in the order of the group. */
export function storedParts(model: ModelConfig, group: Group): StoredPart[] {
  const parts = model.family === 'llama' ? llamaParts(model) : gpt2Parts()
  const layer = /^layer (\d+)$/.exec(group.name)?.[1]
  const prefix = layer === undefined ? PREFIX[model.family] : `${PREFIX[model.family]}${model.family === 'llama' ? 'layers' : 'h'}.${layer}.`
  return group.parts.flatMap((part) => {
    const [rows = 0, ...columns] = part.shape
    const transposed = model.family === 'gpt2' && layer !== undefined && columns.length === 1
    let row = 0
    const stored = parts[`${group.name.split(' ')[0]}/${part.name}`]
    if (!stored) throw new Error(`no tensors are known for ${group.name}/${part.name} of ${model.family}`)
    return stored.map(([name, share = rows]): StoredPart => {
      const shape = [share, ...columns]
      const offset = part.offset + row * (columns[0] ?? 1)
      row += share
      return { name: name === HEAD ? HEAD : prefix + name, shape: transposed ? shape.reverse() : shape, offset, transposed }
    })
  })
}

function llamaParts({ heads, kvHeads, headSize, feedForward }: ModelConfig): Readonly<Record<string, Stored>> {
  const qkv = (what: string): Stored => [
    [`self_attn.q_proj.${what}`, heads * headSize],
    [`self_attn.k_proj.${what}`, kvHeads * headSize],
    [`self_attn.v_proj.${what}`, kvHeads * headSize],
  ]
  const gateUp = (what: string): Stored => [
    [`mlp.gate_proj.${what}`, feedForward],
    [`mlp.up_proj.${what}`, feedForward],
  ]
  return {
    'embedding/table': [['embed_tokens.weight']],
    'layer/norm1': [['input_layernorm.weight']],
    'layer/norm2': [['post_attention_layernorm.weight']],
    'layer/qkvBias': qkv('bias'),
    'layer/outBias': [['self_attn.o_proj.bias']],
    'layer/gateUpBias': gateUp('bias'),
    'layer/downBias': [['mlp.down_proj.bias']],
    'layer/qkv': qkv('weight'),
    'layer/out': [['self_attn.o_proj.weight']],
    'layer/gateUp': gateUp('weight'),
    'layer/down': [['mlp.down_proj.weight']],
    'head/norm': [['norm.weight']],
    'head/matrix': [[HEAD]],
  }
}

function gpt2Parts(): Readonly<Record<string, Stored>> {
  return {
    'embedding/table': [['wte.weight']],
    'positions/table': [['wpe.weight']],
    'layer/norm1': [['ln_1.weight']],
    'layer/norm1Bias': [['ln_1.bias']],
    'layer/norm2': [['ln_2.weight']],
    'layer/norm2Bias': [['ln_2.bias']],
    'layer/qkvBias': [['attn.c_attn.bias']],
    'layer/outBias': [['attn.c_proj.bias']],
    'layer/upBias': [['mlp.c_fc.bias']],
    'layer/downBias': [['mlp.c_proj.bias']],
    'layer/qkv': [['attn.c_attn.weight']],
    'layer/out': [['attn.c_proj.weight']],
    'layer/up': [['mlp.c_fc.weight']],
    'layer/down': [['mlp.c_proj.weight']],
    'head/norm': [['ln_f.weight']],
    'head/normBias': [['ln_f.bias']],
    'head/matrix': [[HEAD]],
  }
}

/** Throws FpdtError `layout` when a model has parts that its family's files cannot describe, naming them all. */
export function checkFamily(model: ModelConfig): void {
  const { norm, activation, positions, bias, heads, kvHeads, headSize, width } = model
  const wrong: (string | false)[] =
    model.family === 'llama'
      ? [
          norm !== 'rms' && `norm is '${norm}', not 'rms'`,
          activation !== 'swiglu' && `activation is '${activation}', not 'swiglu'`,
          positions.kind !== 'rotary' && `positions are ${positions.kind}, not rotary`,
        ]
      : [
          norm !== 'layer' && `norm is '${norm}', not 'layer'`,
          activation !== 'gelu' && `activation is '${activation}', not 'gelu'`,
          positions.kind !== 'learned' && `positions are ${positions.kind}, not learned`,
          !bias.attention && 'bias.attention is false, not true',
          !bias.feedForward && 'bias.feedForward is false, not true',
          kvHeads !== heads && `kvHeads is ${kvHeads}, not the ${heads} of heads`,
          heads * headSize !== width && `headSize is ${headSize}, not width / heads = ${width / heads}`,
        ]
  const found = wrong.filter((problem) => problem !== false)
  if (found.length === 0) return
  const name = model.family === 'llama' ? 'Llama' : 'GPT-2'
  throw new FpdtError(
    'layout',
    `this model has no Hugging Face layout: it is of the family ${name}, but ${found.join('; ')}. Save a checkpoint of the run instead; it holds any model.`,
  )
}
