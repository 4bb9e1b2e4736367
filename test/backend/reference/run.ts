/** Runs one kernel of the addon by names, on every path and thread count, and compares with a reference. */
import { call, openDevice } from '@fpdt/native'
import { expect } from 'vitest'
import { cpuWorkspaceBytes } from '../../../kernel/src/plan/cpu-workspace.js'
import { type Kernel, kernelSpec } from '../../../kernel/src/schedule/kernels.js'
import type { Memory } from './tensor.js'

/** Paths that this processor has. */
export const PATHS = ['scalar', 'avx2', 'avx512bf16'].filter((path) => {
  try {
    openDevice({ backend: 'cpu', threads: 1, path }).close()
    return true
  } catch {
    return false
  }
})
const THREADS = [1, 2, 3]

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
  call(kernelSpec(kernel).code, Float64Array.from(parameters), ordered, cpuWorkspaceBytes(kernel, parameters, threads), {
    threads,
    rank,
    step: Float64Array.from(step),
    ...(path === undefined ? {} : { path }),
  })
  return copies
}

/** `run` with 1, 2 and 3 threads: all operands must end with the same bits, which it returns. */
export function runOnThreads<O extends Operands>(kernel: Kernel, numbers: Readonly<Record<string, number>>, operands: O, options: RunOptions = {}): O {
  const [one, ...others] = THREADS.map((threads) => run(kernel, numbers, operands, { ...options, threads }))
  for (const other of others)
    for (const role of Object.keys(operands))
      expect(bits(other[role] as Memory).equals(bits((one as O)[role] as Memory)), `${role} has the same bits on any number of threads`).toBe(true)
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
