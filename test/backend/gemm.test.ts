import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Matrix, product } from './reference/gemm.js'
import { expectWithin, type Operands, PATHS, run, runOnThreads, runsOf } from './reference/run.js'
import { type ComputeDtype, flagOf, numbers, poison, random, tensor, UNIT } from './reference/tensor.js'

interface Case {
  readonly rows: number
  readonly outputs: number
  readonly inputs: number
  readonly dtype: ComputeDtype
  readonly seed: number
}
// Tiles are 256 x 256 with panels 256 deep: on, below and beyond their edges, and a vocabulary's shape in small.
const EDGES: readonly (readonly [rows: number, outputs: number, inputs: number])[] = [
  [1, 1, 1],
  [257, 300, 40],
  [64, 513, 256],
  [70, 80, 600],
  [300, 1100, 33],
  [40, 2051, 64],
]
const CASES: Case[] = EDGES.flatMap(([rows, outputs, inputs], seed) => (['bf16', 'f32'] as const).map((dtype) => ({ rows, outputs, inputs, dtype, seed })))
const sizes = fc.record<Case>({
  rows: fc.integer({ min: 1, max: 90 }),
  outputs: fc.integer({ min: 1, max: 90 }),
  inputs: fc.integer({ min: 1, max: 90 }),
  dtype: fc.constantFrom('bf16' as const, 'f32' as const),
  seed: fc.integer({ min: 0, max: 1000 }),
})
const name = ({ rows, outputs, inputs, dtype }: Case): string => `${rows} x ${outputs} x ${inputs} ${dtype}`

// A sum of n products in f32, in any order, is off by at most n roundings of Σ|a b|; then one rounding to the output's dtype.
const within = (what: string, actual: Float64Array, reference: { sum: Float64Array; magnitude: Float64Array }, depth: number, out: ComputeDtype): void =>
  expectWithin(
    what,
    actual,
    reference.sum,
    (i) => (depth + 2) * UNIT.f32 * (reference.magnitude[i] as number) + UNIT[out] * Math.abs(reference.sum[i] as number),
  )

function checkProject({ rows, outputs, inputs, dtype, seed }: Case, path: string): void {
  const a = random(seed, rows * inputs, dtype)
  const weight = random(seed + 1, outputs * inputs, dtype)
  const bias = random(seed + 3, outputs, dtype)
  const everyRow = numbers(bias)
  const biases = Float64Array.from({ length: rows * outputs }, (_, i) => everyRow[i % outputs] as number)
  const matrices: [Matrix, Matrix] = [
    { values: numbers(a), stride: inputs },
    { values: numbers(weight), stride: inputs, transposed: true },
  ]
  const outs = dtype === 'bf16' ? (['bf16', 'f32'] as const) : (['f32'] as const)
  for (const out of outs) {
    const residual = random(seed + 2, rows * outputs, out)
    const shape = { rows, outputs, inputs, outF32: out === 'f32' ? 1 : 0, bf16: flagOf(dtype) }
    const check = (what: string, given: Operands, ...added: Float64Array[]): void => {
      const result = runOnThreads('project', shape, { out: poison(rows * outputs, out), a, weight, ...given }, { path })
      within(what, numbers(result.out), product(rows, outputs, inputs, ...matrices, ...added), inputs, out)
    }
    check('out', {})
    check('out with residual', { residual }, numbers(residual))
    check('out with bias', { bias }, biases)
    check('out with both', { residual, bias }, numbers(residual), biases)
  }
}

/** dout with `extra` elements after each row that must not be read as part of it. */
function gradient({ rows, outputs, dtype, seed }: Case, stride: number): { memory: Uint16Array | Float32Array; values: Float64Array } {
  const memory = random(seed + 3, rows * stride, dtype)
  for (let i = 0; i < rows; i++) memory.fill(dtype === 'bf16' ? 0xffff : Number.NaN, i * stride + outputs, (i + 1) * stride)
  return { memory, values: numbers(memory) }
}

function checkProjectBackward(c: Case, path: string): void {
  const { rows, outputs, inputs, dtype, seed } = c
  const weight = random(seed, outputs * inputs, dtype)
  for (const doutStride of dtype === 'bf16' ? [outputs, 2 * outputs] : [outputs]) {
    const dout = gradient(c, doutStride)
    const result = runOnThreads(
      'projectBackward',
      { rows, outputs, inputs, doutStride, bf16: flagOf(dtype) },
      { da: poison(rows * inputs, dtype), dout: dout.memory, weight },
      { path },
    )
    const reference = product(rows, inputs, outputs, { values: dout.values, stride: doutStride }, { values: numbers(weight), stride: inputs })
    within('da', numbers(result.da), reference, outputs, dtype)
  }
}

function checkWeightGradient(c: Case, path: string): void {
  const { rows, outputs, inputs, dtype, seed } = c
  const a = random(seed, rows * inputs, dtype)
  const before = random(seed + 1, outputs * inputs, 'f32')
  for (const doutStride of dtype === 'bf16' ? [outputs, 2 * outputs] : [outputs]) {
    const dout = gradient(c, doutStride)
    const matrices: [Matrix, Matrix] = [
      { values: dout.values, stride: doutStride, transposed: true },
      { values: numbers(a), stride: inputs },
    ]
    const shape = { rows, outputs, inputs, doutStride, bf16: flagOf(dtype) }
    const written = runOnThreads('weightGradient', { ...shape, first: 1 }, { dweight: poison(outputs * inputs, 'f32'), dout: dout.memory, a }, { path })
    within('dweight, first', numbers(written.dweight), product(outputs, inputs, rows, ...matrices), rows, 'f32')
    const added = runOnThreads('weightGradient', { ...shape, first: 0 }, { dweight: before, dout: dout.memory, a }, { path })
    within('dweight', numbers(added.dweight), product(outputs, inputs, rows, ...matrices, numbers(before)), rows, 'f32')
  }
}

function checkBiasGradient({ rows, outputs, dtype, seed }: Case, path: string): void {
  const dout = random(seed, rows * outputs, dtype)
  const before = random(seed + 1, outputs, 'f32')
  for (const first of [1, 0]) {
    const operands = { dbias: first ? poison(outputs, 'f32') : before, dout }
    const { dbias } = runOnThreads('biasGradient', { rows, outputs, first, bf16: flagOf(dtype) }, operands, { path })
    const ones: Matrix = { values: new Float64Array(rows).fill(1), stride: rows }
    const gradients: Matrix = { values: numbers(dout), stride: outputs }
    const reference = product(1, outputs, rows, ones, gradients, ...(first ? [] : [numbers(before)]))
    within('dbias', numbers(dbias), reference, Math.min(rows, 64), 'f32') // 64 rows in f32, the rest in f64
  }
}

describe.each(PATHS)('gemm on %s', (path) => {
  it.each(CASES.map((c) => [name(c), c] as const))('projects, with and without a residual and a bias: %s', (_, c) => checkProject(c, path))
  it.each(CASES.map((c) => [name(c), c] as const))('takes a projection back, rows of dout apart: %s', (_, c) => checkProjectBackward(c, path))
  it.each(CASES.map((c) => [name(c), c] as const))('writes and adds gradients of weights: %s', (_, c) => checkWeightGradient(c, path))
  it.each(CASES.map((c) => [name(c), c] as const))('writes and adds gradients of biases: %s', (_, c) => checkBiasGradient(c, path))
  it('adds the gradient of a bias over 30,000 rows as exactly as over 64', () => {
    for (const dtype of ['bf16', 'f32'] as const) checkBiasGradient({ rows: 30_001, outputs: 21, inputs: 1, dtype, seed: 9 }, path)
  })
  it('does all four for any small sizes', () => {
    fc.assert(
      fc.property(sizes, (c) => {
        checkProject(c, path)
        checkProjectBackward(c, path)
        checkWeightGradient(c, path)
        checkBiasGradient(c, path)
      }),
      { numRuns: runsOf(25) },
    )
  })
  it('splits a long sum: 30 rows back through a vocabulary of 9001', () => {
    checkProjectBackward({ rows: 30, outputs: 9001, inputs: 24, dtype: 'bf16', seed: 5 }, path)
  })
  it('rounds residual + product + bias once', () => {
    // 256 + 1 + 2^-9 lies just above the middle of 256 and 258. The product alone would round to 1, and 257 then to the even 256.
    const one = { rows: 1, outputs: 1, inputs: 2, outF32: 0, bf16: 1 }
    const a = tensor([1, 2 ** -9], 'bf16')
    const weight = tensor([1, 1], 'bf16')
    const residual = tensor([256], 'bf16')
    expect([...numbers(run('project', one, { out: poison(1, 'bf16'), a, weight, residual }, { path }).out)]).toEqual([258])
    const [whole, rest] = [tensor([1, 0], 'bf16'), tensor([2 ** -9], 'bf16')]
    expect([...numbers(run('project', one, { out: poison(1, 'bf16'), a: whole, weight, residual, bias: rest }, { path }).out)]).toEqual([258])
  })
})
