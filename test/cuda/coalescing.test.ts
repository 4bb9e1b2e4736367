/**
 * How kernels touch memory, counted by the emulator instruction by instruction: at shapes whose rows begin at multiples of
 * 16 bytes, a warp takes no more 32-byte sectors of global memory than its bytes fill, and no lane waits for another's bank of shared memory.
 */
import './emulated.js'
import { beforeAll, describe, expect, it } from 'vitest'
import type { Kernel } from '../../kernel/src/schedule/kernels.js'
import type { Operands } from '../backend/reference/run.js'
import { DTYPES, type Dtypes, flagOf, flagsOf, random, randomIntegers } from '../backend/reference/tensor.js'
import { control, type SiteCount } from './emulator/index.js'

process.env.FPDT_TEST_BACKEND = 'cuda'
const { run } = await import('../backend/reference/run.js')

interface Counts {
  readonly banks: readonly SiteCount[]
  readonly sectors: readonly SiteCount[]
}
/** Of one call. */
function counts(kernel: Kernel, numbers: Readonly<Record<string, number>>, operands: Operands): Counts {
  control({ reset: true })
  run(kernel, numbers, operands)
  return control({ report: true }) as Counts
}
const wasteful = ({ taken, fewest }: SiteCount): boolean => taken > fewest
const sum = (sites: readonly SiteCount[], what: 'taken' | 'fewest' | 'instructions'): number => sites.reduce((total, site) => total + site[what], 0)

/** Every byte of the operands that are read and written once goes through these sectors: a kernel that was not counted would waste nothing either. */
function expectWholeSectors({ banks, sectors }: Counts, bytes: number): void {
  expect(sectors.filter(wasteful)).toEqual([])
  expect(banks.filter(wasteful)).toEqual([])
  expect(sum(sectors, 'taken')).toBeGreaterThanOrEqual(bytes / 32)
}
const bytesOf = (operands: Operands): number => Object.values(operands).reduce((sum, { byteLength }) => sum + byteLength, 0)

beforeAll(() => void control({ configure: { seed: 0, policy: null, devices: 1, checks: ['sectors', 'banks'] } }))

const eps = 1e-5
// A warp a row and a line of sums for each warp; the block a row.
const SHAPES = [
  [70, 512],
  [5, 3072],
] as const

describe.each(DTYPES)('in $dtype, hidden state $hidden', ({ dtype, hidden }: Dtypes) => {
  const whole = (kernel: Kernel, numbers: Readonly<Record<string, number>>, operands: Operands): void =>
    expectWholeSectors(counts(kernel, numbers, operands), bytesOf(operands))
  const [T, H] = [(count: number, seed = 1) => random(seed, count, dtype), (count: number, seed = 2) => random(seed, count, hidden)]
  const f32 = (count: number) => random(3, count, 'f32')
  const flags = flagsOf({ dtype, hidden })
  const bf16 = flagOf(dtype)

  describe.each(SHAPES)('%i rows of %i', (rows, width) => {
    const n = rows * width
    it('norms', () => {
      whole('norm', { rows, width, eps, ...flags }, { out: T(n), x: H(n), weight: T(width) })
      whole('layerNorm', { rows, width, eps, ...flags }, { out: T(n), x: H(n), weight: T(width), bias: T(width) })
    })
    it.each([0, 1])('takes norms back, first %i', (first) => {
      const operands = { dx: H(n), dweight: f32(width), dout: T(n), x: H(n), weight: T(width), residual: H(n) }
      whole('normBackward', { rows, width, eps, first, ...flags }, operands)
      whole('layerNormBackward', { rows, width, eps, first, ...flags }, { ...operands, dbias: f32(width) })
    })
    it('sums the gradient of a bias', () => {
      whole('biasGradient', { rows, outputs: width, first: 0, bf16 }, { dbias: f32(width), dout: T(n) })
    })
    it('gates', () => {
      whole('swiglu', { rows, feedForward: width, bf16 }, { out: T(n), gateUp: T(2 * n) })
      whole('swigluBackward', { rows, feedForward: width, bf16 }, { dGateUp: T(2 * n), dout: T(n), gateUp: T(2 * n) })
      whole('gelu', { rows, feedForward: width, bf16 }, { out: T(n), up: T(n) })
      whole('geluBackward', { rows, feedForward: width, bf16 }, { dUp: T(n), dout: T(n), up: T(n) })
    })
    it('embeds', () => {
      const tokens = randomIntegers(1, rows, 40)
      const embedding = { x: H(n), tokens, table: T(40 * width), positions: randomIntegers(2, rows, 30), positionTable: T(30 * width) }
      expectWholeSectors(counts('embed', { rows, width, vocabulary: 40, positions: 30, ...flags }, embedding), embedding.x.byteLength)
      const dx = H(n)
      // Where each row is to go lies anywhere; tokens that are sorted already show that all else is in line. Who looks for long runs reads a place in 32.
      const backward = { dtable: f32(40 * width), dx, tokens: tokens.slice().sort() }
      const { banks, sectors } = counts('embedBackward', { rows, width, vocabulary: 40, first: 0, bf16: flagOf(hidden) }, backward)
      expectWholeSectors({ banks, sectors: sectors.filter(({ kernel }) => !kernel.includes('add_long_runs')) }, dx.byteLength)
    })
    it('writes the gradient of the loss over the logits', () => {
      const labels = randomIntegers(1, rows, width)
      const logits = f32(n)
      // Read twice.
      expectWholeSectors(
        counts('crossEntropy', { rows, vocabulary: width, first: 0, bf16 }, { logits, loss: new Float64Array(1), labels }),
        2 * logits.byteLength,
      )
    })
  })

  it.each([32, 64, 128])('turns heads of %i', (headSize) => {
    const [rows, heads, kvHeads] = [10, 8, 2]
    const [q, kv] = [rows * heads * headSize, rows * kvHeads * headSize]
    const frequencies = Float64Array.from({ length: headSize / 2 }, (_, m) => 500_000 ** ((-2 * m) / headSize))
    const shape = { rows, heads, kvHeads, headSize, start: 1000, magnitude: 1, bf16 }
    // Frequencies alone: a thread reads those of its elements one by one, from L1, once for all heads.
    const expectTurned = (found: Counts, bytes: number): void => {
      const rare = found.sectors.filter(wasteful)
      expect(rare.length).toBeLessThanOrEqual(8)
      for (const { taken, fewest } of rare) expect(taken).toBeLessThanOrEqual(8 * fewest)
      expectWholeSectors({ ...found, sectors: found.sectors.filter((site) => !rare.includes(site)) }, bytes)
    }
    const both = { q: T(q), k: T(kv) }
    expectTurned(counts('rotary', shape, { ...both, frequencies }), 2 * bytesOf(both))
    const gradients = { dqOut: T(q), dkOut: T(kv), dvOut: T(kv), dq: f32(q), dk: f32(kv), dv: f32(kv) }
    // Where T is f32, dv is copied by the copy engine.
    expectTurned(counts('rotaryBackward', shape, { ...gradients, frequencies }), bytesOf(gradients) - (bf16 ? 0 : 2 * gradients.dv.byteLength))
  })
})

describe.each([64, 128])('attention on tensor cores, heads of %i', (headSize) => {
  // Whole tiles; every row sees some of both key tiles.
  const sizes = { rows: 256, columns: 256, heads: 4, kvHeads: 2, headSize, qStart: 128, kvStart: 0, bf16: 1 }
  const [n, kv, statistics] = [sizes.rows * sizes.heads * headSize, sizes.columns * sizes.kvHeads * headSize, sizes.rows * sizes.heads]
  const given = { q: random(1, n, 'bf16'), k: random(2, kv, 'bf16'), v: random(3, kv, 'bf16') }

  it.each([0, 1])('attends, first %i', (first) => {
    const state = random(4, statistics * (headSize + 2), 'f32').map((x, i) => (i < statistics * headSize ? x : 1 + Math.abs(x))) as Float32Array
    expectWholeSectors(counts('attend', { ...sizes, first }, { ...given, state }), bytesOf(given) + state.byteLength)
  })
  it.each([0, 1])('takes back, first %i', (first) => {
    const gradients = { dk: random(6, kv, 'f32'), dv: random(7, kv, 'f32') }
    const read = {
      ...given,
      dO: random(10, n, 'bf16'),
      lse: random(8, statistics, 'f32').map((x) => 5 + x) as Float32Array,
      delta: random(9, statistics, 'f32'),
    }
    const found = counts('attendBackward', { ...sizes, firstQ: first, firstKv: first }, { ...gradients, ...read, dq: random(5, n, 'f32') })
    // The sums of dq too: an instruction of a warp adds the eight values of a sector in each of four rows.
    expectWholeSectors(found, bytesOf({ ...gradients, ...read }))
  })
})

describe('the optimizer', () => {
  const count = 8192
  const f32 = (seed: number) => random(seed, count, 'f32')
  it('updates', () => {
    const numbers = { count, beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: 0.1, undecayed: 100, partition: count, offset: 0 }
    const operands = { master: f32(1), m: f32(2), v: f32(3).map(Math.abs), weight: random(4, count, 'bf16'), gradient: f32(5), scale: Float32Array.of(1) }
    expectWholeSectors(counts('adamW', numbers, operands), bytesOf(operands))
  })
  it('sums squares', () => {
    const operands = { sum: new Float64Array(1), gradient: f32(1) }
    expectWholeSectors(counts('squaredNorm', { count, first: 0 }, operands), bytesOf(operands))
  })
  it('rounds', () => {
    const operands = { out: random(1, count, 'bf16'), x: f32(1) }
    expectWholeSectors(counts('round', { count }, operands), bytesOf(operands))
  })
})

describe('the count', () => {
  it('sees rows that begin anywhere, and narrow ones', () => {
    const { sectors } = counts(
      'norm',
      { rows: 9, width: 333, eps, hiddenF32: 1, bf16: 0 },
      { out: random(1, 2997, 'f32'), x: random(2, 2997, 'f32'), weight: random(3, 333, 'f32') },
    )
    expect(sectors.some(wasteful)).toBe(true)
  })
})
