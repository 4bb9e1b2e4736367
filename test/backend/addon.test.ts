/** The border between JavaScript and the addon: what it refuses, and how it ends. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { call, openDevice } from '@fpdt/native'
import { afterAll, describe, expect, it } from 'vitest'
import type { Program } from '../../kernel/src/plan/program.js'
import { KERNELS } from '../../kernel/src/schedule/kernels.js'
import { TIERS } from '../../kernel/src/trace/schema.js'
import { backend, collective, copy, device, type Entry, onCuda, onDevice, onHost, program, STEP, withWaits, zero } from './programs.js'

afterAll(() => device().close())

const coded = (code: string, message: RegExp): unknown => expect.objectContaining({ code, message: expect.stringMatching(message) })

describe('openDevice', () => {
  it('tells the processor, the path and the threads in use', () => {
    const info = device().info()
    const { name, path, threads, memoryBytes, diskFolder } = info
    expect(info.backend).toBe(backend)
    expect(name).not.toBe('')
    if (onCuda) expect(path).toMatch(/^sm_(8|9|10|11|12)\d$/)
    else expect(['scalar', 'avx2', 'avx512bf16']).toContain(path)
    expect(threads).toBe(onCuda ? 1 : 2)
    expect(memoryBytes).toBeGreaterThan(2 ** 28)
    expect(diskFolder).toBe(process.env.TMPDIR || '/tmp')
  })
  it('refuses backends, paths and thread counts that are not there', () => {
    expect(() => openDevice({ backend: 'tpu' as 'cpu' })).toThrow(coded('native', /'tpu' is not in this build/))
    expect(() => openDevice({ backend: 'cpu', path: 'mmx' })).toThrow(coded('native', /mmx/))
    expect(() => openDevice({ backend: 'cpu', threads: 0 })).toThrow(coded('argument', /threads is 0/))
  })
})

describe('call', () => {
  const numbers = Float64Array.of(4, 1)
  it('runs one kernel on typed arrays, with any thread count', () => {
    const gradient = Float32Array.of(1, 2, 3, 4)
    for (const threads of [1, 2]) {
      const sum = new Float64Array(1)
      call(KERNELS.squaredNorm.code, numbers, [sum, gradient], 64, { threads })
      expect(sum[0]).toBe(30)
    }
  })
  it('works on part of a buffer', () => {
    const memory = new Float32Array(8).fill(1)
    call(KERNELS.zero.code, Float64Array.of(12), [memory.subarray(2, 5)], 0)
    expect([...memory]).toEqual([1, 1, 0, 0, 0, 1, 1, 1])
  })
  it('refuses what would read or write outside the operands', () => {
    const squaredNorm = KERNELS.squaredNorm.code
    const sum = new Float64Array(1)
    const gradient = new Float32Array(4)
    expect(() => call(squaredNorm, Float64Array.of(5, 1), [sum, gradient], 0)).toThrow(coded('shape', /operand 1 has 16 bytes; its numbers say 20/))
    expect(() => call(squaredNorm, numbers, [sum], 0)).toThrow(coded('argument', /takes 2 operands, got 1/))
    expect(() => call(squaredNorm, Float64Array.of(4), [sum, gradient], 0)).toThrow(coded('shape', /takes 2 numbers, got 1/))
    expect(() => call(squaredNorm, numbers, [sum, null], 0)).toThrow(coded('argument', /operand 1 must be a typed array/))
    expect(() => call(squaredNorm, Float64Array.of(-1, 1), [sum, gradient], 0)).toThrow(coded('shape', /count is -1/))
    expect(() => call(squaredNorm, Float64Array.of(3.5, 1), [sum, gradient], 0)).toThrow(coded('shape', /count is 3.5/))
    expect(() => call(99, numbers, [sum, gradient], 0)).toThrow(coded('argument', /kernel 99/))
    expect(() => call(squaredNorm, [4, 1] as unknown as Float64Array, [sum, gradient], 0)).toThrow(coded('argument', /must be a Float64Array/))
    const q = new Float32Array(4096)
    expect(() => call(KERNELS.attend.code, Float64Array.of(4, 4, 3, 2, 8, 0, 0, 0, 1), [q, q, q, q], 0)).toThrow(
      coded('shape', /kvHeads is 2; it must be a divisor of heads/),
    )
  })
})

/** A program that uses every column: kernels, both copies, a collective, waits. */
const good = (): Program =>
  program(
    2,
    { device: 4096, host: 1024 },
    withWaits([
      zero(0, 256),
      copy('offload', 0, 0, 256),
      copy('fetch', 0, 512, 256),
      collective('gather', [onDevice(512, 64), onDevice(1024, 128)], [64]),
      zero(512, 64),
    ]),
  )

describe('load refuses', () => {
  const refused = (change: (p: Record<string, unknown>) => void, code: string, message: RegExp): void => {
    const changed = { ...good() } as Record<string, unknown>
    change(changed)
    expect(() => device().load(changed as unknown as Program)).toThrow(coded(code, message))
  }
  const replaced = <T extends Float64Array | Uint32Array | Uint16Array | Uint8Array>(array: unknown, index: number, value: number): T => {
    const copied = (array as T).slice() as T
    copied[index] = value
    return copied
  }
  it('nothing of a good program', () => {
    device().load(good()).close()
  })
  it.each<[string, string, number, number, string, RegExp]>([
    [
      'an operand past the end of its arena',
      'operandOffset',
      0,
      4000,
      'program',
      /entry 0 \(zero, op 0\): operand 0 ends at byte 4256 of the device arena, which has 4096/,
    ],
    ['an offset below 0', 'operandOffset', 0, -256, 'program', /whole numbers from 0/],
    ['an offset that is not whole', 'operandOffset', 0, 0.5, 'program', /whole numbers from 0/],
    ['an offset that is not a number', 'operandOffset', 0, Number.NaN, 'program', /whole numbers from 0/],
    ['an offset whose end is not exact', 'operandOffset', 0, 2 ** 60, 'program', /whole numbers from 0/],
    ['bytes past the end', 'operandBytes', 2, 5000, 'program', /ends at byte 5000/],
    ['an operand smaller than its numbers say', 'operandBytes', 0, 255, 'program', /operand 0 has 255 bytes; its numbers say 256/],
    ['a copy between operands of different sizes', 'operandBytes', 3, 300, 'program', /copies 256 bytes to an operand of 300/],
    ['a tier that does not exist', 'operandTier', 0, 3, 'program', /tier 3/],
    ['an operand on the wrong tier', 'operandTier', 0, 1, 'program', /lies on the host tier; it must lie on the device tier/],
    ['an operand that is missing', 'operandTier', 0, 255, 'program', /absent and not optional/],
    ['a code that does not exist', 'code', 0, 77, 'program', /code 77 is neither/],
    ['an op on a stream that cannot run it', 'stream', 0, 1, 'program', /stream 1 cannot run it/],
    ['a stream that does not exist', 'stream', 0, 200, 'program', /stream 200/],
    ['a wait for itself', 'waitEntry', 0, 1, 'program', /waits for entry 1, which does not come before it/],
    ['a wait for what does not exist', 'waitEntry', 0, 4_000_000_000, 'program', /does not come before it/],
    ['rows that do not begin at 0', 'operandStart', 0, 1, 'program', /operandStart\[0\] is 1/],
    ['rows that descend', 'operandStart', 1, 9, 'program', /less than the item before it/],
    ['rows that end too early', 'waitStart', 5, 1, 'program', /waitStart/],
    ['numbers that cannot be', 'parameters', 0, -1, 'shape', /entry 0 \(zero, op 0\): zero: bytes is -1/],
    ['a partition larger than its operand', 'parameters', 1, 65, 'program', /operand 0 has 64 bytes; its numbers say 65/],
  ])('%s', (_, column, index, value, code, message) => {
    refused((p) => (p[column] = replaced(p[column], index, value)), code, message)
  })
  it('arrays of the wrong length or type', () => {
    refused((p) => (p.code = new Uint16Array(4)), 'program', /code has 4 items; it needs 5/)
    refused((p) => (p.operandBytes = new Float64Array(3)), 'program', /operandBytes has 3 items/)
    refused((p) => (p.code = new Uint8Array(5)), 'argument', /code must be a Uint16Array/)
    refused((p) => (p.waitEntry = [1, 2]), 'argument', /waitEntry must be a Uint32Array/)
    refused((p) => (p.length = 6), 'program', /op has 5 items; it needs 6/)
    refused((p) => (p.ranks = 0), 'argument', /ranks is 0/)
    refused((p) => (p.ranks = 65), 'argument', /ranks is 65/)
    refused((p) => (p.arenaBytes = { device: -1, host: 0, disk: 0 }), 'program', /arenaBytes.device is -1/)
    refused((p) => (p.arenaBytes = {}), 'argument', /arenaBytes/)
    expect(() => device().load(null as unknown as Program)).toThrow(coded('argument', /program must be an object/))
  })
  it('a copy from or to a tier that is not its own', () => {
    const joins = { offload: ['device', 'host'], fetch: ['host', 'device'], spill: ['host', 'disk'], load: ['disk', 'host'] } as const
    for (const name of ['offload', 'fetch', 'spill', 'load'] as const) {
      for (const from of TIERS) {
        for (const to of TIERS) {
          const entry = {
            ...copy(name, 0, 64, 64),
            operands: [
              { tier: from, offset: 0, bytes: 64 },
              { tier: to, offset: 64, bytes: 64 },
            ],
          }
          const load = (): unknown => device().load(program(1, { device: 128, host: 128, disk: 128 }, [entry]))
          const wrong = from !== joins[name][0] ? [0, from, joins[name][0]] : [1, to, joins[name][1]]
          if (from === joins[name][0] && to === joins[name][1]) load()
          else expect(load).toThrow(coded('program', new RegExp(`operand ${wrong[0]} lies on the ${wrong[1]} tier; it must lie on the ${wrong[2]} tier`)))
        }
      }
    }
  })
  it('heads that ranks neither divide nor share, shared heads that cannot be added, and an allReduce of a tensor', () => {
    const load = (entry: Entry): unknown => device().load(program(2, { device: 65536 }, [entry]))
    expect(() => load(collective('allToAll', [onDevice(0, 4096), onDevice(4096, 4096)], [4, 8, 2, 0, 3]))).toThrow(
      coded('shape', /heads is 3; it must be a multiple or a divisor of the rank count/),
    )
    const shared = (elementBytes: number, direction: number): Entry =>
      collective('allToAll', [onDevice(0, 4096), onDevice(4096, 4096)], [4, 8, elementBytes, direction, 1])
    expect(() => load(shared(8, 1))).toThrow(coded('shape', /elementBytes is 8; it must be 2 \(bf16\) or 4 \(f32\)/))
    expect(load(shared(8, 0))).toBeDefined() // copies can be of anything
    expect(() => load(collective('allReduce', [onDevice(0, 65536)], [1025]))).toThrow(coded('shape', /elements is 1025/))
    expect(() => load(collective('allReduce', [onHost(0, 8)], [1]))).toThrow(coded('program', /ends at byte 8 of the host arena/))
  })
  it('later changes to the arrays: they are copied', async () => {
    const mine = good()
    const executor = device().load(mine)
    mine.operandOffset.fill(2 ** 40)
    mine.code.fill(10)
    expect((await executor.run(undefined, STEP)).reached).toBe(4)
    executor.close()
  })
})

describe('an environment that ends', () => {
  const script = fileURLToPath(new URL('environment.mjs', import.meta.url))
  const run = (name: string): Promise<{ code: number; output: string }> =>
    new Promise((resolve) => {
      const child = execFile(process.execPath, ['--expose-gc', script, name], { timeout: 30_000 }, (_error, stdout, stderr) => {
        resolve({ code: child.exitCode ?? -1, output: stdout + stderr })
      })
    })

  it('process.exit during a run ends the process with its code', async () => {
    expect(await run('exit')).toEqual({ code: 7, output: 'exiting\n' })
  })
  it('a run keeps the process alive until it is over', async () => {
    expect(await run('pending')).toEqual({ code: 0, output: 'reached 49\n' })
  })
  it('an executor that does not run keeps nothing alive', async () => {
    expect(await run('idle')).toEqual({ code: 0, output: 'loaded\n' })
  })
  it('a worker that is terminated during its run leaves the others alone', async () => {
    expect(await run('worker')).toEqual({ code: 0, output: 'reached 199\n' })
  })
  it('executors that nobody holds are collected, and running ones are not', async () => {
    expect(await run('collect')).toEqual({ code: 0, output: 'threads collected external collected\nreached 299\n' })
  })
})
