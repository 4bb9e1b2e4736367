import { call } from '@fpdt/native'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { attentionWorkspaceBytes } from '../../kernel/src/plan/cpu-workspace-attention.js'
import { kernelSpec } from '../../kernel/src/schedule/kernels.js'
import { type Attended, type AttentionSizes, attention, attentionBackward, rowSums } from './reference/attention.js'
import { derivative, dot } from './reference/derivative.js'
import { BACKEND, expectWithin, PATHS, parametersOf, run, runOnThreads, runsOf } from './reference/run.js'
import { type ComputeDtype, flagOf, type Memory, numbers, poison, random, randomIntegers, tensor, UNIT, uniform } from './reference/tensor.js'

interface Case extends AttentionSizes {
  readonly dtype: ComputeDtype
  readonly seed: number
  /** Of q: scores grow with it. */
  readonly scale?: number
}
const cases = fc
  .record({
    rows: fc.integer({ min: 1, max: 200 }),
    columns: fc.integer({ min: 1, max: 200 }),
    kvHeads: fc.integer({ min: 1, max: 2 }),
    group: fc.constantFrom(1, 2, 4),
    headSize: fc.oneof(
      fc.constantFrom(64, 128),
      fc.integer({ min: 1, max: 16 }).map((n) => 8 * n),
    ),
    qStart: fc.integer({ min: 0, max: 250 }),
    kvStart: fc.integer({ min: 0, max: 250 }),
    dtype: fc.constantFrom('bf16' as const, 'f32' as const),
    seed: fc.integer({ min: 0, max: 1000 }),
    // Where documents begin: none (no operand), a few, any garbage.
    mask: fc.oneof(fc.constant(undefined), fc.array(fc.integer({ min: 0, max: 450 }), { minLength: 1, maxLength: 6 }), fc.constant('garbage' as const)),
  })
  .map(({ group, mask, ...rest }): Case => {
    const c = { ...rest, heads: group * rest.kvHeads }
    if (mask === undefined) return c
    return { ...c, starts: mask === 'garbage' ? garbage(c.rows, c.seed) : packed(c, mask) }
  })
const RUNS = { numRuns: runsOf(25) }

/** Starts of the rows of a chunk: each row's document begins at the last of these positions that is not after it. */
function packed({ rows, qStart }: Pick<Case, 'rows' | 'qStart'>, begins: readonly number[]): Int32Array {
  return Int32Array.from({ length: rows }, (_, row) => Math.max(0, ...begins.filter((begin) => begin <= qStart + row)))
}
/** Starts that no packing makes: they rise and fall, precede the sequence or follow the row. */
function garbage(rows: number, seed: number): Int32Array {
  const extremes = [-(2 ** 31), 2 ** 31 - 1, -1]
  return Int32Array.from(randomIntegers(seed, rows, 600), (x) => (x < 60 ? (extremes[x % 3] as number) : x - 60))
}
// Enough heads for blocks of several tiles, on every path, with tiles that see all, some and none of the kv chunk. With three
// threads fewer panels share an item than with one.
const LONG: Case = { rows: 800, columns: 420, heads: 4, kvHeads: 4, headSize: 64, qStart: 100, kvStart: 300, dtype: 'bf16', seed: 5 }
// Documents that begin in the middle of chunks; most rows of LONG see nothing of some of its blocks.
const LONG_PACKED: Case = { ...LONG, starts: packed(LONG, [150, 333, 334, 470, 532, 650]) }
// Scores in the thousands: softmax is nearly one-hot, and m is overtaken again and again.
const LARGE: Case = { rows: 77, columns: 330, heads: 4, kvHeads: 2, headSize: 64, qStart: 253, kvStart: 0, dtype: 'bf16', seed: 6, scale: 2000 }
// Head sizes that are no multiple of 8 take the scalar path whichever is asked for.
const ODD: Case = { rows: 20, columns: 30, heads: 2, kvHeads: 1, headSize: 10, qStart: 12, kvStart: 0, dtype: 'bf16', seed: 7 }

const numbersOf = ({ rows, columns, heads, kvHeads, headSize, qStart, kvStart, dtype }: Case) => ({
  ...{ rows, columns, heads, kvHeads, headSize, qStart, kvStart },
  bf16: flagOf(dtype),
})
const qCount = (c: Case): number => c.rows * c.heads * c.headSize
const kvCount = (c: Case): number => c.columns * c.kvHeads * c.headSize
const inputs = (c: Case) => ({
  q: random(c.seed, qCount(c), c.dtype, c.scale ?? 2),
  k: random(c.seed + 1, kvCount(c), c.dtype, 2),
  v: random(c.seed + 2, kvCount(c), c.dtype),
})
const widen = <T extends Record<string, Memory>>(memories: T) =>
  Object.fromEntries(Object.entries(memories).map(([role, x]) => [role, numbers(x)])) as Record<keyof T, Float64Array>

const startsOf = (c: Case): { starts?: Int32Array } => (c.starts ? { starts: c.starts } : {})

/** kv rows [from, to) of a tensor of kv rows. */
const part = <M extends Uint16Array | Float32Array>(c: Case, x: M, from: number, to: number): M =>
  x.slice(from * c.kvHeads * c.headSize, to * c.kvHeads * c.headSize) as M

/** Inputs with scores around 10,000: all close to one another and sums of terms of one sign, or far apart and of both signs. */
function largeScores(c: Case, close: boolean): ReturnType<typeof inputs> {
  const size = close ? 1e4 / Math.sqrt(c.headSize) : 1e4
  const draw = (seed: number, count: number, scale: number): Float64Array => uniform(seed, count).map((x) => scale * (close ? 1 + 3e-3 * x : x))
  return { q: tensor(draw(c.seed, qCount(c), size), c.dtype), k: tensor(draw(c.seed + 1, kvCount(c), 1), c.dtype), v: random(c.seed + 2, kvCount(c), c.dtype) }
}

/** The state after the parts of the kv chunk that end at `cuts`, one after the other, and what `finish` makes of it. */
function forward(c: Case, path: string, cuts: readonly number[] = [c.columns], { q, k, v } = inputs(c)) {
  let state: Memory = poison(c.rows * c.heads * (c.headSize + 2), 'f32')
  cuts.forEach((to, i) => {
    const from = i === 0 ? 0 : (cuts[i - 1] as number)
    const sizes = { ...numbersOf(c), columns: to - from, kvStart: c.kvStart + from, first: i === 0 ? 1 : 0 }
    state = runOnThreads('attend', sizes, { state, q, k: part(c, k, from, to), v: part(c, v, from, to), ...startsOf(c) }, { path }).state
  })
  return finished(c, state, path)
}
/** In f32, so that the last rounding hides nothing. */
function finished(c: Case, state: Memory, path: string) {
  const { o, lse } = runOnThreads(
    'finish',
    { ...numbersOf(c), bf16: 0 },
    { o: poison(qCount(c), 'f32'), lse: poison(c.rows * c.heads, 'f32'), state },
    { path },
  )
  return { o, lse }
}

/**
 * Relative error of p = e^(score - lse) before it is rounded: scores and lse are f32 numbers of some size, formed by a few
 * roundings that matter (a sum of D products is off by about √D roundings of its parts, which are much smaller than the sum of
 * their magnitudes); the exponential itself is good to 3e-6 where p is rounded to bf16 and to 2e-7 elsewhere.
 */
const errorOfP = (scoreMagnitude: number, dtype: ComputeDtype): number => (8 * scoreMagnitude + 16) * UNIT.f32 + (dtype === 'bf16' ? 3e-6 : 0)
/** One rounding of p or ds: the bf16 path keeps both in bf16. */
const roundingOfP = (dtype: ComputeDtype): number => (dtype === 'bf16' ? UNIT.bf16 : 0)

function expectForward(c: Case, actual: { o: Memory; lse: Memory }, expected: Attended): void {
  const sums = (c.columns + 16) * UNIT.f32
  const p = errorOfP(expected.scoreMagnitude, c.dtype)
  // A row's sum of p carries the error of p, a roundoff per kv row, and so does its logarithm, absolutely.
  const seen = (i: number): boolean => expected.lse[i] !== -Infinity
  expectWithin(
    'lse',
    numbers(actual.lse).map((x, i) => (seen(i) ? x : x === -Infinity ? 0 : Number.NaN)),
    expected.lse.map((x, i) => (seen(i) ? x : 0)),
    () => p + sums,
  )
  // twice the error of p: once in the product, once in the divisor
  expectWithin('o', numbers(actual.o), expected.o, (i) => (2 * p + roundingOfP(c.dtype) + 2 * sums) * (expected.oMagnitude[i] as number))
}
const referenceOf = (c: Case): Attended => {
  const { q, k, v } = widen(inputs(c))
  return attention(c, q, k, v)
}

/** What a backward pass reads, from the f64 forward pass, rounded to what the kernel is given. */
function backwardInputs(c: Case, reference = referenceOf(c)) {
  const dO = random(c.seed + 3, qCount(c), c.dtype)
  const delta = rowSums(c, numbers(dO), reference.o)
  return { ...inputs(c), dO, lse: Float32Array.from(reference.lse), delta: Float32Array.from(delta) }
}

type Gradients = Readonly<Record<'dq' | 'dk' | 'dv', Memory>>
const NONE = { dq: undefined, dk: undefined, dv: undefined }

/** `before`: what was there already and is added to. */
function expectGradients(
  c: Case,
  actual: Gradients,
  given: ReturnType<typeof backwardInputs>,
  reference: Attended,
  before: Gradients | typeof NONE = NONE,
): void {
  const { q, k, v, dO, lse, delta } = widen(given)
  const expected = attentionBackward(c, q, k, v, dO, lse, delta)
  const relative = errorOfP(reference.scoreMagnitude, c.dtype) + roundingOfP(c.dtype)
  // p below the normal numbers is 0
  const underflow = 2 ** -110
  const terms = { dq: c.columns, dk: (c.rows * c.heads) / c.kvHeads, dv: (c.rows * c.heads) / c.kvHeads }
  for (const role of ['dq', 'dk', 'dv'] as const) {
    const from = before[role] === undefined ? new Float64Array(expected[role].length) : numbers(before[role])
    expectWithin(
      role,
      numbers(actual[role]),
      expected[role].map((x, i) => x + (from[i] as number)),
      (i) => underflow + (relative + (terms[role] + 16) * UNIT.f32) * ((expected[`${role}Magnitude`][i] as number) + Math.abs(from[i] as number) / 8),
    )
  }
}
function expectBackward(c: Case, path: string, first: 0 | 1, reference = referenceOf(c)): void {
  const given = backwardInputs(c, reference)
  const before = (count: number, seed: number): Memory => (first ? poison(count, 'f32') : random(seed, count, 'f32'))
  const start = { dq: before(qCount(c), 11), dk: before(kvCount(c), 12), dv: before(kvCount(c), 13) }
  const actual = runOnThreads('attendBackward', { ...numbersOf(c), firstQ: first, firstKv: first }, { ...start, ...given, ...startsOf(c) }, { path })
  expectGradients(c, actual, given, reference, first ? NONE : start)
}

describe.each(PATHS)('attention on %s', (path) => {
  it('attends chunks of any size and offset', () => {
    fc.assert(
      fc.property(cases, (c) => expectForward(c, forward(c, path), referenceOf(c))),
      RUNS,
    )
    expectForward(ODD, forward(ODD, path), referenceOf(ODD))
  })
  it('gives for several kv chunks in turn what it gives for one', () => {
    fc.assert(
      fc.property(cases, fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 4 }), (c, at) => {
        const cuts = new Set(at.map((x) => Math.ceil(x * (c.columns - 1))).filter((cut) => cut > 0))
        expectForward(c, forward(c, path, [...[...cuts].sort((a, b) => a - b), c.columns]), referenceOf(c))
      }),
      RUNS,
    )
  })
  it.each([undefined, [30, 60, 100], [99, 100, 140]])(
    'gives for two kv chunks attended apart and merged what it gives for one, documents begin at %j',
    (begins) => {
      const sizes = { rows: 150, columns: 170, heads: 4, kvHeads: 2, headSize: 64, qStart: 40, kvStart: 10 }
      const c: Case = { ...sizes, dtype: 'bf16', seed: 8, ...(begins ? { starts: packed(sizes, begins) } : {}) }
      const { q, k, v } = inputs(c)
      const apart = (from: number, to: number) => {
        const sizes = { ...numbersOf(c), columns: to - from, kvStart: c.kvStart + from, first: 1 }
        const before = poison(c.rows * c.heads * (c.headSize + 2), 'f32')
        const { state } = runOnThreads('attend', sizes, { state: before, q, k: part(c, k, from, to), v: part(c, v, from, to), ...startsOf(c) }, { path })
        return finished(c, state, path)
      }
      const [near, far] = [apart(90, 170), apart(0, 90)]
      expectForward(c, runOnThreads('merge', numbersOf(c), { o: near.o, lse: near.lse, oB: far.o, lseB: far.lse }, { path }), referenceOf(c))
    },
  )
  it('takes scores in the thousands', () => {
    for (const dtype of ['bf16', 'f32'] as const) {
      const c = { ...LARGE, dtype }
      expectForward(c, forward(c, path, [40, 200, c.columns]), referenceOf(c))
      expectBackward(c, path, 1)
    }
  })
  // A score s is off by a few roundings of numbers of its size. lse - s is not to be off by more than that: not by a
  // rounding for every one of the D terms of s, and not by an exponential that rounds its argument.
  it.each(['f32', 'bf16'] as const)('keeps lse and log p within 8 units of the largest score, in %s', (dtype) => {
    for (const headSize of [40, 64, 128, 256])
      for (const close of [true, false]) {
        const c: Case = { rows: 40, columns: 300, heads: 1, kvHeads: 1, headSize, qStart: 260, kvStart: 0, dtype, seed: headSize }
        const given = largeScores(c, close)
        const { q, k, v } = widen(given)
        const expected = attention(c, q, k, v)
        const bound = 8 * UNIT.f32 * expected.largestScore
        expect(expected.largestScore).toBeGreaterThan(5000)
        const { lse } = forward(c, path, [70, 200, c.columns], given)
        expectWithin('lse', lse as Float32Array, expected.lse, () => bound)
        // Where dO is the unit matrix, dv is p.
        const unit = tensor(
          Float64Array.from({ length: qCount(c) }, (_, i) => (i % headSize === Math.floor(i / headSize) ? 1 : 0)),
          dtype,
        )
        const empty = { dq: poison(qCount(c), 'f32'), dk: poison(kvCount(c), 'f32'), dv: poison(kvCount(c), 'f32') }
        const delta = new Float32Array(c.rows)
        const { dv } = runOnThreads('attendBackward', { ...numbersOf(c), firstQ: 1, firstKv: 1 }, { ...empty, ...given, dO: unit, lse, delta }, { path })
        const p = attentionBackward(c, q, k, v, numbers(unit), expected.lse, Float64Array.from(delta)).dv
        const measurable = [...p.keys()].filter((i) => (p[i] as number) > 1e-30)
        expect(measurable.length).toBeGreaterThanOrEqual(c.rows)
        const logarithms = (x: Memory): number[] => measurable.map((i) => Math.log(x[i] as number))
        expectWithin('log p', logarithms(dv), logarithms(p), () => bound + roundingOfP(dtype) + 2 ** -18)
      }
  })
  it('takes chunks of any size and offset back, writing over garbage', () => {
    fc.assert(
      fc.property(cases, (c) => expectBackward(c, path, 1)),
      RUNS,
    )
    expectBackward(ODD, path, 1)
  })
  it('adds to the gradients of chunks met before', () => {
    fc.assert(
      fc.property(cases, (c) => expectBackward(c, path, 0)),
      RUNS,
    )
  })
  it('leaves what a chunk that no row sees would add to', () => {
    const c: Case = { rows: 130, columns: 100, heads: 2, kvHeads: 1, headSize: 64, qStart: 0, kvStart: 130, dtype: 'bf16', seed: 9 }
    const state = random(1, c.rows * c.heads * 66, 'f32')
    expect(runOnThreads('attend', { ...numbersOf(c), first: 0 }, { state, ...inputs(c) }, { path }).state).toEqual(state)
    const { o, lse } = forward(c, path)
    expect(new Set(o)).toEqual(new Set([0]))
    expect(new Set(lse)).toEqual(new Set([-Infinity]))
    expectBackward(c, path, 1)
    expectBackward(c, path, 0)
  })
  it.each([64, 40])('leaves the state of rows that see nothing of a chunk, bit for bit, beside rows that do; head size %i', (headSize) => {
    const sizes = { rows: 130, columns: 100, heads: 2, kvHeads: 1, headSize, qStart: 150, kvStart: 50 }
    for (const dtype of ['bf16', 'f32'] as const) {
      const c: Case = { ...sizes, dtype, seed: 9, starts: Int32Array.from({ length: 130 }, (_, row) => (row % 3 === 0 ? 150 + row : 0)) }
      // as after chunks of small scores: the others must be raised above what they met
      const state = random(1, c.rows * c.heads * (headSize + 2), 'f32').map((x, i) => (i < c.rows * c.heads * headSize ? x : Math.abs(x) - 20)) as Float32Array
      const { state: after } = runOnThreads('attend', { ...numbersOf(c), first: 0 }, { state, ...inputs(c), ...startsOf(c) }, { path })
      const changed = new Set<number>()
      const row = (i: number): number => (i < qCount(c) ? Math.floor(i / (c.heads * headSize)) : (i - qCount(c)) % c.rows)
      after.forEach((x, i) => {
        if (!Object.is(x, state[i])) changed.add(row(i))
      })
      expect([...changed].sort((a, b) => a - b)).toEqual(Array.from({ length: 130 }, (_, i) => i).filter((i) => i % 3 !== 0))
    }
  })
  it('begins the state of rows whose documents begin in a later chunk', () => {
    // Rows 0 .. 49 see the first chunk only, 50 .. 99 the second only, the rest none: their documents lie further on.
    const sizes = { rows: 130, columns: 100, heads: 2, kvHeads: 1, headSize: 64, qStart: 1000, kvStart: 0 }
    const starts = Int32Array.from({ length: 130 }, (_, row) => (row < 50 ? 0 : row < 100 ? 60 : 1000))
    for (const dtype of ['bf16', 'f32'] as const) {
      const c: Case = { ...sizes, dtype, seed: 12, starts }
      const { o, lse } = forward(c, path, [60, 80, 100])
      expectForward(c, { o, lse }, referenceOf(c))
      const unseen = (x: Memory, at: (row: number, head: number) => number): Set<number> =>
        new Set(Array.from({ length: 60 }, (_, i) => x[at(100 + (i >> 1), i & 1)] as number))
      expect(unseen(o, (row, head) => (row * 2 + head) * 64)).toEqual(new Set([0]))
      expect(unseen(lse, (row, head) => head * 130 + row)).toEqual(new Set([-Infinity]))
    }
  })
  it('attends a later kv chunk first and an earlier one after it, across documents', () => {
    // Rows 760 .. 799 belong to a document that begins at 0, 800 .. 859 to one that begins in the later chunk: of the earlier one they see nothing.
    const sizes = { rows: 100, columns: 850, heads: 2, kvHeads: 1, headSize: 64, qStart: 760, kvStart: 0 }
    for (const headSize of [64, 128]) {
      const c: Case = { ...sizes, headSize, dtype: 'bf16', seed: 13, starts: packed(sizes, [800]) }
      const { q, k, v } = inputs(c)
      const reference = referenceOf(c)
      let state: Memory = poison(c.rows * c.heads * (headSize + 2), 'f32')
      const given = backwardInputs(c, reference)
      let dq: Memory = poison(qCount(c), 'f32')
      const [dk, dv] = [new Float32Array(kvCount(c)), new Float32Array(kvCount(c))]
      ;[
        [700, 850],
        [0, 700],
      ].forEach(([from, to], i) => {
        const [first, kvStart, columns] = [i === 0 ? 1 : 0, from as number, (to as number) - (from as number)]
        const kv = { k: part(c, k, from as number, to as number), v: part(c, v, from as number, to as number) }
        state = runOnThreads('attend', { ...numbersOf(c), columns, kvStart, first }, { state, q, ...kv, ...startsOf(c) }, { path }).state
        const empty = { dk: poison(columns * c.kvHeads * headSize, 'f32'), dv: poison(columns * c.kvHeads * headSize, 'f32') }
        const numbersOfChunk = { ...numbersOf(c), columns, kvStart, firstQ: first, firstKv: 1 }
        const back = runOnThreads('attendBackward', numbersOfChunk, { dq, ...empty, ...given, ...kv, ...startsOf(c) }, { path })
        dq = back.dq
        dk.set(back.dk as Float32Array, kvStart * c.kvHeads * headSize)
        dv.set(back.dv as Float32Array, kvStart * c.kvHeads * headSize)
      })
      expectForward(c, finished(c, state, path), reference)
      expectGradients(c, { dq, dk, dv }, given, reference)
    }
  })
  it('does not hide a NaN', () => {
    const c: Case = { rows: 60, columns: 60, heads: 1, kvHeads: 1, headSize: 64, qStart: 60, kvStart: 0, dtype: 'bf16', seed: 10 }
    const { q, k, v } = inputs(c)
    q[17 * 64] = 0x7fc0
    const { state } = runOnThreads('attend', { ...numbersOf(c), first: 1 }, { state: poison(60 * 66, 'f32'), q, k, v }, { path })
    const { o } = finished(c, state, path)
    for (let row = 0; row < 60; row++) expect(Number.isNaN(o[row * 64]), `row ${row}`).toBe(row === 17)
  })
  it('takes a NaN of v back only to rows that see it', () => {
    const c: Case = { rows: 60, columns: 60, heads: 1, kvHeads: 1, headSize: 64, qStart: 0, kvStart: 0, dtype: 'bf16', seed: 14 }
    const given = backwardInputs(c)
    given.v[50 * 64] = 0x7fc0
    const empty = { dq: poison(qCount(c), 'f32'), dk: poison(kvCount(c), 'f32'), dv: poison(kvCount(c), 'f32') }
    const { dq } = runOnThreads('attendBackward', { ...numbersOf(c), firstQ: 1, firstKv: 1 }, { ...empty, ...given }, { path })
    for (let row = 0; row < 60; row++) expect(Number.isNaN(dq[row * 64]), `row ${row}`).toBe(row >= 50)
  })
  // A row and a key that do not see each other have p = ds = 0, which times a NaN or an infinity is NaN: those must not enter their sums.
  // On CUDA they do, in tiles that some row does not see whole (ARCHITECTURE.md, NaN and infinity).
  it.skipIf(BACKEND === 'cuda').each([64, 128, 40])('keeps what is not finite to those that see it, head size %i', (headSize) => {
    const sizes = { rows: 130, columns: 150, heads: 1, kvHeads: 1, headSize, qStart: 60, kvStart: 20 }
    const packs: Case = { ...sizes, dtype: 'bf16', seed: 14, starts: packed(sizes, [97, 140]) }
    for (const c of [packs, { ...sizes, dtype: 'bf16', seed: 15 } as const, { ...packs, dtype: 'f32' } as const]) {
      const clean = backwardInputs(c)
      const attend = (given: typeof clean) => forward(c, path, [100, c.columns], given)
      const back = (given: typeof clean) => {
        const empty = { dq: poison(qCount(c), 'f32'), dk: poison(kvCount(c), 'f32'), dv: poison(kvCount(c), 'f32') }
        return runOnThreads('attendBackward', { ...numbersOf(c), firstQ: 1, firstKv: 1 }, { ...empty, ...given, ...startsOf(c) }, { path })
      }
      const [cleanO, cleanGradients] = [attend(clean).o, back(clean)]
      // An infinity in k or q is no sure sign of anything: a score of -infinity is p = 0.
      for (const [role, rows] of [
        ['k', { 45: Number.NaN, 120: Number.NaN }],
        ['v', { 45: Number.NaN, 120: Infinity }],
        ['q', { 30: Number.NaN, 90: Number.NaN }],
        ['dO', { 30: Infinity, 90: Number.NaN }],
      ] as const) {
        const given = { ...clean, [role]: clean[role].slice() }
        for (const [row, bad] of Object.entries(rows)) given[role][Number(row) * headSize + 5] = tensor([bad], c.dtype)[0] as number
        const { o, lse } = attend(given)
        const { q, k, v } = widen(given)
        expectKept(`o by ${role}`, o, attention(c, q, k, v).o, cleanO)
        // as if the statistics were of finite operands, and as the forward pass gives them
        for (const x of role === 'k' || role === 'q' ? [given, { ...given, lse: lse as Float32Array<ArrayBuffer> }] : [given]) {
          const { q, k, v, dO, lse, delta } = widen(x)
          const [actual, expected] = [back(x), attentionBackward(c, q, k, v, dO, lse, delta)]
          for (const of of ['dq', 'dk', 'dv'] as const)
            expectKept(`${of} by ${role}${x === given ? '' : ' and lse'}`, actual[of], expected[of], cleanGradients[of])
        }
      }
    }
  })
  it.skipIf(BACKEND !== 'cuda').each([64, 128, 40])('keeps what is not finite to the tiles of those that see it, head size %i', (headSize) => {
    const sizes = { rows: 260, columns: 300, heads: 1, kvHeads: 1, headSize, qStart: 100, kvStart: 0, dtype: 'bf16' } as const
    // Causal and packed: a row and a key that some tiles see in part, and some not at all.
    const placed: readonly (readonly [c: Case, badRow: number, badKey: number])[] = [
      [{ ...sizes, seed: 16 }, 20, 290],
      [{ ...sizes, seed: 17, starts: packed(sizes, [150, 280]) }, 150, 20],
    ]
    for (const [c, badRow, badKey] of placed) {
      const sees = (row: number, key: number): boolean => key <= row + c.qStart && key >= (c.starts?.[row] ?? 0)
      /** Whether the tile of a row and a key, which has so many of them, holds a row and a key that see each other. */
      const isMet = (row: number, key: number, rows: number, keys: number): boolean => {
        const [row0, key0] = [row - (row % rows), key - (key % keys)]
        for (let r = row0; r < Math.min(row0 + rows, c.rows); r++) for (let k = key0; k < Math.min(key0 + keys, c.columns); k++) if (sees(r, k)) return true
        return false
      }
      const clean = backwardInputs(c)
      const back = (given: typeof clean) => {
        const empty = { dq: poison(qCount(c), 'f32'), dk: poison(kvCount(c), 'f32'), dv: poison(kvCount(c), 'f32') }
        return run('attendBackward', { ...numbersOf(c), firstQ: 1, firstKv: 1 }, { ...empty, ...given, ...startsOf(c) }, { path })
      }
      const cleanOutputs = { o: forward(c, path, [c.columns], clean).o, ...back(clean) }
      for (const [role, bad, into] of [
        ['v', badKey, 'o'],
        ['k', badKey, 'dq'],
        ['q', badRow, 'dk'],
        ['dO', badRow, 'dv'],
      ] as const) {
        const given = { ...clean, [role]: clean[role].slice() }
        given[role][bad * headSize + 5] = tensor([Number.NaN], c.dtype)[0] as number
        const { q, k, v, dO, lse, delta } = widen(given)
        const expected = { o: attention(c, q, k, v).o, ...attentionBackward(c, q, k, v, dO, lse, delta) }
        const actual = { o: forward(c, path, [c.columns], given).o, ...back(given) }
        // Forward a block takes 128 rows and 64 keys at a time, backward 64 rows and 128 keys; where they take fewer, these hold them.
        const mayReach = (line: number): boolean =>
          into === 'o' ? isMet(line, bad, 128, 64) : into === 'dq' ? isMet(line, bad, 64, 128) : isMet(bad, line, 64, 128)
        const lines = actual[into].length / headSize
        const beyond = Array.from({ length: lines }, (_, line) => line).filter((line) => !mayReach(line)).length
        expect(beyond, `${into} by ${role}: there is a beyond`).toBeGreaterThan(40)
        for (const of of ['o', 'dq', 'dk', 'dv'] as const)
          expectKept(`${of} by ${role}`, actual[of], expected[of], cleanOutputs[of], (i) => of === into && mayReach(Math.floor(i / headSize)))
      }
    }
  })
})

/**
 * Finite where the reference is, and there as without what is not finite, as far as that reaches; not finite where the reference is not. Where the
 * reference is finite and what is not `mayReach`, anything goes.
 */
function expectKept(name: string, actual: Memory, reference: Float64Array, clean: Memory, mayReach: (i: number) => boolean = () => false): void {
  let largest = 0
  for (const x of clean) largest = Math.max(largest, Math.abs(x))
  const wrong = [...reference.keys()].filter((i) => {
    const x = actual[i] as number
    if (Number.isFinite(reference[i] as number) && mayReach(i)) return false
    return Number.isFinite(reference[i] as number) ? !(Math.abs(x - (reference[i] as number)) <= largest / 50) : Number.isFinite(x)
  })
  expect(
    wrong.slice(0, 4).map((i) => [i, actual[i], reference[i]]),
    `${name}: ${wrong.length} of ${reference.length}`,
  ).toEqual([])
}

describe.each(PATHS.filter((path) => path !== 'scalar'))('attention on %s, in blocks of several tiles', (path) => {
  const reference = referenceOf(LONG)
  it('attends', () => expectForward(LONG, forward(LONG, path), reference))
  it('takes back', () => expectBackward(LONG, path, 1, reference))
  it('gives the same bits where all documents begin at 0 as without documents', () => {
    const bits = (c: Case) => Object.values(forward(c, path, [200, 420])).map((x) => Buffer.from(x.buffer).toString('base64'))
    expect(bits({ ...LONG, starts: new Int32Array(LONG.rows) })).toEqual(bits(LONG))
  })
  it('does both for documents that begin in the middle of chunks', () => {
    const packedReference = referenceOf(LONG_PACKED)
    for (const cuts of [[420], [97, 300, 420]]) expectForward(LONG_PACKED, forward(LONG_PACKED, path, cuts), packedReference)
    expectBackward(LONG_PACKED, path, 1, packedReference)
  })
})

describe.skipIf(BACKEND === 'cuda')('the workspace of attention on the CPU', () => {
  const attempt = (c: Case, kernel: 'attend' | 'attendBackward', path: string, threads: number, share: number): void => {
    const parameters = parametersOf(kernel, { ...numbersOf(c), first: 1, firstQ: 1, firstKv: 1 })
    const q = (): Memory => new Float32Array(qCount(c))
    const kv = (): Memory => new Float32Array(kvCount(c))
    const rows = (): Memory => new Float32Array(c.rows * c.heads)
    const operands =
      kernel === 'attend' ? [new Float32Array(c.rows * c.heads * (c.headSize + 2)), q(), kv(), kv()] : [q(), kv(), kv(), q(), kv(), kv(), q(), rows(), rows()]
    const starts = c.starts?.slice() ?? null
    call(
      kernelSpec(kernel).code,
      Float64Array.from(parameters),
      [...operands, starts],
      Math.floor(share * attentionWorkspaceBytes(kernel, parameters, threads)),
      {
        threads,
        path,
      },
    )
  }
  it('is enough for every shape on every path', () => {
    fc.assert(
      fc.property(
        cases,
        fc.constantFrom('attend' as const, 'attendBackward' as const),
        fc.constantFrom(...PATHS),
        fc.integer({ min: 1, max: 3 }),
        (c, kernel, path, threads) => attempt(c, kernel, path, threads, 1),
      ),
    )
  })
  it.each(PATHS.filter((path) => path !== 'scalar'))('is refused when it is too small, on %s', (path) => {
    for (const kernel of ['attend', 'attendBackward'] as const) expect(() => attempt(LARGE, kernel, path, 2, 1 / 4)).toThrow(/workspace of \d+ bytes/)
  })
  it('does not grow with the chunk but for a few numbers per block', () => {
    const bytes = (rows: number): number =>
      attentionWorkspaceBytes('attendBackward', parametersOf('attendBackward', { ...numbersOf(LONG), rows, columns: rows, firstQ: 1, firstKv: 1 }), 2)
    expect(bytes(1 << 16) - bytes(1 << 10)).toBeLessThan(64 * 1024)
  })
})

describe('the reference of attention', () => {
  it('has the gradient that its forward has', () => {
    const sizes = { rows: 3, columns: 4, heads: 2, kvHeads: 1, headSize: 2, qStart: 2, kvStart: 1 }
    const [q, k, v, dO] = [uniform(1, 12), uniform(2, 8), uniform(3, 8), uniform(4, 12)] as const
    const { o, lse } = attention(sizes, q, k, v)
    const { dq, dk, dv } = attentionBackward(sizes, q, k, v, dO, lse, rowSums(sizes, dO, o))
    const close = (): number => 1e-7
    expectWithin(
      'dq',
      dq,
      derivative((x) => dot(attention(sizes, x, k, v).o, dO), q),
      close,
    )
    expectWithin(
      'dk',
      dk,
      derivative((x) => dot(attention(sizes, q, x, v).o, dO), k),
      close,
    )
    expectWithin(
      'dv',
      dv,
      derivative((x) => dot(attention(sizes, q, k, x).o, dO), v),
      close,
    )
  })
  it('is the mean of the values where all scores are equal', () => {
    const sizes = { rows: 1, columns: 2, heads: 1, kvHeads: 1, headSize: 1, qStart: 1, kvStart: 0 }
    const { o, lse } = attention(sizes, numbers(tensor([0], 'f32')), Float64Array.of(1, 2), Float64Array.of(3, 5))
    expect([o[0], lse[0]]).toEqual([4, Math.log(2)])
  })
})
