/**
 * Sizes at which CUDA kernels take other ways than at those of test/backend: rows that are the work of a block, sums over rows whose line no longer fits a
 * warp's or the block's share of memory, vocabularies of many tiles, tokens beyond one scan. Bounds are those of test/backend or tighter.
 */
import './emulated.js'
import { beforeAll, describe, expect, it } from 'vitest'
import { crossEntropy } from '../backend/reference/cross-entropy.js'
import { layerNorm, layerNormBackward, norm, normBackward } from '../backend/reference/norm.js'
import { DTYPES, flagOf, flagsOf, numbers, poison, random, randomIntegers, UNIT, uniform } from '../backend/reference/tensor.js'
import { control } from './emulator/index.js'

process.env.FPDT_TEST_BACKEND = 'cuda'
const { expectWithin, run } = await import('../backend/reference/run.js')

/** Less than any GPU has that bf16 matrices run on: rows need not be as wide to leave no room for a line (the reference takes the square of a width). */
const SHARED = 64 << 10

beforeAll(() => {
  control({ reset: true })
  control({ configure: { seed: 0, policy: null, devices: [{ shared_per_block_optin: SHARED }], checks: ['race', 'initialised'] } })
})

const eps = 1e-5
const sums = (n: number): number => (n + 16) * UNIT.f32
// A lane, and a team of lanes, adds a few dozen numbers; a group 64 rows.
const [OF_ROW, OF_COLUMN] = [sums(16), sums(64)]

describe.each(DTYPES)('in $dtype, hidden state $hidden', ({ dtype, hidden }) => {
  const flags = flagsOf({ dtype, hidden })
  // A block a row, with vectors and without; lines beyond the 48 KiB that need no asking, or so near (6081 to 6144 columns of LayerNorm, 12 225 to 12 288 of
  // RMSNorm) that they are beyond with what reductions keep; lines of LayerNorm, then of RMSNorm too, that only the workspace holds.
  it.each([
    [40, 1000],
    [2, 4096],
    [35, 1301],
    [1, 6080],
    [1, 6081],
    [2, 6144],
    [2, 7000],
    [1, 12_224],
    [1, 12_225],
    [2, 12_288],
    [1, 13_000],
    [1, 16_201],
  ])('norms %i rows of %i', (rows, width) => {
    const n = rows * width
    const [x, residual] = [random(1, n, hidden, 3), random(5, n, hidden)]
    const [weight, bias, dout] = [random(2, width, dtype), random(3, width, dtype), random(4, n, dtype, 2)]
    const [xs, ws, bs, douts, residuals] = [x, weight, bias, dout, residual].map(numbers) as [
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
    ]
    const at = (values: ArrayLike<number>, i: number): number => Math.abs(values[i] as number)

    const normed = norm({ rows, width, eps }, xs, ws)
    const { out } = run('norm', { rows, width, eps, ...flags }, { out: poison(n, dtype), x, weight })
    expectWithin('norm', numbers(out), normed, (i) => (OF_ROW + UNIT[dtype]) * at(normed, i))
    const centred = layerNorm({ rows, width, eps }, xs, ws, bs)
    const layer = run('layerNorm', { rows, width, eps, ...flags }, { out: poison(n, dtype), x, weight, bias })
    expectWithin('layerNorm', numbers(layer.out), centred, (i) => 24 * UNIT.f32 + UNIT[dtype] * at(centred, i))

    const back = normBackward({ rows, width, eps }, douts, xs, ws)
    const dx = back.dx.map((v, i) => v + (residuals[i] as number))
    const given = { dx: poison(n, hidden), dweight: poison(width, 'f32'), dout, x, weight }
    const taken = run('normBackward', { rows, width, eps, first: 1, ...flags }, { ...given, residual })
    expectWithin('dx', numbers(taken.dx), dx, (i) => OF_ROW * (at(back.dxMagnitude, i) + at(residuals, i)) + UNIT[hidden] * at(dx, i))
    expectWithin('dweight', numbers(taken.dweight), back.dweight, (i) => OF_COLUMN * at(back.dweightMagnitude, i))

    const layerBack = layerNormBackward({ rows, width, eps }, douts, xs, ws)
    const added = run(
      'layerNormBackward',
      { rows, width, eps, first: 0, ...flags },
      { ...given, dweight: new Float32Array(width).fill(1), dbias: new Float32Array(width) },
    )
    expectWithin('dx about the mean', numbers(added.dx), layerBack.dx, (i) => OF_ROW * at(layerBack.dxMagnitude, i) + UNIT[hidden] * at(layerBack.dx, i))
    const moved = layerBack.dweight.map((v) => v + 1)
    expectWithin('dweight about the mean', numbers(added.dweight), moved, (i) => OF_COLUMN * (1 + at(layerBack.dweightMagnitude, i)))
    expectWithin('dbias', numbers(added.dbias), layerBack.dbias, (i) => OF_COLUMN * at(layerBack.dbiasMagnitude, i))
    const { dbias } = run('biasGradient', { rows, outputs: width, first: 1, bf16: flagOf(dtype) }, { dbias: poison(width, 'f32'), dout })
    expectWithin('bias', dbias as Float32Array, layerBack.dbias, (i) => OF_COLUMN * at(layerBack.dbiasMagnitude, i))
  })
})

describe('more rows than slices', () => {
  it('adds slices of more than 64 rows', () => {
    const [rows, outputs] = [20_000, 12]
    const dout = random(1, rows * outputs, 'f32')
    const expected = new Float64Array(outputs)
    const magnitude = new Float64Array(outputs)
    numbers(dout).forEach((v, i) => {
      expected[i % outputs] = (expected[i % outputs] as number) + v
      magnitude[i % outputs] = (magnitude[i % outputs] as number) + Math.abs(v)
    })
    const { dbias } = run('biasGradient', { rows, outputs, first: 1, bf16: 0 }, { dbias: poison(outputs, 'f32'), dout })
    expectWithin('bias', dbias as Float32Array, expected, (i) => OF_COLUMN * (magnitude[i] as number))
  })
})

describe.each(['bf16', 'f32'] as const)('cross-entropy in %s', (dtype) => {
  it.each([
    [2, 2048],
    [3, 50_257],
    [2, 100_352],
  ])('writes the gradient of %i rows of %i logits over them', (rows, vocabulary) => {
    const scale = 20
    // Rising logits: every access has a new maximum.
    for (const values of [
      uniform(3, rows * vocabulary, scale),
      Float64Array.from({ length: rows * vocabulary }, (_, i) => 40 * ((i % vocabulary) / vocabulary) - 20),
    ]) {
      const logits = Float32Array.from(values)
      const labels = randomIntegers(1, rows, vocabulary)
      const expected = crossEntropy(rows, vocabulary, Float64Array.from(logits), labels, 1 / 7)
      const operands = { logits, loss: new Float64Array(1), labels }
      const result = run('crossEntropy', { rows, vocabulary, first: 1, bf16: flagOf(dtype) }, operands, { step: [0, 1, 1, 1 / 7] })
      const error = 2e-7 + 12 * UNIT.f32 + 2 * scale * UNIT.f32
      expectWithin('loss', result.loss, [expected.loss], () => (rows / 7) * error)
      const all = numbers(dtype === 'f32' ? result.logits : new Uint16Array(result.logits.buffer))
      const stride = dtype === 'f32' ? vocabulary : 2 * vocabulary
      const gradient = Float64Array.from({ length: rows * vocabulary }, (_, i) => all[Math.floor(i / vocabulary) * stride + (i % vocabulary)] as number)
      expectWithin('gradient', gradient, expected.gradient, (i) => {
        const size = Math.abs(expected.gradient[i] as number)
        const atLabel = i % vocabulary === labels[Math.floor(i / vocabulary)] ? 1 / 7 : 0
        return error * (size + atLabel) + UNIT[dtype] * size + 1e-37
      })
    }
  })
  it('begins with threads that see -Infinity alone, and loses no NaN there', () => {
    const logits = Float32Array.from(uniform(3, 3000, 5)).fill(Number.NEGATIVE_INFINITY, 0, 2500)
    const labels = Int32Array.of(2700)
    const lossOf = (given: Float32Array) =>
      run('crossEntropy', { rows: 1, vocabulary: 3000, first: 1, bf16: flagOf(dtype) }, { logits: given, loss: new Float64Array(1), labels }).loss
    expectWithin('loss', lossOf(logits), [crossEntropy(1, 3000, Float64Array.from(logits), labels, 1).loss], () => 1e-5)
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) for (const place of [0, 5, 2999]) expect(lossOf(logits.with(place, bad))[0]).toBeNaN()
  })
})

/** Runs of equal tokens, once they are sorted, of every length about one and two tiles of 32: begun anywhere in a tile, ended anywhere. */
const lengths = Array.from({ length: 70 }, (_, i) => 30 + ((i * 37) % 70))
const shuffled = (list: readonly number[]): Int32Array => {
  const keys = random(5, list.length, 'f32') as Float32Array
  return Int32Array.from(
    Array.from(list.keys()).sort((a, b) => (keys[a] as number) - (keys[b] as number)),
    (i) => list[i] as number,
  )
}
const TOKENS: readonly [string, number, number, Int32Array][] = [
  ['few, each often', 4, 50, randomIntegers(2, 2500, 50)],
  ['many, most never', 1, 4000, randomIntegers(2, 1500, 4000)],
  ['of wide rows', 2052, 9, randomIntegers(2, 40, 9)],
  ['all the same', 68, 1000, new Int32Array(1500).fill(999)],
  ['all different, and it takes three bytes to tell them', 2, 70_000, shuffled(Array.from({ length: 1100 }, (_, i) => 69_999 - i * 61))],
  ['of all runs about a tile', 5, 70, shuffled(lengths.flatMap((n, token) => Array.from({ length: n }, () => token)))],
  ['one often and others seldom', 36, 300, Int32Array.from({ length: 3000 }, (_, i) => (i % 3 ? 7 : (i * 61) % 300))],
  ['exactly two tiles and one row more', 8, 256, Int32Array.from({ length: 65 }, () => 255)],
  ['exactly two tiles', 8, 257, Int32Array.from({ length: 64 }, () => 256)],
]
describe.each(['bf16', 'f32'] as const)('embedding backward from %s', (hidden) => {
  it.each(TOKENS)('adds rows of equal tokens in their order, to the bit: %s', (_, width, vocabulary, tokens) => {
    const rows = tokens.length
    const dx = random(1, rows * width, hidden)
    const numbersOf = { rows, width, vocabulary, first: 1, bf16: flagOf(hidden) }
    const { dtable } = run('embedBackward', numbersOf, { dtable: poison(vocabulary * width, 'f32'), dx, tokens })
    const expected = new Float32Array(vocabulary * width)
    numbers(dx).forEach((v, i) => {
      const place = (tokens[Math.floor(i / width)] as number) * width + (i % width)
      expected[place] = (expected[place] as number) + v
    })
    expect(dtable).toEqual(expected)
  })
})

describe('more tokens than a grid has rows', () => {
  it('takes the products of 524 301 rows, 8 a block', () => {
    const [rows, headSize] = [524_301, 17]
    const [dO, o] = [7, 5].map((n) => Float32Array.from({ length: rows * headSize }, (_, i) => (i % n) - 2)) as [Float32Array, Float32Array]
    const expected = new Float32Array(rows) // whole numbers: exact
    dO.forEach((v, i) => {
      const row = Math.floor(i / headSize)
      expected[row] = (expected[row] as number) + v * (o[i] as number)
    })
    const { delta } = run('delta', { rows, heads: 1, headSize, bf16: 0 }, { delta: poison(rows, 'f32') as Float32Array, dO, o })
    expect(Buffer.from(delta.buffer).equals(Buffer.from(expected.buffer))).toBe(true)
  })
})
