/**
 * FPDT as numbered lines: the words of a lesson beside the picture.
 *
 * T_i is chunk i of u, cut from the sequence; x_i is what a rank holds of its hidden state. A hat marks what stands after the
 * all-to-all: all tokens of the chunk, of a share of the heads. Source: FPDT (arXiv 2408.16978), section 4 and Figs. 2 and 3; the
 * loss head in parts, and the other loop order of the backward, are this engine's.
 */

/** Names of lines, by which ops find them. */
export type LineId = keyof typeof TEXTS
/** Which loop of the attention's backward is outside. */
export type LoopOrder = 'kv' | 'q'

export const TEXTS = {
  'embed.for': 'for each chunk i = 0 … u−1:',
  embed: 'x_i ← embed(T_i)',
  'embed.put': 'offload x_i',

  'forward.layer': 'for each layer, first to last:',
  gather: 'all-gather the weights, one layer ahead',
  'forward.for': 'for each query chunk i = 0 … u−1:',
  'forward.x': 'fetch x_i',
  qkv: 'q_i, k_i, v_i ← norm(x_i) W_qkv',
  exchange: 'q̂_i, k̂_i, v̂_i ← all-to-all(q_i, k_i, v_i); rotate q̂_i, k̂_i',
  save: 'offload k̂_i, v̂_i: later queries need them',
  'forward.inner': 'for each key/value chunk j = 0 … i:',
  kv: 'fetch k̂_j, v̂_j, one chunk ahead: the double buffer',
  attend: 'ô_i, lse_i ← update(ô_i, lse_i, attention(q̂_i, k̂_j, v̂_j))',
  finish: 'ô_i, lse_i are final',
  out: 'o_i ← all-to-all(ô_i); y_i ← x_i + o_i W_o',
  ffn: 'x_i ← y_i + FFN(norm(y_i)), in parts of the chunk',
  'forward.put': 'offload x_i, for the next layer and the backward',

  'loss.for': 'for each chunk i = 0 … u−1:',
  'loss.x': 'fetch x_i and its labels',
  logits: 'in parts: logits ← norm(x_i) W; loss ← loss + cross entropy',
  'loss.back': 'at once: their gradient, dW, dx_i; the logits are gone',
  'loss.put': 'offload dx_i',

  'backward.layer': 'for each layer, last to first:',
  'backward.gather': 'all-gather the weights, one layer ahead',
  'backward.for': 'for each chunk i = 0 … u−1:',
  again: 'the forward of the chunk again, from x_i',
  dx: 'fetch dx_i',
  'ffn.back': 'dy_i ← backward of FFN and norm; their dW grow',
  'out.back': 'dô_i ← all-to-all(dy_i W_oᵀ); dW_o grows',
  delta: 'δ_i ← row sums of dô_i · ô_i',
  'backward.put': 'offload q̂_i, k̂_i, v̂_i, lse_i, dô_i, δ_i, dy_i',
  'kv.outer': 'for each key/value chunk j = 0 … u−1:',
  'kv.row': 'fetch k̂_j, v̂_j',
  'kv.inner': 'for each query chunk i = j … u−1, there and back:',
  'kv.column': 'fetch q̂_i, dô_i, lse_i, δ_i, dq̂_i, one ahead',
  'kv.sums': 'offload dq̂_i',
  'q.outer': 'for each query chunk i = u−1 … 0:',
  'q.row': 'fetch q̂_i, dô_i, lse_i, δ_i',
  'q.inner': 'for each key/value chunk j = i … 0, there and back:',
  'q.column': 'fetch k̂_j, v̂_j, dk̂_j, dv̂_j, one ahead',
  'q.sums': 'offload dk̂_j, dv̂_j',
  meet: 'dq̂_i, dk̂_j, dv̂_j grow by the backward of attention(q̂_i, k̂_j, v̂_j)',
  final: 'dq̂, dk̂, dv̂ of the chunk are final: rotate back, all-to-all',
  'qkv.back': 'dW_qkv grows; dx ← dy + backward of norm and W_qkv',
  'backward.dx': 'offload dx of the chunk',
  reduce: 'reduce-scatter the gradients of the weights',
  'embed.back': 'for each chunk: fetch dx_i; the gradient of the embedding grows',

  norm: 'norm of all gradients: all-reduce; clip',
  states: 'fetch the states of AdamW, where they are not on the device',
  adamW: 'AdamW on the partition of each rank',
  'states.put': 'put weights, states and results where they wait',
} as const

/** A line of a part; what is indented deeper below a `for` is its body. */
type Entry = readonly [indent: number, id: LineId]
/** Parts in the order of a step; `order`: which loop of the attention's backward is outside. */
export const PARTS: readonly (readonly [title: string, entries: (order: LoopOrder) => readonly Entry[]])[] = [
  [
    'Embedding',
    () => [
      [0, 'embed.for'],
      [1, 'embed'],
      [1, 'embed.put'],
    ],
  ],
  [
    'Forward',
    () => [
      [0, 'forward.layer'],
      [1, 'gather'],
      [1, 'forward.for'],
      [2, 'forward.x'],
      [2, 'qkv'],
      [2, 'exchange'],
      [2, 'save'],
      [2, 'forward.inner'],
      [3, 'kv'],
      [3, 'attend'],
      [2, 'finish'],
      [2, 'out'],
      [2, 'ffn'],
      [2, 'forward.put'],
    ],
  ],
  [
    'Loss',
    () => [
      [0, 'loss.for'],
      [1, 'loss.x'],
      [1, 'logits'],
      [1, 'loss.back'],
      [1, 'loss.put'],
    ],
  ],
  [
    'Backward',
    (order) => [
      [0, 'backward.layer'],
      [1, 'backward.gather'],
      [1, 'backward.for'],
      [2, 'again'],
      [2, 'dx'],
      [2, 'ffn.back'],
      [2, 'out.back'],
      [2, 'delta'],
      [2, 'backward.put'],
      [1, `${order}.outer`],
      [2, `${order}.row`],
      [2, `${order}.inner`],
      [3, `${order}.column`],
      [3, 'meet'],
      [3, `${order}.sums`],
      [2, 'final'],
      [2, 'qkv.back'],
      [2, 'backward.dx'],
      [1, 'reduce'],
      [0, 'embed.back'],
    ],
  ],
  [
    'Optimizer',
    () => [
      [0, 'norm'],
      [0, 'states'],
      [0, 'adamW'],
      [0, 'states.put'],
    ],
  ],
]
