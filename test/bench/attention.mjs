/** Chunk attention as a share of the GEMM rate of the same minute. A causal diagonal counts the pairs its mask leaves. */
import { measureGemm } from '../../kernel/lib/cost/machine.js'
import { causalPairs } from '../../kernel/lib/schedule/kernels.js'
import { bestInTurns, bf16, device, f32, giga, kernelCall, percent, printTable, ROUNDS } from './measure.mjs'

const CHUNKS = [512, 2048]

export async function attention() {
  const rows = [['D', 'chunk', 'mask', 'forward GF/s', 'of GEMM', 'backward GF/s', 'of GEMM']]
  let gemm = 0
  const measured = []
  for (const headSize of [64, 128]) {
    for (const chunk of CHUNKS) {
      for (const mask of ['diagonal', 'none']) {
        const [heads, kvHeads] = [2, 1]
        const numbers = {
          rows: chunk,
          columns: chunk,
          heads,
          kvHeads,
          headSize,
          qStart: mask === 'none' ? chunk : 0,
          kvStart: 0,
          bf16: 1,
          first: 1,
          firstQ: 1,
          firstKv: 1,
        }
        const [q, k, v, dO] = [heads, kvHeads, kvHeads, heads].map((count) => bf16(chunk * count * headSize))
        const state = f32(chunk * heads * (headSize + 2))
        const [dq, dk, dv] = [heads, kvHeads, kvHeads].map((count) => f32(chunk * count * headSize))
        // e^(s - lse) must neither vanish nor overflow: the scores are all but 0, so every key has the same part.
        const lse = f32(heads * chunk).fill(Math.log(chunk))
        const times = await bestInTurns({
          forward: kernelCall('attend', numbers, [state, q, k, v]),
          backward: kernelCall('attendBackward', numbers, [dq, dk, dv, q, k, v, dO, lse, f32(heads * chunk)]),
        })
        const pairs = causalPairs(numbers.qStart, chunk, 0, chunk) * heads * headSize
        measured.push([headSize, chunk, mask, (4 * pairs) / times.forward, (10 * pairs) / times.backward])
      }
    }
    for (let i = 0; i < ROUNDS; i++) gemm = Math.max(gemm, measureGemm(device, 'bf16'))
  }
  for (const [headSize, chunk, mask, forward, backward] of measured) {
    rows.push([`${headSize}`, `${chunk}`, mask, giga(forward), percent(forward / gemm), giga(backward), percent(backward / gemm)])
  }
  printTable(`Attention of one chunk, bf16, 2 query heads on 1 key/value head. Best GEMM: ${giga(gemm)} GF/s.`, rows, 3)
}
