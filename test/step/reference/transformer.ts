/**
 * One training step of the whole family in fp64, as plainly as it can be written: whole sequences, one rank, no chunks, explicit loops.
 * The oracle for loss and gradients; it shares nothing with the product but the names of sizes and parameters.
 *
 * A model is a series of maps from rows to rows, a row a token. Each map returns what it made, `out`, and how a gradient goes `back`
 * through it: given dloss/dout, the gradient of its input, while the gradients of its weights are added to where they are kept.
 * N tokens of a sequence, d width, h query heads, g key/value heads, D head size, f feed-forward width, V vocabulary.
 */
import type { ModelConfig } from '../../../kernel/src/model/config.js'
import { rotaryTurns } from './rotary.js'

/** `layer 0/qkv` -> values. Matrices are (outputs, inputs). */
export type Weights = Map<string, Float64Array>

export interface Sequence {
  readonly tokens: ArrayLike<number>
  /** The word to foretell after each token; -1 counts for nothing. */
  readonly labels: ArrayLike<number>
  /** Where the document of each token begins: it attends to nothing before, and its positions count from there. 0 when left out. */
  readonly starts?: ArrayLike<number>
}

interface Made {
  readonly out: Float64Array
  readonly back: (dout: Float64Array) => Float64Array
}
type Layer = (x: Float64Array) => Made
/** A number as a dtype holds it. */
type Round = (value: number) => number
/** What results are rounded to: `T` what an op computes with, `H` the hidden state and its gradient. Sums, statistics, logits and gradients of weights are not rounded. */
export interface Rounding {
  readonly T: Round
  readonly H: Round
}
const EXACT: Rounding = { T: (value) => value, H: (value) => value }
interface Parameter {
  readonly values: Float64Array
  readonly gradient: Float64Array
}

/** Cross-entropy, the mean over every label >= 0 of all sequences together, and its gradient with respect to every weight. */
export function transformerStep(
  m: ModelConfig,
  weights: Weights,
  sequences: readonly Sequence[],
  { T, H }: Rounding = EXACT,
): { loss: number; gradients: Weights } {
  const gradients: Weights = new Map([...weights].map(([name, values]) => [name, new Float64Array(values.length)]))
  const parameter = (name: string): Parameter => {
    const [values, gradient] = [weights.get(name), gradients.get(name)]
    if (!values || !gradient) throw new Error(`the reference was given no weight ${name}`)
    return { values, gradient }
  }
  const valid = sequences.reduce((sum, { labels }) => sum + Array.from(labels).filter((label) => label >= 0).length, 0)
  let loss = 0
  for (const sequence of sequences) {
    const starts = Array.from(sequence.tokens, (_, t) => sequence.starts?.[t] ?? 0)
    const embedded = embedding(m, parameter, sequence.tokens, starts)
    const logits = transformer(m, parameter, starts, { T, H })(embedded.out.map(H))
    const entropy = crossEntropy(logits.out, sequence.labels, m.vocabulary, valid)
    loss += entropy.loss
    embedded.back(logits.back(entropy.dlogits.map(T)).map(H))
  }
  return { loss, gradients }
}

/** From the embedding's rows to logits. */
function transformer(m: ModelConfig, parameter: (name: string) => Parameter, starts: readonly number[], { T, H }: Rounding): Layer {
  const normed = (name: string): Layer =>
    m.norm === 'rms' ? rmsNorm(parameter(name), m.normEps) : layerNorm(parameter(name), parameter(`${name}Bias`), m.normEps)
  const projected = (name: string, biased: boolean): Layer => linear(parameter(name), biased ? parameter(`${name}Bias`) : null, starts.length)
  const layers = Array.from({ length: m.layers }, (_, l) => `layer ${l}`).flatMap((layer) => [
    residual(T, normed(`${layer}/norm1`), projected(`${layer}/qkv`, m.bias.attention), attention(m, starts, T), projected(`${layer}/out`, m.bias.attention)),
    residual(
      T,
      normed(`${layer}/norm2`),
      projected(`${layer}/${m.activation === 'swiglu' ? 'gateUp' : 'up'}`, m.bias.feedForward),
      m.activation === 'swiglu' ? swiglu(m.feedForward) : gelu,
      projected(`${layer}/down`, m.bias.feedForward),
    ),
  ])
  return series(H, ...layers, series(T, normed('head/norm'), projected(m.tied ? 'embedding/table' : 'head/matrix', false)))
}

/** One map after the other; what goes from one to the next, either way, is rounded. */
const series =
  (round: Round, ...layers: Layer[]): Layer =>
  (x) => {
    const made: Made[] = []
    for (const layer of layers) made.push(layer(made.at(-1)?.out.map(round) ?? x))
    return { out: made.at(-1)!.out, back: (dout) => made.reduceRight((d, { back }, i) => back(i + 1 < made.length ? d.map(round) : d), dout) }
  }

/** x + branch(x) */
const residual = (round: Round, ...branch: Layer[]): Layer => {
  const branched = series(round, ...branch)
  return (x) => {
    const { out, back } = branched(x)
    return { out: add(x, out), back: (dout) => add(dout, back(dout.map(round))) }
  }
}
const add = (a: Float64Array, b: Float64Array): Float64Array => a.map((value, i) => value + b[i]!)

/** x[t] = table[tokens[t]] + positionTable[t - starts[t]] */
function embedding(m: ModelConfig, parameter: (name: string) => Parameter, tokens: ArrayLike<number>, starts: readonly number[]): Made {
  const [N, d] = [tokens.length, m.width]
  const rows = [{ from: parameter('embedding/table'), row: (t: number): number => tokens[t]! }]
  if (m.positions.kind === 'learned') rows.push({ from: parameter('positions/table'), row: (t) => t - starts[t]! })
  const out = new Float64Array(N * d)
  for (const { from, row } of rows) for (let t = 0; t < N; t++) for (let c = 0; c < d; c++) out[t * d + c]! += from.values[row(t) * d + c]!
  return {
    out,
    back: (dx) => {
      for (const { from, row } of rows) for (let t = 0; t < N; t++) for (let c = 0; c < d; c++) from.gradient[row(t) * d + c]! += dx[t * d + c]!
      return dx
    },
  }
}

/** out = x Wᵀ + bias */
const linear =
  (weight: Parameter, bias: Parameter | null, N: number): Layer =>
  (x) => {
    const inputs = x.length / N
    const { values, gradient } = weight
    const outputs = values.length / inputs
    const out = new Float64Array(N * outputs)
    for (let t = 0; t < N; t++) {
      for (let n = 0; n < outputs; n++) {
        const [row, w] = [t * inputs, n * inputs]
        let sum = bias ? bias.values[n]! : 0
        for (let c = 0; c < inputs; c++) sum += x[row + c]! * values[w + c]!
        out[t * outputs + n] = sum
      }
    }
    const back = (dout: Float64Array): Float64Array => {
      const dx = new Float64Array(x.length)
      for (let t = 0; t < N; t++) {
        for (let n = 0; n < outputs; n++) {
          const [row, w] = [t * inputs, n * inputs]
          const g = dout[t * outputs + n]!
          if (bias) bias.gradient[n]! += g
          for (let c = 0; c < inputs; c++) {
            dx[row + c]! += g * values[w + c]!
            gradient[w + c]! += g * x[row + c]!
          }
        }
      }
      return dx
    }
    return { out, back }
  }

/** out = x / sqrt(mean(x²) + eps) * weight */
const rmsNorm =
  (weight: Parameter, eps: number): Layer =>
  (x) => {
    const d = weight.values.length
    const scaled = new Float64Array(x.length) // x / rms
    const rms = new Float64Array(x.length / d)
    for (let t = 0; t < rms.length; t++) {
      let square = 0
      for (let c = 0; c < d; c++) square += x[t * d + c]! ** 2
      rms[t] = Math.sqrt(square / d + eps)
      for (let c = 0; c < d; c++) scaled[t * d + c] = x[t * d + c]! / rms[t]!
    }
    const back = (dout: Float64Array): Float64Array => {
      const dx = new Float64Array(x.length)
      for (let t = 0; t < rms.length; t++) {
        let dot = 0 // of the gradient of `scaled` with `scaled`: the part of it that a change of rms takes away
        for (let c = 0; c < d; c++) {
          weight.gradient[c]! += dout[t * d + c]! * scaled[t * d + c]!
          dot += dout[t * d + c]! * weight.values[c]! * scaled[t * d + c]!
        }
        for (let c = 0; c < d; c++) dx[t * d + c] = (dout[t * d + c]! * weight.values[c]! - (scaled[t * d + c]! * dot) / d) / rms[t]!
      }
      return dx
    }
    return { out: scaled.map((value, i) => value * weight.values[i % d]!), back }
  }

/** out = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias */
const layerNorm =
  (weight: Parameter, bias: Parameter, eps: number): Layer =>
  (x) => {
    const d = weight.values.length
    const scaled = new Float64Array(x.length) // (x - mean) / deviation
    const deviation = new Float64Array(x.length / d)
    for (let t = 0; t < deviation.length; t++) {
      let [sum, square] = [0, 0]
      for (let c = 0; c < d; c++) sum += x[t * d + c]!
      const mean = sum / d
      for (let c = 0; c < d; c++) square += (x[t * d + c]! - mean) ** 2
      deviation[t] = Math.sqrt(square / d + eps)
      for (let c = 0; c < d; c++) scaled[t * d + c] = (x[t * d + c]! - mean) / deviation[t]!
    }
    const back = (dout: Float64Array): Float64Array => {
      const dx = new Float64Array(x.length)
      for (let t = 0; t < deviation.length; t++) {
        let [sum, dot] = [0, 0] // what a change of the mean, and of the deviation, takes away
        for (let c = 0; c < d; c++) {
          const g = dout[t * d + c]!
          weight.gradient[c]! += g * scaled[t * d + c]!
          bias.gradient[c]! += g
          sum += g * weight.values[c]!
          dot += g * weight.values[c]! * scaled[t * d + c]!
        }
        for (let c = 0; c < d; c++) dx[t * d + c] = (dout[t * d + c]! * weight.values[c]! - (sum + scaled[t * d + c]! * dot) / d) / deviation[t]!
      }
      return dx
    }
    return { out: scaled.map((value, i) => value * weight.values[i % d]! + bias.values[i % d]!), back }
  }

/** out = silu(gate) * up, of rows (f gates, f ups); silu(a) = a / (1 + e^-a) */
const swiglu =
  (f: number): Layer =>
  (gateUp) => {
    const sigmoid = (a: number): number => 1 / (1 + Math.exp(-a))
    const gateAt = (i: number): number => Math.floor(i / f) * 2 * f + (i % f)
    const [gates, ups] = [0, f].map((from) => Float64Array.from({ length: gateUp.length / 2 }, (_, i) => gateUp[gateAt(i) + from]!)) as [
      Float64Array,
      Float64Array,
    ]
    const back = (dout: Float64Array): Float64Array => {
      const dGateUp = new Float64Array(gateUp.length)
      for (const [i, gate] of gates.entries()) {
        const s = sigmoid(gate)
        dGateUp[gateAt(i)] = dout[i]! * ups[i]! * (s + gate * s * (1 - s))
        dGateUp[gateAt(i) + f] = dout[i]! * gate * s
      }
      return dGateUp
    }
    return { out: gates.map((gate, i) => gate * sigmoid(gate) * ups[i]!), back }
  }

/** out = a/2 (1 + tanh(√(2/π) (a + 0.044715 a³))) */
const gelu: Layer = (x) => {
  const tangent = (a: number): number => Math.tanh(Math.sqrt(2 / Math.PI) * (a + 0.044715 * a ** 3))
  return {
    out: x.map((a) => (a / 2) * (1 + tangent(a))),
    back: (dout) => x.map((a, i) => dout[i]! * ((1 + tangent(a)) / 2 + (a / 2) * (1 - tangent(a) ** 2) * Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * a ** 2))),
  }
}

/**
 * Causal softmax attention within documents, of rows (h queries, g keys, g values). Query head n reads key/value head floor(n g / h).
 * s = q kᵀ/√D; p = softmax(s); o = p v
 */
const attention =
  (m: ModelConfig, starts: readonly number[], T: Round): Layer =>
  (projected) => {
    const { heads: h, kvHeads: g, headSize: D } = m
    const N = starts.length
    const row = (h + 2 * g) * D
    const qkv = rotated(m, projected, starts, 1).map(T)
    const o = new Float64Array(N * h * D)
    const probabilities = Array.from({ length: h }, () => new Float64Array(N * N))
    /** Where head n of token i has its query and result, and where token j has the key and value that head reads. */
    const queryAt = (n: number, i: number): number => i * row + n * D
    const keyAt = (n: number, j: number): number => j * row + (h + Math.floor((n * g) / h)) * D
    const valueAt = (n: number, j: number): number => keyAt(n, j) + g * D
    const outAt = (n: number, i: number): number => (i * h + n) * D
    const dot = (a: Float64Array, aAt: number, b: Float64Array, bAt: number): number => {
      let sum = 0
      for (let c = 0; c < D; c++) sum += a[aAt + c]! * b[bAt + c]!
      return sum
    }
    for (const [n, p] of probabilities.entries()) {
      for (let i = 0; i < N; i++) {
        let [top, sum] = [-Infinity, 0]
        const [query, o_i] = [queryAt(n, i), outAt(n, i)]
        for (let j = starts[i]!; j <= i; j++) {
          p[i * N + j] = dot(qkv, query, qkv, keyAt(n, j)) / Math.sqrt(D)
          top = Math.max(top, p[i * N + j]!)
        }
        for (let j = starts[i]!; j <= i; j++) sum += p[i * N + j] = Math.exp(p[i * N + j]! - top)
        for (let j = starts[i]!; j <= i; j++) {
          p[i * N + j]! /= sum
          const [share, value] = [T(p[i * N + j]!), valueAt(n, j)]
          for (let c = 0; c < D; c++) o[o_i + c]! += share * qkv[value + c]!
        }
        for (let c = 0; c < D; c++) o[o_i + c] = T(o[o_i + c]!) // delta, too, is of the rounded one
      }
    }
    const back = (dO: Float64Array): Float64Array => {
      const dqkv = new Float64Array(qkv.length)
      for (const [n, p] of probabilities.entries()) {
        for (let i = 0; i < N; i++) {
          const [query, o_i] = [queryAt(n, i), outAt(n, i)]
          const delta = dot(dO, o_i, o, o_i) // Σ_j p dp: softmax leaves only what differs from its mean
          for (let j = starts[i]!; j <= i; j++) {
            const [key, value] = [keyAt(n, j), valueAt(n, j)]
            const dp = dot(dO, o_i, qkv, value)
            const ds = T((p[i * N + j]! * (dp - delta)) / Math.sqrt(D))
            const share = T(p[i * N + j]!)
            for (let c = 0; c < D; c++) {
              dqkv[query + c]! += ds * qkv[key + c]!
              dqkv[key + c]! += ds * qkv[query + c]!
              dqkv[value + c]! += share * dO[o_i + c]!
            }
          }
        }
      }
      return rotated(m, dqkv, starts, -1)
    }
    return { out: o, back }
  }

/** Queries and keys turned by their position in the document, element m of a head with m + D/2; `direction` -1 is the transpose. */
function rotated({ positions, heads, kvHeads, headSize: D }: ModelConfig, qkv: Float64Array, starts: readonly number[], direction: 1 | -1): Float64Array {
  const out = qkv.slice()
  if (positions.kind === 'learned') return out
  const { turns, magnitude } = rotaryTurns(positions, D)
  for (const [t, start] of starts.entries()) {
    for (let n = 0; n < heads + kvHeads; n++) {
      for (const [c, turn] of turns.entries()) {
        const at = (t * (heads + 2 * kvHeads) + n) * D + c
        const angle = direction * (t - start) * turn
        const [a, b] = [qkv[at]!, qkv[at + D / 2]!]
        out[at] = magnitude * (a * Math.cos(angle) - b * Math.sin(angle))
        out[at + D / 2] = magnitude * (b * Math.cos(angle) + a * Math.sin(angle))
      }
    }
  }
  return out
}

/** loss = Σ_t (ln Σ_c e^logits[t,c] - logits[t,label]) / valid */
function crossEntropy(logits: Float64Array, labels: ArrayLike<number>, V: number, valid: number): { loss: number; dlogits: Float64Array } {
  const dlogits = new Float64Array(logits.length)
  let loss = 0
  for (let t = 0; t < labels.length; t++) {
    const label = labels[t]!
    if (label < 0) continue
    const row = logits.subarray(t * V, (t + 1) * V)
    const top = Math.max(...row)
    const sum = row.reduce((total, logit) => total + Math.exp(logit - top), 0)
    loss += (top + Math.log(sum) - row[label]!) / valid
    for (let c = 0; c < V; c++) dlogits[t * V + c] = (Math.exp(row[c]! - top) / sum - (c === label ? 1 : 0)) / valid
  }
  return { loss, dlogits }
}
