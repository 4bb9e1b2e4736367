/**
 * Products on CUDA: the slice of cuBLASLt that is declared here against NVIDIA's header, and the cases of test/backend on our own kernel, which steps in
 * where cuBLASLt has no algorithm. (On cuBLASLt, or its stand-in, the same cases run as test/backend/gemm.test.ts.)
 */

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { emulator } from './emulated.js'

const here = dirname(fileURLToPath(import.meta.url))
const root = dirname(dirname(here))
const below = (folder: string, name: RegExp): string[] =>
  existsSync(folder)
    ? readdirSync(folder)
        .filter((entry) => name.test(entry))
        .map((entry) => join(folder, entry))
    : []
/** Where a toolkit, or pip, puts headers. */
const TOOLKITS = [
  ...below('/usr/local', /^cuda(-|$)/),
  ...below(join(root, '.venv/lib'), /^python3/).flatMap((python) => below(join(python, 'site-packages/nvidia'), /^(cu\d+|cublas)$/)),
].map((folder) => join(folder, 'include'))
const withFile = (name: string) => [process.env.CUBLAS_INCLUDE ?? '', ...TOOLKITS].find((folder) => folder !== '' && existsSync(join(folder, name)))
const [cublas, runtime] = [withFile('cublasLt.h'), withFile('cuda_runtime_api.h')]

describe('the declarations of cuBLASLt', () => {
  it.skipIf(!cublas || !runtime)('are those of the header that is installed', () => {
    const args = [
      '-std=c++20',
      '-fsyntax-only',
      '-Wno-enum-compare',
      '-isystem',
      cublas as string,
      '-isystem',
      runtime as string,
      join(here, 'cublaslt-header.cc'),
    ]
    const { status, stderr } = spawnSync(process.env.CXX ?? 'c++', args, { encoding: 'utf8' })
    expect(stderr).toBe('')
    expect(status).toBe(0)
  })
})

describe('without cuBLASLt', async () => {
  process.env.FPDT_CUBLASLT = 'none'
  process.env.FPDT_TEST_BACKEND = 'cuda'
  await import('../backend/gemm.test.js')
  afterAll(() => {
    delete process.env.FPDT_CUBLASLT
    expect(emulator.report().calls.cublasLtMatmul ?? 0, 'products that went to cuBLASLt').toBe(0)
  })
})
