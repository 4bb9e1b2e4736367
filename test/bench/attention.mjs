/**
 * Causal attention of a sequence as a share of the GEMM rate of the same minute: un-chunked, in the chunks FPDT would take, and
 * of packed documents. Rates count the pairs that the masks leave, so they fall where a kernel computes more than those.
 */
import { measureGemm } from '../../kernel/lib/cost/machine.js'
import { bestInTurns, bf16, device, f32, giga, kernelCall, percent, printTable } from './measure.mjs'

const [HEADS, KV_HEADS] = [2, 1]
const SEQUENCE = 8192
const CASES = [
  { sequence: 1024, chunk: 1024 },
  { sequence: 2048, chunk: 2048 },
  { sequence: SEQUENCE, chunk: SEQUENCE },
  { sequence: SEQUENCE, chunk: 2048 },
  { sequence: SEQUENCE, chunk: 1024 },
  { sequence: SEQUENCE, chunk: SEQUENCE, documents: 1000 },
  { sequence: SEQUENCE, chunk: 2048, documents: 1000 },
]
const PASSES = { forward: 4, backward: 10 }

export async function attention() {
  const measured = []
  let gemm = 0
  for (const headSize of [64, 128]) {
    const cases = CASES.map((one) => ({ ...one, headSize, run: calls({ ...one, headSize }), pairs: pairsOf(one) }))
    const named = cases.flatMap(({ run }, i) => Object.keys(PASSES).map((pass) => [`${i} ${pass}`, run[pass]]))
    const measure = () => {
      gemm = Math.max(gemm, measureGemm(device, 'bf16'))
    }
    const times = await bestInTurns({ ...Object.fromEntries(named), measure })
    cases.forEach((one, i) => {
      measured.push({ ...one, times: { forward: times[`${i} forward`], backward: times[`${i} backward`] } })
    })
  }
  const rows = [
    [
      'D',
      'tokens',
      'chunk',
      'documents',
      ...Object.keys(PASSES).flatMap((pass) => [`${pass} GF/s`, 'of GEMM', 'of un-chunked']),
      'time of causal',
      'pairs of causal',
    ],
  ]
  for (const { headSize, sequence, chunk, documents, times, pairs } of measured) {
    const causal = (size) => measured.find((other) => other.headSize === headSize && other.sequence === sequence && other.chunk === size && !other.documents)
    const rates = Object.entries(PASSES).flatMap(([pass, operations]) => {
      const rate = (operations * pairs * HEADS * headSize) / times[pass]
      return [giga(rate), percent(rate / gemm), chunk < sequence && !documents ? percent(causal(sequence).times[pass] / times[pass]) : '']
    })
    const total = ({ forward, backward }) => forward + backward
    const saved = documents ? [percent(total(times) / total(causal(chunk).times)), percent(pairs / causal(chunk).pairs)] : ['', '']
    rows.push([`${headSize}`, `${sequence}`, `${chunk}`, documents ? `of ${documents}` : '', ...rates, ...saved])
  }
  printTable(`Attention of a sequence, bf16, ${HEADS} query heads on ${KV_HEADS} key/value head. Best GEMM: ${giga(gemm)} GF/s.`, rows, 4)
}

/** Where the document of a position begins. */
const startOf = (position, documents) => (documents ? position - (position % documents) : 0)
function pairsOf({ sequence, documents }) {
  let pairs = 0
  for (let position = 0; position < sequence; position++) pairs += position - startOf(position, documents) + 1
  return pairs
}

/** Both passes over all pairs of chunks, in the order of the schedule. */
function calls({ sequence, chunk, documents, headSize }) {
  const chunks = sequence / chunk
  const each = (make) => Array.from({ length: chunks }, (_, i) => make(i))
  const [q, k, v, dO] = [HEADS, KV_HEADS, KV_HEADS, HEADS].map((count) => each(() => bf16(chunk * count * headSize)))
  const [dq, dk, dv] = [HEADS, KV_HEADS, KV_HEADS].map((count) => each(() => f32(chunk * count * headSize)))
  const state = f32(chunk * HEADS * (headSize + 2))
  const starts = each((i) => (documents ? Int32Array.from({ length: chunk }, (_, row) => startOf(i * chunk + row, documents)) : null))
  // e^(s - lse) must neither vanish nor overflow: the scores are all but 0, so every key has the same part.
  const [lse, delta] = [f32(HEADS * chunk).fill(Math.log(sequence)), f32(HEADS * chunk)]
  const at = (i, j) => ({ rows: chunk, columns: chunk, heads: HEADS, kvHeads: KV_HEADS, headSize, bf16: 1, qStart: i * chunk, kvStart: j * chunk })
  const [forward, backward] = [[], []]
  for (let i = 0; i < chunks; i++)
    for (let j = 0; j <= i; j++) forward.push(kernelCall('attend', { ...at(i, j), first: j === 0 ? 1 : 0 }, [state, q[i], k[j], v[j], starts[i]]))
  for (let j = 0; j < chunks; j++)
    for (let i = j; i < chunks; i++) {
      const flags = { firstQ: j === 0 ? 1 : 0, firstKv: i === j ? 1 : 0 }
      backward.push(kernelCall('attendBackward', { ...at(i, j), ...flags }, [dq[i], dk[j], dv[j], q[i], k[j], v[j], dO[i], lse, delta, starts[i]]))
    }
  const all = (ops) => () => {
    for (const op of ops) op()
  }
  return { forward: all(forward), backward: all(backward) }
}
