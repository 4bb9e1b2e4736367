/**
 * What a layer does to the rows of a chunk, each token by itself: norms, rotary positions, projections, activations, and the backward
 * of each. Shapes are (rows, …); T is bf16 or f32, the same for all of a call; H, of the hidden state, is T or f32. Sums are f32 always. Gradients of weights
 * are f32, and `{ dweight }` given is added to: so chunks accumulate.
 */
import { FpdtError } from '../../../errors.js'
import type { RotaryScaling } from '../../../model/config.js'
import { rotaryOf } from '../../../model/rotary.js'
import type { Dtype } from '../../../schedule/values.js'
import type { Device } from '../../device.js'
import { refuseUnknown } from '../../sizes.js'
import { type Tensor, tensor } from '../tensor.js'
import { callKernel, type Made } from './call.js'
import { computeDtype, fit } from './fit.js'

export interface NormOptions {
  /** Added to the mean square, or to the variance. Default 1e-5. */
  readonly eps?: number
}
/** How positions turn pairs of elements; the same for a forward and its backward. */
export interface RotaryOptions {
  /** Default 10000. */
  readonly theta?: number
  readonly scaling?: RotaryScaling
}

const ROWS = 'T rows width'
const HIDDEN = 'H rows width'
const VECTOR = 'T width'

export function layerPrimitives(device: Device) {
  return {
    /**
     * RMSNorm. Roughly: out = x / sqrt(mean(x²) + eps) * weight. x (rows, width) H, weight (width) T; returns (rows, width) T.
     * Throws FpdtError `shape`, `dtype`. Source: arXiv 1910.07467.
     */
    async norm(x: Tensor, weight: Tensor, { eps = 1e-5 }: NormOptions = {}): Promise<Tensor> {
      const { T } = fit('norm', { x: [x, HIDDEN], weight: [weight, VECTOR] })
      return (await callKernel(device, 'norm', { x, weight }, { out: normed(T, x) }, { eps })).out
    },
    /**
     * Backward of `norm`. Roughly: dx = residual + (dnorm/dx)ᵀ dout; dweight += Σ_t dout x / rms. dout (rows, width) T; x, residual, dx (rows, width) H; weight (width) T;
     * dweight (width) f32. Throws FpdtError `shape`, `dtype`.
     */
    async normBackward(
      dout: Tensor,
      x: Tensor,
      weight: Tensor,
      { eps = 1e-5, residual, dweight }: NormOptions & { readonly residual?: Tensor; readonly dweight?: Tensor } = {},
    ): Promise<{ dx: Tensor; dweight: Tensor }> {
      const { n } = fit('normBackward', {
        dout: [dout, ROWS],
        x: [x, HIDDEN],
        weight: [weight, VECTOR],
        residual: [residual, `${HIDDEN}?`],
        dweight: [dweight, 'f32 width?'],
      })
      const out = { dx: x, dweight: f32(n.width) }
      return callKernel(device, 'normBackward', { dout, x, weight, residual, dweight }, out, { eps, first: dweight ? 0 : 1 })
    },

    /**
     * LayerNorm. Roughly: out = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias, var the biased one. x (rows, width) H; weight, bias (width) T; returns
     * (rows, width) T. Throws FpdtError `shape`, `dtype`. Source: arXiv 1607.06450.
     */
    async layerNorm(x: Tensor, weight: Tensor, bias: Tensor, { eps = 1e-5 }: NormOptions = {}): Promise<Tensor> {
      const { T } = fit('layerNorm', { x: [x, HIDDEN], weight: [weight, VECTOR], bias: [bias, VECTOR] })
      return (await callKernel(device, 'layerNorm', { x, weight, bias }, { out: normed(T, x) }, { eps })).out
    },
    /**
     * Backward of `layerNorm`. Roughly: dx = residual + (dlayerNorm/dx)ᵀ dout; dweight += Σ_t dout (x - mean)/σ; dbias += Σ_t dout.
     * dout (rows, width) T; x, residual, dx (rows, width) H; weight (width) T; dweight and dbias (width) f32, added to together. Throws FpdtError `shape`, `dtype`.
     */
    async layerNormBackward(
      dout: Tensor,
      x: Tensor,
      weight: Tensor,
      { eps = 1e-5, residual, dweight, dbias }: NormOptions & { readonly residual?: Tensor; readonly dweight?: Tensor; readonly dbias?: Tensor } = {},
    ): Promise<{ dx: Tensor; dweight: Tensor; dbias: Tensor }> {
      const sum = 'f32 width?'
      const asked = {
        dout: [dout, ROWS],
        x: [x, HIDDEN],
        weight: [weight, VECTOR],
        residual: [residual, `${HIDDEN}?`],
        dweight: [dweight, sum],
        dbias: [dbias, sum],
      } as const
      const { n } = fit('layerNormBackward', asked)
      if (!dweight !== !dbias) throw new FpdtError('config', 'layerNormBackward adds to dweight and dbias together: give both or neither.')
      const out = { dx: x, dweight: f32(n.width), dbias: f32(n.width) }
      return callKernel(device, 'layerNormBackward', { dout, x, weight, residual, dweight, dbias }, out, { eps, first: dweight ? 0 : 1 })
    },

    /**
     * Rotary positions. Roughly: q, k = rotate(q, k, position · theta^(-2m/D)): element m of a head with element m + D/2, as in Llama; angles in fp64.
     * The position of row t is `q.start` + t. q (rows, heads, headSize) T, k (rows, kvHeads, headSize) T; returns both turned.
     * Throws FpdtError `shape`, `dtype`. Source: RoFormer (arXiv 2104.09864).
     */
    async rotary(q: Tensor, k: Tensor, options: RotaryOptions = {}): Promise<{ q: Tensor; k: Tensor }> {
      const { n } = fit('rotary', { q: [q, 'T rows heads headSize'], k: [k, 'T rows kvHeads headSize'] })
      refuseApart('rotary', { q, k })
      const { frequencies, magnitude } = turns('rotary', n.headSize, options)
      return callKernel(device, 'rotary', { q, k, frequencies }, { q, k }, { magnitude })
    },
    /**
     * Backward of `rotary`: the same rotation backwards, and dv passes. dq (rows, heads, headSize), dk and dv (rows, kvHeads, headSize) f32, as
     * `attendBackward` gives them; returns all three rounded to `dtype` (default f32). Throws FpdtError `shape`, `dtype`.
     */
    async rotaryBackward(
      dq: Tensor,
      dk: Tensor,
      dv: Tensor,
      { dtype = 'f32', ...options }: RotaryOptions & { readonly dtype?: Dtype } = {},
    ): Promise<{ dq: Tensor; dk: Tensor; dv: Tensor }> {
      const kv = 'f32 rows kvHeads headSize'
      const { n } = fit('rotaryBackward', { dq: [dq, 'f32 rows heads headSize'], dk: [dk, kv], dv: [dv, kv] })
      refuseApart('rotaryBackward', { dq, dk })
      const { frequencies, magnitude } = turns('rotaryBackward', n.headSize, options)
      const rounded = ({ shape, start }: Tensor): Made => ({ dtype: computeDtype('rotaryBackward', dtype), shape, start })
      const out = { dqOut: rounded(dq), dkOut: rounded(dk), dvOut: rounded(dv) }
      const { dqOut, dkOut, dvOut } = await callKernel(device, 'rotaryBackward', { dq, dk, dv, frequencies }, out, { magnitude })
      return { dq: dqOut, dk: dkOut, dv: dvOut }
    },

    /**
     * A matrix product with weights. Roughly: out = residual + a Wᵀ + bias, rounded once. a (rows, inputs) T, weight (outputs, inputs) T, residual
     * (rows, outputs) H, bias (outputs) T. Returns (rows, outputs) in the dtype of the residual, else in T, or in f32 where `dtype: 'f32'` is asked
     * for, as logits are.
     * Throws FpdtError `shape`, `dtype`.
     */
    async project(
      a: Tensor,
      weight: Tensor,
      { residual, bias, dtype }: { readonly residual?: Tensor; readonly bias?: Tensor; readonly dtype?: 'f32' } = {},
    ): Promise<Tensor> {
      const asked = {
        a: [a, 'T rows inputs'],
        weight: [weight, 'T outputs inputs'],
        residual: [residual, 'H rows outputs?'],
        bias: [bias, 'T outputs?'],
      } as const
      const { T, H, n } = fit('project', asked)
      if (dtype !== undefined && dtype !== 'f32') throw new FpdtError('dtype', `project gives ${T}, the dtype of a, or f32; not ${String(dtype)}.`)
      if (dtype && residual && H !== dtype)
        throw new FpdtError('dtype', `project adds residual in the dtype it gives, f32; got ${H}. residual.to('f32') converts.`)
      const out: Made = { dtype: dtype ?? (residual ? H : T), shape: [n.rows, n.outputs], start: a.start }
      return (await callKernel(device, 'project', { a, weight, residual, bias }, { out })).out
    },
    /** Backward of `project` to its input. Roughly: da = dout W. dout (rows, outputs) T, weight (outputs, inputs) T; returns (rows, inputs) T. Throws FpdtError `shape`, `dtype`. */
    async projectBackward(dout: Tensor, weight: Tensor): Promise<Tensor> {
      const { T, n } = fit('projectBackward', { dout: [dout, 'T rows outputs'], weight: [weight, 'T outputs inputs'] })
      return (await callKernel(device, 'projectBackward', { dout, weight }, { da: { dtype: T, shape: [n.rows, n.inputs], start: dout.start } })).da
    },
    /** Backward of `project` to its weights. Roughly: dweight += doutᵀ a. dout (rows, outputs) T, a (rows, inputs) T; returns (outputs, inputs) f32. Throws FpdtError `shape`, `dtype`. */
    async weightGradient(dout: Tensor, a: Tensor, { dweight }: { readonly dweight?: Tensor } = {}): Promise<Tensor> {
      const { n } = fit('weightGradient', { dout: [dout, 'T rows outputs'], a: [a, 'T rows inputs'], dweight: [dweight, 'f32 outputs inputs?'] })
      return (await callKernel(device, 'weightGradient', { dout, a, dweight }, { dweight: f32(n.outputs, n.inputs) }, { first: dweight ? 0 : 1 })).dweight
    },
    /** Backward of `project` to its bias. Roughly: dbias += Σ_t dout[t]. dout (rows, outputs) T; returns (outputs) f32. Throws FpdtError `shape`, `dtype`. */
    async biasGradient(dout: Tensor, { dbias }: { readonly dbias?: Tensor } = {}): Promise<Tensor> {
      const { n } = fit('biasGradient', { dout: [dout, 'T rows outputs'], dbias: [dbias, 'f32 outputs?'] })
      return (await callKernel(device, 'biasGradient', { dout, dbias }, { dbias: f32(n.outputs) }, { first: dbias ? 0 : 1 })).dbias
    },

    /**
     * SwiGLU. Roughly: out = silu(gate) * up, where gate and up lie side by side in a row. gateUp (rows, 2 f) T; returns (rows, f) T.
     * Throws FpdtError `shape`, `dtype`. Source: GLU variants, arXiv 2002.05202.
     */
    async swiglu(gateUp: Tensor): Promise<Tensor> {
      const { T, n } = fit('swiglu', { gateUp: [gateUp, 'T rows 2*feedForward'] })
      return (await callKernel(device, 'swiglu', { gateUp }, { out: { dtype: T, shape: [n.rows, n.feedForward], start: gateUp.start } })).out
    },
    /** Backward of `swiglu`. Roughly: dgate = dout up silu′(gate); dup = dout silu(gate). dout (rows, f) T, gateUp (rows, 2 f) T; returns (rows, 2 f) T. Throws FpdtError `shape`, `dtype`. */
    async swigluBackward(dout: Tensor, gateUp: Tensor): Promise<Tensor> {
      fit('swigluBackward', { dout: [dout, 'T rows feedForward'], gateUp: [gateUp, 'T rows 2*feedForward'] })
      return (await callKernel(device, 'swigluBackward', { dout, gateUp }, { dGateUp: gateUp })).dGateUp
    },

    /**
     * GELU, the tanh form of GPT-2. Roughly: out = a/2 (1 + tanh(√(2/π) (a + 0.044715 a³))). up (rows, f) T; returns the same shape.
     * Throws FpdtError `shape`, `dtype`. Source: arXiv 1606.08415.
     */
    async gelu(up: Tensor): Promise<Tensor> {
      fit('gelu', { up: [up, 'T rows feedForward'] })
      return (await callKernel(device, 'gelu', { up }, { out: up })).out
    },
    /** Backward of `gelu`. Roughly: dUp = dout gelu′(up). dout, up (rows, f) T; returns (rows, f) T. Throws FpdtError `shape`, `dtype`. */
    async geluBackward(dout: Tensor, up: Tensor): Promise<Tensor> {
      const rows = 'T rows feedForward'
      fit('geluBackward', { dout: [dout, rows], up: [up, rows] })
      return (await callKernel(device, 'geluBackward', { dout, up }, { dUp: up })).dUp
    },
  }
}

/** What a norm gives: the hidden state in T. */
function normed(dtype: 'bf16' | 'f32', { shape, start }: Tensor): Made {
  return { dtype, shape, start }
}
function f32(...shape: number[]): Made {
  return { dtype: 'f32', shape }
}

function turns(call: string, headSize: number, options: RotaryOptions): { frequencies: Tensor; magnitude: number } {
  refuseUnknown(call, options, ['theta', 'scaling'])
  const { theta = 10000, scaling } = options
  if (headSize % 2 !== 0) throw new FpdtError('shape', `${call} turns pairs of elements, and headSize ${headSize} is odd.`)
  if (!(theta > 0 && Number.isFinite(theta))) throw new FpdtError('config', `${call} theta ${String(theta)} is not a number above 0.`)
  const made = rotaryOf({ kind: 'rotary', theta, ...(scaling ? { scaling } : {}) }, headSize)
  if (!made) throw new Error('rotary positions have frequencies')
  return { frequencies: tensor(made.frequencies), magnitude: made.magnitude }
}

/** One op turns both by the positions of its first operand. */
function refuseApart(call: string, pair: Readonly<Record<string, Tensor>>): void {
  const [[first, a], [second, b]] = Object.entries(pair)
  if (a.start !== b.start)
    throw new FpdtError(
      'shape',
      `${call} turns ${first} and ${second} by the same positions, and ${first} begins at token ${a.start}, ${second} at ${b.start}.`,
    )
}
