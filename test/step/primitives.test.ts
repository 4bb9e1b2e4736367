/** Every primitive against what it says it computes, written naively in fp64 here; backwards against finite differences of those. */
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { FpdtError } from '../../kernel/src/errors.js'
import { Device } from '../../kernel/src/fpdt/device.js'
import { concat, largestDifference, random, Tensor, tensor } from '../../kernel/src/fpdt/own/tensor.js'
import { derivative, dot } from '../backend/reference/derivative.js'

const device = await Device.cpu({ memory: '64 MiB', host: '64 MiB', disk: '64 MiB', threads: 2 })
const p = device.primitives
afterAll(() => device.close())

type Reals = Float64Array
const reals = (t: Tensor): Reals => Float64Array.from(t.values)
const map = (count: number, of: (i: number) => number): Reals => Float64Array.from({ length: count }, (_, i) => of(i))
const sum = (count: number, of: (i: number) => number): number => map(count, of).reduce((all, one) => all + one, 0)
/** Numbers of order 1, sums of a few dozen: some roundings of f32. Of bf16 one, of the largest. */
const TOLERANCE = { f32: 3e-6, bf16: 2 ** -8, f64: 1e-12, i32: 0 } as const
function near(actual: Tensor, expected: ArrayLike<number>, dtype = actual.dtype): void {
  expect(actual.length).toBe(expected.length)
  const scale = Math.max(1, ...Array.from(expected, Math.abs))
  const worst = Math.max(...Array.from(actual.values, (value, i) => Math.abs(value - expected[i]!)))
  expect(worst / scale).toBeLessThanOrEqual(TOLERANCE[dtype])
}
/** d(Σ dout · f(x)) / dx. */
const gradient = (dout: Tensor, f: (x: Reals) => Reals, x: Tensor): Reals => derivative((moved) => dot(reals(dout), f(moved)), reals(x))
/** What an attempt is refused with. */
async function refusal(attempt: () => Promise<unknown> | unknown): Promise<string> {
  try {
    await attempt()
    return 'no error'
  } catch (error) {
    return error instanceof FpdtError ? `${error.code}: ${error.message}` : String(error)
  }
}

// ---- layers --------------------------------------------------------------------------------------------------------

const norm = (x: Reals, weight: Reals, eps = 1e-5): Reals => {
  const d = weight.length
  return map(x.length, (i) => {
    const row = x.subarray(i - (i % d), i - (i % d) + d)
    return (x[i]! / Math.sqrt(dot(row, row) / d + eps)) * weight[i % d]!
  })
}
const layerNorm = (x: Reals, weight: Reals, bias: Reals, eps = 1e-5): Reals => {
  const d = weight.length
  return map(x.length, (i) => {
    const row = x.subarray(i - (i % d), i - (i % d) + d)
    const mean = sum(d, (j) => row[j]!) / d
    const variance = sum(d, (j) => (row[j]! - mean) ** 2) / d
    return ((x[i]! - mean) / Math.sqrt(variance + eps)) * weight[i % d]! + bias[i % d]!
  })
}
/** a (rows, inputs), weight (outputs, inputs). */
const project = (a: Reals, weight: Reals, inputs: number): Reals => {
  const outputs = weight.length / inputs
  return map((a.length / inputs) * outputs, (i) => sum(inputs, (m) => a[Math.floor(i / outputs) * inputs + m]! * weight[(i % outputs) * inputs + m]!))
}
/** x (rows, heads, D) from token `start`. */
const rotary = (x: Reals, heads: number, D: number, start: number, theta: number): Reals =>
  map(x.length, (i) => {
    const m = i % D
    const angle = (start + Math.floor(i / D / heads)) * theta ** ((-2 * (m % (D / 2))) / D)
    return m < D / 2 ? x[i]! * Math.cos(angle) - x[i + D / 2]! * Math.sin(angle) : x[i]! * Math.cos(angle) + x[i - D / 2]! * Math.sin(angle)
  })
const silu = (a: number): number => a / (1 + Math.exp(-a))
const swiglu = (gateUp: Reals, f: number): Reals =>
  map(gateUp.length / 2, (i) => silu(gateUp[Math.floor(i / f) * 2 * f + (i % f)]!) * gateUp[Math.floor(i / f) * 2 * f + f + (i % f)]!)
const gelu = (up: Reals): Reals => up.map((a) => (a / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (a + 0.044715 * a ** 3))))

describe('norms', () => {
  const [x, weight, bias, dout, residual] = [random([5, 13], 1), random([13], 2), random([13], 3), random([5, 13], 4), random([5, 13], 5)]

  it('are RMSNorm and LayerNorm, in f32 and bf16', async () => {
    near(await p.norm(x, weight), norm(reals(x), reals(weight)))
    near(await p.norm(x, weight, { eps: 0.5 }), norm(reals(x), reals(weight), 0.5))
    near(await p.layerNorm(x, weight, bias), layerNorm(reals(x), reals(weight), reals(bias)))
    const [rounded, scale] = [x.to('bf16'), weight.to('bf16')]
    const out = await p.norm(rounded, scale)
    expect(out.dtype).toBe('bf16')
    near(out, norm(reals(rounded), reals(scale)))
  })

  it('go backward to x, with the residual on top, and to their weights, which accumulate', async () => {
    const { dx, dweight } = await p.normBackward(dout, x, weight)
    near(
      dx,
      gradient(dout, (moved) => norm(moved, reals(weight)), x),
    )
    near(
      dweight,
      gradient(dout, (moved) => norm(reals(x), moved), weight),
    )
    const again = await p.normBackward(dout, x, weight, { residual, dweight })
    near(
      again.dx,
      map(dx.length, (i) => dx.values[i]! + residual.values[i]!),
    )
    near(
      again.dweight,
      reals(dweight).map((one) => 2 * one),
    )
    const layer = await p.layerNormBackward(dout, x, weight, { residual })
    near(
      layer.dx,
      gradient(dout, (moved) => layerNorm(moved, reals(weight), reals(bias)), x).map((one, i) => one + residual.values[i]!),
    )
    near(
      layer.dweight,
      gradient(dout, (moved) => layerNorm(reals(x), moved, reals(bias)), weight),
    )
    near(
      layer.dbias,
      gradient(dout, (moved) => layerNorm(reals(x), reals(weight), moved), bias),
    )
    const added = await p.layerNormBackward(dout, x, weight, layer)
    near(
      added.dbias,
      reals(layer.dbias).map((one) => 2 * one),
    )
  })

  it('take a hidden state in f32 while they compute in bf16', async () => {
    const [scale, dnormed] = [weight.to('bf16'), dout.to('bf16')]
    const out = await p.norm(x, scale)
    expect(out.dtype).toBe('bf16')
    near(out, norm(reals(x), reals(scale)))
    const { dx, dweight } = await p.normBackward(dnormed, x, scale, { residual })
    expect([dx.dtype, dweight.dtype]).toEqual(['f32', 'f32'])
    const expected = gradient(dnormed, (moved) => norm(moved, reals(scale)), x)
    near(
      dx,
      expected.map((one, i) => one + residual.values[i]!),
    )
    expect((await p.layerNorm(x, scale, bias.to('bf16'))).dtype).toBe('bf16')
  })

  it('leave the tensors they were given as they were', async () => {
    const before = [x, weight, residual].map(reals)
    await p.normBackward(dout, x, weight, { residual })
    expect([x, weight, residual].map(reals)).toEqual(before)
  })
})

describe('project', () => {
  const [a, weight, bias, residual, dout] = [random([3, 7], 1), random([5, 7], 2), random([5], 3), random([3, 5], 4), random([3, 5], 6)]

  it('is a matrix product with residual and bias, rounded once', async () => {
    const product = project(reals(a), reals(weight), 7)
    near(await p.project(a, weight), product)
    near(
      await p.project(a, weight, { residual, bias }),
      product.map((one, i) => one + residual.values[i]! + bias.values[i % 5]!),
    )
    const [a16, w16] = [a.to('bf16'), weight.to('bf16')]
    const exact = project(reals(a16), reals(w16), 7)
    near(await p.project(a16, w16), exact)
    near(await p.project(a16, w16, { dtype: 'f32' }), exact)
    near(
      await p.project(a16, w16, { residual }), // in f32, as the residual is
      exact.map((one, i) => one + residual.values[i]!),
    )
    expect(await refusal(() => p.project(a16, w16, { residual: residual.to('bf16'), dtype: 'f32' }))).toMatch(
      /^dtype: project adds residual in the dtype it gives, f32/,
    )
  })

  it('goes backward to input, weights and bias', async () => {
    near(
      await p.projectBackward(dout, weight),
      gradient(dout, (moved) => project(moved, reals(weight), 7), a),
    )
    const dweight = await p.weightGradient(dout, a)
    near(
      dweight,
      gradient(dout, (moved) => project(reals(a), moved, 7), weight),
    )
    near(
      await p.weightGradient(dout, a, { dweight }),
      reals(dweight).map((one) => 2 * one),
    )
    const dbias = await p.biasGradient(dout)
    near(
      dbias,
      map(5, (n) => sum(3, (t) => dout.at(t, n))),
    )
    near(
      await p.biasGradient(dout, { dbias }),
      reals(dbias).map((one) => 2 * one),
    )
  })
})

describe('rotary', () => {
  const [q, k, v] = [random([3, 3, 8], 1).from(70_001), random([3, 1, 8], 2).from(70_001), random([3, 1, 8], 3)]

  it('turns q and k by their positions, and back', async () => {
    const turned = await p.rotary(q, k, { theta: 5e5 })
    near(turned.q, rotary(reals(q), 3, 8, 70_001, 5e5))
    near(turned.k, rotary(reals(k), 1, 8, 70_001, 5e5))
    expect([turned.q.start, turned.k.start]).toEqual([70_001, 70_001])
    const back = await p.rotaryBackward(turned.q, turned.k, v, { theta: 5e5 })
    near(back.dq, q.values)
    near(back.dk, k.values)
    expect(back.dv).toEqual(v)
  })

  it('has a backward that is its transpose, rounded to the dtype that is asked for', async () => {
    const [dq, dk] = [random([3, 3, 8], 4).from(70_001), random([3, 1, 8], 5).from(70_001)]
    const back = await p.rotaryBackward(dq, dk, v)
    near(
      back.dq,
      gradient(dq, (moved) => rotary(moved, 3, 8, 70_001, 10_000), q),
    )
    const rounded = await p.rotaryBackward(dq, dk, v, { dtype: 'bf16' })
    expect([rounded.dq.dtype, rounded.dk.dtype, rounded.dv.dtype]).toEqual(['bf16', 'bf16', 'bf16'])
    near(rounded.dk, back.dk.values)
  })

  it('refuses q and k of different positions', async () => {
    expect(await refusal(() => p.rotary(q, k.from(3)))).toBe('shape: rotary turns q and k by the same positions, and q begins at token 70001, k at 3.')
  })
})

describe('activations', () => {
  it('are SwiGLU and GELU, forward and backward', async () => {
    const [gateUp, dout] = [random([3, 10], 1), random([3, 5], 2)]
    near(await p.swiglu(gateUp), swiglu(reals(gateUp), 5))
    near(
      await p.swigluBackward(dout, gateUp),
      gradient(dout, (moved) => swiglu(moved, 5), gateUp),
    )
    const up = random([3, 5], 3)
    near(await p.gelu(up), gelu(reals(up)))
    near(await p.geluBackward(dout, up), gradient(dout, gelu, up))
  })
})

// ---- ends ----------------------------------------------------------------------------------------------------------

describe('embed', () => {
  const [table, positionTable, dx] = [random([7, 3], 1), random([4, 3], 2), random([5, 3], 3)]
  const [tokens, positions] = [tensor([6, 0, 2, 6, 1], { dtype: 'i32' }), tensor([0, 1, 2, 3, 0], { dtype: 'i32' })]

  it('gathers rows, adds positions, and scatters gradients back', async () => {
    const rowOf = (t: Tensor, i: number, j: number): number => t.values[i * 3 + j]!
    near(
      await p.embed(tokens, table),
      map(15, (i) => rowOf(table, tokens.at(Math.floor(i / 3)), i % 3)),
    )
    const both = map(15, (i) => rowOf(table, tokens.at(Math.floor(i / 3)), i % 3) + rowOf(positionTable, positions.at(Math.floor(i / 3)), i % 3))
    near(await p.embed(tokens, table, { positions, positionTable }), both)
    expect((await p.embed(tokens, table.to('bf16'), { dtype: 'f32' })).dtype).toBe('f32')
    const expected = map(21, (i) => sum(5, (t) => (tokens.at(t) === Math.floor(i / 3) ? dx.at(t, i % 3) : 0)))
    const dtable = await p.embedBackward(dx, tokens, { vocabulary: 7 })
    near(dtable, expected)
    near(
      await p.embedBackward(dx, tokens, { dtable }),
      expected.map((one) => 2 * one),
    )
  })

  it('refuses an id beyond the table', async () => {
    expect(await refusal(() => p.embed(tensor([7], { dtype: 'i32' }), table))).toMatch(/^token: .*token 7 in row 0 is not in the vocabulary 0 \.\. 6/)
  })
})

describe('crossEntropy', () => {
  const [logits, labels] = [random([3, 11], 1), tensor([4, -1, 10], { dtype: 'i32' })]
  const loss = (x: Reals, valid: number): number =>
    sum(3, (t) => (labels.at(t) < 0 ? 0 : (Math.log(sum(11, (w) => Math.exp(x[t * 11 + w]!))) - x[t * 11 + labels.at(t)]!) / valid))

  it('gives the mean loss over labels that count, and its gradient', async () => {
    const found = await p.crossEntropy(logits, labels)
    expect(found.loss).toBeCloseTo(loss(reals(logits), 2), 6)
    near(
      found.dlogits,
      derivative((x) => loss(x, 2), reals(logits)),
    )
    expect(Array.from(found.dlogits.rows(1, 2).values)).toEqual(Array(11).fill(0))
  })

  it('adds up over chunks when told how many labels count in all, and packs bf16 gradients', async () => {
    const whole = await p.crossEntropy(logits, labels)
    const parts = await Promise.all(logits.chunks(3).map((chunk, t) => p.crossEntropy(chunk, labels.rows(t, t + 1), { valid: 2, dtype: 'bf16' })))
    expect(parts.reduce((all, part) => all + part.loss, 0)).toBeCloseTo(whole.loss, 6)
    near(concat(parts.map(({ dlogits }) => dlogits)), whole.dlogits.values)
  })

  it('refuses a label beyond the words, and labels of which none counts', async () => {
    expect(await refusal(() => p.crossEntropy(logits, tensor([0, 0, 11], { dtype: 'i32' })))).toMatch(/^token: .*11/)
    expect(await refusal(() => p.crossEntropy(logits, tensor([-1, -1, -1], { dtype: 'i32' })))).toMatch(/^config: crossEntropy: valid 0/)
  })
})

describe('adamW', () => {
  it('follows its equations over steps, clips, and rounds the weight it computes with', async () => {
    const options = { rate: 0.01, beta1: 0.8, beta2: 0.9, eps: 1e-6, decay: 0.3, maxNorm: 1.5 }
    let state = { master: random([3, 5], 1), m: random([3, 5], 2), v: tensor(random([15], 3).values.map(Math.abs) as Float32Array, { shape: [3, 5] }) }
    for (const step of [1, 2, 3]) {
      const gradient = random([3, 5], 10 + step)
      const length = Math.sqrt(dot(reals(gradient), reals(gradient)))
      const g = reals(gradient).map((one) => one * Math.min(1, 1.5 / length))
      const m = reals(state.m).map((one, i) => 0.8 * one + 0.2 * g[i]!)
      const v = reals(state.v).map((one, i) => 0.9 * one + 0.1 * g[i]! ** 2)
      const direction = map(15, (i) => m[i]! / (1 - 0.8 ** step) / (Math.sqrt(v[i]! / (1 - 0.9 ** step)) + 1e-6))
      const master = reals(state.master).map((one, i) => one - 0.01 * (direction[i]! + 0.3 * one))
      const found = await p.adamW({ ...state, gradient }, { ...options, step, dtype: 'bf16' })
      expect(found.gradientNorm).toBeCloseTo(length, 5)
      near(found.m, m)
      near(found.v, v)
      near(found.master, master)
      expect(found.weight).toEqual(found.master.to('bf16'))
      state = found
    }
  })

  it('begins with moments of 0, and without clipping', async () => {
    const [master, gradient] = [random([4], 1), tensor([3, -4, 100, 0])]
    const found = await p.adamW({ master, gradient }, { rate: 0.5, decay: 0 })
    near(
      found.master,
      map(4, (i) => master.at(i) - 0.5 * Math.sign(gradient.at(i))),
    )
    expect(found.weight).toBeUndefined()
  })
})

// ---- attention -----------------------------------------------------------------------------------------------------

interface Sizes {
  readonly rows: number
  readonly columns: number
  readonly heads: number
  readonly kvHeads: number
  readonly headSize: number
  readonly qStart?: number
  readonly kvStart?: number
  readonly starts?: readonly number[]
}
/** Rows that see no key give 0 and -Infinity. */
function attention({ rows, columns, heads, kvHeads, headSize: D, qStart = 0, kvStart = 0, starts }: Sizes, q: Reals, k: Reals, v: Reals) {
  const [o, lse] = [new Float64Array(rows * heads * D), new Float64Array(heads * rows)]
  for (let head = 0; head < heads; head++) {
    const g = Math.floor((head * kvHeads) / heads)
    for (let r = 0; r < rows; r++) {
      const seen = Array.from({ length: columns }, (_, c) => c).filter((c) => kvStart + c <= qStart + r && kvStart + c >= (starts?.[r] ?? 0))
      const score = (c: number): number => sum(D, (e) => q[(r * heads + head) * D + e]! * k[(c * kvHeads + g) * D + e]!) / Math.sqrt(D)
      const total = seen.reduce((all, c) => all + Math.exp(score(c)), 0)
      lse[head * rows + r] = Math.log(total)
      for (let e = 0; e < D; e++)
        o[(r * heads + head) * D + e] = total && seen.reduce((all, c) => all + (Math.exp(score(c)) / total) * v[(c * kvHeads + g) * D + e]!, 0)
    }
  }
  return { o, lse }
}

describe('chunk attention', () => {
  const sizes = { rows: 15, columns: 15, heads: 3, kvHeads: 1, headSize: 8 }
  const [q, k, v, dO] = [random([15, 3, 8], 1), random([15, 1, 8], 2), random([15, 1, 8], 3), random([15, 3, 8], 4)]
  const [qs, ks, vs, dOs] = [q, k, v, dO].map((whole) => whole.chunks(3)) as [Tensor[], Tensor[], Tensor[], Tensor[]]
  const whole = attention(sizes, reals(q), reals(k), reals(v))
  const lseOf = (i: number): Reals => map(15, (at) => whole.lse[Math.floor(at / 5) * 15 + i * 5 + (at % 5)]!)

  it('meets chunks in any order, and comes to attention over the whole', async () => {
    for (const order of [
      [0, 1, 2],
      [2, 0, 1],
    ]) {
      let state: Tensor | undefined
      for (const j of order) state = await p.attend(qs[2]!, ks[j]!, vs[j]!, state ? { state } : {})
      const { o, lse } = await p.finish(state!)
      near(o, whole.o.subarray(2 * 5 * 3 * 8))
      near(lse, lseOf(2))
      expect(o.start).toBe(10)
    }
  })

  it('merges what was attended apart', async () => {
    const parts = await Promise.all([0, 1, 2].map(async (j) => p.finish(await p.attend(qs[2]!, ks[j]!, vs[j]!))))
    const { o, lse } = await p.merge(parts[2]!, await p.merge(parts[0]!, parts[1]!))
    near(o, whole.o.subarray(2 * 5 * 3 * 8))
    near(lse, lseOf(2))
  })

  it('goes backward chunk by chunk: dq adds over key chunks, dk and dv over query chunks', async () => {
    const value = (of: (q: Reals, k: Reals, v: Reals) => [Reals, Reals, Reals]) => (moved: Reals) => attention(sizes, ...of(moved, moved, moved)).o
    const [rq, rk, rv] = [reals(q), reals(k), reals(v)]
    const expected = {
      dq: gradient(
        dO,
        value((moved) => [moved, rk, rv]),
        q,
      ),
      dk: gradient(
        dO,
        value((_, moved) => [rq, moved, rv]),
        k,
      ),
      dv: gradient(
        dO,
        value((_, __, moved) => [rq, rk, moved]),
        v,
      ),
    }
    const finished = await Promise.all(
      qs.map(async (chunk, i) => {
        let state: Tensor | undefined
        for (let j = 0; j <= i; j++) state = await p.attend(chunk, ks[j]!, vs[j]!, state ? { state } : {})
        return p.finish(state!)
      }),
    )
    const deltas = await Promise.all(finished.map(({ o }, i) => p.delta(dOs[i]!, o)))
    near(
      deltas[1]!,
      map(15, (at) => sum(8, (e) => dOs[1]!.at(at % 5, Math.floor(at / 5), e) * finished[1]!.o.at(at % 5, Math.floor(at / 5), e))),
    )
    const dq: (Tensor | undefined)[] = [undefined, undefined, undefined]
    const dkv: { dk: Tensor; dv: Tensor }[] = []
    for (let j = 0; j < 3; j++) {
      let row: { dk: Tensor; dv: Tensor } | undefined
      for (let i = j; i < 3; i++) {
        const more = { ...(dq[i] ? { dq: dq[i] } : {}), ...(row ? { dk: row.dk, dv: row.dv } : {}) }
        const made = await p.attendBackward(qs[i]!, ks[j]!, vs[j]!, dOs[i]!, finished[i]!.lse, deltas[i]!, more)
        dq[i] = made.dq
        row = made
      }
      dkv.push(row!)
    }
    near(concat(dq as Tensor[]), expected.dq)
    near(concat(dkv.map(({ dk }) => dk)), expected.dk)
    near(concat(dkv.map(({ dv }) => dv)), expected.dv)
    const atOnce = await p.attentionBackward(dO, q, k, v, await p.attention(q, k, v), { chunks: 5 })
    near(atOnce.dq, expected.dq)
    near(atOnce.dk, expected.dk)
    near(atOnce.dv, expected.dv)
  })

  it('sees only its own document, and nothing of a chunk that comes later', async () => {
    const starts = tensor([0, 1, 1, 1, 4, 4, 4, 4, 4, 9, 9, 11, 11, 11, 11], { dtype: 'i32' })
    const packed = attention({ ...sizes, starts: Array.from(starts.values) }, reals(q), reals(k), reals(v))
    const found = await p.attention(q, k, v, { chunks: 3, starts })
    near(found.o, packed.o)
    near(found.lse, packed.lse)
    const blind = await p.finish(await p.attend(qs[0]!, ks[1]!, vs[1]!))
    expect(Array.from(blind.lse.values)).toEqual(Array(15).fill(Number.NEGATIVE_INFINITY))
    expect(Array.from(blind.o.values)).toEqual(Array(120).fill(0))
  })

  it('gives the same whatever the number of chunks, heads and the dtype', async () => {
    const shapes = fc.record({
      c: fc.integer({ min: 1, max: 9 }),
      chunks: fc.integer({ min: 1, max: 5 }),
      kvHeads: fc.integer({ min: 1, max: 3 }),
      group: fc.integer({ min: 1, max: 3 }),
      headSize: fc.constantFrom(8, 16, 40),
      bf16: fc.boolean(),
      seed: fc.nat(1000),
    })
    await fc.assert(
      fc.asyncProperty(shapes, async ({ c, chunks, kvHeads, group, headSize, bf16, seed }) => {
        const [rows, heads, dtype] = [c * chunks, kvHeads * group, bf16 ? 'bf16' : 'f32'] as const
        const [a, b, d] = [
          random([rows, heads, headSize], seed).to(dtype),
          random([rows, kvHeads, headSize], seed + 1).to(dtype),
          random([rows, kvHeads, headSize], seed + 2).to(dtype),
        ]
        const found = await p.attention(a, b, d, { chunks })
        const naive = attention({ rows, columns: rows, heads, kvHeads, headSize }, reals(a), reals(b), reals(d))
        near(found.o, naive.o)
        near(found.lse, naive.lse)
      }),
      { numRuns: 20 },
    )
  })
})

// ---- what moves ----------------------------------------------------------------------------------------------------

describe('allToAll', () => {
  it('gives every rank all tokens of its heads, and back, with positions', async () => {
    for (const [ranks, heads] of [
      [1, [3]],
      [2, [4, 2, 2]],
      [3, [6]],
      [4, [8, 4, 4]],
    ] as const) {
      const [c, sumHeads] = [3, heads.reduce((all: number, one) => all + one, 0)]
      const whole = random([ranks * c, sumHeads, 5], ranks).from(100)
      const parts = await p.allToAll(whole.chunks(ranks), { heads })
      let before = 0
      for (const [part, count] of heads.entries()) {
        for (let rank = 0; rank < ranks; rank++) {
          const found = parts[rank]![part]!
          expect([found.shape, found.start]).toEqual([[ranks * c, count / ranks, 5], 100])
          for (let t = 0; t < ranks * c; t++)
            for (let head = 0; head < count / ranks; head++) expect(found.at(t, head, 2)).toBe(whole.at(t, before + (rank * count) / ranks + head, 2))
        }
        before += count
      }
      const back = await p.allToAllBack(parts, { heads })
      expect(back).toEqual(whole.chunks(ranks))
    }
  })

  it('copies a head that ranks share, and sums its gradients on the way back', async () => {
    const locals = random([8, 4 + 1, 2], 1).chunks(4)
    const parts = await p.allToAll(locals, { heads: [4, 1] })
    for (const ofRank of parts) expect(ofRank[1]).toEqual(parts[0]![1])
    const back = await p.allToAllBack(parts, { heads: [4, 1] })
    for (const [rank, local] of back.entries())
      for (let t = 0; t < 2; t++) {
        expect(local.at(t, 0, 1)).toBe(locals[rank]!.at(t, 0, 1))
        expect(local.at(t, 4, 1)).toBe(4 * locals[rank]!.at(t, 4, 1))
      }
  })

  it('refuses heads that cannot be dealt', async () => {
    expect(await refusal(() => p.allToAll(random([4, 3, 2]).chunks(2)))).toBe(
      'shape: allToAll: 3 heads can neither be dealt to 2 ranks nor copied to them evenly.',
    )
    expect(await refusal(() => p.allToAll(random([4, 4, 2]).chunks(2), { heads: [2] }))).toBe('shape: allToAll: heads [2] do not make the 4 heads of a rank.')
    expect(await refusal(() => p.allToAll([random([4, 4, 2]), random([3, 4, 2])]))).toMatch(
      /^shape: allToAll takes rank 1 as \(tokens, heads, headSize\), where tokens is 4 as in rank 0/,
    )
    expect(await refusal(() => p.allToAllBack(random([4, 4, 2]).chunks(2) as never))).toMatch(/^shape: allToAllBack takes for each rank the list of its parts/)
  })
})

describe('gather and reduceScatter', () => {
  it('lay parts end to end, and sum what comes back', async () => {
    const parts = random([12], 1)
      .chunks(3)
      .map((part) => part.from(0))
    const fulls = await p.gather(parts)
    for (const full of fulls) expect(full).toEqual(concat(parts))
    const back = await p.reduceScatter(fulls)
    for (const [rank, part] of back.entries())
      near(
        part,
        reals(parts[rank]!).map((one) => 3 * one),
      )
  })
})

describe('copies between tiers', () => {
  it('bring a tensor there and back unchanged, with bytes and times', async () => {
    for (const x of [random([33, 3], 1), random([7], 2).to('bf16').from(4), tensor([1, -2, 3], { dtype: 'i32' }), tensor([1 / 3], { dtype: 'f64' })]) {
      for (const way of ['offload', 'fetch', 'spill', 'load'] as const) {
        const moved = await p[way](x)
        expect(moved.tensor).toEqual(x)
        expect(moved.bytes).toBe(x.data.byteLength)
        expect(moved.seconds).toBeGreaterThan(0)
        expect(moved.bytesPerSecond).toBe(moved.bytes / moved.seconds)
      }
    }
  })
})

// ---- mistakes ------------------------------------------------------------------------------------------------------

describe('a primitive refuses what does not fit, and says what would', () => {
  const x = random([3, 5])
  it.each([
    [() => p.norm(x, random([4])), 'shape: norm takes weight as (width), where width is 5 as in x f32 (3, 5); got f32 (4).'],
    [() => p.norm(x.to('bf16'), random([5])), "dtype: norm takes x as (rows, width) of f32, as weight is; got bf16 (3, 5). x.to('f32') converts."],
    [() => p.norm(random([5]), random([5])), 'shape: norm takes x as (rows, width); got f32 (5), which has 1 extent.'],
    [() => p.norm(tensor([[1, 2]], { dtype: 'i32' }), random([2])), 'dtype: norm takes x as (rows, width) of bf16 or f32; got i32 (1, 2).'],
    [() => p.norm([[1, 2]] as never, random([2])), 'dtype: norm takes x as (rows, width); got object. tensor([[1, 2], [3, 4]]) makes a tensor.'],
    [() => p.norm(x, undefined as never), 'dtype: norm takes weight as (width); got nothing. tensor([[1, 2], [3, 4]]) makes a tensor.'],
    [() => p.swiglu(x), 'shape: swiglu takes gateUp as (rows, 2*feedForward); got f32 (3, 5), and 5 is not 2*feedForward for a whole feedForward.'],
    [() => p.attend(random([3, 4, 8]), random([3, 3, 8]), random([3, 3, 8])), 'shape: attend has 4 query heads, which 3 key/value heads do not divide.'],
    [
      () => p.finish(random([3, 4, 2])),
      'shape: finish takes state as (rows, heads, headSize+2); got f32 (3, 4, 2), and 2 is not headSize+2 for a whole headSize.',
    ],
    [() => p.embed(random([3]), x), "dtype: embed takes tokens as (rows) of i32; got f32 (3). tokens.to('i32') converts."],
    [() => p.attention(random([4, 1, 8]), random([4, 1, 8]), random([4, 1, 8]), { chunks: 3 }), 'shape: 3 chunks do not divide the 4 rows of f32 (4, 1, 8).'],
    [() => p.rotary(random([2, 1, 7]), random([2, 1, 7])), 'shape: rotary turns pairs of elements, and headSize 7 is odd.'],
    [
      () => p.adamW({ master: x, gradient: random([5, 3]) }, { rate: 1 }),
      'shape: adamW takes gradient as (extent0, extent1), where extent0 is 3 as in master f32 (3, 5); got f32 (5, 3).',
    ],
    [() => p.offload(3 as never), 'dtype: offload takes a tensor; got number. tensor([[1, 2], [3, 4]]) makes one.'],
  ])('%o', async (attempt, message) => {
    expect(await refusal(attempt)).toBe(message)
  })
})

describe('a tensor', () => {
  it('is made of nested numbers, typed arrays or a seed, and read back', () => {
    const t = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]) // prettier-ignore
    expect([t.dtype, t.shape, Array.from(t.values), t.at(1, 2)]).toEqual(['f32', [2, 3], [1, 2, 3, 4, 5, 6], 6])
    expect(tensor(Int32Array.of(1, 2)).dtype).toBe('i32')
    expect(tensor(new Float64Array(6), { shape: [3, 2] }).shape).toEqual([3, 2])
    expect(random([4, 2], 3)).toEqual(random([4, 2], 3))
    expect(random([4, 2], 3)).not.toEqual(random([4, 2], 4))
  })

  it('rounds to bf16 and back, and keeps its place in the sequence when it is cut', () => {
    expect(Array.from(tensor([1.00390625, -3, 1 / 3]).to('bf16').values)).toEqual([1, -3, 0.333984375])
    const [a, b] = random([6, 2]).from(10).chunks(2)
    expect([a!.start, b!.start, b!.rows(1, 2).start]).toEqual([10, 13, 14])
    expect(concat([a!, b!])).toEqual(random([6, 2]).from(10))
    expect(largestDifference(a!, b!)).toBeGreaterThan(0)
  })

  it('prints its numbers, and of long extents the ends', () => {
    const print = (t: Tensor): string => (t as unknown as Record<symbol, () => string>)[Symbol.for('nodejs.util.inspect.custom')]!()
    expect(
      print(
        tensor([
          [1, -2.5],
          [1e-7, 4],
        ]),
      ),
    ).toBe('Tensor f32 (2, 2)\n[[   1, -2.5],\n [1e-7,    4]]') // prettier-ignore
    expect(print(tensor(Int32Array.from({ length: 9 }, (_, i) => i)).from(3))).toBe('Tensor i32 (9) from token 3\n[0, 1, 2, …, 6, 7, 8]')
  })

  it.each([
    [() => tensor([[1, 2], [3]]), 'shape: the lists are not of equal length: 3 numbers do not fill (2, 2).'],
    [() => tensor([1.5], { dtype: 'i32' }), 'dtype: i32 does not hold 1.5: only whole numbers under 2^31.'],
    [() => tensor(['a' as never]), 'dtype: a among the values is not a number.'],
    [() => tensor([1, 2], { shape: [3] }), 'shape: shape (3) has 3 elements; got 2.'],
    [() => random([2, 0]), 'shape: shape (2,0) is not a list of extents, each a whole number above 0.'],
    [() => random([2, 2]).at(2, 0), 'shape: (2, 0) is no element of f32 (2, 2).'],
    [() => random([4]).rows(2, 5), 'shape: rows 2 to 5 do not lie in f32 (4).'],
    [() => new Tensor('f32', [2], new Int32Array(2)), 'dtype: a tensor of f32 lies in a Float32Array; got Int32Array.'],
    [() => concat([random([1, 2]), random([1, 3])]), 'shape: concat takes rows of one shape; got f32 (1, 2) and f32 (1, 3).'],
  ])('%o', async (attempt, message) => {
    expect(await refusal(attempt)).toBe(message)
  })
})
