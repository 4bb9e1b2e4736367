/**
 * Attention in chunks (FPDT, arXiv 2408.16978, Figs. 2 and 3): a query chunk meets key/value chunks one after the other, and a
 * running state keeps what it has seen.
 *
 *   state = attend(q1, k0, v0)                    q1 k0   q1 k1       the last one is the diagonal: half of it is masked
 *   state = attend(q1, k1, v1, { state })         [====]  [=\  ]
 *   o, lse = finish(state)
 *
 * N tokens, c rows of a query chunk, h query heads, g key/value heads (h / g query heads share one), D head size. T is bf16 or f32.
 * Chunks know their positions (`Tensor.start`); attention is causal by position: a query sees keys at its own position and before.
 */
import { FpdtError } from '../../../errors.js'
import { compute } from '../../../schedule/emit.js'
import type { Op } from '../../../schedule/ops.js'
import type { Dtype, Value } from '../../../schedule/values.js'
import type { Device } from '../../device.js'
import { concat, Tensor } from '../tensor.js'
import { callKernel, callOps, HERE, like, type Made } from './call.js'
import { computeDtype, fit } from './fit.js'

/** Output of attention, and what its softmax summed to. */
export interface Attended {
  /** (rows, heads, headSize). */
  readonly o: Tensor
  /** (heads, rows) f32: ln Σ e^score of each row; -Infinity for one that saw no key. */
  readonly lse: Tensor
}
/** Gradients in f32. */
export interface AttentionGradients {
  readonly dq: Tensor
  readonly dk: Tensor
  readonly dv: Tensor
}
export interface Within {
  /** Packed documents: position of the first token of each query row's document, (rows) i32. Left out: one document, from position 0. */
  readonly starts?: Tensor
}
export interface InChunks extends Within {
  /** Chunks of equal size along the sequence. Default 1: the whole at once. */
  readonly chunks?: number
}

const Q = 'T rows heads headSize'
const KV = 'T columns kvHeads headSize'

export function attentionPrimitives(device: Device) {
  return {
    /**
     * A query chunk meets a key/value chunk. Roughly: s = q kᵀ/√D, masked to position of k <= position of q; state = online softmax of (state, s, v).
     * q (rows, heads, headSize) T; k, v (columns, kvHeads, headSize) T. Returns the state, (rows, heads, headSize + 2) f32, opaque: give it to the
     * next `attend`, or to `finish`. `state`: what the chunk has seen so far; without it nothing. Chunks may be met in any order.
     * Throws FpdtError `shape`, `dtype`. Source: FlashAttention-2 (arXiv 2307.08691) Alg. 1; FPDT (arXiv 2408.16978) Fig. 3.
     */
    async attend(q: Tensor, k: Tensor, v: Tensor, { state, starts }: { readonly state?: Tensor } & Within = {}): Promise<Tensor> {
      const { n } = fit('attend', { q: [q, Q], k: [k, KV], v: [v, KV], state: [state, 'f32 rows heads headSize+2?'], starts: [starts, 'i32 rows?'] })
      const made: Made = { dtype: 'f32', shape: [n.rows, n.heads, n.headSize + 2], start: q.start }
      return (await callKernel(device, 'attend', { state, q, k, v, starts }, { state: made }, { first: state ? 0 : 1 })).state
    },

    /**
     * What a state has come to. Roughly: o = acc / sum; lse = ln(sum) + max. o (rows, heads, headSize) of `dtype` (default f32), lse (heads, rows) f32.
     * Throws FpdtError `shape`, `dtype`.
     */
    async finish(state: Tensor, { dtype = 'f32' }: { readonly dtype?: Dtype } = {}): Promise<Attended> {
      const { n } = fit('finish', { state: [state, 'f32 rows heads headSize+2'] })
      const o: Made = { dtype: computeDtype('finish', dtype), shape: [n.rows, n.heads, n.headSize], start: state.start }
      return callKernel(device, 'finish', { state }, { o, lse: { dtype: 'f32', shape: [n.heads, n.rows] } })
    },

    /**
     * Attention over keys A and keys B from attention over each: two finished outputs of the same queries, in any order.
     * Roughly: w = sigmoid(lseB - lse); o = o - w (o - oB); lse = lse - logsigmoid(lse - lseB). o (rows, heads, headSize) f32, lse (heads, rows) f32.
     * Throws FpdtError `shape`, `dtype`. Its backward is `attendBackward` with the merged lse: no gradient passes through the merge itself.
     */
    async merge(a: Attended, b: Attended): Promise<Attended> {
      const [O, LSE] = ['f32 rows heads headSize', 'f32 heads rows']
      const { o, lse } = a
      const given = { o, lse, oB: b.o, lseB: b.lse }
      fit('merge', { o: [o, O], lse: [lse, LSE], oB: [b.o, O], lseB: [b.lse, LSE] })
      return callKernel(device, 'merge', given, { o, lse })
    },

    /**
     * What the backward of every chunk needs of a row's output. Roughly: delta = rowsum(dO * o). dO, o (rows, heads, headSize) T; returns (heads, rows) f32.
     * Throws FpdtError `shape`, `dtype`. Source: FlashAttention-2 Alg. 2, line 4.
     */
    async delta(dO: Tensor, o: Tensor): Promise<Tensor> {
      const { n } = fit('delta', { dO: [dO, Q], o: [o, Q] })
      return (await callKernel(device, 'delta', { dO, o }, { delta: { dtype: 'f32', shape: [n.heads, n.rows] } })).delta
    },

    /**
     * Backward of a query chunk and a key/value chunk. Roughly: p = e^(q kᵀ/√D - lse); ds = p (dO vᵀ - delta)/√D; dv += pᵀ dO; dk += dsᵀ q; dq += ds k.
     * `lse` and `delta` (heads, rows) f32 are of the whole row, over all chunks it has met. Returns dq, dk, dv in f32; what is given as `dq`, or as
     * `dk` and `dv`, is added to. Throws FpdtError `shape`, `dtype`. Source: FlashAttention-2 Alg. 2; FPDT, outer loop over key/value chunks.
     */
    async attendBackward(
      q: Tensor,
      k: Tensor,
      v: Tensor,
      dO: Tensor,
      lse: Tensor,
      delta: Tensor,
      { dq, dk, dv, starts }: Partial<AttentionGradients> & Within = {},
    ): Promise<AttentionGradients> {
      const perRow = 'f32 heads rows'
      const kv = 'f32 columns kvHeads headSize?'
      fit('attendBackward', {
        q: [q, Q],
        k: [k, KV],
        v: [v, KV],
        dO: [dO, Q],
        lse: [lse, perRow],
        delta: [delta, perRow],
        dq: [dq, 'f32 rows heads headSize?'],
        dk: [dk, kv],
        dv: [dv, kv],
        starts: [starts, 'i32 rows?'],
      })
      if (!dk !== !dv) throw new FpdtError('config', 'attendBackward adds to dk and dv together: give both or neither.')
      const flags = { firstQ: dq ? 0 : 1, firstKv: dk ? 0 : 1 }
      return callKernel(device, 'attendBackward', { dq, dk, dv, q, k, v, dO, lse, delta, starts }, { dq: gradient(q), dk: gradient(k), dv: gradient(v) }, flags)
    },

    /**
     * Causal attention of a whole sequence, chunk by chunk: query chunk i meets key/value chunks 0 .. i. Roughly: o = softmax(q kᵀ/√D) v.
     * q (N, heads, headSize) T; k, v (N, kvHeads, headSize) T. o like q, lse (heads, N) f32. The number of chunks changes nothing but the
     * order of sums. Throws FpdtError `shape`, `dtype`. Source: FPDT Figs. 2 and 3.
     */
    async attention(q: Tensor, k: Tensor, v: Tensor, { chunks = 1, starts }: InChunks = {}): Promise<Attended> {
      const { T, n } = fit('attention', { q: [q, Q], k: [k, 'T rows kvHeads headSize'], v: [v, 'T rows kvHeads headSize'], starts: [starts, 'i32 rows?'] })
      const cut = inChunks(chunks, { q, k, v, starts })
      const c = n.rows / chunks
      const ops: Op[] = []
      const results: Value[] = []
      for (let i = 0; i < chunks; i++) {
        const state = like(`state[${i}]`, { dtype: 'f32', shape: [c, n.heads, n.headSize + 2] })
        const o = like(`o[${i}]`, { dtype: T, shape: [c, n.heads, n.headSize], start: q.start + i * c })
        const lse = like(`lse[${i}]`, { dtype: 'f32', shape: [n.heads, c] })
        for (let j = 0; j <= i; j++) ops.push(compute(HERE, 'attend', { state, ...cut.row(i), ...cut.column(j) }, { first: j === 0 ? 1 : 0 }))
        ops.push(compute(HERE, 'finish', { o, lse, state }), { kind: 'free', place: HERE, value: state, tier: 'device' })
        results.push(o, lse)
      }
      const found = await callOps(device, ops, { ...cut.given, results })
      const all = (name: string): Tensor[] => Array.from({ length: chunks }, (_, i) => found.get(`${name}[${i}]`))
      return { o: concat(all('o')), lse: besides(all('lse')) }
    },

    /**
     * Backward of `attention`, in any number of chunks: key/value chunk j meets query chunks j .. u - 1, and dk, dv of it are then final.
     * dO, o (N, heads, headSize) T; lse (heads, N) f32 as `attention` gave it. Returns dq, dk, dv in f32. Throws FpdtError `shape`, `dtype`.
     * Source: FlashAttention-2 Alg. 2; FPDT, outer loop over key/value chunks.
     */
    async attentionBackward(
      dO: Tensor,
      q: Tensor,
      k: Tensor,
      v: Tensor,
      { o, lse }: Attended,
      { chunks = 1, starts }: InChunks = {},
    ): Promise<AttentionGradients> {
      const kv = 'T rows kvHeads headSize'
      const { n } = fit('attentionBackward', {
        dO: [dO, Q],
        q: [q, Q],
        k: [k, kv],
        v: [v, kv],
        o: [o, Q],
        lse: [lse, 'f32 heads rows'],
        starts: [starts, 'i32 rows?'],
      })
      const cut = inChunks(chunks, { q, k, v, dO, o, starts })
      const c = n.rows / chunks
      const lseOf = Array.from({ length: chunks }, (_, i) => like(`lse[${i}]`, { dtype: 'f32', shape: [n.heads, c] }))
      const deltaOf = lseOf.map(({ shape }, i) => like(`delta[${i}]`, { dtype: 'f32', shape }))
      const gradients = (name: string, of: Tensor): Value[] => of.chunks(chunks).map((chunk, i) => like(`${name}[${i}]`, gradient(chunk)))
      const [dq, dk, dv] = [gradients('dq', q), gradients('dk', k), gradients('dv', v)]
      const ops: Op[] = deltaOf.map((delta, i) => compute(HERE, 'delta', { delta, dO: cut.value('dO', i), o: cut.value('o', i) }))
      for (let j = 0; j < chunks; j++) {
        for (let i = j; i < chunks; i++) {
          const operands = { dq: dq[i], dk: dk[j], dv: dv[j], ...cut.row(i), ...cut.column(j), dO: cut.value('dO', i), lse: lseOf[i], delta: deltaOf[i] }
          ops.push(compute(HERE, 'attendBackward', operands, { firstQ: j === 0 ? 1 : 0, firstKv: i === j ? 1 : 0 }))
        }
      }
      for (const delta of deltaOf) ops.push({ kind: 'free', place: HERE, value: delta, tier: 'device' })
      const { inputs, values } = cut.given
      const lseChunks = Object.fromEntries(columnsOf(lse, chunks).map((chunk, i) => [`lse[${i}]`, chunk]))
      const found = await callOps(device, ops, { inputs: { ...inputs, ...lseChunks }, values: [...values, ...lseOf], results: [...dq, ...dk, ...dv] })
      const all = (name: string): Tensor => concat(Array.from({ length: chunks }, (_, i) => found.get(`${name}[${i}]`)))
      return { dq: all('dq'), dk: all('dk'), dv: all('dv') }
    },
  }
}

/** f32, like what it is the gradient of. */
function gradient({ shape, start }: Tensor): Made {
  return { dtype: 'f32', shape, start }
}

/** Tensors along one sequence, cut into chunks: their values `q[i]`, and the operands that a query or a key/value chunk gives. */
function inChunks(chunks: number, tensors: Readonly<Record<string, Tensor | undefined>>) {
  const present = Object.entries(tensors).filter((pair): pair is [string, Tensor] => pair[1] !== undefined)
  const [, first] = present[0]
  for (const [name, { start }] of present)
    if (name !== 'starts' && start !== first.start)
      throw new FpdtError('shape', `${name} begins at token ${start} and ${present[0][0]} at ${first.start}: they are of one sequence.`)
  if (!Number.isInteger(chunks) || chunks < 1) throw new FpdtError('config', `chunks ${String(chunks)} is not a whole number of 1 or more.`)
  const inputs = Object.fromEntries(present.flatMap(([name, whole]) => whole.chunks(chunks).map((chunk, i): [string, Tensor] => [`${name}[${i}]`, chunk])))
  const known = new Map(Object.entries(inputs).map(([name, chunk]) => [name, like(name, chunk)]))
  const value = (name: string, i: number): Value => known.get(`${name}[${i}]`) as Value
  return {
    given: { inputs, values: [...known.values()] },
    value,
    row: (i: number) => ({ q: value('q', i), ...(tensors.starts ? { starts: value('starts', i) } : {}) }),
    column: (j: number) => ({ k: value('k', j), v: value('v', j) }),
  }
}

/** (heads, c) of every chunk -> (heads, N). */
function besides(chunks: readonly Tensor[]): Tensor {
  const [heads, c] = chunks[0].shape
  const data = new Float32Array(heads * c * chunks.length)
  for (const [i, chunk] of chunks.entries())
    for (let head = 0; head < heads; head++) data.set(chunk.data.subarray(head * c, (head + 1) * c), (head * chunks.length + i) * c)
  return new Tensor('f32', [heads, c * chunks.length], data)
}
/** (heads, N) -> (heads, c) of every chunk. */
function columnsOf(whole: Tensor, chunks: number): Tensor[] {
  const [heads, N] = whole.shape
  const c = N / chunks
  return Array.from({ length: chunks }, (_, i) => {
    const data = new Float32Array(heads * c)
    for (let head = 0; head < heads; head++) data.set(whole.data.subarray(head * N + i * c, head * N + (i + 1) * c), head * c)
    return new Tensor('f32', [heads, c], data)
  })
}
