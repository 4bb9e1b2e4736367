/** Bugs in the sources of kernels, as one makes them: an edit of a file that must match exactly once. */
import type { Bug } from './bug.js'
import type { Edit } from './sources.js'

export interface SourceBug extends Bug {
  readonly edit: Edit
  /** A kernel of the file, by which its module is known. */
  readonly kernel: string
}
const forward = { file: 'attention_forward.cu' } as const
const backward = { file: 'attention_backward.cu' } as const

export const SOURCE_BUGS: readonly SourceBug[] = [
  {
    name: 'attend does not rescale what it summed',
    why: 'acc is relative to the maximum so far: when that moves, acc must move with it',
    edit: { ...forward, find: 'acc[r / 2][n][r % 2 * 2] *= shrink, acc[r / 2][n][r % 2 * 2 + 1] *= shrink;', replace: 'acc[r / 2][n][r % 2 * 2] *= shrink;' },
    kernel: 'attention_forward.*attend_kernel',
    upsets: 'attend, heads of 64',
    by: 'wrong',
  },
  {
    name: 'attend takes the kv head of the next group',
    why: 'q head h reads kv head h / (heads / kv heads), not h % kv heads',
    edit: { ...forward, find: 'kv_head = head / (a.heads / a.kv_heads)', replace: 'kv_head = head % a.kv_heads' },
    kernel: 'attention_forward.*attend_kernel',
    upsets: 'attend, packed documents',
    by: 'wrong',
  },
  {
    name: 'attend does not mask behind the last key',
    why: 'the last tile of a chunk is short: what lies behind it are zeros, whose scores are no scores',
    edit: { ...forward, find: 'limit = min(a.columns - 1 - from, row0 + i + a.shift - from)', replace: 'limit = row0 + i + a.shift - from' },
    kernel: 'attention_forward.*attend_kernel',
    upsets: 'attend, heads of 64',
    by: 'wrong',
  },
  {
    name: 'attend takes a tile for plain that some rows do not see',
    why: 'the last tile that all rows of a warp see ends at its first row, not at its last',
    edit: {
      ...forward,
      find: 'common = min(a.columns, q0 + warp * kWarpRows + a.shift + 1)',
      replace: 'common = min(a.columns, q0 + (warp + 1) * kWarpRows + a.shift + 1)',
    },
    kernel: 'attention_forward.*attend_kernel',
    upsets: 'attend, heads of 64, whole tiles',
    by: 'wrong',
  },
  {
    name: 'attend rounds p towards zero',
    why: 'each p loses up to a unit of bf16, and always the same way: no bound of one element shows it, the mean of many does',
    edit: { ...forward, header: 'instructions.cuh', find: 'cvt.rn.bf16x2.f32', replace: 'cvt.rz.bf16x2.f32' },
    kernel: 'attention_forward.*attend_kernel',
    upsets: 'attend, values of one',
    by: 'wrong',
  },
  {
    name: 'attendBackward masks the diagonal',
    why: 'a row sees the key at its own position',
    edit: { ...backward, find: 'key > query + a.shift', replace: 'key >= query + a.shift' },
    kernel: 'attend_backward_kernel',
    upsets: 'attendBackward, heads of 64',
    by: 'wrong',
  },
  {
    name: 'attendBackward leaves out the last q head of a group',
    why: 'dk and dv are sums over all heads of the group',
    edit: { ...backward, find: 'block.end_counter = (head + group) * counters;', replace: 'block.end_counter = (head + group - 1) * counters;' },
    kernel: 'attend_backward_kernel',
    upsets: 'attendBackward, heads of 64',
    by: 'wrong',
  },
  {
    name: 'crossEntropy writes over logits that are yet to be read',
    why: 'a row of bf16 is half as long as its logits: writers wait until all have read ahead',
    edit: { file: 'cross_entropy.cu', find: 'if constexpr (sizeof(T) < sizeof(float)) __syncthreads();', replace: '' },
    kernel: 'row_losses',
    upsets: 'crossEntropy',
    by: 'race',
  },
  {
    name: 'crossEntropy adds sums of different maxima',
    why: 'a thread’s sum is relative to its own maximum until it is turned over to that of the row',
    edit: { file: 'cross_entropy.cu', find: 'static_cast<double>(sum * expf(most - about))', replace: 'static_cast<double>(sum)' },
    kernel: 'row_losses',
    upsets: 'crossEntropy',
    by: 'wrong',
  },
  {
    name: 'embedBackward, a run that goes on in the next tile is added there too',
    why: 'only the block in whose tile a run begins may: two would add twice, and at the same time',
    edit: { file: 'embedding.cu', find: 'if (lane == 0) before = sorted.token(tile - 1);', replace: 'if (lane == 0) before = kNoToken;' },
    kernel: '8add_runs',
    upsets: 'embedBackward',
    by: 'race',
  },
  {
    name: 'column sums without the last slice',
    why: 'rows are cut into slices, and all of them count',
    edit: { file: 'bias_gradient.cu', header: 'column_sums.cuh', find: 'slice < slices; slice++', replace: 'slice < slices - 1; slice++' },
    kernel: 'bias_gradient.*sum_columns',
    upsets: 'biasGradient',
    by: 'wrong',
  },
  {
    name: 'adamW decays what it must not',
    why: 'the first parameters, biases and norms, do not decay',
    edit: { file: 'optimizer.cu', find: 'i + j >= decayed ? decay : 0.f', replace: 'i + j + 1 >= decayed ? decay : 0.f' },
    kernel: 'AdamW',
    upsets: 'adamW',
    by: 'wrong',
  },
  {
    name: 'rotary turns gradients forward',
    why: 'what turned by an angle is taken back by its negative',
    edit: { file: 'rotary.cu', find: 'sine[i] = kDirection * turn.sine', replace: 'sine[i] = turn.sine' },
    kernel: 'turn_heads',
    upsets: 'rotary',
    by: 'wrong',
  },
]
