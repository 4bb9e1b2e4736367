/**
 * FPDT as numbered lines, and which of them an op is: the words of a lesson beside the picture.
 *
 * T_i is chunk i of u, cut from the sequence; x_i is what a rank holds of its hidden state. A hat marks what stands after the
 * all-to-all: all tokens of the chunk, of a share of the heads. Source: FPDT (arXiv 2408.16978), section 4 and Figs. 2 and 3; the
 * loss head in parts, and the other loop order of the backward, are this engine's.
 */
import type { Run } from '../model/run.js'
import { KINDS, type Kind, NONE, PHASES, type Phase } from '../schema.js'
import { cached } from './cache.js'

/** Names of lines, by which ops find them. */
export type LineId = keyof typeof TEXTS
export interface AlgorithmLine {
  readonly id: LineId
  /** From 1. */
  readonly number: number
  readonly indent: number
  readonly text: string
  /** Some op of the run is this line, or it is the head of a loop with such lines. */
  readonly isUsed: boolean
}
/** Where the lines of a part begin. */
export interface AlgorithmPart {
  readonly title: string
  readonly lines: readonly AlgorithmLine[]
}
export interface OpLine {
  /** Null: the op is no line of the algorithm. */
  readonly line: LineId | null
  /** In the backward the forward runs again: the line of the forward that is done once more. */
  readonly again: LineId | null
}

// ---- the lines -----------------------------------------------------------------------------------------------------

const TEXTS = {
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

type Entry = readonly [indent: number, id: LineId]
const PARTS: readonly (readonly [title: string, entries: (order: 'kv' | 'q') => readonly Entry[]])[] = [
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
] // prettier-ignore

/** The lines, with the loop order of this run's backward; empty for a schedule of the reader's own. */
export function algorithmOf(run: Run): readonly AlgorithmPart[] {
  return cached(algorithms, run, '', () => makeAlgorithm(run))
}
const algorithms = new WeakMap<object, Map<string, readonly AlgorithmPart[]>>()

function makeAlgorithm(run: Run): readonly AlgorithmPart[] {
  if (isOwn(run)) return []
  const used = new Set<LineId>()
  const seen = new Set<number>()
  for (let row = 0; row < run.spans.op.length; row++) {
    if (seen.has(run.spans.op[row])) continue
    seen.add(run.spans.op[row])
    const { line, again } = lineOf(run, row)
    for (const id of [line, again]) if (id) used.add(id)
  }
  let number = 0
  return PARTS.map(([title, entriesOf]) => {
    const entries = entriesOf(orderOf(run))
    const isUsed = (at: number): boolean => {
      const [indent, id] = entries[at]
      if (!TEXTS[id].endsWith(':')) return used.has(id)
      for (let below = at + 1; below < entries.length && entries[below][0] > indent; below++) if (isUsed(below)) return true
      return false
    }
    return { title, lines: entries.map(([indent, id], at) => ({ id, number: ++number, indent, text: TEXTS[id], isUsed: isUsed(at) })) }
  })
}

/** Which loop of the attention's backward is outside: the first step of a row turns to the next chunk of the inner loop. */
export function orderOf(run: Run): 'kv' | 'q' {
  return cached(orders, run, '', () => {
    const { spans, head } = run
    const met: { op: number; q: number; kv: number; layer: number }[] = []
    for (let row = 0; row < spans.op.length && met.length < 2 * head.sequence.chunks; row++) {
      if (KINDS[spans.kind[row]] !== 'compute' || head.codes.kernels[spans.kernel[row]]?.name !== 'attendBackward') continue
      const [op, q, kv, layer] = [spans.op[row], spans.q[row], spans.kv[row], spans.layer[row]]
      const before = met.at(-1)
      if (before?.layer === layer && before.op !== op && (before.q !== q) !== (before.kv !== kv)) return before.kv === kv ? 'kv' : 'q'
      met.push({ op, q, kv, layer })
    }
    return 'kv'
  })
}
const orders = new WeakMap<object, Map<string, 'kv' | 'q'>>()

export function isOwn({ head }: Run): boolean {
  return head.system === 'own'
}

// ---- which line an op is -------------------------------------------------------------------------------------------

/** What of an op decides: its verb, and the value that it makes or moves (`dw.qkv` of `dw[0].qkv`). */
interface Known {
  readonly kind: Kind
  readonly kernel: string
  readonly phase: Phase
  readonly subject: string
  readonly isInLayer: boolean
  readonly order: 'kv' | 'q'
}

/** The line of a span's op. */
export function lineOf(run: Run, row: number): OpLine {
  if (isOwn(run)) return { line: null, again: null }
  const { spans, head } = run
  const kind = KINDS[spans.kind[row]]
  const known: Known = {
    kind,
    kernel: kind === 'compute' ? (head.codes.kernels[spans.kernel[row]]?.name ?? '') : '',
    phase: PHASES[spans.phase[row]],
    subject: subjectOf(run.listing[spans.op[row]] ?? ''),
    isInLayer: spans.layer[row] !== NONE,
    order: orderOf(run),
  }
  if (known.phase !== 'recompute') return { line: lineFor(known), again: null }
  // What is kept for the second pass goes where its other inputs go.
  if (kind === 'offload' || kind === 'spill') return { line: 'backward.put', again: null }
  return { line: 'again', again: lineFor({ ...known, phase: 'forward' }) }
}

/** The value a line of the listing makes or moves: what stands after the verb, without layer, chunk and part. */
function subjectOf(line: string): string {
  const name = line.trim().split(/\s+/)[1] ?? ''
  return name.replace(/\[[^\]]*\]/, '').replace(/\.s?\d+$/, '')
}

function lineFor(op: Known): LineId | null {
  switch (op.kind) {
    case 'compute':
      return COMPUTE[op.phase](op)
    case 'allToAll':
      if (op.phase === 'forward') return op.subject === 'o' ? 'out' : 'exchange'
      return op.subject === 'dOLocal' ? 'out.back' : 'final'
    case 'gather':
      return op.phase === 'embedding' || op.phase === 'forward' ? 'gather' : 'backward.gather'
    case 'reduceScatter':
      return 'reduce'
    case 'allReduce':
      return 'norm'
    case 'fetch':
    case 'load':
      return broughtFor(op)
    case 'offload':
    case 'spill':
      return takenFor(op)
    case 'free':
      return null
    default:
      return op.kind satisfies never
  }
}

const COMPUTE: Readonly<Record<Phase, (op: Known) => LineId | null>> = {
  embedding: ({ kernel }) => (kernel === 'embed' ? 'embed' : null),
  forward: ({ subject }) => FORWARD[subject] ?? null,
  recompute: ({ subject }) => FORWARD[subject] ?? null,
  loss: ({ kernel, subject }) =>
    kernel === 'zero' ? 'reduce' : ['nHead', 'logits', 'loss'].includes(subject) && kernel !== 'projectBackward' ? 'logits' : 'loss.back',
  backward: ({ kernel, subject }) =>
    kernel === 'attendBackward'
      ? 'meet'
      : kernel === 'embedBackward'
        ? 'embed.back'
        : kernel === 'zero'
          ? 'reduce'
          : (BACKWARD[subject.replace(/Bias$/, '')] ?? null),
  optimizer: ({ kernel }) => (kernel === 'adamW' ? 'adamW' : kernel === 'zero' ? 'reduce' : 'norm'),
}
/** By what is made. */
const FORWARD: Readonly<Record<string, LineId>> = {
  n1: 'qkv',
  qkv: 'qkv',
  q: 'exchange', // rotary
  state: 'attend',
  o: 'finish',
  y: 'out',
  n2: 'ffn',
  gateUp: 'ffn',
  up: 'ffn',
  act: 'ffn',
  x: 'ffn',
}
const BACKWARD: Readonly<Record<string, LineId>> = {
  dxT: 'ffn.back',
  'dw.down': 'ffn.back',
  dAct: 'ffn.back',
  dGateUp: 'ffn.back',
  dUp: 'ffn.back',
  'dw.gateUp': 'ffn.back',
  'dw.up': 'ffn.back',
  dn2: 'ffn.back',
  dy: 'ffn.back',
  dyT: 'out.back',
  'dw.out': 'out.back',
  dOLocal: 'out.back',
  delta: 'delta',
  dqT: 'final',
  n1: 'qkv.back',
  'dw.qkv': 'qkv.back',
  dn1: 'qkv.back',
  dx: 'qkv.back',
}

const QUERY_SIDE = ['q', 'dO', 'lse', 'delta']
const KEY_SIDE = ['k', 'v']

/** What a fetch or a load is for. */
function broughtFor({ phase, subject, isInLayer, order }: Known): LineId | null {
  if (phase === 'optimizer') return /^(dw|wPart|w$|master|m$|v$)/.test(subject) ? 'states' : 'norm'
  if (/^dw/.test(subject)) return 'reduce'
  if (/^w(Part)?$/.test(subject)) return phase === 'embedding' || phase === 'forward' ? 'gather' : 'backward.gather'
  if (phase === 'embedding') return 'embed'
  if (phase === 'loss') return 'loss.x'
  if (phase === 'forward') return subject === 'x' ? 'forward.x' : [...KEY_SIDE, 'starts'].includes(subject) ? 'kv' : null
  if (!isInLayer) return 'embed.back'
  if (subject === 'dx') return 'dx'
  if (subject === 'x' || subject === 'dy') return 'qkv.back'
  const isQuery = [...QUERY_SIDE, 'starts', 'dq'].includes(subject)
  if (!isQuery && ![...KEY_SIDE, 'dk', 'dv'].includes(subject)) return null
  return isQuery === (order === 'q') ? `${order}.row` : `${order}.column`
}

/** Where an offload or a spill takes something. */
function takenFor({ phase, subject, isInLayer, order }: Known): LineId | null {
  if (phase === 'optimizer') return 'states.put'
  if (/^dw/.test(subject)) return 'reduce'
  if (phase === 'embedding') return subject === 'x' ? 'embed.put' : null
  if (phase === 'loss') return 'loss.put'
  if (phase === 'forward') return subject === 'x' ? 'forward.put' : 'save'
  if (subject === 'dx') return isInLayer ? 'backward.dx' : null
  if (['dq', 'dk', 'dv'].includes(subject)) return `${order}.sums`
  return [...QUERY_SIDE, ...KEY_SIDE, 'dy'].includes(subject) ? 'backward.put' : null
}
