/** What the plan reserves for a kernel is what the kernel lays out: a byte less and it refuses. */
import { call } from '@fpdt/native'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { workspacesOf } from '../../kernel/src/plan/workspace.js'
import { type Kernel, kernelSpec } from '../../kernel/src/schedule/kernels.js'
import { BACKEND, PATHS, parametersOf, runsOf } from './reference/run.js'

const extent = (max: number) => fc.integer({ min: 1, max })
// Beyond one tile and one panel of a GEMM in every direction, within what a test may take of memory.
const gemm = fc.oneof(
  fc.record({ rows: extent(300), outputs: extent(300), inputs: extent(300) }),
  fc.record({ rows: extent(20), outputs: extent(6000), inputs: extent(20) }),
  fc.record({ rows: extent(20), outputs: extent(20), inputs: extent(6000) }),
  fc.record({ rows: extent(6000), outputs: extent(20), inputs: extent(20) }),
)
type Numbers = Readonly<Record<string, number>>
interface Shape {
  readonly numbers: Numbers
  /** Bytes of each operand; null for one that is not given. */
  readonly operands: readonly (number | null)[]
}

const SHAPES: { readonly [K in Kernel]?: fc.Arbitrary<Shape> } = {
  project: gemm.map((g) => ({
    numbers: { ...g, outF32: 0, bf16: 1 },
    operands: [2 * g.rows * g.outputs, 2 * g.rows * g.inputs, 2 * g.outputs * g.inputs, null, null],
  })),
  projectBackward: gemm.map((g) => ({
    numbers: { ...g, doutStride: g.outputs, bf16: 1 },
    operands: [2 * g.rows * g.inputs, 2 * g.rows * g.outputs, 2 * g.outputs * g.inputs],
  })),
  weightGradient: gemm.map((g) => ({
    numbers: { ...g, doutStride: g.outputs, first: 1, bf16: 0 },
    operands: [4 * g.outputs * g.inputs, 4 * g.rows * g.outputs, 4 * g.rows * g.inputs],
  })),
  normBackward: fc.record({ rows: extent(3000), width: extent(40) }).map(({ rows, width }) => ({
    numbers: { rows, width, eps: 1e-5, first: 1, hiddenF32: 1, bf16: 0 },
    operands: [4 * rows * width, 4 * width, 4 * rows * width, 4 * rows * width, 4 * width, null],
  })),
  layerNormBackward: fc.record({ rows: extent(3000), width: extent(40) }).map(({ rows, width }) => ({
    numbers: { rows, width, eps: 1e-5, first: 1, hiddenF32: 1, bf16: 0 },
    operands: [4 * rows * width, 4 * width, 4 * width, 4 * rows * width, 4 * rows * width, 4 * width, null],
  })),
  biasGradient: fc.record({ rows: extent(3000), outputs: extent(40) }).map(({ rows, outputs }) => ({
    numbers: { rows, outputs, first: 1, bf16: 0 },
    operands: [4 * outputs, 4 * rows * outputs],
  })),
  crossEntropy: fc.record({ rows: extent(300), vocabulary: extent(40) }).map(({ rows, vocabulary }) => ({
    numbers: { rows, vocabulary, first: 1, bf16: 1 },
    operands: [4 * rows * vocabulary, 8, 4 * rows],
  })),
  // The CPU needs none.
  ...(BACKEND === 'cuda' && {
    embedBackward: fc.record({ rows: extent(3000), width: extent(8), vocabulary: extent(700) }).map(({ rows, width, vocabulary }) => ({
      numbers: { rows, width, vocabulary, first: 1, bf16: 0 },
      operands: [4 * vocabulary * width, 4 * rows * width, 4 * rows],
    })),
  }),
  squaredNorm: extent(200_000).map((count) => ({ numbers: { count, first: 1 }, operands: [8, 4 * count] })),
}

function attempt(kernel: Kernel, shape: Shape, threads: number, path: string | undefined, missing: number): void {
  const parameters = parametersOf(kernel, shape.numbers)
  const operands = shape.operands.map((bytes) => (bytes === null ? null : new Uint8Array(bytes)))
  const workspace = workspacesOf({ backend: BACKEND, threads })(kernel, parameters)
  call(
    kernelSpec(kernel).code,
    Float64Array.from(parameters),
    operands,
    workspace - missing,
    BACKEND === 'cuda' ? { backend: BACKEND } : { threads, ...(path ? { path } : {}) },
  )
}

describe('workspace', () => {
  it.each(Object.keys(SHAPES) as Kernel[])('of %s is enough on every path, and a byte less is refused', (kernel) => {
    fc.assert(
      fc.property(SHAPES[kernel] as fc.Arbitrary<Shape>, fc.integer({ min: 1, max: 3 }), fc.constantFrom(...PATHS), (shape, threads, path) => {
        attempt(kernel, shape, threads, path, 0)
        expect(() => attempt(kernel, shape, threads, path, 1)).toThrow(/workspace of \d+ bytes/)
      }),
      { numRuns: runsOf(25) },
    )
  })
  it('does not grow with the sequence where a chunk does not, nor without bound with a vocabulary', () => {
    const head = (rows: number, vocabulary: number): number =>
      workspacesOf({ backend: BACKEND, threads: 2 })(
        'projectBackward',
        parametersOf('projectBackward', { rows, outputs: vocabulary, inputs: 256, doutStride: vocabulary, bf16: 1 }),
      )
    expect(head(256, 500_000)).toBe(head(256, 50_257))
    expect(head(1 << 20, 50_257)).toBeLessThanOrEqual((BACKEND === 'cuda' ? 32 : 8) * 2 ** 20)
  })
})
