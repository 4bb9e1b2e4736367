/** Which line of the algorithm an op is, and which lines a run has. */
import type { Run } from '../model/run.js'
import { KINDS, type Kind, NONE, PHASES, type Phase } from '../schema.js'
import { type LineId, type LoopOrder, PARTS, TEXTS } from './algorithm-text.js'
import { cached } from './cache.js'
import { subjectOf } from './op-text.js'
import { stemOf } from './value-name.js'

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

// ---- the lines of a run ----------------------------------------------------------------------------------------------

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
export function orderOf(run: Run): LoopOrder {
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
const orders = new WeakMap<object, Map<string, LoopOrder>>()

function isOwn({ head }: Run): boolean {
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
  readonly order: LoopOrder
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
    subject: stemOf(subjectOf(run.listing[spans.op[row]] ?? '')),
    isInLayer: spans.layer[row] !== NONE,
    order: orderOf(run),
  }
  if (known.phase !== 'recompute') return { line: lineFor(known), again: null }
  // What is kept for the second pass goes where its other inputs go.
  if (kind === 'offload' || kind === 'spill') return { line: 'backward.put', again: null }
  return { line: 'again', again: lineFor({ ...known, phase: 'forward' }) }
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
