/** Programs and calls made to do harm: none ends the process or hangs it. They run in a child, so that a crash is a failure and not the end of the tests. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { cpuWorkspaceBytes } from '../../kernel/src/plan/cpu-workspace.js'
import type { Program } from '../../kernel/src/plan/program.js'
import { KERNELS, type Kernel } from '../../kernel/src/schedule/kernels.js'
import { collective, copy, type Entry, kernel, onDevice, type Place, program } from './programs.js'

/** `memory`: first bytes of every rank's device arena. */
type Attempt =
  | { readonly program: Program; readonly memory: Uint8Array }
  | {
      readonly kernel: number
      readonly numbers: Float64Array
      readonly places: readonly (Place | null)[]
      readonly memory: Uint8Array
      readonly workspaceBytes: number
    }

const script = fileURLToPath(new URL('hostile.mjs', import.meta.url))
let child: ChildProcess | undefined
afterAll(() => child?.kill())

/** How it ended: 'ran', the code of an error, or what became of the process. One at a time. */
function attempt(what: Attempt): Promise<string> {
  child ??= fork(script, { serialization: 'advanced', execArgv: [] })
  const victim = child
  return new Promise((resolve) => {
    const answered = (how: string): void => {
      clearTimeout(timer)
      victim.removeAllListeners()
      resolve(how)
    }
    const lost = (how: string): void => {
      child = undefined
      answered(how)
      victim.kill('SIGKILL')
    }
    const timer = setTimeout(() => lost('hangs'), 10_000)
    victim.once('message', (how) => answered(String(how)))
    victim.once('exit', (code, signal) => lost(`process ended with ${signal ?? code}`))
    victim.send(what)
  })
}

/** f32 1e30 everywhere, which is no token, but for zeros, which is one, at `zeros`. */
function memory(bytes: number, zeros: Place): Uint8Array {
  const filled = new Uint8Array(new Float32Array(Math.ceil(bytes / 4)).fill(1e30).buffer)
  return filled.fill(0, zeros.offset, zeros.offset + zeros.bytes)
}
const load = (entries: readonly Entry[], filled: Uint8Array, ranks = 1): Promise<string> =>
  attempt({ program: program(ranks, { device: filled.length, host: 1024 }, entries), memory: filled })

const [rows, width, vocabulary] = [8, 32, 16]
const x = onDevice(0, rows * width * 4)
const table = onDevice(2048, vocabulary * width * 4)
const embed = (tokens: Place, waits: number[] = []): Entry => kernel('embed', [x, tokens, table, null, null], [rows, width, vocabulary, 0, 1, 0], waits)
const apart = onDevice(1024, rows * 4)

describe('load refuses', () => {
  it('tokens among the rows that they choose', async () => {
    const within = onDevice(128, rows * 4)
    expect(await load([embed(within)], memory(4096, within))).toBe('program')
    expect(await load([embed(apart)], memory(4096, apart))).toBe('ran')
  })
  it('positions among the rows that they choose', async () => {
    const positioned = (positions: Place): Entry => kernel('embed', [x, apart, table, positions, table], [rows, width, vocabulary, vocabulary, 1, 0])
    const within = onDevice(128, rows * 4)
    expect(await load([positioned(within)], memory(4096, apart))).toBe('program')
    expect(await load([positioned(apart)], memory(4096, apart))).toBe('ran')
  })
  it('tokens among the gradients that they choose', async () => {
    const backward = (tokens: Place): Entry => kernel('embedBackward', [table, x, tokens], [rows, width, vocabulary, 0, 0])
    expect(await load([backward(onDevice(table.offset + 64, rows * 4))], memory(4096, table))).toBe('program')
    expect(await load([backward(apart)], memory(4096, apart))).toBe('ran')
  })
  it('tokens that a copy writes, in no order with their use', async () => {
    const fetch = copy('fetch', 0, apart.offset, apart.bytes)
    expect(await load([embed(apart), fetch], memory(4096, apart))).toBe('program')
    expect(await load([embed(apart), { ...fetch, waits: [0] }], memory(4096, apart))).toBe('ran')
    expect(await load([fetch, embed(apart)], memory(4096, apart))).toBe('program')
    expect(await load([fetch, embed(apart, [0])], memory(4096, apart))).toBe('ran')
  })
  it('labels among the logits that they choose', async () => {
    const logits = onDevice(0, rows * vocabulary * 4)
    const entropy = (labels: Place): Entry =>
      kernel('crossEntropy', [logits, onDevice(2048, 8), labels], [rows, vocabulary, 1, 0], [], onDevice(2112, 8 * rows))
    expect(await load([entropy(onDevice(64, rows * 4))], memory(4096, logits))).toBe('program')
    expect(await load([entropy(apart)], memory(4096, apart))).toBe('ran')
  })
  it('a gradient over the workspace in which threads count turns', async () => {
    const [tokens, headSize] = [192, 64]
    const numbers = [tokens, tokens, 1, 1, headSize, 0, 0, 0, 1, 1]
    const scratch = cpuWorkspaceBytes('attendBackward', numbers, 2)
    const [tensor, statistics] = [tokens * headSize * 4, tokens * 4]
    let end = scratch
    const operands = [tensor, tensor, tensor, tensor, tensor, tensor, tensor, statistics, statistics].map((bytes) => {
      end += bytes
      return onDevice(end - bytes, bytes)
    })
    const backward = (dq: Place): Entry => kernel('attendBackward', [dq, ...operands.slice(1), null], numbers, [], onDevice(0, scratch))
    const filled = memory(end, onDevice(0, 0))
    expect(await load([backward(onDevice(scratch - tensor, tensor))], filled)).toBe('program')
    expect(await load([backward(operands[0] as Place)], filled)).toBe('ran')
  })
  it('what a collective gives over what it takes', async () => {
    const filled = memory(4096, apart)
    const numbers = [2, 1, 8, 0, 2] // 2 tokens of 2 heads
    expect(await load([collective('allToAll', [onDevice(0, 32), onDevice(24, 32)], numbers)], filled, 2)).toBe('program')
    expect(await load([collective('allToAll', [onDevice(0, 32), onDevice(32, 32)], numbers)], filled, 2)).toBe('ran')
    expect(await load([collective('gather', [onDevice(0, 64), onDevice(0, 128)], [64])], filled, 2)).toBe('program')
    expect(await load([collective('reduceScatter', [onDevice(0, 128), onDevice(64, 64)], [16, 1])], filled, 2)).toBe('program')
    expect(await load([collective('allReduce', [onDevice(0, 64)], [8])], filled, 2)).toBe('ran')
  })
  it('not that operands overlap which are only read', async () => {
    const q = onDevice(512, 256)
    expect(await load([kernel('delta', [onDevice(0, 32), q, q], [8, 1, 8, 0])], memory(4096, apart))).toBe('ran')
  })
})

it('an index that a kernel itself overwrites after its check is checked again where it is used', async () => {
  const direct = (name: Kernel, numbers: number[], places: (Place | null)[], zeros: Place): Promise<string> =>
    attempt({ kernel: KERNELS[name].code, numbers: Float64Array.from(numbers), places, memory: memory(4096, zeros), workspaceBytes: 8 * rows })
  const within = onDevice(64, rows * 4)
  expect(await direct('embed', [rows, width, vocabulary, 0, 1, 0], [x, within, table, null, null], within)).toBe('token')
  expect(await direct('embed', [rows, width, vocabulary, 0, 1, 0], [x, apart, table, null, null], apart)).toBe('ran')
  // Rows are written in order: the first overwrites the positions of the later ones, though every one was good.
  const both = onDevice(64, within.bytes)
  expect(
    await direct('embed', [rows, width, vocabulary, vocabulary, 1, 0], [x, apart, table, both, table], onDevice(64, apart.offset + apart.bytes - 64)),
  ).toBe('token')
  const dtable = onDevice(0, table.bytes)
  const dx = onDevice(2048, x.bytes)
  expect(await direct('embedBackward', [rows, width, vocabulary, 0, 0], [dtable, dx, within], dtable)).toBe('token')
  const logits = onDevice(0, rows * vocabulary * 4)
  expect(await direct('crossEntropy', [rows, vocabulary, 1, 0], [logits, onDevice(2048, 8), onDevice(32, rows * 4)], logits)).toBe('token')
})

it('a program with any item of any array changed is refused or runs; it does no harm', async () => {
  const columns = [
    'op',
    'code',
    'stream',
    'operandStart',
    'operandTier',
    'operandOffset',
    'operandBytes',
    'parameterStart',
    'parameters',
    'waitStart',
    'waitEntry',
  ] as const
  const labels = onDevice(apart.offset + apart.bytes, 16)
  const entries: Entry[] = [
    embed(apart),
    kernel('rotary', [onDevice(0, 512), onDevice(512, 256), onDevice(2048, 32)], [4, 4, 2, 8, 0, 1, 0], [0]),
    copy('offload', 0, 0, 512, [1]),
    collective('reduceScatter', [onDevice(0, 1024), onDevice(4096, 512)], [128, 1], [2]),
    kernel('squaredNorm', [onDevice(1088, 8), onDevice(0, 1024)], [256, 1], [3], onDevice(4608, 64)),
    kernel('embedBackward', [table, x, apart], [rows, width, vocabulary, 1, 0], [3]),
    kernel('crossEntropy', [onDevice(0, 256), onDevice(1088, 8), labels], [4, 16, 0, 1], [3], onDevice(4608, 64)),
    copy('fetch', 0, 2048, 512, [6]),
    copy('spill', 100, 4000, 200, [2]),
    copy('load', 4000, 600, 200, [8]),
  ]
  const filled = memory(5120, onDevice(apart.offset, apart.bytes + labels.bytes))
  const value = fc.oneof(fc.nat(20), fc.nat(5000), fc.constantFrom(-1, 0.5, 2 ** 31, 2 ** 32 - 1, 2 ** 53, 2 ** 63, Number.NaN, Number.POSITIVE_INFINITY))
  const change = fc.record({ column: fc.constantFrom(...columns), at: fc.nat(1000), value })
  const ends = new Map<string, number>()
  await fc.assert(
    fc.asyncProperty(fc.array(change, { maxLength: 3 }), async (changes) => {
      const hostile = program(2, { device: filled.length, host: 1024, disk: 5000 }, entries)
      for (const { column, at, value } of changes) hostile[column][at % hostile[column].length] = value
      const how = await attempt({ program: hostile, memory: filled })
      expect(how).toMatch(/^(ran|program|shape|token|native)$/)
      ends.set(how, (ends.get(how) ?? 0) + 1)
    }),
    { numRuns: 500, examples: [[[]]] },
  )
  expect(ends.get('ran')).toBeGreaterThan(20) // else nothing was tried but the refusals
})
