/** `Device.cuda` and `Device.list` of a notebook, on emulated GPUs: what is chosen, budgeted, refused in words and closed. */
import './emulated.js'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { measureGemm } from '../../kernel/src/cost/machine.js'
import { Device } from '../../kernel/src/fpdt/device.js'
import { llama } from '../../kernel/src/fpdt/index.js'
import { emulator } from './emulated.js'

const MB = 2 ** 20
const coded = (code: string, message: RegExp): unknown => expect.objectContaining({ name: 'FpdtError', code, message: expect.stringMatching(message) })
const MODEL = llama({ layers: 1, width: 32, heads: 2, kvHeads: 1, feedForward: 64, vocab: 50 })

const opened: Device[] = []
const cuda = async (given?: Parameters<typeof Device.cuda>[0]): Promise<Device> => {
  const device = await Device.cuda(given)
  opened.push(device)
  return device
}
beforeEach(() =>
  emulator.configure({
    seed: 0,
    policy: null,
    driver: 13000,
    devices: [
      { name: 'A', memory: 512 * MB },
      { name: 'B', memory: 256 * MB },
    ],
  }),
)
afterEach(async () => {
  await Promise.all(opened.splice(0).map((device) => device.close()))
  emulator.reset()
})

describe('Device.list', () => {
  it('has the CPU and each GPU, and says why one cannot be used', () => {
    emulator.configure({
      devices: [
        { name: 'Old', major: 7, minor: 5 },
        { name: 'New', major: 9, minor: 0 },
      ],
    })
    expect(Device.list()).toMatchObject([
      { backend: 'cpu', index: null, usable: true, reason: '' },
      { backend: 'cuda', index: 0, name: 'Old', path: 'sm_75', usable: false, reason: expect.stringMatching(/begin at 8\.0/) },
      { backend: 'cuda', index: 1, name: 'New', path: 'sm_90', usable: true, reason: '' },
    ])
  })
  it('answers without a driver', () => {
    emulator.configure({ driver: 0 })
    expect(Device.list()).toMatchObject([
      { backend: 'cpu' },
      { backend: 'cuda', index: null, usable: false, reason: expect.stringMatching(/^No NVIDIA driver/) },
    ])
  })
})

describe('Device.cuda', () => {
  it('takes the first GPU that can be used, and budgets 80 % of what is free there', async () => {
    emulator.configure({
      devices: [
        { name: 'Old', major: 7, minor: 5 },
        { name: 'A', memory: 512 * MB },
      ],
    })
    const { description, native } = await cuda()
    expect(description).toMatchObject({ backend: 'cuda', name: 'A', path: 'sm_80', shared: false })
    expect(description.budgets.device).toBe(Math.floor(0.8 * native.info().freeBytes))
    expect(description.budgets.device).toBeLessThanOrEqual(0.8 * 512 * MB)
    expect(description.budgets.device).toBeGreaterThan(0.5 * 512 * MB)
  })
  it('takes several, with the memory of the smallest', async () => {
    const { description } = await cuda([0, 1])
    expect(description.name).toBe('A, B')
    expect(description.budgets.device).toBeLessThanOrEqual(0.8 * 256 * MB)
  })
  it('closes who had a GPU, and nobody else', async () => {
    const [first, second] = [await cuda(0), await cuda(1)]
    const again = await cuda({ devices: 0, memory: '100 MB' })
    expect(() => first.machine).toThrow(coded('closed', /await Device\.cuda/))
    expect(second.machine.backend).toBe('cuda')
    expect(again.budgets.device).toBe(100e6)
  })
  it('refuses in words what there is not', async () => {
    await expect(Device.cuda(2)).rejects.toEqual(coded('config', /^there is no GPU 2; there are 0 \(A\), 1 \(B\)\.$/))
    await expect(Device.cuda([0, 0])).rejects.toEqual(coded('config', /named twice/))
    await expect(Device.cuda([])).rejects.toEqual(coded('config', /names no GPU/))
    for (const wrong of [-1, 1.5, Number.NaN, ['0'], { devices: '0,1' }, { devices: null }, { devices: {} }])
      await expect(Device.cuda(wrong as number)).rejects.toEqual(coded('config', /^devices .* is not a GPU's number; write 0, or \[0, 1\]/))
    await expect(Device.cuda('cuda:0' as never)).rejects.toEqual(coded('config', /takes a GPU's number.* got "cuda:0"\.$/))
    await expect(Device.cuda({ threads: 2 } as object)).rejects.toEqual(coded('config', /threads.*is not known/))
    emulator.configure({ driver: 0 })
    await expect(Device.cuda()).rejects.toEqual(coded('native', /no GPU can be used: No NVIDIA driver/))
  })
  it('plans with the workspaces of CUDA, and refuses ranks that do not fit one GPU together', async () => {
    const device = await cuda(1)
    expect(device.machine).toMatchObject({ backend: 'cuda', gpus: { count: 1, memoryBytes: 256 * MB } })
    expect(device.longestSequence(MODEL, { chunk: 32, ranks: 2 })).toBeGreaterThan(64)
    const large = llama({ layers: 2, width: 512, heads: 8, kvHeads: 8, feedForward: 1024, vocab: 2000 })
    const options = { sequence: 64, chunk: 32, ranks: 2 }
    const one = device.plan(large, { ...options, ranks: 1 })
    expect(one).toBeDefined()
    // Each of four ranks within its budget, all four not on the one GPU.
    const told = (): unknown => device.plan(llama({ layers: 4, width: 768, heads: 8, kvHeads: 8, feedForward: 2048, vocab: 8000 }), { ...options, ranks: 4 })
    expect(told).toThrow(coded('out_of_memory', /^4 ranks with .* are on one GPU, which had .* free of 256\sMiB\. /))
  })
  it('measures the rate of its products', async () => {
    const rate = measureGemm((await cuda(0)).native, 'bf16')
    expect(rate).toBeGreaterThan(0)
    expect(rate).toBeLessThan(1e16)
  })
})
