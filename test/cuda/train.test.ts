/** `fpdt train` on emulated GPUs: what it trains, what it refuses, and that a run goes on where the other backend left it. */
import './emulated.js'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { main } from '../../kernel/src/cli/main.js'
import { randomTokens } from '../step/harness.js'
import { emulator } from './emulated.js'

const folder = mkdtempSync(join(tmpdir(), 'fpdt-cuda-train-'))
afterAll(() => rmSync(folder, { recursive: true }))

const GPUS = { driver: 13000, devices: [{ name: 'A' }, { name: 'B' }] }
const CPU = { memory: '256 MiB', host: '256 MiB', threads: 2 }
const CUDA = { backend: 'cuda', devices: [0, 1], memory: '64 MiB', host: '64 MiB' }
const VOCABULARY = 97
const TRAINING = { sequence: 29, chunk: 16, ranks: 2, dtype: 'f32', optimizer: { rate: 3e-3, warmup: 2 } }

beforeEach(() => {
  emulator.reset()
  emulator.configure({ seed: 0, policy: null, checks: [], ...GPUS })
  writeFileSync(join(folder, 'tokens.bin'), randomTokens(1000, VOCABULARY, 2))
})

async function train(more: object, args: readonly string[] = []): Promise<{ code: number; out: string; err: string }> {
  const config = {
    model: { family: 'llama', layers: 1, width: 32, heads: 4, kvHeads: 2, headSize: 16, feedForward: 40, vocab: VOCABULARY },
    text: { file: 'tokens.bin', dtype: 'uint32' },
    ...TRAINING,
    ...more,
  }
  writeFileSync(join(folder, 'run.json'), JSON.stringify(config))
  const said = { out: '', err: '' }
  const into = (key: 'out' | 'err', end: string) => (text: unknown) => {
    said[key] += `${text}${end}`
    return true
  }
  vi.spyOn(console, 'log').mockImplementation(into('out', '\n'))
  vi.spyOn(console, 'error').mockImplementation(into('err', '\n'))
  vi.spyOn(process.stdout, 'write').mockImplementation(into('out', ''))
  vi.spyOn(process.stderr, 'write').mockImplementation(into('err', ''))
  try {
    return { code: await main(['train', join(folder, 'run.json'), ...args]), ...said }
  } finally {
    vi.restoreAllMocks()
  }
}
interface Line {
  readonly step: number
  readonly backend: string
  readonly device: string
  readonly loss: number
  readonly gradient_norm: number
}
async function steps(more: object, args: readonly string[] = []): Promise<Line[]> {
  const { code, out, err } = await train(more, ['--json', ...args])
  expect([code, out === ''], err).toEqual([0, false])
  return out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
}

describe('fpdt train on GPUs', { timeout: 300_000 }, () => {
  it('trains as on the CPU, up to rounding, goes on from a checkpoint of either on the other, and says which GPUs train and what is slow on them', async () => {
    const whole = await steps({ steps: 3, device: CPU })
    const checkpoint = { folder: 'saved' }
    const begun = await steps({ steps: 1, device: CUDA, checkpoint })
    const resumed = await steps({ steps: 2, device: CPU, checkpoint }, ['--resume'])
    const found = [...begun, ...resumed]
    expect(found.map(({ step, backend }) => [step, backend])).toEqual([
      [1, 'cuda'],
      [2, 'cpu'],
    ])
    expect(begun[0]?.device).toBe('A, B (sm_80)')
    const { code, out, err } = await train({ steps: 3, device: { ...CUDA, devices: 1 }, checkpoint }, ['--resume'])
    expect([code, err]).toEqual([0, ''])
    expect(out).toMatch(
      /: goes on after step 2, on B \(sm_80\)\nnote: attention in f32 with heads of 16 takes the general kernel, .* dtype 'bf16' and a model with heads of /,
    )
    // f32: sums in another order, through three updates. Steps differ by 3e-4 and more, so none is taken for another.
    for (const [i, { loss, gradient_norm }] of found.entries()) {
      const expected = whole[i] as Line
      expect(Math.abs(loss / expected.loss - 1)).toBeLessThan(1e-5)
      expect(Math.abs(gradient_norm / expected.gradient_norm - 1)).toBeLessThan(1e-4)
    }
    const last = Number(/^step 3 of 3: loss (\d\.\d{4}), /m.exec(out)?.[1])
    expect(Math.abs(last - (whole[2] as Line).loss)).toBeLessThan(1e-4) // printed with four decimals
    for (const i of [1, 2]) expect(Math.abs((whole[i] as Line).loss - (whole[i - 1] as Line).loss)).toBeGreaterThan(3e-4)
  })

  it('has a rank on each GPU where ranks are not given, as fpdt plan --gpus', async () => {
    emulator.configure({ ...GPUS, devices: [...GPUS.devices, { name: 'C' }] })
    const { code, out, err } = await train({ device: CUDA, ranks: undefined })
    expect([code, err]).toEqual([0, ''])
    expect(out).toMatch(/ · 2 ranks; .* a rank; on A, B \(sm_80\)\n/)
    expect(await train({ device: { ...CUDA, devices: [0, 1, 2] }, ranks: undefined })).toEqual({
      code: 3,
      out: '',
      err: expect.stringMatching(/^fpdt train: run\.json:1:\d+: devices are 3 GPUs, .*give ranks 1 or 2 or 4, /),
    })
  })

  it.each([
    [{ ...CUDA, devices: [0, 2] }, GPUS, 1, /^fpdt train: run\.json:1:\d+: there is no GPU 2; there are 0 \(A\), 1 \(B\)\.\n$/],
    [{ ...CUDA, devices: [0, 0] }, GPUS, 1, /^fpdt train: run\.json:1:\d+: GPU 0 is named twice; /],
    [{ ...CUDA, devices: -1 }, GPUS, 1, /^fpdt train: run\.json:1:\d+: devices -1 is not a GPU's number; /],
    [{ ...CUDA, devices: [] }, GPUS, 1, /^fpdt train: run\.json:1:\d+: .* names no GPU; /],
    [{ ...CUDA, memory: '1 KiB' }, GPUS, 3, /^fpdt train: the device tier needs .* and is given 1024 /],
    [CUDA, { driver: 0 }, 1, /^fpdt train: run\.json:1:\d+: no GPU can be used: No NVIDIA driver was found: /],
  ])('%j of %j: exit code %i', async (device, configure, code, message) => {
    emulator.configure(configure)
    expect(await train({ device })).toEqual({ code, out: '', err: expect.stringMatching(message) })
  })
})
