/** Files of transformers: what it saves is read as the same model, and what is written it reads back to the bit. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type LoadedModel, loadHuggingFace, saveHuggingFace } from '../../kernel/src/files/huggingface.js'
import { writeConfig } from '../../kernel/src/files/huggingface-config.js'
import type { RotaryScaling } from '../../kernel/src/model/config.js'
import { llama } from '../../kernel/src/model/llama.js'
import { groupsOf, parameterLayout } from '../../kernel/src/model/parameters.js'
import { rotaryOf } from '../../kernel/src/model/rotary.js'
import { gradientError } from './errors.js'
import { transformerStep, type Weights } from './reference/transformer.js'

const python = fileURLToPath(new URL('../../.venv/bin/python', import.meta.url))
const script = fileURLToPath(new URL('./huggingface/models.py', import.meta.url))
const there = spawnSync(python, ['-c', 'from importlib.metadata import version; version("torch"), version("transformers")']).status === 0
const NAMES = [
  ...['llama', 'llama-classic', 'llama-biased-shards', 'llama-tied-yarn', 'llama-tied-bare', 'llama-bf16'],
  ...['gpt2', 'gpt2-classic-bare', 'gpt2-untied-shards'],
]
/** A bare model is saved with its head, what YaRN has by default is written out, and both names of GELU's tanh form are read. */
const CHANGED: Record<string, string[]> = {
  'llama-tied-bare': ['architectures'],
  'llama-tied-yarn': ['rope_parameters'],
  'gpt2-classic-bare': ['architectures'],
  'gpt2-untied-shards': ['activation_function'],
}

async function weightsOf({ model, values }: LoadedModel): Promise<Weights> {
  const weights: Weights = new Map()
  for (const group of groupsOf(parameterLayout(model, 1))) {
    const all = await values(group)
    for (const { name, offset, shape } of group.parts)
      weights.set(`${group.name}/${name}`, Float64Array.from(all.subarray(offset, offset + shape.reduce((product, extent) => product * extent, 1))))
  }
  return weights
}

/** Models of all three scalings, of sizes that people use. */
const scaling: fc.Arbitrary<RotaryScaling | undefined> = fc.oneof(
  fc.constant(undefined),
  fc.record({ kind: fc.constant('linear' as const), factor: fc.integer({ min: 2, max: 64 }) }),
  fc.record({
    kind: fc.constant('llama3' as const),
    factor: fc.integer({ min: 2, max: 32 }),
    lowFrequency: fc.constantFrom(1, 1.5),
    highFrequency: fc.constantFrom(2, 4, 8),
    original: fc.constantFrom(64, 2048, 8192),
  }),
  fc.record({
    kind: fc.constant('yarn' as const),
    factor: fc.integer({ min: 2, max: 64 }),
    betaFast: fc.constantFrom(16, 32),
    betaSlow: fc.constantFrom(1, 2),
    original: fc.constantFrom(64, 4096, 32768),
    magnitude: fc.constantFrom(1, 1.2079441541679836),
  }),
)
const rotary = fc.sample(
  fc
    .tuple(fc.constantFrom(8, 16, 64, 80, 128), fc.constantFrom(100, 10_000, 500_000, 1e8), scaling)
    .map(([headSize, theta, scaling]) => llama({ layers: 1, width: 4 * headSize, heads: 4, theta, ...(scaling ? { scaling } : {}) })),
  { numRuns: 80, seed: 1 },
)

describe.skipIf(!there)('transformers', () => {
  const folder = mkdtempSync(join(tmpdir(), 'fpdt-huggingface-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  let compared: {
    models: Record<string, { names: string[]; tensors: number; logits: number; config: string[]; files: string[] }>
    rotary: Record<string, { frequencies: number[]; magnitude: number }[]>
  }
  beforeAll(async () => {
    execFileSync(python, [script, 'write', folder], { timeout: 240_000 })
    for (const name of NAMES) {
      const { model, values, carried, dtype } = await loadHuggingFace(join(folder, name))
      // Both styles, one file and many, whatever was read.
      const [keys, shardBytes] = name.length % 2 ? (['v5', 10_000] as const) : (['classic', 5e9] as const)
      await saveHuggingFace(join(folder, `${name}.saved`), model, values, { dtype, carried, keys, shardBytes })
    }
    writeFileSync(join(folder, 'classic.rotary.json'), JSON.stringify(rotary.map((model) => writeConfig(model, 'float32'))))
    writeFileSync(join(folder, 'v5.rotary.json'), JSON.stringify(rotary.map((model) => writeConfig(model, 'float32', { keys: 'v5' }))))
    compared = JSON.parse(execFileSync(python, [script, 'compare', folder], { encoding: 'utf8', timeout: 240_000 })) as typeof compared
  }, 500_000)

  describe.each(NAMES)('%s', (name) => {
    it('is read as the same model: its loss and every gradient, within what float32 can say', async () => {
      const loaded = await loadHuggingFace(join(folder, name))
      const { tokens, loss } = JSON.parse(readFileSync(join(folder, name, 'step.json'), 'utf8')) as { tokens: number[]; loss: number }
      const labels = [...tokens.slice(1), -1]
      const step = transformerStep(loaded.model, await weightsOf(loaded), [{ tokens, labels }])
      expect(Math.abs(step.loss / loss - 1)).toBeLessThan(2e-6)
      const theirs = await weightsOf(await loadHuggingFace(join(folder, name, 'gradient')))
      expect(gradientError(theirs, step.gradients).error).toBeLessThan(2e-5)
    })
    it('is saved to the bit, with the config it had', () => {
      const { logits, ...rest } = compared.models[name] ?? {}
      expect(rest).toEqual({ names: [], tensors: 0, config: CHANGED[name] ?? [], files: [name === 'llama-bf16' ? 'torch.bfloat16' : 'torch.float32'] })
      // Two ways to write one function round differently; else nothing does.
      if (!CHANGED[name]?.includes('activation_function')) expect(logits).toBe(0)
      else expect(logits).toBeLessThan(1e-5)
    })
  })

  it.each(['classic', 'v5'])('has our rotary frequencies, by %s keys', (keys) => {
    const theirs = compared.rotary[`${keys}.rotary.json`]
    expect(theirs).toHaveLength(rotary.length)
    rotary.forEach(({ positions, headSize }, i) => {
      const ours = rotaryOf(positions, headSize)
      expect(ours?.magnitude).toBeCloseTo(theirs?.[i]?.magnitude as number, 12)
      // theta ** x in float32: x is known to 2^-24, so the power to ln(theta) times that, 18.4 at 1e8; the ramp doubles it.
      ours?.frequencies.forEach((frequency, m) => {
        expect(Math.abs(frequency / (theirs?.[i]?.frequencies[m] as number) - 1)).toBeLessThan(2 * 18.4 * 2 ** -24 + 2 ** -21)
      })
    })
  })
})
