/**
 * An op as a phrase, for a reader who cannot read a listing yet:
 *
 *   attend state[0,3] += q[0,3] k[0,1] v[0,1]   query chunk 3 meets key/value chunk 1, layer 0, forward
 *   fetch k[0,2]                                keys of chunk 2, layer 0, come back from the host
 *
 * A schedule of the reader's own, and a line that is none of a training step, keep their notation.
 */
import { groupOf, lookupOf } from '../ask/lookup.js'
import { isToTokens, opBrief, operandsOf, opLine, verbOf } from '../ask/op-text.js'
import { stateName, stemOf, valueName } from '../ask/value-name.js'
import type { Run } from '../model/run.js'
import { NONE, PHASES } from '../schema.js'
import { valueWords } from './values.js'

/** The phrase of an op; where it has none, its notation. */
export function phraseOf(run: Run, op: number): string {
  const words = run.head.system === 'own' ? '' : phraseOfLine(opLine(run, op), isAgain(run, op))
  return words || opBrief(run, op)
}

/** How notation is read, in one sentence. */
export const NOTATION = 'k[0,1]: k of layer 0, chunk 1; .0 after the chunk: a part of it; = writes, += adds; @: the stream.'

/** The backward does the forward of a layer again. */
function isAgain(run: Run, op: number): boolean {
  const [row] = groupOf(lookupOf(run).spansOfOp, op)
  return row !== undefined && PHASES[run.spans.phase[row]] === 'recompute'
}

/** '' for a line that is none of a training step. */
function phraseOfLine(line: string, again: boolean): string {
  const verb = verbOf(line)
  const names = operandsOf(line)
  if (names.length === 0) return ''
  if (Object.hasOwn(MOVES, verb)) return MOVES[verb](subject(names[0]), line)
  if (!Object.hasOwn(COMPUTE, verb)) return ''
  const words = COMPUTE[verb](names)
  // Both chunks of a meeting stand in its words.
  const where = MEETINGS.has(verb) ? [] : places(names)
  return words && [words, ...where, ...(again ? ['once more'] : [])].join(', ')
}

// ---- copies and collectives ----------------------------------------------------------------------------------------

const MOVES: Readonly<Record<string, (what: Subject, line: string) => string>> = {
  fetch: (what) => said(what, 'comes back from the host', 'come back from the host'),
  offload: (what) => said(what, 'goes to the host', 'go to the host'),
  load: (what) => said(what, 'comes from disk', 'come from disk'),
  spill: (what) => said(what, 'goes to disk', 'go to disk'),
  gather: (what) => said(what, 'is gathered from all ranks', 'are gathered from all ranks'),
  reduceScatter: (what) => said(what, 'is added up over all ranks', 'are added up over all ranks'),
  allReduce: (what) => said(what, 'is added up over all ranks', 'are added up over all ranks'),
  allToAll: (what, line) => {
    const way = isToTokens(line) ? 'from heads back to tokens' : 'from tokens to heads'
    return said(what, `goes ${way}`, `go ${way}`)
  },
  free: (what, line) => {
    const tier = /@(\w+)$/.exec(line.trim())?.[1] ?? 'device'
    const where = tier === 'disk' ? 'on disk' : `on the ${tier}`
    return said(what, `is let go ${where}`, `are let go ${where}`)
  },
}

interface Subject {
  readonly words: string
  readonly isPlural: boolean
}

/** `keys of chunk 2, layer 0`. */
function subject(name: string): Subject {
  const words = of(TRAVELLERS, stemOf(name)) || valueWords(name).replace(/[,:].*$/, '')
  const [noun] = words.split(' of ')
  const isPlural = noun.endsWith('s') && !noun.endsWith('ss')
  const state = stateName(name)
  const slice = /\.s(\d+)$/.exec(name)?.[1]
  if (state) return { words: `${words} of ${groupWords(state.group)}${slice === undefined ? '' : `, slice ${slice},`}`, isPlural }
  const { layer, chunk, part } = placeOf(name)
  const where = [...(chunk === NONE ? [] : [`of chunk ${chunk}`]), ...(part < 0 ? [] : [`part ${part}`])].join(', ')
  return { words: `${words}${where && ` ${where}`}${layer === NONE ? '' : `, layer ${layer},`}`, isPlural }
}
/** What the all-to-alls take, before the comma. */
const TRAVELLERS: Readonly<Record<string, string>> = { qkv: 'queries, keys and values', dqT: 'gradients of queries, keys and values' }

function said({ words, isPlural }: Subject, one: string, many: string): string {
  return /^\w/.test(words) ? `${words} ${isPlural ? many : one}` : ''
}

function groupWords(group: string): string {
  return /^\d+$/.test(group) ? `layer ${group}` : `the ${group}`
}

// ---- compute ---------------------------------------------------------------------------------------------------------

/** Of the names of an op's values, what it writes first; '' where they are none of a training step. */
const COMPUTE: Readonly<Record<string, (names: readonly string[]) => string>> = {
  embed: () => 'embedding of tokens',
  embedBackward: () => 'gradient of the embedding',
  norm: normWords,
  layerNorm: normWords,
  normBackward: (names) => through(normOf(names)),
  layerNormBackward: (names) => through(normOf(names)),
  project: ([made]) => of(PRODUCTS, stemOf(made)),
  projectBackward: ([made]) => through(of(PRODUCTS, of(GRADIENT_OF, stemOf(made)))),
  weightGradient: ([made]) => weightsWords(made, 'weights'),
  biasGradient: ([made]) => weightsWords(made, 'bias'),
  rotary: () => 'rotary positions of queries and keys',
  rotaryBackward: () => 'gradient through the rotary positions',
  attend: (names) => meeting(names, 'forward'),
  attendBackward: (names) => meeting(names, 'backward'),
  merge: () => 'two parts of attention become one',
  finish: () => "attention's output is final",
  delta: () => "row sums of attention's output times its gradient",
  swiglu: () => 'feed-forward, its activation',
  gelu: () => 'feed-forward, its activation',
  swigluBackward: () => 'gradient through the feed-forward, its activation',
  geluBackward: () => 'gradient through the feed-forward, its activation',
  crossEntropy: () => 'loss, and the gradient of the logits',
  round: ([made]) => valueWords(made),
  zero: ([made]) => valueWords(made) && 'padding of the gradients becomes zero',
  squaredNorm: () => 'gradient norm grows',
  clip: () => 'factor that bounds the gradients',
  adamW: () => 'AdamW updates the weights',
}

const MEETINGS: ReadonlySet<string> = new Set(['attend', 'attendBackward'])

/** Products by what they make. */
const PRODUCTS: Readonly<Record<string, string>> = {
  qkv: 'projection to queries, keys and values',
  y: 'output projection of attention',
  gateUp: 'feed-forward, its first product',
  up: 'feed-forward, its first product',
  x: 'feed-forward, its second product',
  logits: 'projection to logits',
}
/** The product whose input has this gradient. */
const GRADIENT_OF: Readonly<Record<string, string>> = { dn1: 'qkv', dOLocal: 'y', dn2: 'up', dAct: 'x', dnHead: 'logits' }

const WEIGHTS: Readonly<Record<string, string>> = {
  table: 'embedding',
  qkv: 'projection to queries, keys and values',
  out: 'output projection of attention',
  gateUp: "feed-forward's first product",
  up: "feed-forward's first product",
  down: "feed-forward's second product",
}

const NORMS: Readonly<Record<string, string>> = { n1: 'norm before attention', n2: 'norm before the feed-forward', nHead: 'norm before the head' }

function normWords([made]: readonly string[]): string {
  return of(NORMS, stemOf(made))
}

/** The norm whose output's gradient is read. */
function normOf(names: readonly string[]): string {
  return names.map((name) => of(NORMS, stemOf(name).replace(/^d/, ''))).find(Boolean) ?? ''
}

function through(what: string): string {
  return what ? `gradient through the ${what}` : ''
}

function weightsWords(made: string, kind: 'weights' | 'bias'): string {
  const what = of(WEIGHTS, (stateName(made)?.tensor ?? '').replace(/Bias$/, ''))
  return what && `gradient of the ${kind} of the ${what}`
}

/** `query chunk 3 meets key/value chunk 1, layer 0, forward`: the place stands inside. */
function meeting(names: readonly string[], way: string): string {
  const [q, k] = ['q', 'k'].map((base) => names.map(placeOf).find((place) => place.base === base))
  return q && k ? `query chunk ${q.chunk} meets key/value chunk ${k.chunk}, layer ${q.layer}, ${way}` : ''
}

/** Layer, or what else its weights are of, chunk and part. */
function places(names: readonly string[]): string[] {
  const state = names.map(stateName).find((found) => found !== null)
  const places = names.filter((name) => !stateName(name)).map(placeOf)
  const first = places.find(({ chunk }) => chunk !== NONE)
  const part = places.find((place) => place.part >= 0)?.part
  // Of what one layer hands to the next, the name has the number of the next; weights are of the layer that does it.
  const group = state ? groupWords(state.group) : first && first.layer !== NONE ? `layer ${first.layer}` : ''
  return [...(group ? [group] : []), ...(first ? [`chunk ${first.chunk}`] : []), ...(part === undefined ? [] : [`part ${part}`])]
}

/** As `valueName`, with the part of `x[1,0].1` and `x[1,0].loss1` too. */
function placeOf(name: string): ReturnType<typeof valueName> {
  const [, whole, part] = /^(.*\])(?:\.(?:loss)?(\d+))?$/.exec(name) ?? []
  if (whole === undefined) return valueName(name)
  const value = valueName(whole)
  return part === undefined ? value : { ...value, part: Number(part) }
}

/** Lines come from anywhere, and `constructor` is no word of theirs. */
function of(words: Readonly<Record<string, string>>, key: string): string {
  return Object.hasOwn(words, key) ? words[key] : ''
}
