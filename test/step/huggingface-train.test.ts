/** Models that transformers saved are trained here: the same loss and gradient as there, and what a run saves is what it has. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Device } from '../../kernel/src/fpdt/device.js'
import { adamW } from '../../kernel/src/fpdt/plan/optimizer.js'
import { type Loaded, load } from '../../kernel/src/fpdt/run/load.js'
import { groupsOf, parameterLayout } from '../../kernel/src/model/parameters.js'
import { gradientError } from './errors.js'
import { closeDevices, engine } from './harness.js'
import type { NamedTensor } from './pytorch/pytorch.js'
import { unmeasured } from './unmeasured.mjs'

unmeasured(Device)
const python = fileURLToPath(new URL('../../.venv/bin/python', import.meta.url))
const script = fileURLToPath(new URL('./huggingface/models.py', import.meta.url))
const there = spawnSync(python, ['-c', 'from importlib.metadata import version; version("torch"), version("transformers")']).status === 0

async function tensorsOf({ model, weights }: Loaded): Promise<NamedTensor[]> {
  const tensors: NamedTensor[] = []
  for (const group of groupsOf(parameterLayout(model, 1))) {
    const all = await weights(group)
    for (const { name, shape, offset } of group.parts)
      tensors.push({ name: `${group.name}/${name}`, shape, values: all.slice(offset, offset + shape.reduce((product, extent) => product * extent, 1)) })
  }
  return tensors
}

describe.skipIf(!there)('a model saved by transformers', () => {
  const folder = mkdtempSync(join(tmpdir(), 'fpdt-train-'))
  let device: Device
  beforeAll(async () => {
    execFileSync(python, [script, 'write', folder], { timeout: 240_000 })
    device = await Device.cpu({ memory: '64 MiB', host: '64 MiB', threads: 2 })
  }, 300_000)
  afterAll(async () => {
    await device.close()
    closeDevices()
    rmSync(folder, { recursive: true })
  })

  it('has the same loss and gradients here, over two ranks and chunk by chunk, trains, and is saved back to the bit', async () => {
    const names = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory())
    expect(names.length).toBeGreaterThanOrEqual(9)
    for (const { name } of names) {
      const dir = join(folder, name)
      const { tokens, loss: theirs } = JSON.parse(readFileSync(join(dir, 'step.json'), 'utf8')) as { tokens: number[]; loss: number }
      const loaded = await load(dir)
      const options = { sequence: tokens.length, chunk: 12, ranks: 2, dtype: 'f32' as const }
      const sequences = [{ tokens, labels: [...tokens.slice(1), -1] }]
      const ours = await engine({ model: loaded.model, options, weights: await tensorsOf(loaded), sequences })
      expect(Math.abs(ours.loss / theirs - 1), name).toBeLessThanOrEqual(2e-6)
      const gradient = new Map((await tensorsOf(await load(join(dir, 'gradient')))).map(({ name, values }) => [name, Float64Array.from(values)]))
      expect(gradientError(ours.gradients, gradient).error, name).toBeLessThanOrEqual(2e-5)

      const run = await device.train(loaded.model, { ...options, weights: loaded.weights, optimizer: adamW({ rate: 1e-2 }) })
      expect((await run.evaluate(tokens)).loss, name).toBe(ours.loss)
      for (let step = 0; step < 3; step++) await run.step(tokens)
      expect((await run.evaluate(tokens)).loss, name).toBeLessThan(theirs)
      await run.saveModel(join(dir, 'trained'), { dtype: 'f32' }) // master weights, to the bit
      const again = await device.train(loaded.model, { ...options, weights: (await load(join(dir, 'trained'))).weights })
      expect(await again.parameters(), name).toEqual(await run.parameters())
      await Promise.all([run.close(), again.close()])
    }
  }, 120_000)
})
