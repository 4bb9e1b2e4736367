import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { convert, loadHuggingFace, type ReadGroup, saveHuggingFace } from '../../../kernel/src/files/huggingface.js'
import { openSafetensors } from '../../../kernel/src/files/safetensors.js'
import { type TensorToSave, writeSafetensors } from '../../../kernel/src/files/safetensors-write.js'
import { fromBf16, toBf16 } from '../../../kernel/src/model/bf16.js'
import type { ModelConfig, RotaryScaling } from '../../../kernel/src/model/config.js'
import { gpt } from '../../../kernel/src/model/gpt.js'
import { initialGroup } from '../../../kernel/src/model/initialise.js'
import { llama } from '../../../kernel/src/model/llama.js'
import { type Group, groupsOf, parameterLayout } from '../../../kernel/src/model/parameters.js'

const root = mkdtempSync(join(tmpdir(), 'huggingface-'))
afterAll(() => rmSync(root, { recursive: true }))
let dir = ''
let count = 0
beforeEach(() => {
  dir = join(root, String(count++))
})

const sizes = { layers: 2, width: 16, heads: 2, vocab: 11 }
const tinyLlama = llama({ ...sizes, feedForward: 24, kvHeads: 1, tied: false })
const tinyGpt = gpt({ ...sizes, positions: 8 })
const seeded =
  (model: ModelConfig): ReadGroup =>
  (group) =>
    initialGroup(model, group, 3)

function save(model: ModelConfig, options: Parameters<typeof saveHuggingFace>[3] = {}, to = dir): Promise<void> {
  return saveHuggingFace(to, model, seeded(model), options)
}
/** Changes keys of the config of `dir`; undefined takes one away. */
function edit(changes: Record<string, unknown>): void {
  const path = join(dir, 'config.json')
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...changes }))
}
/** Writes `model.safetensors` of `dir` again, its tensors renamed, left out (null) or given another shape. */
async function rewrite(
  change: (name: string, shape: readonly number[]) => [name: string, shape: readonly number[]] | null,
  more: TensorToSave[] = [],
): Promise<void> {
  const path = join(dir, 'model.safetensors')
  const { tensors } = await openSafetensors(path)
  const changed = [...tensors.values()].flatMap(({ name, shape }) => {
    const made = change(name, shape)
    return made ? [{ name: made[0], dtype: 'F32' as const, shape: made[1] }] : []
  })
  await writeSafetensors(path, [...changed, ...more], ({ shape }) => [new Float32Array(shape.reduce((product, extent) => product * extent, 1))])
}

const scaling: fc.Arbitrary<RotaryScaling> = fc.oneof(
  fc.record({ kind: fc.constant('linear' as const), factor: fc.integer({ min: 1, max: 9 }) }),
  fc.record({
    kind: fc.constant('llama3' as const),
    factor: fc.constant(8),
    lowFrequency: fc.constant(1),
    highFrequency: fc.constant(4),
    original: fc.nat(99).map((n) => n + 1),
  }),
  fc.record({
    ...{ kind: fc.constant('yarn' as const), factor: fc.constant(2), betaFast: fc.constant(32), betaSlow: fc.constant(1) },
    ...{ original: fc.constant(64), magnitude: fc.double({ min: 0.5, max: 2, noNaN: true }) },
  }),
)
const anyModel: fc.Arbitrary<ModelConfig> = fc
  .record({
    layers: fc.integer({ min: 1, max: 3 }),
    kvHeads: fc.integer({ min: 1, max: 2 }),
    group: fc.integer({ min: 1, max: 3 }),
    headSize: fc.constantFrom(8, 16),
    width: fc.constantFrom(8, 24),
    feedForward: fc.integer({ min: 1, max: 20 }),
    vocab: fc.integer({ min: 2, max: 30 }),
    tied: fc.boolean(),
    bias: fc.record({ attention: fc.boolean(), feedForward: fc.boolean() }),
    theta: fc.double({ min: 2, max: 1e9, noNaN: true }),
    scaling: fc.option(scaling),
    positions: fc.integer({ min: 1, max: 20 }),
    normEps: fc.constantFrom(1e-5, 1e-6),
    family: fc.constantFrom('llama', 'gpt2'),
  })
  .map(({ family, kvHeads, group, headSize, width, bias, theta, scaling, positions, ...rest }) =>
    family === 'llama'
      ? llama({ ...rest, width, headSize, kvHeads, heads: kvHeads * group, bias, theta, ...(scaling ? { scaling } : {}) })
      : gpt({ ...rest, heads: kvHeads * group, width: kvHeads * group * headSize, positions }),
  )

describe('a saved model', () => {
  it('is loaded as it was, to the bit: any model, in one file or many, either style of keys, for any ranks', async () => {
    const options = fc.record({
      dtype: fc.constantFrom('f32' as const, 'bf16' as const),
      keys: fc.constantFrom('classic' as const, 'v5' as const),
      shardBytes: fc.integer({ min: 1, max: 20_000 }),
    })
    await fc.assert(
      fc.asyncProperty(anyModel, options, fc.integer({ min: 1, max: 3 }), async (model, how, ranks) => {
        await save(model, how)
        const loaded = await loadHuggingFace(dir)
        expect(loaded.model).toEqual(model)
        expect(loaded.dtype).toBe(how.dtype)
        expect(loaded.notes).toEqual([])
        for (const group of groupsOf(parameterLayout(model, ranks))) {
          const given = initialGroup(model, group, 3)
          const expected = how.dtype === 'f32' ? given : fromBf16(toBf16(given))
          expect(Buffer.compare(Buffer.from((await loaded.values(group)).buffer), Buffer.from(expected.buffer))).toBe(0)
        }
      }),
      { numRuns: 40 },
    )
  })
  it('has matrices of more than one piece, which begin in the middle of a row, turned as they should be', async () => {
    const wide = gpt({ layers: 1, width: 600, heads: 5, vocab: 2, positions: 1 }) // up: 2400 x 600, 1.4 pieces of 2^20
    await save(wide)
    const [layer] = parameterLayout(wide, 1).layers as [Group]
    const [read, given] = [await (await loadHuggingFace(dir)).values(layer), initialGroup(wide, layer, 3)]
    expect(Buffer.compare(Buffer.from(read.buffer), Buffer.from(given.buffer))).toBe(0)
  })
  it('is in as few files as their size allows, listed by the index', async () => {
    await save(tinyLlama, { shardBytes: 4000 })
    const { weight_map: map, metadata } = JSON.parse(readFileSync(join(dir, 'model.safetensors.index.json'), 'utf8')) as {
      weight_map: Record<string, string>
      metadata: { total_size: number }
    }
    const files = readdirSync(dir).filter((name) => name.endsWith('.safetensors'))
    expect(files[0]).toBe(`model-00001-of-0000${files.length}.safetensors`)
    expect([...new Set(Object.values(map))].sort()).toEqual(files.sort())
    let total = 0
    for (const file of files) {
      const { tensors } = await openSafetensors(join(dir, file))
      const bytes = [...tensors.values()].reduce((sum, { begin, end }) => sum + end - begin, 0)
      expect(bytes).toBeLessThanOrEqual(4000)
      expect([...tensors.keys()].every((name) => map[name] === file)).toBe(true)
      total += bytes
    }
    expect(metadata.total_size).toBe(total)
  })
  it('asks for the values of a group once, in their order', async () => {
    const asked: string[] = []
    await saveHuggingFace(dir, tinyGpt, (group) => {
      asked.push(group.name)
      return initialGroup(tinyGpt, group, 3)
    })
    expect(asked).toEqual(groupsOf(parameterLayout(tinyGpt, 1)).map(({ name }) => name))
  })
  it('takes the place of a former one, and leaves other files alone', async () => {
    await save(tinyLlama, { shardBytes: 3000 })
    writeFileSync(join(dir, 'notes.txt'), 'mine')
    mkdirSync(join(dir, '.saving-killed'))
    await save(tinyGpt)
    expect(readdirSync(dir).sort()).toEqual(['config.json', 'model.safetensors', 'notes.txt'])
    expect((await loadHuggingFace(dir)).model).toEqual(tinyGpt)
  })
  it('is whole where a kill left it half in its places, and is put there by the next save before anything else', async () => {
    await save(tinyLlama)
    await save(tinyGpt, { shardBytes: 500 }, join(dir, '.saved'))
    expect((await loadHuggingFace(dir)).model).toEqual(tinyLlama) // the former one still has its config, so it is whole
    rmSync(join(dir, 'config.json'))
    expect((await loadHuggingFace(dir)).model).toEqual(tinyGpt)
    await expect(
      saveHuggingFace(dir, tinyLlama, () => {
        throw new Error('no values')
      }),
    ).rejects.toThrow('no values')
    expect((await loadHuggingFace(dir)).model).toEqual(tinyGpt)
    expect(readdirSync(dir)).toContain('model.safetensors.index.json')
    expect(readdirSync(dir).filter((name) => /^\.|^model\.safetensors$/.test(name))).toEqual([])
  })
  it('drops what a kill left of a new one as long as the former was in its places', async () => {
    await save(tinyLlama)
    await save(tinyGpt, {}, join(dir, '.saved'))
    await save(tinyLlama)
    expect(readdirSync(dir).sort()).toEqual(['config.json', 'model.safetensors'])
    expect((await loadHuggingFace(dir)).model).toEqual(tinyLlama)
  })
  it('leaves the former one whole when its own values do not come', async () => {
    await save(tinyLlama)
    const failing: ReadGroup = (group: Group) => {
      if (group.name === 'layer 1') throw new Error('no values')
      return initialGroup(tinyGpt, group, 3)
    }
    await expect(saveHuggingFace(dir, tinyGpt, failing, { shardBytes: 500 })).rejects.toThrow('no values')
    expect(readdirSync(dir).sort()).toEqual(['config.json', 'model.safetensors'])
    expect((await loadHuggingFace(dir)).model).toEqual(tinyLlama)
  })
  it('that has no layout is refused, all reasons named', async () => {
    const mixed: ModelConfig = { ...tinyLlama, norm: 'layer', positions: { kind: 'learned', length: 4 } }
    await expect(save(mixed)).rejects.toMatchObject({
      code: 'layout',
      message: expect.stringContaining("norm is 'layer', not 'rms'; positions are learned, not rotary"),
    })
    await expect(save(gpt('2.7b'))).rejects.toMatchObject({ message: expect.stringContaining('of the family GPT-2, but positions are rotary, not learned') })
    await expect(save(gpt({ ...sizes, kvHeads: 1, bias: { attention: true } }))).rejects.toMatchObject({
      message: expect.stringContaining('bias.feedForward is false, not true; kvHeads is 1, not the 2 of heads'),
    })
    expect(existsSync(dir)).toBe(false)
  })
  it('that cannot be written is an error with the path', async () => {
    writeFileSync(dir, 'a file')
    await expect(save(tinyLlama)).rejects.toMatchObject({
      code: 'disk',
      message: expect.stringMatching(new RegExp(`^${dir} could not be written: the system says E`)),
    })
  })
})

describe('convert', () => {
  it('gives another dtype and other shards, and takes the tokenizer and what the config describes along', async () => {
    await save(tinyLlama, { carried: { bos_token_id: 5, max_position_embeddings: 99 } })
    writeFileSync(join(dir, 'tokenizer.json'), '{}')
    const to = `${dir}.bf16`
    await convert(dir, to, { dtype: 'bf16', shardBytes: 2000 })
    const loaded = await loadHuggingFace(to)
    expect(loaded.model).toEqual(tinyLlama)
    expect([loaded.dtype, loaded.carried, loaded.tokenizer]).toEqual(['bf16', { bos_token_id: 5, max_position_embeddings: 99 }, join(to, 'tokenizer.json')])
    expect(existsSync(join(to, 'model.safetensors.index.json'))).toBe(true)
    await expect(convert(dir, join(dir, '.'))).rejects.toThrow('over the model that it reads')
  })
})

describe('a folder', () => {
  it('without a model is refused, saying what is missing', async () => {
    await expect(loadHuggingFace(dir)).rejects.toThrow(`there is no folder ${dir}`)
    mkdirSync(dir)
    await expect(loadHuggingFace(dir)).rejects.toThrow(`${dir} has no config.json`)
    await save(tinyLlama)
    renameSync(join(dir, 'model.safetensors'), join(dir, 'pytorch_model.bin'))
    await expect(loadHuggingFace(dir)).rejects.toThrow(/has neither model.safetensors nor model.safetensors.index.json. pytorch_model.bin is a pickle/)
    writeFileSync(join(dir, 'config.json'), '{')
    await expect(loadHuggingFace(dir)).rejects.toThrow('config.json is not JSON')
    writeFileSync(join(dir, 'config.json'), '[]')
    await expect(loadHuggingFace(dir)).rejects.toThrow('config.json holds no JSON object')
  })
  it('with a head beside a tied table is read when they are equal, and refused when not', async () => {
    const tied = { ...tinyLlama, tied: true }
    const twice: ReadGroup = (group) => {
      const table = initialGroup(tied, parameterLayout(tied, 1).embedding, 3)
      if (group.name !== 'head') return initialGroup(tied, group, 3)
      const values = new Float32Array(group.padded).fill(1, 0, 16)
      values.set(table.subarray(0, 11 * 16), 16)
      return values
    }
    await saveHuggingFace(dir, tinyLlama, twice)
    edit({ tie_word_embeddings: true })
    expect((await loadHuggingFace(dir)).model).toEqual(tied)
    await save(tinyLlama)
    edit({ tie_word_embeddings: true })
    await expect(loadHuggingFace(dir)).rejects.toThrow(
      'says tie_word_embeddings: true, and lm_head.weight is not model.embed_tokens.weight: they differ at element 0',
    )
  })
  it('is refused with all that is missing, unexpected and misshaped in one error', async () => {
    await save(tinyLlama)
    await rewrite(
      (name, shape) => (name.includes('layers.1.mlp') ? null : [name, name === 'model.norm.weight' ? [2, 8] : shape]),
      [{ name: 'score.weight', dtype: 'F32', shape: [2, 16] }],
    )
    await expect(loadHuggingFace(dir)).rejects.toThrow(
      `the weights in ${dir} are not those of its config.json: ` +
        '3 missing (model.layers.1.mlp.gate_proj.weight [24, 16], model.layers.1.mlp.up_proj.weight [24, 16], model.layers.1.mlp.down_proj.weight [16, 24]); ' +
        '1 of another shape (model.norm.weight is [2, 8], not [16]); 1 unexpected (score.weight [2, 16]).',
    )
  })
  it('without a head is told of tie_word_embeddings', async () => {
    await save(tinyLlama)
    await rewrite((name, shape) => (name === 'lm_head.weight' ? null : [name, shape]))
    await expect(loadHuggingFace(dir)).rejects.toThrow(
      '1 missing (lm_head.weight [11, 16]). A head that is the embedding table is said by tie_word_embeddings: true.',
    )
  })
  it('with buffers of older versions, or names without prefix, is read', async () => {
    await save(tinyGpt)
    await rewrite((name, shape) => [name.replace('transformer.', ''), shape], [{ name: 'h.0.attn.bias', dtype: 'F32', shape: [1, 1, 8, 8] }])
    expect((await loadHuggingFace(dir)).model).toEqual(tinyGpt)
    await save(tinyLlama)
    await rewrite((name, shape) => [name, shape], [{ name: 'model.layers.0.self_attn.rotary_emb.inv_freq', dtype: 'F32', shape: [4] }])
    expect((await loadHuggingFace(dir)).model).toEqual(tinyLlama)
  })
  it('is not read for another model', async () => {
    await save(tinyLlama)
    const { values } = await loadHuggingFace(dir)
    await expect(values(parameterLayout({ ...tinyLlama, vocabulary: 12 }, 1).embedding)).rejects.toThrow(
      'has model.embed_tokens.weight in shape [11, 16], and [12, 16] is wanted',
    )
  })
  it('has an index that is checked: no path out of the folder, no tensor that is not there, none twice', async () => {
    await save(tinyLlama, { shardBytes: 3000 })
    const path = join(dir, 'model.safetensors.index.json')
    const index = JSON.parse(readFileSync(path, 'utf8')) as { weight_map: Record<string, string> }
    const given = (map: unknown): Promise<unknown> => {
      writeFileSync(path, JSON.stringify({ weight_map: map }))
      return loadHuggingFace(dir)
    }
    const first = 'model-00001-of-0000'
    await expect(given({ ...index.weight_map, 'model.norm.weight': '../secret.safetensors' })).rejects.toThrow(
      'places model.norm.weight in "../secret.safetensors", which is no name',
    )
    await expect(given({ ...index.weight_map, other: index.weight_map['model.embed_tokens.weight'] })).rejects.toThrow(`places other in ${first}`)
    await expect(given([])).rejects.toThrow('has no weight_map')
    const copy = 'model-copy.safetensors'
    writeFileSync(join(dir, copy), readFileSync(join(dir, index.weight_map['model.norm.weight'] as string)))
    await expect(given({ ...index.weight_map, 'model.norm.weight': copy })).rejects.toThrow(/stands in both/)
  })
})

describe('config.json', () => {
  it.each([
    [{ architectures: ['MistralForCausalLM'] }, 'architectures: ["MistralForCausalLM"], which cannot be used here: read are LlamaForCausalLM'],
    [{ architectures: undefined, model_type: 'qwen3' }, 'model_type: "qwen3"'],
    [{ model_type: 'mistral' }, 'model_type: "mistral", which cannot be used here: the architecture is Llama'],
    [{ hidden_act: 'gelu' }, 'hidden_act: "gelu"'],
    [{ sliding_window: 4096 }, 'sliding_window: 4096, which cannot be used here: attention here sees the whole sequence'],
    [{ layer_types: ['full_attention', 'sliding_attention'] }, 'layer_types: '],
    [{ pretraining_tp: 2 }, 'pretraining_tp: 2'],
    [{ partial_rotary_factor: 0.5 }, 'partial_rotary_factor: 0.5, which cannot be used here: here the whole head is rotated'],
    [{ quantization_config: { bits: 4 } }, 'quantization_config: {"bits":4}, which cannot be used here: its weights are not plain numbers'],
    [{ rope_scaling: { rope_type: 'dynamic', factor: 2 } }, `rope_type "dynamic" is not one of 'default', 'linear', 'llama3', 'yarn'`],
    [{ rope_scaling: { type: 'longrope' } }, 'rope_type "longrope"'],
    [
      { rope_parameters: { full_attention: { rope_theta: 1e4 } } },
      'rope_parameters.full_attention: {"rope_theta":10000}, which cannot be used here: all layers',
    ],
    [{ rope_scaling: { rope_type: 'yarn', factor: 2, truncate: false } }, 'rope_scaling.truncate: false'],
    [{ rope_scaling: { rope_type: 'linear', factor: 2 }, rope_parameters: { rope_type: 'linear', factor: 3 } }, 'it contradicts rope_parameters'],
    [{ rope_theta: 5, rope_parameters: { rope_theta: 6 } }, 'rope_theta: 5, which cannot be used here: it contradicts the 6 of rope_parameters'],
  ])('with %o is refused by name', async (changes, message) => {
    await save(tinyLlama)
    edit(changes)
    await expect(loadHuggingFace(dir)).rejects.toMatchObject({ code: 'unsupported', message: expect.stringContaining(message) })
  })
  it.each([
    [{ activation_function: 'gelu' }, 'activation_function: "gelu", which cannot be used here: GELU here has the tanh form'],
    [{ scale_attn_by_inverse_layer_idx: true }, 'scale_attn_by_inverse_layer_idx: true'],
    [{ reorder_and_upcast_attn: true }, 'reorder_and_upcast_attn: true'],
    [{ scale_attn_weights: false }, 'scale_attn_weights: false'],
    [{ add_cross_attention: true }, 'add_cross_attention: true'],
    [{ n_head: 3 }, 'n_head: 3, which cannot be used here: it does not divide the 16 of n_embd'],
  ])('of GPT-2 with %o is refused by name', async (changes, message) => {
    await save(tinyGpt)
    edit(changes)
    await expect(loadHuggingFace(dir)).rejects.toMatchObject({ code: 'unsupported', message: expect.stringContaining(message) })
  })
  it.each([
    [{ hidden_size: undefined }, 'config.json lacks hidden_size, a whole number from 1 to 2147483648.'],
    [{ hidden_size: '16' }, 'config.json has hidden_size: "16", which is not a whole number'],
    [{ num_hidden_layers: 1e12 }, 'num_hidden_layers: 1000000000000, which is not a whole number from 1 to 1000'],
    [{ vocab_size: -1 }, 'vocab_size: -1'],
    [{ tie_word_embeddings: 'no' }, 'tie_word_embeddings: "no", which is not true or false'],
    [{ rms_norm_eps: 0 }, 'rms_norm_eps: 0, which is not a number above 0'],
    [{ rope_scaling: { rope_type: 'llama3', factor: 8 } }, 'config.json lacks rope_scaling.low_freq_factor, a number above 0.'],
    [{ rope_scaling: 'yarn' }, 'rope_scaling: "yarn"'],
  ])('with %o is refused as nonsense', async (changes, message) => {
    await save(tinyLlama)
    edit(changes)
    await expect(loadHuggingFace(dir)).rejects.toThrow(message)
  })
  it('of a model trained with dropout is read, with a note', async () => {
    await save(tinyGpt)
    edit({ attn_pdrop: 0.1, resid_pdrop: 0, n_ctx: 8, task_specific_params: {} })
    const { notes, model } = await loadHuggingFace(dir)
    expect(model).toEqual(tinyGpt)
    expect(notes).toEqual([`attn_pdrop is 0.1 in ${join(dir, 'config.json')}; training here has no dropout.`])
  })
  it('has the defaults of transformers for what it leaves out', async () => {
    await save(llama({ ...sizes, tied: false, normEps: 1e-6 }))
    edit({ ...{ num_key_value_heads: undefined, head_dim: undefined, rms_norm_eps: undefined, rope_theta: undefined, tie_word_embeddings: undefined } })
    edit({ ...{ attention_bias: undefined, mlp_bias: undefined, hidden_act: undefined, architectures: undefined } })
    expect((await loadHuggingFace(dir)).model).toEqual(llama({ ...sizes, tied: false, normEps: 1e-6 }))
  })
  it("has YaRN's defaults: betas 32 and 1, magnitude 0.1 ln(factor) + 1 or the ratio of mscale", async () => {
    await save(tinyLlama)
    const read = async (scaling: object): Promise<unknown> => {
      edit({ max_position_embeddings: 256, rope_scaling: { rope_type: 'yarn', ...scaling } })
      const { positions } = (await loadHuggingFace(dir)).model
      return positions.kind === 'rotary' && positions.scaling
    }
    const yarn = { kind: 'yarn', factor: 4, betaFast: 32, betaSlow: 1, original: 64 }
    expect(await read({ factor: 4, original_max_position_embeddings: 64 })).toEqual({ ...yarn, magnitude: 0.1 * Math.log(4) + 1 })
    expect(await read({ original_max_position_embeddings: 64, attention_factor: 1.5 })).toEqual({ ...yarn, magnitude: 1.5 })
    expect(await read({ factor: 4, original_max_position_embeddings: 64, mscale: 2, mscale_all_dim: 1 })).toEqual({
      ...yarn,
      magnitude: (0.2 * Math.log(4) + 1) / (0.1 * Math.log(4) + 1),
    })
    expect(await read({ factor: 4 })).toEqual({ ...yarn, original: 256, magnitude: 0.1 * Math.log(4) + 1 })
  })
})
