/**
 * What happens at an op, in a sentence with its numbers, and the ways from op to op: a lesson told by a run that was recorded.
 */

import { firstAfter, type Run, spanAt } from '../model/run.js'
import { KINDS, NONE, PHASES, STREAMS, type Stream } from '../schema.js'
import { isSameUnit, type Unit } from '../units.js'
import { bytes, duration, flops, ordinal } from '../words/format.js'
import { chunkWords } from '../words/names.js'
import { lineOf } from './algorithm.js'
import type { LineId } from './algorithm-text.js'
import { isToTokens, operandsOf, opLine, subjectOf, verbOf } from './op-text.js'
import { type StateName, stateName, valueName } from './value-name.js'

// ---- in words ------------------------------------------------------------------------------------------------------

/** One sentence or two: what the op does to which chunk, with bytes, operations and time; of a copy also what it lies under. */
export function lessonWords(run: Run, row: number): string {
  const { spans } = run
  const took = duration(spans.duration_ns[row])
  const { line, again } = lineOf(run, row)
  if (line === null) return `${outside(run, row)} It takes ${took}.`
  const stream = STREAMS[spans.stream[row]]
  if (stream === 'compute') {
    const work = spans.flops[row] > 0 ? `${flops(spans.flops[row])} in ${took}` : took
    return `${capital(doing(run, row))}${again ? ', once more for the backward' : ''}: ${work}.`
  }
  const amount = spans.bytes[row] > 0 ? `${bytes(spans.bytes[row])} in ${took}` : took
  return `${capital(doing(run, row))} (${amount}) ${meanwhile(run, row)}.`
}

/** What an op does, from its verb on the left to its chunks: `query chunk 3 attends to key/value chunk 1`. */
export function doing(run: Run, row: number): string {
  const { spans, head } = run
  const kind = KINDS[spans.kind[row]]
  const { line, again } = lineOf(run, row)
  const q = spans.q[row]
  const kv = spans.kv[row]
  const ranks = head.sequence.ranks
  const subject = subjectWords(run, row)
  const [come, go] = isMany(subject) ? ['come', 'go'] : ['comes', 'goes']
  switch (kind) {
    case 'fetch':
      return `${subject} ${come} back from the host${purpose(run, row)}`
    case 'offload':
      return `${subject} ${go} to the host`
    case 'load':
      return `${subject} ${come} from disk to the host${purpose(run, row)}`
    case 'spill':
      return `${subject} ${go} from the host to disk`
    case 'gather':
      return `every rank gathers the weights of ${weightsWords(run, row)} from all ${ranks} ranks`
    case 'reduceScatter':
      return `the gradients of ${weightsWords(run, row)} are summed over ${ranks} ranks, and each keeps its part`
    case 'allReduce':
      return `${subject} is summed over ${ranks} ranks`
    case 'allToAll':
      return exchangeWords(run, row)
    case 'free':
      return `${subject} is freed`
    case 'compute':
      return computeWords(again ?? line, q, kv, chunkOf(run, row), run, row)
    default:
      return kind satisfies never
  }
}

function computeWords(line: LineId | null, q: number, kv: number, chunk: number | string, run: Run, row: number): string {
  const special = KERNEL_WORDS[kernelOf(run, row)]
  if (special) return special(chunk, weightsWords(run, row), partOf(run, row))
  switch (line) {
    case 'embed':
      return `the tokens of chunk ${chunk} become its hidden state`
    case 'qkv':
      return `chunk ${chunk} is projected to q, k and v`
    case 'exchange':
      return `q and k of chunk ${chunk} are rotated to their positions`
    case 'attend':
      return q === kv
        ? `query chunk ${q} attends to its own keys and values, a token to those up to itself`
        : `query chunk ${q} attends to key/value chunk ${kv}${inTurn(run, q, kv)}`
    case 'finish':
      return `query chunk ${q} has met all key/value chunks it may see: its output and lse are final`
    case 'out':
      return `the attention of chunk ${chunk} is projected and added to its hidden state`
    case 'ffn':
      return `chunk ${chunk} goes through the feed-forward layer`
    case 'logits':
      return `a part of chunk ${chunk} meets the vocabulary: its logits and its loss`
    case 'loss.back':
      return `the same part of chunk ${chunk} gets its gradient at once`
    case 'ffn.back':
      return `the gradient of chunk ${chunk} goes back through the feed-forward layer`
    case 'out.back':
      return `the gradient of chunk ${chunk} goes back through the output projection`
    case 'delta':
      return `delta of chunk ${chunk} is summed, one number a row and head`
    case 'meet':
      return q === kv
        ? `chunk ${q} meets itself backward: dq, dk and dv grow, and are final`
        : `query chunk ${q} meets key/value chunk ${kv} backward: dq, dk and dv grow`
    case 'final':
      return `dq, dk and dv of chunk ${chunk}, which are final, are rotated back`
    case 'qkv.back':
      return `the gradient of chunk ${chunk} goes back through the projection to q, k and v`
    case 'embed.back':
      return `the gradient of chunk ${chunk} is added to the rows of its tokens`
    default:
      return `${verbOf(opLine(run, run.spans.op[row]))} runs`
  }
}

/** Kernels that say more than their line does. */
const KERNEL_WORDS: Readonly<Record<string, (chunk: number | string, weights: string, part: string) => string>> = {
  norm: (chunk) => `the hidden state of chunk ${chunk} is normalised`,
  layerNorm: (chunk) => `the hidden state of chunk ${chunk} is normalised`,
  weightGradient: (chunk, weights, part) => `the gradient of the ${part} weights of ${weights} grows by chunk ${chunk}`,
  biasGradient: (chunk, weights, part) => `the gradient of the ${part} of ${weights} grows by chunk ${chunk}`,
  round: (chunk) => `the gradient of chunk ${chunk} is rounded once, for the product that takes it`,
  zero: (_, weights) => `the padding of the gradients of ${weights} becomes zero`,
  squaredNorm: (_, weights) => `the squares of the gradients of ${weights} are added up`,
  clip: () => 'one factor for all gradients bounds their norm',
  adamW: (_, weights) => `AdamW updates ${weights}`,
}
function kernelOf({ spans, head }: Run, row: number): string {
  return head.codes.kernels[spans.kernel[row]]?.name ?? ''
}
/** `qkv` of `dw[0].qkv`. */
function partOf({ spans, listing }: Run, row: number): string {
  return stateName(subjectOf(listing[spans.op[row]] ?? ''))?.tensor || 'first'
}

/** Ulysses' exchange, either way. */
function exchangeWords(run: Run, row: number): string {
  const { ranks } = run.head.sequence
  const toTokens = isToTokens(opLine(run, run.spans.op[row]))
  const what =
    { exchange: 'q, k and v', out: 'the output', 'out.back': 'dO', final: 'dq, dk and dv' }[String(lineOf(run, row).again ?? lineOf(run, row).line)] ?? 'values'
  const whose = `${what} of chunk ${chunkOf(run, row)}`
  const isPlural = what.includes(' and ') || what === 'values'
  if (ranks === 1) return `${whose} ${isPlural ? 'are' : 'is'} laid out anew; with one rank nothing is exchanged`
  const go = isPlural ? 'go' : 'goes'
  return toTokens
    ? `${whose} ${go} from heads back to tokens over ${ranks} ranks`
    : `${whose} ${go} from tokens to heads over ${ranks} ranks: each has all tokens of the chunk, of its share of the heads`
}

/** `, its second of 4`. */
function inTurn({ head }: Run, q: number, kv: number): string {
  const chunks = Math.max(1, head.sequence.chunks)
  const own = (q % chunks) + 1
  return ` (the ${ordinal((kv % chunks) + 1)} of ${own})`
}

/** What a copy to the device is brought for. */
function purpose({ spans, listing }: Run, row: number): string {
  const { chunk } = valueName(subjectOf(listing[spans.op[row]] ?? ''))
  const [q, kv] = [spans.q[row], spans.kv[row]]
  if (q !== NONE && kv !== NONE) {
    if (chunk === kv && chunk !== q) return ` for query chunk ${q}`
    if (chunk === q && chunk !== kv) return ` for key/value chunk ${kv}`
  }
  return ''
}

/** What this rank computes while a copy or a collective is under way. */
function meanwhile(run: Run, row: number): string {
  const { spans } = run
  const under = atOnce(run, spans.rank[row], spans.start_ns[row] + spans.duration_ns[row] / 2).find(({ stream }) => stream === 'compute')
  return under ? `while ${doing(run, under.row)}` : 'while compute stands still'
}

/** Of what is no line: a schedule of the reader's own, or an op that the algorithm does not name. */
function outside(run: Run, row: number): string {
  const { spans } = run
  const verb = verbOf(opLine(run, spans.op[row]))
  const chunks = chunkWords(run, row)
  const where = `${verb} runs on ${STREAMS[spans.stream[row]]}${chunks.length > 0 ? `, ${chunks.join(' and ')}` : ''}`
  return run.head.system === 'own'
    ? `${capital(where)}. The schedule is the reader's own, so this is no line of FPDT.`
    : `${capital(where)}, in the ${PHASES[spans.phase[row]]} part. It is no line of the algorithm.`
}

const VALUES: Readonly<Record<string, string>> = {
  x: 'the hidden state',
  dx: 'the gradient of the hidden state',
  dy: 'the gradient dy',
  loss: 'the loss',
  gradientNorm: 'the gradient norm',
  tokens: 'the tokens',
  labels: 'the labels',
  positions: 'the positions',
  starts: 'the document boundaries',
}

/** `k of chunk 1`, `the hidden state of chunk 3`, `the weights of layer 2`. */
function subjectWords(run: Run, row: number): string {
  const name = subjectOf(run.listing[run.spans.op[row]] ?? '')
  const state = stateName(name)
  if (state) return `${STATE_WORDS[state.state]} of ${weightsWords(run, row)}`
  const { base, chunk } = valueName(name)
  return chunk === NONE ? (VALUES[base] ?? base) : `${VALUES[base] ?? base} of chunk ${chunk}`
}
const STATE_WORDS: Readonly<Record<StateName['state'], string>> = {
  w: 'the weights',
  wPart: 'the part of the weights',
  dw: 'the gradient',
  dwPart: 'the part of the gradient',
  master: 'the master weights',
  m: 'the first moment',
  v: 'the second moment',
}

/** `layer 2`, `the embedding`, from a name like `w[2]` or `master[embedding].s0`. */
function weightsWords(run: Run, row: number): string {
  const group = operandsOf(run.listing[run.spans.op[row]] ?? '')
    .map((name) => stateName(name)?.group)
    .find(Boolean)
  if (group === undefined) return 'the weights'
  return /^\d+$/.test(group) ? `layer ${group}` : ({ embedding: 'the embedding', head: 'the head', positions: 'the positions' }[group] ?? group)
}

/** The chunk an op is of: that of its place, or of the value it makes. */
function chunkOf({ spans, listing }: Run, row: number): number | string {
  const { chunk } = valueName(subjectOf(listing[spans.op[row]] ?? ''))
  return chunk !== NONE ? chunk : spans.q[row] !== NONE ? spans.q[row] : spans.kv[row] !== NONE ? spans.kv[row] : '?'
}

/** Names of values keep their case: `k of chunk 1`. */
function capital(text: string): string {
  return /^(q|k|v|o|lse|delta|d[A-Za-z]+)\b/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1)
}
function isMany(subject: string): boolean {
  return /^the (tokens|labels|positions|document boundaries|weights|master weights)\b/.test(subject)
}

// ---- at an instant -------------------------------------------------------------------------------------------------

export interface Running {
  readonly stream: Stream
  /** Row of the span table. */
  readonly row: number
}

/** What runs on each stream of a rank at an instant; streams that stand still are left out. */
export function atOnce(run: Run, rank: number, time_ns: number): Running[] {
  return run.lanes.flatMap((lane) => {
    if (lane.rank !== rank) return []
    const row = spanAt(run, lane, time_ns, 0)
    return row < 0 ? [] : [{ stream: lane.stream, row }]
  })
}

/** The span of compute on a rank at an instant, or the last one before it; the first where there is none; -1 where compute has none. */
export function computeAt(run: Run, rank: number, time_ns: number): number {
  const lane = run.lanes.find((candidate) => candidate.rank === rank && candidate.stream === 'compute')
  if (!lane) return -1
  return lane.rows[Math.max(0, firstAfter(lane.rows, (row) => run.spans.start_ns[row], time_ns) - 1)]
}

// ---- from op to op -------------------------------------------------------------------------------------------------

/** The first span of compute of the next (or the previous) op, chunk, layer or step, on the same rank; null beyond the last. */
export function stepFrom(run: Run, row: number, unit: Unit, by: 1 | -1): number | null {
  const { spans } = run
  const lane = run.lanes.find(({ rank, stream }) => rank === spans.rank[row] && stream === 'compute')
  if (!lane) return null
  const at = firstAfter(lane.rows, (other) => spans.start_ns[other], spans.start_ns[row]) - 1
  const leave = (from: number): number => {
    let i = from
    while (i >= 0 && i < lane.rows.length && isSameUnit(spans, lane.rows[i], lane.rows[from], unit)) i += by
    return i
  }
  let next = leave(at)
  if (next < 0 || next >= lane.rows.length) return null
  // Back is to the beginning of what comes before, not to its end.
  if (by < 0) next = leave(next) + 1
  return lane.rows[next]
}
