/** Small runs of kernels and programs, each held against an oracle: what a planted bug must upset. Sizes are such that every path of the code is taken. */
import { openDevice } from '@fpdt/native'
import { collective, copy, type Entry, f64, interpret, type Naive, onDevice, program, STEP, withWaits, zero } from '../../backend/programs.js'
import { type AttentionSizes, attention, attentionBackward, rowSums } from '../../backend/reference/attention.js'
import { crossEntropy } from '../../backend/reference/cross-entropy.js'
import { type Matrix, product } from '../../backend/reference/gemm.js'
import { layerNorm, layerNormBackward, norm, normBackward } from '../../backend/reference/norm.js'
import { adamW } from '../../backend/reference/optimizer.js'
import { BACKEND, expectWithin, run, runOnThreads } from '../../backend/reference/run.js'
import { type ComputeDtype, flagOf, type Memory, numbers, poison, random, randomIntegers, tensor, UNIT } from '../../backend/reference/tensor.js'

if (BACKEND !== 'cuda') throw new Error('cuda.ts must be imported before this')

/** A run that throws where its result is wrong. `arm` plants the bug: what comes before it is done without. */
export type Case = (arm: () => void) => void | Promise<void>
const armed =
  (check: () => void): Case =>
  (arm) => {
    arm()
    check()
  }

// ---------------------------------------------------------------------------------------------------------------------- attention
interface Attention extends AttentionSizes {
  readonly dtype: ComputeDtype
  /** Of q: scores grow with it. */
  readonly scale?: number
}
const given = (c: Attention) => ({
  q: random(1, c.rows * c.heads * c.headSize, c.dtype, c.scale ?? 2),
  k: random(2, c.columns * c.kvHeads * c.headSize, c.dtype, 2),
  v: random(3, c.columns * c.kvHeads * c.headSize, c.dtype),
})
const numbersOf = ({ starts: _, dtype, ...sizes }: Attention) => ({ ...sizes, bf16: flagOf(dtype) })
const startsOf = ({ starts }: Attention): Readonly<Record<string, Memory>> => (starts ? { starts } : {})
// As in test/backend/attention.test.ts: of p = e^(score - lse) before it is rounded, and of rounding p or ds to bf16.
const errorOfP = (scoreMagnitude: number, dtype: ComputeDtype): number => (8 * scoreMagnitude + 16) * UNIT.f32 + (dtype === 'bf16' ? 3e-6 : 0)
const roundingOfP = (dtype: ComputeDtype): number => (dtype === 'bf16' ? UNIT.bf16 : 0)

/** The parts of the kv chunk that end at `cuts`, one after the other, finished. */
const attends = (c: Attention, cuts: readonly number[] = [c.columns]): Case =>
  armed(() => {
    const { q, k, v } = given(c)
    const row = c.kvHeads * c.headSize
    let state: Memory = poison(c.rows * c.heads * (c.headSize + 2), 'f32')
    cuts.forEach((to, i) => {
      const from = i === 0 ? 0 : (cuts[i - 1] as number)
      const sizes = { ...numbersOf(c), columns: to - from, kvStart: c.kvStart + from, first: i === 0 ? 1 : 0 }
      state = run('attend', sizes, { state, q, k: k.slice(from * row, to * row), v: v.slice(from * row, to * row), ...startsOf(c) }).state
    })
    const expected = attention(c, numbers(q), numbers(k), numbers(v))
    const empty = { o: poison(q.length, 'f32'), lse: poison(c.rows * c.heads, 'f32') }
    const { o, lse } = run('finish', { ...numbersOf(c), bf16: 0 }, { ...empty, state })
    const [p, sums] = [errorOfP(expected.scoreMagnitude, c.dtype), (c.columns + 16) * UNIT.f32]
    expectWithin('o', numbers(o), expected.o, (i) => (2 * p + roundingOfP(c.dtype) + 2 * sums) * (expected.oMagnitude[i] as number))
    const finite = (x: number): number => (x === -Infinity ? -1e30 : x)
    expectWithin('lse', numbers(lse).map(finite), expected.lse.map(finite), () => p + sums)
  })
const attendsBack = (c: Attention, first: 0 | 1): Case =>
  armed(() => {
    const { q, k, v } = given(c)
    const dO = random(4, q.length, c.dtype)
    const [exactQ, exactK, exactV, exactDO] = [numbers(q), numbers(k), numbers(v), numbers(dO)] as const
    const reference = attention(c, exactQ, exactK, exactV)
    const [lse, delta] = [Float32Array.from(reference.lse), Float32Array.from(rowSums(c, exactDO, reference.o))]
    const expected = attentionBackward(c, exactQ, exactK, exactV, exactDO, numbers(lse), numbers(delta))
    const before = (count: number, seed: number): Memory => (first ? poison(count, 'f32') : random(seed, count, 'f32'))
    const start = { dq: before(q.length, 11), dk: before(k.length, 12), dv: before(v.length, 13) }
    const found = runOnThreads('attendBackward', { ...numbersOf(c), firstQ: first, firstKv: first }, { ...start, q, k, v, dO, lse, delta, ...startsOf(c) })
    const relative = errorOfP(reference.scoreMagnitude, c.dtype) + roundingOfP(c.dtype)
    const terms = { dq: c.columns, dk: (c.rows * c.heads) / c.kvHeads, dv: (c.rows * c.heads) / c.kvHeads }
    for (const role of ['dq', 'dk', 'dv'] as const) {
      const from = first ? new Float64Array(expected[role].length) : numbers(start[role])
      expectWithin(
        role,
        numbers(found[role]),
        expected[role].map((x, i) => x + (from[i] as number)),
        (i) => 2 ** -110 + (relative + (terms[role] + 16) * UNIT.f32) * ((expected[`${role}Magnitude`][i] as number) + Math.abs(from[i] as number) / 8),
      )
    }
  })

// Key tiles of 64, query tiles of 128: whole tiles that all rows see, tiles that some see, a last one that is short; a state that goes on.
const ahead: Attention = { rows: 70, columns: 330, heads: 2, kvHeads: 1, headSize: 64, qStart: 280, kvStart: 0, dtype: 'bf16' }
const wide: Attention = { ...ahead, headSize: 128, columns: 300, qStart: 250, heads: 2, kvHeads: 2 }
// Key tiles of 128, query tiles of 64: two blocks that add to one dq, rows that see nothing of the second.
const back: Attention = { rows: 200, columns: 200, heads: 4, kvHeads: 2, headSize: 64, qStart: 90, kvStart: 0, dtype: 'bf16' }
const any: Attention = { rows: 75, columns: 90, heads: 4, kvHeads: 2, headSize: 40, qStart: 50, kvStart: 0, dtype: 'f32' }
const packed = { starts: Int32Array.from({ length: 200 }, (_, row) => (row < 60 ? 0 : row < 100 ? 145 : 190)) }

// -------------------------------------------------------------------------------------------------------------------------- other
const lossOf: Case = armed(() => {
  const [rows, vocabulary] = [3, 5000]
  const logits = random(1, rows * vocabulary, 'f32', 5) as Float32Array
  const labels = Int32Array.of(4999, -1, 7)
  const { loss, gradient } = crossEntropy(rows, vocabulary, Float64Array.from(logits), labels, 1 / 2)
  const found = run('crossEntropy', { rows, vocabulary, first: 0, bf16: 1 }, { logits, loss: Float64Array.of(3), labels }, { step: [0, 1, 1, 1 / 2] })
  const error = 2e-7 + (512 / 16 + 8) * UNIT.f32 + 10 * UNIT.f32
  expectWithin('loss', found.loss, [loss + 3], () => 2 * error)
  // Rows of bf16 lie at the first bytes of rows of f32.
  const bf16 = numbers(new Uint16Array(found.logits.buffer))
  const written = Float64Array.from({ length: rows * vocabulary }, (_, i) => bf16[2 * vocabulary * Math.floor(i / vocabulary) + (i % vocabulary)] as number)
  expectWithin('gradient', written, gradient, (i) => {
    const size = Math.abs(gradient[i] as number)
    return error * (size + (i % vocabulary === labels[Math.floor(i / vocabulary)] ? 1 / 2 : 0)) + UNIT.bf16 * size + 1e-37
  })
})

const embedsBack: Case = armed(() => {
  const [rows, width, vocabulary] = [600, 20, 40]
  const dx = random(1, rows * width, 'f32')
  const tokens = randomIntegers(2, rows, vocabulary)
  const before = random(3, vocabulary * width, 'f32') as Float32Array
  const expected = before.slice()
  dx.forEach((value, at) => {
    const i = (tokens[Math.floor(at / width)] as number) * width + (at % width)
    expected[i] = (expected[i] as number) + value // in f32 in the order of tokens: every bit is known
  })
  expectWithin('dtable', run('embedBackward', { rows, width, vocabulary, first: 0, bf16: 0 }, { dtable: before, dx, tokens }).dtable, expected, () => 0)
})

const rotates: Case = armed(() => {
  const c = { rows: 5, heads: 3, kvHeads: 1, headSize: 12, start: 77, magnitude: 0.8, bf16: 0 }
  const [q, k] = [random(1, 5 * 3 * 12, 'f32'), random(2, 5 * 12, 'f32')]
  const frequencies = Float64Array.from({ length: 6 }, (_, m) => 10 ** (-m / 3))
  const turned = (x: Float64Array, heads: number, direction: number): Float64Array =>
    x.map((own, i) => {
      const [element, row] = [i % 12, Math.floor(i / (12 * heads))]
      const angle = direction * (c.start + row) * (frequencies[element % 6] as number)
      const other = element < 6 ? -(x[i + 6] as number) : (x[i - 6] as number)
      return c.magnitude * (own * Math.cos(angle) + other * Math.sin(angle))
    })
  const bound = (): number => 2 * c.magnitude * 8 * UNIT.f32
  const there = run('rotary', c, { q, k, frequencies })
  expectWithin('q', numbers(there.q), turned(numbers(q), 3, 1), bound)
  expectWithin('k', numbers(there.k), turned(numbers(k), 1, 1), bound)
  const out = { dqOut: poison(q.length, 'f32'), dkOut: poison(k.length, 'f32'), dvOut: poison(k.length, 'f32') }
  const back = run('rotaryBackward', c, { ...out, dq: q, dk: k, dv: k, frequencies })
  expectWithin('dq', numbers(back.dqOut), turned(numbers(q), 3, -1), bound)
  expectWithin('dk', numbers(back.dkOut), turned(numbers(k), 1, -1), bound)
  expectWithin('dv', numbers(back.dvOut), numbers(k), () => 0)
})

const updates: Case = armed(() => {
  const [count, undecayed] = [900, 301]
  const [master, m, gradient] = [0, 1, 2].map((seed) => random(seed, count, 'f32')) as [Float32Array, Float32Array, Float32Array]
  const v = random(3, count, 'f32').map(Math.abs) as Float32Array
  const settings = { beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: 0.1 }
  const operands = { master, m, v, weight: poison(count, 'bf16'), gradient, scale: Float32Array.of(0.25) }
  const step = [0.01, 1 - 0.9 ** 3, 1 - 0.999 ** 3, 1] as const
  const found = run('adamW', { count, ...settings, undecayed, partition: count, offset: 0 }, operands, { step })
  const expected = Array.from(master, (w, i) =>
    adamW(
      { ...settings, rate: 0.01, time: 3, decay: i < undecayed ? 0 : 0.1 },
      { master: w, m: m[i] as number, v: v[i] as number },
      0.25 * (gradient[i] as number),
    ),
  )
  for (const role of ['m', 'v', 'master'] as const)
    expectWithin(
      role,
      found[role],
      expected.map((e) => e[role]),
      (i) => UNIT.f32 * (role === 'master' ? 2 + 20 * Math.abs(((expected[i] as { master: number }).master - (master[i] as number)) as number) : 8),
    )
  expectWithin('weight', found.weight, tensor(found.master, 'bf16'), () => 0)
})

const sumsBiases: Case = armed(() => {
  const [rows, outputs] = [130, 70]
  const dout = random(1, rows * outputs, 'bf16')
  const before = random(2, outputs, 'f32')
  const { dbias } = run('biasGradient', { rows, outputs, first: 0, bf16: 1 }, { dbias: before, dout })
  const ones: Matrix = { values: new Float64Array(rows).fill(1), stride: rows }
  const { sum, magnitude } = product(1, outputs, rows, ones, { values: numbers(dout), stride: outputs }, numbers(before))
  expectWithin('dbias', numbers(dbias), sum, (i) => 66 * UNIT.f32 * (magnitude[i] as number) + UNIT.f32 * Math.abs(sum[i] as number))
})

const sizes = { rows: 67, width: 48, eps: 1e-5 }
const f32 = { hiddenF32: 1, bf16: 0 }
const norms: Case = armed(() => {
  const { rows, width } = sizes
  const [x, weight, bias, dout] = [random(1, rows * width, 'f32', 3), random(2, width, 'f32'), random(3, width, 'f32'), random(4, rows * width, 'f32')] as const
  const [X, W, B, G] = [x, weight, bias, dout].map(numbers) as [Float64Array, Float64Array, Float64Array, Float64Array]
  const bound = (most: ArrayLike<number>) => (i: number) => (width + rows + 16) * UNIT.f32 * (Math.abs(most[i] as number) + 1e-3)
  const empty = { dx: poison(rows * width, 'f32'), dweight: poison(width, 'f32') }
  const rms = norm(sizes, X, W)
  expectWithin('out', numbers(run('norm', { ...sizes, ...f32 }, { out: poison(rows * width, 'f32'), x, weight }).out), rms, bound(rms))
  const back = run('normBackward', { ...sizes, ...f32, first: 1 }, { ...empty, dout, x, weight })
  const expected = normBackward(sizes, G, X, W)
  expectWithin('dx', numbers(back.dx), expected.dx, bound(expected.dxMagnitude))
  expectWithin('dweight', numbers(back.dweight), expected.dweight, bound(expected.dweightMagnitude))
  const about = layerNorm(sizes, X, W, B)
  const out = run('layerNorm', { ...sizes, ...f32 }, { out: poison(rows * width, 'f32'), x, weight, bias }).out
  expectWithin('layer norm', numbers(out), about, (i) => 8 * UNIT.f32 * (Math.abs(about[i] as number) + 2))
  const aboutBack = run('layerNormBackward', { ...sizes, ...f32, first: 1 }, { ...empty, dbias: poison(width, 'f32'), dout, x, weight })
  const wanted = layerNormBackward(sizes, G, X, W)
  for (const role of ['dx', 'dweight', 'dbias'] as const)
    expectWithin(`layer norm, ${role}`, numbers(aboutBack[role]), wanted[role], bound(wanted[`${role}Magnitude`]))
})

// ----------------------------------------------------------------------------------------------------------------------- programs
const SLOT = 256
const slot = (i: number): number => i * SLOT
const ARENAS = { device: 12 * SLOT, host: 6 * SLOT, disk: 6 * SLOT }
const initial = (): Naive[] =>
  [0, 1].map((rank) => {
    const arena = (bytes: number, seed: number): Uint8Array =>
      new Uint8Array(Float64Array.from({ length: bytes / 8 }, (_, i) => 1 + ((i * 7 + seed) % 101)).buffer)
    return { device: arena(ARENAS.device, 3 * rank), host: arena(ARENAS.host, 3 * rank + 51), disk: arena(ARENAS.disk, 3 * rank + 77) }
  })
/** Runs entries on two ranks; every byte of every tier must be what it is after one op after the other. */
const leavesWhatOrderLeaves =
  (gpus: readonly number[], entries: readonly Entry[]): Case =>
  async (arm) => {
    const wanted = initial()
    interpret(entries, wanted)
    const device = openDevice({ backend: 'cuda', devices: [...gpus] })
    try {
      const executor = device.load(program(2, ARENAS, entries))
      initial().forEach((arenas, rank) => {
        for (const tier of ['device', 'host', 'disk'] as const) executor.write(tier, rank, 0, arenas[tier])
      })
      arm()
      await executor.run(undefined, STEP)
      wanted.forEach((arenas, rank) => {
        for (const tier of ['device', 'host', 'disk'] as const)
          expectWithin(`${tier} of rank ${rank}`, f64(executor.read(tier, rank, 0, ARENAS[tier])), f64(arenas[tier]), () => 0)
      })
      executor.close()
    } finally {
      device.close()
    }
  }
// Each op has what it needs of the one before it, on another stream.
const movesOf = (gpus: readonly number[]): Case =>
  leavesWhatOrderLeaves(
    gpus,
    withWaits([
      zero(slot(0), 128),
      copy('offload', slot(0), slot(0), SLOT),
      copy('fetch', slot(0), slot(1), SLOT),
      collective('gather', [onDevice(slot(1), 128), onDevice(slot(2), 256)], [128]),
      collective('allToAll', [onDevice(slot(4), 192), onDevice(slot(5), 192)], [2, 1, 8, 0, 12]),
      zero(slot(4), 64),
      copy('offload', slot(2), slot(1), SLOT),
    ]),
  )
const sumsOverRanks: Case = leavesWhatOrderLeaves([0, 1], withWaits([zero(0, 8), collective('allReduce', [onDevice(0, 64)], [8]), copy('offload', 0, 0, 64)]))
const refills: Case = leavesWhatOrderLeaves(
  [0],
  withWaits([
    ...Array.from({ length: 40 }, (_, i) => copy('fetch', slot(1 + (i % 5)), slot(1 + (i % 5)), SLOT)), // so that the next one is not done at once
    copy('fetch', slot(0), slot(0), SLOT),
    copy('load', slot(1), slot(0), SLOT),
  ]),
)

// Where all values are 1 an output is the sum of what p was rounded to, by the sum of p: errors of rounding to nearest cancel, those of one direction add up.
const meansWithoutBias: Case = armed(() => {
  const c: Attention = { ...ahead, scale: 0.5 }
  const { q, k, v } = given(c)
  const state = poison(c.rows * c.heads * (c.headSize + 2), 'f32')
  const ones = tensor(new Float64Array(v.length).fill(1), 'bf16')
  const after = run('attend', { ...numbersOf(c), first: 1 }, { state, q, k, v: ones }).state
  const { o } = run('finish', { ...numbersOf(c), bf16: 0 }, { o: poison(q.length, 'f32'), lse: poison(c.rows * c.heads, 'f32'), state: after })
  const rows = Array.from({ length: c.rows * c.heads }, (_, row) => o[row * c.headSize] as number)
  // 300 roundings of a row, each off by 2^-8 / sqrt(12) of its p: 7e-5; of all rows together 6e-6, if they were independent.
  expectWithin('mean of o', [rows.reduce((sum, x) => sum + x, 0) / rows.length], [1], () => 1e-4)
})

export const CASES = {
  'attend, heads of 64': attends(ahead, [50, 330]),
  'attend, heads of 64, scores in the thousands': attends({ ...ahead, scale: 1000 }, [330]),
  'attend, heads of 128': attends(wide),
  'attend, heads of 64, whole tiles': attends({ ...ahead, rows: 128, columns: 384, qStart: 200 }),
  'attend, values of one': meansWithoutBias,
  'attend, packed documents': attends({ ...back, ...packed }),
  'attendBackward, heads of 64': attendsBack(back, 1),
  'attendBackward, heads of 128, adding': attendsBack({ ...back, heads: 2, kvHeads: 1, headSize: 128 }, 0),
  'attendBackward, packed documents': attendsBack({ ...back, ...packed }, 1),
  'attend in f32': attends(any, [20, 90]),
  'attendBackward in f32': attendsBack(any, 1),
  crossEntropy: lossOf,
  embedBackward: embedsBack,
  rotary: rotates,
  adamW: updates,
  biasGradient: sumsBiases,
  norms,
  'programs of two ranks': movesOf([0]),
  'programs of two ranks on two GPUs': movesOf([0, 1]),
  'sums over ranks': sumsOverRanks,
  'pinned memory that the disk fills again': refills,
} satisfies Record<string, Case>
