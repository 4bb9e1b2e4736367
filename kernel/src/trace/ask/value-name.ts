/** Names of values, taken apart: which chunk of what a buffer holds. */
import { NONE } from '../schema.js'

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
  return { base, layer, chunk, part: part === undefined ? -1 : Number(part) }
}
