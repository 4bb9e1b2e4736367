/**
 * Which cuBLASLt is taken, and what is done where it fails: one of another version, one that does not start and one without algorithms are made here; the
 * emulator's, which the process has, is made to fail first.
 */

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { product } from '../backend/reference/gemm.js'
import { numbers, poison, random, UNIT } from '../backend/reference/tensor.js'
import { emulator } from './emulated.js'

process.env.FPDT_TEST_BACKEND = 'cuda'
const { expectWithin, run } = await import('../backend/reference/run.js')

const OTHERS = [
  'Destroy',
  'MatmulDescCreate',
  'MatmulDescDestroy',
  'MatmulDescSetAttribute',
  'MatrixLayoutCreate',
  'MatrixLayoutDestroy',
  'MatmulPreferenceCreate',
].concat('MatmulPreferenceDestroy', 'MatmulPreferenceSetAttribute', 'Matmul')
/** Succeeds in everything but what is said, and finds no algorithm. */
const source = (version: number, created: number): string => `
#include <cstddef>
extern "C" {
size_t cublasLtGetVersion() { return ${version}; }
const char* cublasLtGetStatusString(int) { return "as planted"; }
int cublasLtCreate(void**) { return ${created}; }
int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int, void*, int* found) { return *found = 0; }
${OTHERS.map((name) => `int cublasLt${name}() { return 0; }`).join('\n')}
}`

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'fpdt-cublaslt-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))
beforeEach(() => {
  emulator.reset()
  emulator.configure({ seed: 0, policy: null, driver: 13000, devices: 1 })
  emulator.plant({ call: 'cublasLtCreate', nth: 1, what: 'fail' })
})

function name(file: string, version: number, created: number): void {
  process.env.FPDT_CUBLASLT = join(folder, file)
  const { status, stderr } = spawnSync(process.env.CXX ?? 'c++', ['-shared', '-fPIC', '-x', 'c++', '-', '-o', process.env.FPDT_CUBLASLT], {
    input: source(version, created),
    encoding: 'utf8',
  })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
}

function project(rows: number, outputs: number, inputs: number): void {
  const [a, weight] = [random(1, rows * inputs, 'bf16'), random(2, outputs * inputs, 'bf16')]
  const { out } = run('project', { rows, outputs, inputs, outF32: 0, bf16: 1 }, { out: poison(rows * outputs, 'bf16'), a, weight })
  const { sum, magnitude } = product(
    rows,
    outputs,
    inputs,
    { values: numbers(a), stride: inputs },
    { values: numbers(weight), stride: inputs, transposed: true },
  )
  const [rounded, summed] = [UNIT.bf16, (inputs + 2) * UNIT.f32]
  expectWithin('out', numbers(out), sum, (i) => summed * (magnitude[i] as number) + rounded * Math.abs(sum[i] as number))
}
const refused = (message: RegExp): unknown => expect.objectContaining({ code: 'native', message: expect.stringMatching(message) })

// In this order: what has been loaded stays.
describe('cuBLASLt', () => {
  it('of another version is refused, with what else was tried', () => {
    name('old.so', 110_800, 0)
    const project8 = () => project(8, 8, 8)
    expect(project8).toThrow(
      refused(/the process: it is cuBLASLt 13\.0\.2, which does not start \(CUBLAS_STATUS_NOT_INITIALIZED\); the driver has CUDA 13\.0\n/),
    )
    emulator.plant({ call: 'cublasLtCreate', nth: 1, what: 'fail' })
    expect(project8).toThrow(refused(/old\.so: it is cuBLASLt 11\.8\.0; 12 and 13 can be used/))
  })
  it('that does not start is refused, with its version and the driver of this machine', () => {
    emulator.configure({ driver: 13010 })
    name('broken.so', 120_804, 1)
    expect(() => project(8, 8, 8)).toThrow(refused(/broken\.so: it is cuBLASLt 12\.8\.4, which does not start \(as planted\); the driver has CUDA 13\.1/))
  })
  it('without an algorithm for what tensor cores take is an error, every time; for odd shapes our own kernel is taken', () => {
    name('empty.so', 120_804, 0)
    for (let i = 0; i < 2; i++)
      expect(() => project(8, 16, 24)).toThrow(refused(/empty\.so, version 120804\) has no algorithm for the product 8 x 16 x 24 in bf16/))
    for (const [rows, outputs, inputs] of [
      [7, 8, 8],
      [8, 9, 8],
      [8, 8, 15],
    ] as const)
      project(rows, outputs, inputs)
    expect(emulator.report().calls.cublasLtMatmul ?? 0, 'products that went to the library of the process').toBe(0)
  })
})
