/** A process that is killed while it saves a model leaves the one before or the one after, whole. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, it } from 'vitest'
import { type LoadedModel, loadHuggingFace } from '../../kernel/src/files/huggingface.js'
import { groupsOf, parameterLayout } from '../../kernel/src/model/parameters.js'
import { draws } from './draws.js'

const folder = mkdtempSync(join(tmpdir(), 'fpdt-kill-'))
afterAll(() => rmSync(folder, { recursive: true }))
const script = fileURLToPath(new URL('./huggingface/save-for-ever.mjs', import.meta.url))
const KILLS = draws(8, 20)

it(`leaves the model before or the one after, ${KILLS} times`, async () => {
  let whole = 0
  for (let kill = 0; kill < KILLS; kill++) {
    const child = spawn(process.execPath, [script, folder], { stdio: ['ignore', 'pipe', 'inherit'] })
    const exit = once(child, 'exit')
    await Promise.race([once(child.stdout, 'data'), exit])
    await setTimeout(Math.random() * 40)
    child.kill('SIGKILL')
    expect((await exit)[1]).toBe('SIGKILL') // and not because of an error of its own
    const loaded = await loadHuggingFace(folder).catch((error: Error) => error)
    if (loaded instanceof Error) {
      expect(loaded.message).toMatch(/has no config\.json;.*A first save that was interrupted/)
      expect(whole).toBe(0)
    } else {
      expect(await valuesOf(loaded)).toHaveLength(1)
      whole++
    }
  }
  expect(whole).toBeGreaterThan(0)
}, 120_000)

/** The different values that the parameters have. */
async function valuesOf({ model, values }: LoadedModel): Promise<number[]> {
  const seen = new Set<number>()
  for (const group of groupsOf(parameterLayout(model, 1))) for (const value of (await values(group)).subarray(0, group.count)) seen.add(value)
  return [...seen]
}
