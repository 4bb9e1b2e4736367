/** A model that somebody else made comes back from training as theirs: its words, its dtype, its tokenizer, its config. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeEach, expect, it } from 'vitest'
import { loadHuggingFace, saveHuggingFace } from '../../kernel/src/files/huggingface.js'
import { convert } from '../../kernel/src/fpdt/convert.js'
import { Device } from '../../kernel/src/fpdt/device.js'
import { load } from '../../kernel/src/fpdt/run/load.js'
import type { ModelConfig } from '../../kernel/src/model/config.js'
import { gpt } from '../../kernel/src/model/gpt.js'
import { initialGroup } from '../../kernel/src/model/initialise.js'
import { llama } from '../../kernel/src/model/llama.js'
import { randomTokens } from './harness.js'
import { unmeasured } from './unmeasured.mjs'

unmeasured(Device)
const root = mkdtempSync(join(tmpdir(), 'fpdt-loaded-'))
const device = await Device.cpu({ memory: '256 MiB', host: '256 MiB', threads: 2 })
afterAll(async () => {
  await device.close()
  rmSync(root, { recursive: true })
})
let [dir, count] = ['', 0]
beforeEach(() => {
  dir = join(root, String(count++))
})

const sizes = { layers: 1, width: 16, heads: 2, feedForward: 24 }
const small = llama({ ...sizes, vocab: 97 })
const CARRIED = { bos_token_id: 5, eos_token_id: 6, initializer_range: 0.01, max_position_embeddings: 48 }
const options = { sequence: 64, chunk: 32 }
const configIn = (folder: string): object => JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))

/** A model of another tool, in bf16. */
async function theirs(model: ModelConfig, files: readonly string[] = ['tokenizer.json']): Promise<string> {
  await saveHuggingFace(dir, model, (group) => initialGroup(model, group, 3), { dtype: 'bf16', carried: CARRIED })
  for (const name of files) writeFileSync(join(dir, name), `{ "of": "${name}" }`)
  return dir
}

it('is saved by the run, and converted from its checkpoint, with all that its folder says of it', async () => {
  const { model, weights } = await load(await theirs(small, ['tokenizer.json', 'tokenizer_config.json', 'generation_config.json']))
  const run = await device.train(model, { ...options, weights })
  await run.step(randomTokens(100, 97, 2))
  await run.saveModel(`${dir}.trained`)
  await run.save(`${dir}.saved`)
  await run.close()
  const resumed = await device.resume(`${dir}.saved`)
  await resumed.save(`${dir}.saved-again`)
  await resumed.close()
  await convert(`${dir}.saved-again`, `${dir}.converted`)
  for (const to of [`${dir}.trained`, `${dir}.converted`]) {
    expect(configIn(to)).toEqual({ ...configIn(dir), max_position_embeddings: 64 })
    expect((await loadHuggingFace(to)).dtype).toBe('bf16')
    for (const name of ['tokenizer.json', 'tokenizer_config.json', 'generation_config.json'])
      expect(readFileSync(join(to, name), 'utf8')).toBe(`{ "of": "${name}" }`)
  }
})

it('keeps a length that is longer than what was trained, and one of our own has that of its training', async () => {
  const { model, weights } = await load(await theirs(small))
  for (const [given, length] of [
    [{ weights }, 48],
    [{}, 32],
  ] as const) {
    const run = await device.train(model, { sequence: 32, chunk: 16, ...given })
    await run.saveModel(`${dir}.${length}`)
    await run.close()
    expect(configIn(`${dir}.${length}`)).toMatchObject({ max_position_embeddings: length, torch_dtype: length === 48 ? 'bfloat16' : 'float32' })
  }
})

it('says what it is where it is looked at', async () => {
  const loaded = await load(await theirs(small))
  const words = inspect(loaded)
  expect(words).toMatch(/^Loaded model, llama: 1 layer of 16, 2 heads, [\d,]+ parameters in bf16\n/)
  expect(words.split('\n').at(-1)).toBe(`{ ${Object.keys(loaded).join(', ')} }`)
})

it('can be saved where it was loaded from', async () => {
  const { model, weights } = await load(await theirs(small))
  const run = await device.train(model, { ...options, weights })
  await run.saveModel(dir)
  await run.close()
  expect((await load(dir)).tokenizer).toBe(join(dir, 'tokenizer.json'))
})

it("says when a text is cut into GPT-2's words and the model has others", async () => {
  const words = 'a text that is long enough. '.repeat(40)
  const wide = { ...sizes, vocab: 50257 }
  for (const [model, files, foreign] of [
    [llama(wide), ['tokenizer.json'], true],
    [llama({ ...wide, vocab: 50400 }), [], true],
    [llama(wide), [], false], // as it is saved here
    [gpt({ layers: 1, width: 16, heads: 2, vocab: 50257, positions: 64 }), ['tokenizer.json'], false],
  ] as const) {
    const loaded = await load(await theirs(model, files))
    const run = await device.train(model, { ...options, weights: loaded.weights })
    await run.step(words)
    expect(run.head.message.includes("is cut into GPT-2's tokens, and the model of")).toBe(foreign)
    await run.step(randomTokens(100, 97, 2))
    expect(run.head.message).toBe('')
    await run.close()
    rmSync(dir, { recursive: true })
  }
})
