/**
 * Llama's training step in fp64, as plainly as it can be written: whole sequence, one rank, no chunks, explicit loops.
 * The oracle for loss and gradients; shares nothing with the product but the names of the parameters.
 */

export interface Sizes {
  layers: number
  width: number
  heads: number
  kvHeads: number
  headSize: number
  feedForward: number
  vocabulary: number
  tied: boolean
  theta: number
  normEps: number
}
/** `layer 0/qkv` -> values. Matrices are (outputs, inputs). */
export type Weights = Map<string, Float64Array>

interface Cache {
  x: Float64Array
  n1: Float64Array
  q: Float64Array
  k: Float64Array
  v: Float64Array
  p: Float64Array[] // per head, (N, N)
  o: Float64Array
  y: Float64Array
  n2: Float64Array
  gateUp: Float64Array
  act: Float64Array
}

/** Mean cross-entropy over labels >= 0, and its gradient with respect to every weight. */
export function llamaStep(m: Sizes, w: Weights, tokens: ArrayLike<number>, labels: ArrayLike<number>): { loss: number; gradients: Weights } {
  const N = tokens.length
  const { width: d, heads: h, kvHeads: g, headSize: D, feedForward: f, vocabulary: V } = m
  const get = (name: string): Float64Array => {
    const found = w.get(name)
    if (!found) throw new Error(`reference has no weight ${name}`)
    return found
  }
  const gradients: Weights = new Map([...w].map(([name, values]) => [name, new Float64Array(values.length)]))
  const grad = (name: string): Float64Array => gradients.get(name) as Float64Array

  let x: Float64Array = new Float64Array(N * d)
  const table = get('embedding/table')
  for (let t = 0; t < N; t++) for (let c = 0; c < d; c++) x[t * d + c] = table[tokens[t]! * d + c]!

  const caches: Cache[] = []
  for (let l = 0; l < m.layers; l++) {
    const p = (name: string): Float64Array => get(`layer ${l}/${name}`)
    const n1 = norm(x, p('norm1'), d, m.normEps)
    const qkv = linear(n1, p('qkv'), N, (h + 2 * g) * D, d)
    const q = pick(qkv, N, h + 2 * g, D, 0, h)
    const k = pick(qkv, N, h + 2 * g, D, h, g)
    const v = pick(qkv, N, h + 2 * g, D, h + g, g)
    rotate(q, N, h, D, m.theta, 1)
    rotate(k, N, g, D, m.theta, 1)
    const { o, probabilities } = attention(q, k, v, N, h, g, D)
    const y = add(x, linear(o, p('out'), N, d, h * D))
    const n2 = norm(y, p('norm2'), d, m.normEps)
    const gateUp = linear(n2, p('gateUp'), N, 2 * f, d)
    const act = new Float64Array(N * f)
    for (let t = 0; t < N; t++) for (let c = 0; c < f; c++) act[t * f + c] = silu(gateUp[t * 2 * f + c]!) * gateUp[t * 2 * f + f + c]!
    caches.push({ x, n1, q, k, v, p: probabilities, o, y, n2, gateUp, act })
    x = add(y, linear(act, p('down'), N, d, f))
  }

  const matrix = m.tied ? 'embedding/table' : 'head/matrix'
  const nHead = norm(x, get('head/norm'), d, m.normEps)
  const logits = linear(nHead, get(matrix), N, V, d)
  let valid = 0
  for (let t = 0; t < N; t++) if (labels[t]! >= 0) valid++
  let loss = 0
  const dlogits = new Float64Array(N * V)
  for (let t = 0; t < N; t++) {
    const label = labels[t]!
    if (label < 0) continue
    let top = -Infinity
    for (let c = 0; c < V; c++) top = Math.max(top, logits[t * V + c]!)
    let sum = 0
    for (let c = 0; c < V; c++) sum += Math.exp(logits[t * V + c]! - top)
    loss += (top + Math.log(sum) - logits[t * V + label]!) / valid
    for (let c = 0; c < V; c++) dlogits[t * V + c] = (Math.exp(logits[t * V + c]! - top) / sum - (c === label ? 1 : 0)) / valid
  }

  linearWeightGradient(grad(matrix), dlogits, nHead, N, V, d)
  let dx: Float64Array = normBackward(linearBackward(dlogits, get(matrix), N, V, d), x, get('head/norm'), grad('head/norm'), d, m.normEps)
  for (let l = m.layers - 1; l >= 0; l--) {
    const c = caches[l]!
    const p = (name: string): Float64Array => get(`layer ${l}/${name}`)
    const dp = (name: string): Float64Array => grad(`layer ${l}/${name}`)
    linearWeightGradient(dp('down'), dx, c.act, N, d, f)
    const dAct = linearBackward(dx, p('down'), N, d, f)
    const dGateUp = new Float64Array(N * 2 * f)
    for (let t = 0; t < N; t++) {
      for (let e = 0; e < f; e++) {
        const gate = c.gateUp[t * 2 * f + e]!
        const up = c.gateUp[t * 2 * f + f + e]!
        const s = 1 / (1 + Math.exp(-gate))
        dGateUp[t * 2 * f + e] = dAct[t * f + e]! * up * (s + gate * s * (1 - s))
        dGateUp[t * 2 * f + f + e] = dAct[t * f + e]! * silu(gate)
      }
    }
    linearWeightGradient(dp('gateUp'), dGateUp, c.n2, N, 2 * f, d)
    const dy = add(dx, normBackward(linearBackward(dGateUp, p('gateUp'), N, 2 * f, d), c.y, p('norm2'), dp('norm2'), d, m.normEps))
    linearWeightGradient(dp('out'), dy, c.o, N, d, h * D)
    const dO = linearBackward(dy, p('out'), N, d, h * D)
    const { dq, dk, dv } = attentionBackward(c, dO, N, h, g, D)
    rotate(dq, N, h, D, m.theta, -1)
    rotate(dk, N, g, D, m.theta, -1)
    const dqkv = new Float64Array(N * (h + 2 * g) * D)
    put(dqkv, dq, N, h + 2 * g, D, 0, h)
    put(dqkv, dk, N, h + 2 * g, D, h, g)
    put(dqkv, dv, N, h + 2 * g, D, h + g, g)
    linearWeightGradient(dp('qkv'), dqkv, c.n1, N, (h + 2 * g) * D, d)
    dx = add(dy, normBackward(linearBackward(dqkv, p('qkv'), N, (h + 2 * g) * D, d), c.x, p('norm1'), dp('norm1'), d, m.normEps))
  }
  const dtable = grad('embedding/table')
  for (let t = 0; t < N; t++) for (let c = 0; c < d; c++) dtable[tokens[t]! * d + c]! += dx[t * d + c]!
  return { loss, gradients }
}

/** AdamW as PyTorch does it, after clipping to a global norm; `undecayed` names end in a norm. Updates `w`, `m`, `v` in place. */
export function adamW(
  w: Weights,
  m: Weights,
  v: Weights,
  gradients: Weights,
  step: number,
  o: { rate: number; beta1: number; beta2: number; eps: number; decay: number; maxNorm: number },
): number {
  let square = 0
  for (const values of gradients.values()) for (const x of values) square += x * x
  const norm = Math.sqrt(square)
  const scale = Math.min(1, o.maxNorm / norm)
  for (const [name, values] of w) {
    const decay = /norm\d?$/.test(name) ? 0 : o.decay
    const [gs, ms, vs] = [gradients.get(name)!, m.get(name)!, v.get(name)!]
    for (let i = 0; i < values.length; i++) {
      const x = gs[i]! * scale
      ms[i] = o.beta1 * ms[i]! + (1 - o.beta1) * x
      vs[i] = o.beta2 * vs[i]! + (1 - o.beta2) * x * x
      const mHat = ms[i]! / (1 - o.beta1 ** step)
      const vHat = vs[i]! / (1 - o.beta2 ** step)
      values[i] = values[i]! - o.rate * (mHat / (Math.sqrt(vHat) + o.eps) + decay * values[i]!)
    }
  }
  return norm
}

const silu = (x: number): number => x / (1 + Math.exp(-x))
const add = (a: Float64Array, b: Float64Array): Float64Array => a.map((value, i) => value + b[i]!)

function linear(a: Float64Array, weight: Float64Array, N: number, outputs: number, inputs: number): Float64Array {
  const out = new Float64Array(N * outputs)
  for (let t = 0; t < N; t++) {
    for (let n = 0; n < outputs; n++) {
      let sum = 0
      for (let c = 0; c < inputs; c++) sum += a[t * inputs + c]! * weight[n * inputs + c]!
      out[t * outputs + n] = sum
    }
  }
  return out
}
function linearBackward(dout: Float64Array, weight: Float64Array, N: number, outputs: number, inputs: number): Float64Array {
  const da = new Float64Array(N * inputs)
  for (let t = 0; t < N; t++)
    for (let n = 0; n < outputs; n++) for (let c = 0; c < inputs; c++) da[t * inputs + c]! += dout[t * outputs + n]! * weight[n * inputs + c]!
  return da
}
function linearWeightGradient(dweight: Float64Array, dout: Float64Array, a: Float64Array, N: number, outputs: number, inputs: number): void {
  for (let t = 0; t < N; t++)
    for (let n = 0; n < outputs; n++) for (let c = 0; c < inputs; c++) dweight[n * inputs + c]! += dout[t * outputs + n]! * a[t * inputs + c]!
}

function norm(x: Float64Array, weight: Float64Array, d: number, eps: number): Float64Array {
  const out = new Float64Array(x.length)
  for (let t = 0; t < x.length / d; t++) {
    const r = rms(x, t, d, eps)
    for (let c = 0; c < d; c++) out[t * d + c] = (x[t * d + c]! / r) * weight[c]!
  }
  return out
}
function normBackward(dout: Float64Array, x: Float64Array, weight: Float64Array, dweight: Float64Array, d: number, eps: number): Float64Array {
  const dx = new Float64Array(x.length)
  for (let t = 0; t < x.length / d; t++) {
    const r = rms(x, t, d, eps)
    let dot = 0
    for (let c = 0; c < d; c++) {
      dweight[c]! += (dout[t * d + c]! * x[t * d + c]!) / r
      dot += dout[t * d + c]! * weight[c]! * x[t * d + c]!
    }
    for (let c = 0; c < d; c++) dx[t * d + c] = (dout[t * d + c]! * weight[c]! - (x[t * d + c]! * dot) / (d * r * r)) / r
  }
  return dx
}
function rms(x: Float64Array, t: number, d: number, eps: number): number {
  let sum = 0
  for (let c = 0; c < d; c++) sum += x[t * d + c]! ** 2
  return Math.sqrt(sum / d + eps)
}

/** Rotates halves: element m pairs with m + D/2, angle t theta^(-2m/D); direction -1 is the transpose. */
function rotate(x: Float64Array, N: number, heads: number, D: number, theta: number, direction: number): void {
  for (let t = 0; t < N; t++) {
    for (let n = 0; n < heads; n++) {
      for (let c = 0; c < D / 2; c++) {
        const angle = direction * t * theta ** ((-2 * c) / D)
        const at = (t * heads + n) * D + c
        const [a, b] = [x[at]!, x[at + D / 2]!]
        x[at] = a * Math.cos(angle) - b * Math.sin(angle)
        x[at + D / 2] = b * Math.cos(angle) + a * Math.sin(angle)
      }
    }
  }
}

function attention(
  q: Float64Array,
  k: Float64Array,
  v: Float64Array,
  N: number,
  h: number,
  g: number,
  D: number,
): { o: Float64Array; probabilities: Float64Array[] } {
  const o = new Float64Array(N * h * D)
  const probabilities: Float64Array[] = []
  for (let n = 0; n < h; n++) {
    const e = Math.floor(n / (h / g))
    const p = new Float64Array(N * N)
    for (let i = 0; i < N; i++) {
      let top = -Infinity
      for (let j = 0; j <= i; j++) {
        let s = 0
        for (let c = 0; c < D; c++) s += q[(i * h + n) * D + c]! * k[(j * g + e) * D + c]!
        p[i * N + j] = s / Math.sqrt(D)
        top = Math.max(top, p[i * N + j]!)
      }
      let sum = 0
      for (let j = 0; j <= i; j++) sum += p[i * N + j] = Math.exp(p[i * N + j]! - top)
      for (let j = 0; j <= i; j++) {
        p[i * N + j]! /= sum
        for (let c = 0; c < D; c++) o[(i * h + n) * D + c]! += p[i * N + j]! * v[(j * g + e) * D + c]!
      }
    }
    probabilities.push(p)
  }
  return { o, probabilities }
}
function attentionBackward(
  cache: Cache,
  dO: Float64Array,
  N: number,
  h: number,
  g: number,
  D: number,
): { dq: Float64Array; dk: Float64Array; dv: Float64Array } {
  const { q, k, v, o } = cache
  const [dq, dk, dv] = [new Float64Array(q.length), new Float64Array(k.length), new Float64Array(v.length)]
  for (let n = 0; n < h; n++) {
    const e = Math.floor(n / (h / g))
    const p = cache.p[n]!
    for (let i = 0; i < N; i++) {
      let delta = 0
      for (let c = 0; c < D; c++) delta += dO[(i * h + n) * D + c]! * o[(i * h + n) * D + c]!
      for (let j = 0; j <= i; j++) {
        let dp = 0
        for (let c = 0; c < D; c++) dp += dO[(i * h + n) * D + c]! * v[(j * g + e) * D + c]!
        const ds = (p[i * N + j]! * (dp - delta)) / Math.sqrt(D)
        for (let c = 0; c < D; c++) {
          dv[(j * g + e) * D + c]! += p[i * N + j]! * dO[(i * h + n) * D + c]!
          dk[(j * g + e) * D + c]! += ds * q[(i * h + n) * D + c]!
          dq[(i * h + n) * D + c]! += ds * k[(j * g + e) * D + c]!
        }
      }
    }
  }
  return { dq, dk, dv }
}

/** Heads `from .. from + count` of rows of `total` heads. */
function pick(x: Float64Array, N: number, total: number, D: number, from: number, count: number): Float64Array {
  const out = new Float64Array(N * count * D)
  for (let t = 0; t < N; t++) out.set(x.subarray((t * total + from) * D, (t * total + from + count) * D), t * count * D)
  return out
}
function put(x: Float64Array, part: Float64Array, N: number, total: number, D: number, from: number, count: number): void {
  for (let t = 0; t < N; t++) x.set(part.subarray(t * count * D, (t + 1) * count * D), (t * total + from) * D)
}
