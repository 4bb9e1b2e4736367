/** The disk tier of a run: its budget, its folder, and what is said where it cannot be had. */
import { mkdtempSync, readdirSync, readlinkSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { Device } from '../../kernel/src/fpdt/device.js'
import { adamW } from '../../kernel/src/fpdt/plan/optimizer.js'
import { llama } from '../../kernel/src/model/llama.js'
import { randomTokens } from './harness.js'
import { unmeasured } from './unmeasured.mjs'

unmeasured(Device)
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'fpdt-disk-tier-')))
afterAll(() => rmSync(folder, { recursive: true }))
const model = llama({ layers: 2, width: 32, heads: 4, kvHeads: 2, headSize: 16, feedForward: 40, vocab: 97 })
const text = randomTokens(4000, 97, 2)
const options = { sequence: 200, chunk: 40, ranks: 2, checkpoints: 'disk' as const, optimizer: adamW({ tier: 'disk' }) }
const memory = { memory: '128 MiB', host: '128 MiB', threads: 2 }

/** Open files of this process in the folder: they have no name. */
const filesInFolder = (): number =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(`${folder}/`)
    } catch {
      return false
    }
  }).length

describe('the disk tier', () => {
  it('lies in the folder that is named, is planned, allocated and touched to the byte, and ends with its run', async () => {
    const device = await Device.cpu({ ...memory, disk: '1 GiB', diskFolder: folder })
    expect(device.description).toMatchObject({ budgets: { disk: 2 ** 30 }, diskFolder: folder })
    const run = await device.train(model, options)
    expect(filesInFolder()).toBeGreaterThan(0)
    await run.step(text)
    const { predicted, allocated, touched } = run.memory('disk')
    expect(predicted).toBeGreaterThan(0)
    expect([allocated, touched]).toEqual([predicted, predicted])
    expect(run.head.tiers.find(({ tier }) => tier === 'disk')?.budget_bytes).toBe(2 ** 30)
    expect(String(run.plan)).toMatch(new RegExp(`^disk {4}[\\d.]+\\sKiB a rank of 1\\.00\\sGiB, in ${folder}(;|$)`, 'm'))
    await device.close()
    expect(filesInFolder()).toBe(0)
    expect(readdirSync(folder)).toEqual([])
  })

  it('is not limited unless told, and says where it lies', async () => {
    const device = await Device.cpu(memory)
    expect(device.description.budgets.disk).toBeNull()
    const run = await device.train(model, options)
    expect(run.head.tiers.find(({ tier }) => tier === 'disk')?.budget_bytes).toBeNull()
    expect(String(run.plan)).toMatch(/^disk {4}[\d.]+\sKiB a rank, in \//m)
    await device.close()
  })

  it('that is too small is refused before anything is allocated, with the op of the peak; it limits the longest sequence too', async () => {
    const device = await Device.cpu({ ...memory, disk: '64 KiB', diskFolder: folder })
    await expect(device.train(model, options)).rejects.toMatchObject({
      code: 'out_of_memory',
      message: expect.stringMatching(/^the disk tier needs \d+ bytes \([\d.]+\sKiB\) a rank and is given 65536 \(64\.0\sKiB\): most is alive/),
    })
    const { sequence: _, ...sizes } = { ...options, optimizer: adamW() }
    const longest = device.longestSequence(model, sizes)
    expect(device.plan(model, { ...sizes, sequence: longest }).bytes('disk')).toBeLessThanOrEqual(65536)
    expect(() => device.plan(model, { ...sizes, sequence: longest + sizes.chunk })).toThrow(/the disk tier needs/)
    await device.close()
  })

  it('in a folder that cannot be is an error in words', async () => {
    const device = await Device.cpu({ ...memory, diskFolder: join(folder, 'nowhere') })
    await expect(device.train(model, options)).rejects.toMatchObject({
      name: 'FpdtError',
      code: 'disk',
      message: expect.stringContaining(join(folder, 'nowhere')),
    })
    const { loss } = await (await device.train(model, { sequence: 64, chunk: 16 })).step(text) // which needs none
    expect(loss).toBeGreaterThan(0)
    await device.close()
    await expect(Device.cpu({ disk: 'much' })).rejects.toMatchObject({ code: 'config', message: expect.stringMatching(/^disk "much" is not a size/) })
    await expect(Device.cpu({ path: 'avx9' })).rejects.toMatchObject({
      name: 'FpdtError',
      code: 'native',
      message: expect.stringMatching(/^instruction path "avx9"/),
    })
    await expect(Device.cpu({ diskFolder: 3 as never })).rejects.toMatchObject({ code: 'config', message: 'diskFolder 3 is not the path of a folder.' })
  })
})
