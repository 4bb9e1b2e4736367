/** Plans say which attention runs on tensor cores, and the addon chooses: both mean the same head sizes and dtypes. */
import './emulated.js'
import { beforeEach, expect, it } from 'vitest'
import { onTensorCores } from '../../kernel/src/plan/cuda-attention.js'
import { poison, random } from '../backend/reference/tensor.js'
import { emulator } from './emulated.js'

process.env.FPDT_TEST_BACKEND = 'cuda'
const { run } = await import('../backend/reference/run.js')

beforeEach(() => {
  emulator.reset()
  emulator.configure({ seed: 0, policy: null, driver: 13000, devices: 1, checks: [], resident_blocks: 1 })
})

/** Names of the kernels that one call launches. */
function launched(dtype: 'bf16' | 'f32', headSize: number): string[] {
  const [rows, heads] = [4, 1]
  const [q, k, v, dO] = [1, 2, 3, 4].map((seed) => random(seed, rows * headSize, dtype))
  const [dq, dk, dv] = [0, 0, 0].map(() => poison(rows * headSize, 'f32'))
  const [lse, delta] = [new Float32Array(rows), new Float32Array(rows)]
  const sizes = { rows, columns: rows, heads, kvHeads: heads, headSize, qStart: 0, kvStart: 0 }
  const bf16 = dtype === 'bf16' ? 1 : 0
  run('attendBackward', { ...sizes, bf16, firstQ: 1, firstKv: 1 }, { dq, dk, dv, q, k, v, dO, lse, delta } as never)
  return Object.keys(emulator.report().launches).filter((name) => /attend|gradient/.test(name))
}

it.each([16, 24, 32, 40, 60, 64, 72, 80, 96, 104, 120, 127, 128, 136, 192])('heads of %i', (headSize) => {
  for (const dtype of ['bf16', 'f32'] as const) {
    const names = launched(dtype, headSize)
    expect(names.length).toBeGreaterThan(0)
    expect(
      names.some((name) => name.includes('attend_backward_kernel')),
      `${dtype}: ${names.join(', ')}`,
    ).toBe(onTensorCores(dtype, headSize))
    emulator.reset()
  }
})
