/**
 * The ends of a step: tokens in, loss out, and the update. V words, d width; token ids and labels are i32, a label of -1 counts
 * for nothing.
 */
import { FpdtError } from '../../../errors.js'
import { LEAST_NORM, ADAMW_DEFAULTS as usual } from '../../../schedule/config.js'
import { compute } from '../../../schedule/emit.js'
import type { Op } from '../../../schedule/ops.js'
import type { Value } from '../../../schedule/values.js'
import type { Device } from '../../device.js'
import { refuseUnknown } from '../../sizes.js'
import { Tensor, tensor } from '../tensor.js'
import { callKernel, callOps, HERE, like, type Made } from './call.js'
import { computeDtype, fit } from './fit.js'

/** One tensor of parameters with what AdamW keeps of it; all f32, of one shape. */
export interface AdamWState {
  readonly master: Tensor
  readonly gradient: Tensor
  /** Mean of the gradient and of its square; 0 when left out. */
  readonly m?: Tensor
  readonly v?: Tensor
}
export interface AdamWOptions {
  readonly rate: number
  /** From 1: corrects m and v for having begun at 0. Default 1. */
  readonly step?: number
  /** This and the next three: as in training by default (`ADAMW_DEFAULTS`). */
  readonly beta1?: number
  readonly beta2?: number
  readonly eps?: number
  /** Share of the rate by which parameters shrink. */
  readonly decay?: number
  /** Gradients of a larger norm are scaled down to it. Default: none are. */
  readonly maxNorm?: number
  /** `'bf16'`: also gives the weights that a forward would compute with. */
  readonly dtype?: 'bf16'
}

export function endPrimitives(device: Device) {
  return {
    /**
     * Roughly: x[t] = table[tokens[t]] + positionTable[positions[t]]. tokens (rows) i32, table (V, d) T; positions (rows) i32 and positionTable (M, d) T:
     * both or neither. Returns (rows, d) in T, or in f32 where `dtype: 'f32'` is asked for. Throws FpdtError `shape`, `dtype`, `token` (an id beyond
     * the table).
     */
    async embed(
      tokens: Tensor,
      table: Tensor,
      { positions, positionTable, dtype }: { readonly positions?: Tensor; readonly positionTable?: Tensor; readonly dtype?: 'f32' } = {},
    ): Promise<Tensor> {
      const { T, n } = fit('embed', {
        tokens: [tokens, 'i32 rows'],
        table: [table, 'T vocabulary width'],
        positions: [positions, 'i32 rows?'],
        positionTable: [positionTable, 'T length width?'],
      })
      if (!positions !== !positionTable) throw new FpdtError('config', 'embed takes positions and positionTable together.')
      if (dtype !== undefined && dtype !== 'f32') throw new FpdtError('dtype', `embed gives ${T}, the dtype of its table, or f32; not ${String(dtype)}.`)
      const x: Made = { dtype: dtype ?? T, shape: [n.rows, n.width], start: tokens.start }
      return (await callKernel(device, 'embed', { tokens, table, positions, positionTable }, { x })).x
    },
    /**
     * Backward of `embed` to its table. Roughly: dtable[tokens[t]] += dx[t], in order of t. dx (rows, d) T, tokens (rows) i32; returns (vocabulary, d) f32.
     * Either the size of the `vocabulary`, or a `dtable` that is added to. Throws FpdtError `shape`, `dtype`, `token`.
     */
    async embedBackward(dx: Tensor, tokens: Tensor, { vocabulary, dtable }: { readonly vocabulary?: number; readonly dtable?: Tensor }): Promise<Tensor> {
      const { n } = fit('embedBackward', { dx: [dx, 'T rows width'], tokens: [tokens, 'i32 rows'], dtable: [dtable, 'f32 vocabulary width?'] })
      const words = n.vocabulary ?? vocabulary
      if (words === undefined) throw new FpdtError('config', 'embedBackward needs vocabulary, the rows of the table, or a dtable to add to.')
      return (
        await callKernel(device, 'embedBackward', { dx, tokens, dtable }, { dtable: { dtype: 'f32', shape: [words, n.width] } }, { first: dtable ? 0 : 1 })
      ).dtable
    },

    /**
     * The loss head, forward and backward in one pass. Roughly: loss = Σ_t (lse(logits[t]) - logits[t, label]) / valid;
     * dlogits = (softmax(logits) - onehot(label)) / valid. logits (rows, V) f32, labels (rows) i32. `valid`: labels of the whole step that count
     * (default: those of this call), so that chunks add up. Returns the loss, and dlogits (rows, V) of `dtype` (default f32). In a training step the
     * gradient overwrites the logits in place. Throws FpdtError `shape`, `dtype`, `token` (a label of V or more).
     */
    async crossEntropy(
      logits: Tensor,
      labels: Tensor,
      { valid, dtype = 'f32' }: { readonly valid?: number; readonly dtype?: 'bf16' | 'f32' } = {},
    ): Promise<{ loss: number; dlogits: Tensor }> {
      const { n } = fit('crossEntropy', { logits: [logits, 'f32 rows vocabulary'], labels: [labels, 'i32 rows'] })
      const bf16 = computeDtype('crossEntropy', dtype) === 'bf16'
      const counted = valid ?? Array.from(labels.values).filter((label) => label >= 0).length
      if (!(counted > 0)) throw new FpdtError('config', `crossEntropy: valid ${String(counted)} is not a number of labels above 0.`)
      const out: Record<'loss' | 'logits', Made> = { loss: { dtype: 'f64', shape: [1] }, logits }
      const found = await callKernel(device, 'crossEntropy', { logits, labels }, out, { first: 1, bf16: bf16 ? 1 : 0 }, { inverseValid: 1 / counted })
      return { loss: found.loss.at(0), dlogits: bf16 ? halves(found.logits, n.rows, n.vocabulary) : found.logits }
    },

    /**
     * One update. Roughly: m = β1 m + (1-β1) g; v = β2 v + (1-β2) g²; master -= rate (m̂ / (√v̂ + eps) + decay master), g scaled to `maxNorm` first.
     * All f32, of one shape. Returns the new master, m and v, the norm of the gradient, and with `dtype: 'bf16'` the weight that is computed with.
     * Throws FpdtError `shape`, `dtype`, `config`. Source: AdamW, arXiv 1711.05101.
     */
    async adamW(state: AdamWState, options: AdamWOptions): Promise<{ master: Tensor; m: Tensor; v: Tensor; gradientNorm: number; weight?: Tensor }> {
      refuseUnknown('adamW', options, ['rate', 'step', 'beta1', 'beta2', 'eps', 'decay', 'maxNorm', 'dtype'])
      const { rate, step = 1, maxNorm = Number.POSITIVE_INFINITY, dtype } = options
      const { beta1 = usual.beta1, beta2 = usual.beta2, eps = usual.eps, decay = usual.decay } = options
      fit('adamW', { master: [state.master, 'f32'] })
      const { master, gradient, m = zeros(master), v = zeros(master) } = state
      const axes = master.shape.map((_, axis) => `extent${axis}`).join(' ')
      fit('adamW', { master: [master, `f32 ${axes}`], gradient: [gradient, `f32 ${axes}`], m: [m, `f32 ${axes}`], v: [v, `f32 ${axes}`] })
      if (!(Number.isInteger(step) && step >= 1)) throw new FpdtError('config', `adamW step ${String(step)} is not a whole number of 1 or more.`)
      if (!(maxNorm >= LEAST_NORM)) throw new FpdtError('config', `adamW maxNorm ${String(maxNorm)} is not a number of ${LEAST_NORM} or more.`)
      if (dtype !== undefined && dtype !== 'bf16') throw new FpdtError('dtype', `adamW gives weights in bf16 beside the f32 master; not in ${String(dtype)}.`)
      const given = { master, m, v, gradient, loss: tensor([0], { dtype: 'f64' }) }
      const values = Object.fromEntries(Object.entries(given).map(([name, one]) => [name, like(name, one)])) as Record<keyof typeof given, Value>
      const [sum, scale] = [like('sum', { dtype: 'f64', shape: [1] }), like('scale', { dtype: 'f32', shape: [1] })]
      const weight = dtype && like('weight', { dtype, shape: master.shape })
      const flags = { beta1, beta2, eps, decay, undecayed: 0, partition: master.length, offset: 0 }
      const { master: updated, m: first, v: second, gradient: g, loss } = values
      const ops: Op[] = [
        compute(HERE, 'squaredNorm', { sum, gradient: g }, { first: 1 }),
        // A step clips by the loss too: one that is not finite leaves everything as it is.
        compute(HERE, 'clip', { scale, sum, loss }, { maxNorm: Math.min(maxNorm, Number.MAX_VALUE) }),
        compute(HERE, 'adamW', { master: updated, m: first, v: second, ...(weight ? { weight } : {}), gradient: g, scale }, flags),
        { kind: 'free', place: HERE, value: scale, tier: 'device' },
      ]
      const results = [updated, first, second, sum, ...(weight ? [weight] : [])]
      const scalars = { rate, correction1: 1 - beta1 ** step, correction2: 1 - beta2 ** step }
      const found = await callOps(device, ops, { inputs: given, values: Object.values(values), results, scalars })
      const made = { master: found.get(updated), m: found.get(first), v: found.get(second), gradientNorm: Math.sqrt(found.get(sum).at(0)) }
      return weight ? { ...made, weight: found.get(weight) } : made
    },
  }
}

/** Row t of bf16 gradients begins where row t of the f32 logits began. */
function halves(logits: Tensor, rows: number, vocabulary: number): Tensor {
  const halfWords = new Uint16Array(logits.data.buffer, logits.data.byteOffset, 2 * logits.length)
  const packed = new Uint16Array(rows * vocabulary)
  for (let t = 0; t < rows; t++) packed.set(halfWords.subarray(2 * t * vocabulary, (2 * t + 1) * vocabulary), t * vocabulary)
  return new Tensor('bf16', [rows, vocabulary], packed, logits.start)
}

function zeros(master: Tensor): Tensor {
  return new Tensor('f32', master.shape, new Float32Array(master.length))
}
