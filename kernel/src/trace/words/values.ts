/** What the values of a training step are, for a reader who does not know their symbols: those of `kernel/src/schedule/step-values.ts`. */
import { stateName, stemOf } from '../ask/value-name.js'

const VALUES: Readonly<Record<string, string>> = {
  tokens: 'tokens',
  labels: 'labels',
  positions: 'positions',
  starts: 'document boundaries',
  frequencies: 'frequencies of the rotary positions',
  x: 'hidden state',
  n1: "norm before attention: attention's input",
  qkv: 'queries, keys and values, before the all-to-all',
  q: 'queries',
  k: 'keys',
  v: 'values',
  state: 'running sums of the softmax',
  o: "attention's output",
  lse: 'log-sum-exp of the softmax',
  oLocal: "attention's output, back from the all-to-all",
  y: 'hidden state after attention',
  n2: "norm before the feed-forward: the feed-forward's input",
  gateUp: "feed-forward's gate and up products",
  up: "feed-forward's up product",
  act: "feed-forward's activation",
  nHead: "norm before the head: the head's input",
  logits: 'logits',
  loss: 'loss',
  dnHead: "gradient of the head's input",
  dx: 'gradient of the hidden state',
  dxT: 'gradient of the hidden state, rounded',
  dAct: "gradient of the feed-forward's activation",
  dGateUp: "gradient of the feed-forward's gate and up products",
  dUp: "gradient of the feed-forward's up product",
  dn2: "gradient of the feed-forward's input",
  dy: 'gradient of the hidden state after attention',
  dyT: 'gradient of the hidden state after attention, rounded',
  dOLocal: "gradient of attention's output, before the all-to-all",
  dO: "gradient of attention's output",
  delta: "row sums of attention's output times its gradient",
  dq: 'gradient of queries',
  dk: 'gradient of keys',
  dv: 'gradient of values',
  dqT: 'gradient of queries, rotated back',
  dkT: 'gradient of keys, rotated back',
  dvT: 'gradient of values, rounded',
  dqkv: 'gradient of queries, keys and values, back from the all-to-all',
  dn1: "gradient of attention's input",
  gradientNorm: 'gradient norm, squared',
  clipScale: 'factor that bounds the gradients',
}
const STATES = {
  w: 'weights',
  wPart: "weights, this rank's part",
  dw: 'gradients of weights',
  dwPart: "gradients of weights, this rank's part",
  master: 'weights in f32',
  m: 'first moments of AdamW',
  v: 'second moments of AdamW',
} as const

/** `keys` of `k[0,1]`, `weights` of `w[0].qkv`; '' for a name that is none of a training step. */
export function valueWords(name: string): string {
  const state = stateName(name)
  if (state) return STATES[state.state]
  const stem = stemOf(name)
  return Object.hasOwn(VALUES, stem) ? VALUES[stem] : ''
}
