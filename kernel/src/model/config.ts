/**
 * Sizes of a transformer, by the names of its papers, and what it is made of. `llama.ts` and `gpt.ts` make the two published
 * families; any other combination of parts can be trained as well, and has no name in another tool.
 */

/** Multiplies rotary frequencies so that a model reads further than it was trained; `rotary.ts` has the equations. */
export type RotaryScaling =
  /** Llama 3: low frequencies divided by `factor`, high ones kept, a ramp between. */
  | { readonly kind: 'llama3'; readonly factor: number; readonly lowFrequency: number; readonly highFrequency: number; readonly original: number }
  /** YaRN (arXiv 2309.00071): the same by whole turns over the `original` length; `magnitude` multiplies cos and sin. */
  | {
      readonly kind: 'yarn'
      readonly factor: number
      readonly betaFast: number
      readonly betaSlow: number
      readonly original: number
      readonly magnitude: number
    }
  /** All frequencies divided by `factor` (arXiv 2306.15595). */
  | { readonly kind: 'linear'; readonly factor: number }

export type Positions =
  /** RoFormer (arXiv 2104.09864), halves of a head paired as in Llama. */
  | { readonly kind: 'rotary'; readonly theta: number; readonly scaling?: RotaryScaling }
  /** A table of `length` vectors added to the embedding; sequences and documents may not be longer. */
  | { readonly kind: 'learned'; readonly length: number }

export interface ModelConfig {
  /** What the model is called where a name is shown, and which layout it has in a file. */
  readonly family: 'llama' | 'gpt2'
  /** Transformer layers, L. */
  readonly layers: number
  /** Width of the hidden state, d. */
  readonly width: number
  /** Query heads, h. */
  readonly heads: number
  /** Key/value heads, g: divides `heads`; equal = MHA, 1 = MQA. */
  readonly kvHeads: number
  /** Head size, D; a multiple of 8. */
  readonly headSize: number
  /** Width of the feed-forward layer, f. */
  readonly feedForward: number
  /** Words, V. */
  readonly vocabulary: number
  /** The head's matrix is the embedding table. */
  readonly tied: boolean
  readonly positions: Positions
  /** RMSNorm (arXiv 1910.07467), or LayerNorm (arXiv 1607.06450) with a bias. */
  readonly norm: 'rms' | 'layer'
  /** Added to the mean square, or the variance. */
  readonly normEps: number
  /** `swiglu`: down(silu(gate(x)) · up(x)) (arXiv 2002.05202); `gelu`: down(gelu(up(x))), tanh form (arXiv 1606.08415). */
  readonly activation: 'swiglu' | 'gelu'
  /** Which projections add a bias: of attention (query, key, value, output), of the feed-forward layer. */
  readonly bias: { readonly attention: boolean; readonly feedForward: boolean }
}
