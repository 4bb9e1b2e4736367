/**
 * Attention of one q chunk to one kv chunk, written out in f64. Magnitudes are the same sums over absolute values: what a
 * rounding error is relative to.
 */
export interface AttentionSizes {
  readonly rows: number
  readonly columns: number
  readonly heads: number
  readonly kvHeads: number
  readonly headSize: number
  readonly qStart: number
  readonly kvStart: number
  /** Of every row, the position where its document begins; 0 without it. */
  readonly starts?: Int32Array
}

export interface Attended {
  readonly o: Float64Array
  readonly oMagnitude: Float64Array
  readonly lse: Float64Array
  /** Of the scores of all rows: the largest Σ |q| |k| / √D. */
  readonly scoreMagnitude: number
  /** The largest |score| itself. */
  readonly largestScore: number
}

export interface AttentionGradient {
  readonly dq: Float64Array
  readonly dk: Float64Array
  readonly dv: Float64Array
  readonly dqMagnitude: Float64Array
  readonly dkMagnitude: Float64Array
  readonly dvMagnitude: Float64Array
}

/** o (rows, heads, D) and lse (heads, rows), natural logarithm; a row that sees nothing has o = 0 and lse = -inf. */
export function attention(sizes: AttentionSizes, q: Float64Array, k: Float64Array, v: Float64Array): Attended {
  const { rows, heads, headSize: D } = sizes
  const o = new Float64Array(rows * heads * D)
  const oMagnitude = new Float64Array(o.length)
  const lse = new Float64Array(heads * rows).fill(-Infinity)
  let [scoreMagnitude, largestScore] = [0, 0]
  for (let h = 0; h < heads; h++)
    for (let row = 0; row < rows; row++) {
      const at = (row * heads + h) * D
      const keys = seenBy(sizes, h, row)
      const scores = keys.map((key) => dot(q, at, k, key, D) / Math.sqrt(D))
      for (const key of keys) scoreMagnitude = Math.max(scoreMagnitude, dotOfMagnitudes(q, at, k, key, D) / Math.sqrt(D))
      if (keys.length === 0) continue
      largestScore = Math.max(largestScore, ...scores.map(Math.abs))
      const top = Math.max(...scores)
      const total = top + Math.log(scores.reduce((sum, s) => sum + Math.exp(s - top), 0))
      lse[h * rows + row] = total
      keys.forEach((key, j) => {
        const p = Math.exp((scores[j] as number) - total)
        for (let d = 0; d < D; d++) {
          o[at + d] = element(o, at + d) + p * element(v, key + d)
          oMagnitude[at + d] = element(oMagnitude, at + d) + p * Math.abs(element(v, key + d))
        }
      })
    }
  return { o, oMagnitude, lse, scoreMagnitude, largestScore }
}

/** p = e^(q kᵀ/√D - lse); ds = p (dO vᵀ - delta)/√D; dv = pᵀ dO; dk = dsᵀ q; dq = ds k. */
export function attentionBackward(
  sizes: AttentionSizes,
  q: Float64Array,
  k: Float64Array,
  v: Float64Array,
  dO: Float64Array,
  lse: Float64Array,
  delta: Float64Array,
): AttentionGradient {
  const { rows, heads, headSize: D } = sizes
  const [dq, dqMagnitude] = [new Float64Array(q.length), new Float64Array(q.length)]
  const [dk, dkMagnitude, dv, dvMagnitude] = [0, 1, 2, 3].map(() => new Float64Array(k.length)) as [Float64Array, Float64Array, Float64Array, Float64Array]
  const add = (sum: Float64Array, i: number, x: number): void => {
    sum[i] = element(sum, i) + x
  }
  for (let h = 0; h < heads; h++)
    for (let row = 0; row < rows; row++) {
      const at = (row * heads + h) * D
      const shift = element(delta, h * rows + row)
      for (const key of seenBy(sizes, h, row)) {
        const p = Math.exp(dot(q, at, k, key, D) / Math.sqrt(D) - element(lse, h * rows + row))
        const ds = (p * (dot(dO, at, v, key, D) - shift)) / Math.sqrt(D)
        const dsMagnitude = (p * (dotOfMagnitudes(dO, at, v, key, D) + Math.abs(shift))) / Math.sqrt(D)
        for (let d = 0; d < D; d++) {
          add(dv, key + d, p * element(dO, at + d))
          add(dk, key + d, ds * element(q, at + d))
          add(dq, at + d, ds * element(k, key + d))
          add(dvMagnitude, key + d, p * Math.abs(element(dO, at + d)))
          add(dkMagnitude, key + d, dsMagnitude * Math.abs(element(q, at + d)))
          add(dqMagnitude, at + d, dsMagnitude * Math.abs(element(k, key + d)))
        }
      }
    }
  return { dq, dk, dv, dqMagnitude, dkMagnitude, dvMagnitude }
}

/** delta (heads, rows) = the sum of dO * o over a head. */
export function rowSums({ rows, heads, headSize: D }: Pick<AttentionSizes, 'rows' | 'heads' | 'headSize'>, dO: Float64Array, o: Float64Array): Float64Array {
  const delta = new Float64Array(heads * rows)
  for (let h = 0; h < heads; h++) for (let row = 0; row < rows; row++) delta[h * rows + row] = dot(dO, (row * heads + h) * D, o, (row * heads + h) * D, D)
  return delta
}

/** First element in k and v of each kv row that a row of q head h sees. */
function seenBy({ columns, heads, kvHeads, headSize, qStart, kvStart, starts }: AttentionSizes, h: number, row: number): number[] {
  const kvHead = Math.floor(h / (heads / kvHeads))
  const keys: number[] = []
  const first = starts ? element(starts, row) : 0
  for (let j = 0; j < columns; j++) if (first <= kvStart + j && kvStart + j <= qStart + row) keys.push((j * kvHeads + kvHead) * headSize)
  return keys
}

function dot(a: Float64Array, i: number, b: Float64Array, j: number, n: number): number {
  let sum = 0
  for (let d = 0; d < n; d++) sum += element(a, i + d) * element(b, j + d)
  return sum
}
function dotOfMagnitudes(a: Float64Array, i: number, b: Float64Array, j: number, n: number): number {
  let sum = 0
  for (let d = 0; d < n; d++) sum += Math.abs(element(a, i + d) * element(b, j + d))
  return sum
}
const element = (x: Float64Array | Int32Array, i: number): number => x[i] as number
