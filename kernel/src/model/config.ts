/**
 * Sizes of a transformer, by the names of its papers, and what follows from them.
 * Llama shape: RMSNorm, rotary positions, grouped-query attention, SwiGLU, no biases.
 */
export interface ModelConfig {
  readonly family: 'llama'
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
  /** Base of the rotary frequencies. */
  readonly theta: number
  /** Added to the mean square in RMSNorm. */
  readonly normEps: number
}
