/** Names of values, taken apart: which chunk of what a buffer holds, or which state of which weights. */
import { NONE } from '../schema.js'

/** Chunks that are told apart. Of 2^12 in a layer, the meetings alone are more ops than a listing holds. */
export const MOST_CHUNKS = 2 ** 11

/** `k[2,5]`, `n2[2,5.1]` (part 1 of chunk 5), `tokens[5]` (of no layer), `q`. */
export interface ValueName {
  readonly base: string
  /** NONE where the name has no layer, or no chunk. */
  readonly layer: number
  readonly chunk: number
  /** -1: the whole chunk. */
  readonly part: number
}

export function valueName(name: string): ValueName {
  const [, base, first, second, part] = /^([^[\]]+)\[(\d+)(?:,(\d+))?(?:\.(\d+))?\]$/.exec(name) ?? []
  if (base === undefined) return { base: name, layer: NONE, chunk: NONE, part: -1 }
  const [layer, chunk] = second === undefined ? [NONE, Number(first)] : [Number(first), Number(second)]
  // A number that no table could hold numbers nothing.
  if (layer > NONE || chunk >= MOST_CHUNKS) return { base: name, layer: NONE, chunk: NONE, part: -1 }
  return { base, layer, chunk, part: part === undefined ? -1 : Number(part) }
}

/** What a training keeps of a group of parameters: weights, gradients, and the parts of a rank with their AdamW states. */
const STATES = ['w', 'dw', 'wPart', 'dwPart', 'master', 'm', 'v'] as const

/** `dw[0].qkv`, `master[embedding].s1` (one slice of it); `v[2]` is a second moment, `v[2,5]` a chunk. */
export interface StateName {
  readonly state: (typeof STATES)[number]
  /** A layer's number, or `embedding`. */
  readonly group: string
  /** `qkv`; '' for the whole group. */
  readonly tensor: string
}

export function stateName(name: string): StateName | null {
  const [, state, group, tensor = ''] = STATE.exec(name) ?? []
  return state === undefined ? null : { state: state as StateName['state'], group, tensor }
}
const STATE = new RegExp(`^(${STATES.join('|')})\\[([^\\],.]+)\\](?:\\.(?!s\\d)(\\w+))?(?:\\.s\\d+)?$`)

/** The name without layer, chunk, part and slice: `dw.qkv` of `dw[0].qkv`, `x` of `x[1,0].loss0`, `m` of `m[0].s1`. */
export function stemOf(name: string): string {
  return name.replace(/\[[^\]]*\]/, '').replace(/\.(?:loss|s)?\d+$/, '')
}
