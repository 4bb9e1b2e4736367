/** The stand-in for cuBLASLt: products against sums in double, asynchronous, with a workspace that is lost, refusing what the library refuses. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Programs } from './runtime/programs.js'

interface Request {
  readonly m?: number
  readonly n?: number
  readonly k?: number
  readonly [option: string]: number | undefined
}
interface Answer {
  readonly asked: string
  readonly algorithms: number
  /** Bytes of workspace. */
  readonly needs: number
  readonly done: string
  readonly wait: string
  /** The largest error, as part of its bound. */
  readonly error: number
  /** Elements between the columns of the result that changed. */
  readonly padding: number
  /** Bytes of the workspace that changed. */
  readonly scribbled: number
}

const success = 'CUBLAS_STATUS_SUCCESS'
const invalid = 'CUBLAS_STATUS_INVALID_VALUE'
const unsupported = 'CUBLAS_STATUS_NOT_SUPPORTED'

describe('products of cuBLASLt on the emulator', () => {
  let programs: Programs
  let program = ''
  beforeAll(() => {
    programs = new Programs()
    program = programs.build('products.cc', 'products', [])
  })
  afterAll(() => programs?.close())
  const line = (request: Request) => Object.entries({ m: 4, ...request }).map(([name, value]) => `${name}=${value}`)
  const answers = (requests: readonly Request[]) =>
    programs
      .ask(
        program,
        [],
        requests.map((request) => line(request).join(' ')),
      )
      .map((text) => JSON.parse(text) as Answer)
  const one = (request: Request, control: object = {}) => programs.run(program, [], control, line(request).join(' '))

  it('are the sums that they should be, for every type, transposition, padding, alpha, beta and bias', () => {
    const size = fc.integer({ min: 1, max: 70 })
    const flag = fc.integer({ min: 0, max: 1 })
    const request = fc
      .record({
        m: size,
        n: size,
        k: fc.oneof(size, fc.integer({ min: 250, max: 600 })),
        ta: flag,
        tb: flag,
        in_bf16: flag,
        out_bf16: flag,
        pad: fc.integer({ min: 0, max: 3 }),
        alpha: fc.constantFrom(1, -0.5),
        beta: fc.constantFrom(0, 1, 2),
        bias: flag,
        in_place: flag,
        workspace: fc.constantFrom(0, 1 << 16),
      })
      .map((r) => ({ ...r, out_bf16: r.in_bf16 && r.out_bf16 }))
    fc.assert(
      fc.property(fc.array(request, { minLength: 20, maxLength: 20 }), (requests) => {
        answers(requests).forEach((answer, i) => {
          const { m, n, workspace } = requests[i] as (typeof requests)[number]
          expect(answer, JSON.stringify(requests[i])).toMatchObject({ asked: success, algorithms: 1, done: success, wait: 'cudaSuccess', padding: 0 })
          expect(answer.error <= 1, `${JSON.stringify(requests[i])}: ${answer.error}`).toBe(true)
          const needs = 4 * m * n <= workspace ? 4 * m * n : 0
          expect(answer).toMatchObject({ needs, scribbled: needs })
        })
      }),
      { numRuns: 8 },
    )
  })

  it('are refused where they cannot be', () => {
    const [shape, types, algorithm, small, unaligned] = answers([
      { wrong_shape: 1 },
      { out_bf16: 1 },
      { other_algorithm: 1 },
      { workspace: 1024, given: 32 },
      { workspace: 1024, workspace_offset: 16 },
    ])
    expect(shape).toMatchObject({ asked: invalid, algorithms: 0, done: invalid })
    expect(types).toMatchObject({ asked: unsupported, done: unsupported }) // bf16 out of f32
    expect(algorithm).toMatchObject({ asked: success, done: invalid })
    expect(small).toMatchObject({ needs: 64, done: invalid })
    expect(unaligned).toMatchObject({ done: invalid })
  })

  it('that reach past an allocation, or into memory that was freed, lose the device', () => {
    for (const mistake of [{ past_the_end: 1 }, { free_b: 1 }]) {
      const { out, report } = one(mistake)
      expect(out).toMatchObject({ done: success, wait: 'cudaErrorIllegalAddress' })
      expect(report.faults[0]).toMatch(/illegal address: cublasLtMatmul: B .*4 x 4 x 4 on stream/)
    }
  })

  it('lag like other ops, and two of different streams that share a workspace are found', () => {
    for (const seed of [0, 1, 2, 3]) {
      const configure = { seed }
      expect(one({ workspace: 1024 }, { configure }).report).toMatchObject({ unordered: [], calls: { cublasLtMatmul: 1 } })
      const { report } = one({ workspace: 1024, unordered: 1 }, { configure })
      expect(report.unordered.join()).toMatch(/cublasLtMatmul 4 x 4 x 4 on stream \d of device 0 \(writes\) and cublasLtMatmul/)
    }
    const late = one({}, { plant: [{ call: 'cublasLtMatmul', nth: 1, what: 'late' }] })
    expect(late.out.error).toBeGreaterThan(1)
    const dropped = one({}, { plant: [{ call: 'cublasLtMatmul', nth: 1, what: 'drop' }] })
    expect(dropped.out).toMatchObject({ done: success })
    expect(dropped.out.error).toBeGreaterThan(1)
  })

  it('read bytes that nobody wrote only to say so', () => {
    const plant = [{ call: 'cudaMemcpy', nth: 2, what: 'drop' }] // of B
    const { out, report } = one({}, { configure: { checks: ['initialised'] }, plant })
    expect(out.wait).toBe('cudaErrorLaunchFailure')
    expect(report.faults[0]).toContain('of the allocation of B is read and nobody wrote it')
  })
})
