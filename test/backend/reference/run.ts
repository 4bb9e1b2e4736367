/**
 * Runs one kernel of the addon by names, on every path and thread count, and compares with a reference. FPDT_TEST_BACKEND=cuda runs the
 * same cases on the CUDA backend: on a GPU, or on the emulator where FPDT_NATIVE names the addon that has it.
 */
import { call, openDevice } from '@fpdt/native'
import fc from 'fast-check'
import { expect } from 'vitest'
import { BACKENDS, type BackendName, workspacesOf } from '../../../kernel/src/plan/workspace.js'
import { type Kernel, kernelSpec } from '../../../kernel/src/schedule/kernels.js'
import type { Memory } from './tensor.js'

export const BACKEND = BACKENDS.find((name) => name === (process.env.FPDT_TEST_BACKEND ?? 'cpu')) as BackendName
if (!BACKEND) throw new Error(`FPDT_TEST_BACKEND is ${process.env.FPDT_TEST_BACKEND}; it must be ${BACKENDS.join(' or ')}`)

/** At most so many random cases of a property, where FPDT_TEST_RUNS says so: an emulated GPU is some thousand times slower than a CPU. Hand-written cases all run. */
const MOST_RUNS = Number(process.env.FPDT_TEST_RUNS ?? Number.POSITIVE_INFINITY)
export const runsOf = (runs: number): number => Math.max(1, Math.min(runs, MOST_RUNS))
fc.configureGlobal({ numRuns: runsOf(100) })

/** The emulator, where FPDT_NATIVE names the addon that is linked with it. */
const emulated = BACKEND === 'cuda' && /emulated\.node$/.test(process.env.FPDT_NATIVE ?? '') ? await import('../../cuda/kernel-checks.js') : undefined
emulated?.checkKernels()

/** Paths that this processor has; a GPU has one. */
export const PATHS =
  BACKEND === 'cuda'
    ? ['cuda']
    : ['scalar', 'avx2', 'avx512bf16'].filter((path) => {
        try {
          openDevice({ backend: 'cpu', threads: 1, path }).close()
          return true
        } catch {
          return false
        }
      })
/** On a GPU, where there are none, the second run shows that the first one's bits were no accident; on an emulated one its blocks and warps go in another order. */
const THREADS = BACKEND === 'cuda' ? [1, 1] : [1, 2, 3]

/** By role; a missing optional operand is left out. */
export type Operands = Readonly<Record<string, Memory>>
export interface RunOptions {
  readonly path?: string
  readonly threads?: number
  readonly rank?: number
  /** rate, 1 - beta1^t, 1 - beta2^t, 1 / valid labels */
  readonly step?: readonly [number, number, number, number]
}

export function parametersOf(kernel: Kernel, numbers: Readonly<Record<string, number>>): number[] {
  return kernelSpec(kernel).parameterNames.map((name) => {
    const value = numbers[name]
    if (value === undefined) throw new Error(`${kernel} needs the number ${name}`)
    return value
  })
}

/** Runs the kernel on copies of the operands, which it returns, with exactly the workspace of the plan. */
export function run<O extends Operands>(kernel: Kernel, numbers: Readonly<Record<string, number>>, operands: O, options: RunOptions = {}): O {
  const { path, threads = 2, rank = 0, step = [0, 1, 1, 1] } = options
  const parameters = parametersOf(kernel, numbers)
  const copies = Object.fromEntries(Object.entries(operands).map(([role, memory]) => [role, memory.slice()])) as unknown as O
  const ordered = kernelSpec(kernel).operands.map(({ role }) => copies[role] ?? null)
  call(kernelSpec(kernel).code, Float64Array.from(parameters), ordered, workspacesOf({ backend: BACKEND, threads })(kernel, parameters), {
    ...(BACKEND === 'cuda' ? { backend: BACKEND } : { threads, ...(path === undefined ? {} : { path }) }),
    rank,
    step: Float64Array.from(step),
  })
  return copies
}

/** `run` with 1, 2 and 3 threads, on a GPU twice: all operands must end with the same bits, which it returns. */
export function runOnThreads<O extends Operands>(kernel: Kernel, numbers: Readonly<Record<string, number>>, operands: O, options: RunOptions = {}): O {
  const again = (i: number, act: () => O): O => (emulated && i > 0 ? emulated.inAnotherOrder(act) : act())
  const [one, ...others] = THREADS.map((threads, i) => again(i, () => run(kernel, numbers, operands, { ...options, threads })))
  for (const other of others)
    for (const role of Object.keys(operands))
      expect(bits(other[role] as Memory).equals(bits((one as O)[role] as Memory)), `${role} has the same bits on any number of threads, and again`).toBe(true)
  return one as O
}
export function bits(memory: ArrayBufferView): Buffer {
  return Buffer.from(memory.buffer, memory.byteOffset, memory.byteLength)
}

/** Every element within its own bound; the message names the worst one. */
export function expectWithin(what: string, actual: ArrayLike<number>, expected: ArrayLike<number>, bound: (index: number) => number): void {
  expect(actual.length, `${what} has as many elements`).toBe(expected.length)
  let worst = -1
  let excess = 0
  for (let i = 0; i < expected.length; i++) {
    const distance = Math.abs((actual[i] as number) - (expected[i] as number)) / Math.max(bound(i), Number.MIN_VALUE)
    if (!(distance <= Math.max(1, excess))) {
      worst = i
      excess = Number.isNaN(distance) ? Infinity : distance
    }
  }
  if (worst >= 0) expect.fail(`${what}[${worst}] = ${actual[worst]} instead of ${expected[worst]}, ${excess.toFixed(2)} times its bound of ${bound(worst)}`)
}
