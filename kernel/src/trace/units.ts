/** What a reader or a training goes on by, and places in the algorithm: by the tags that the ops of a plan and the spans of a run have alike. */
import { NONE, PHASES, type Phase } from './schema.js'

export const UNITS = ['op', 'chunk', 'layer', 'step'] as const
export type Unit = (typeof UNITS)[number]

/** Columns of a plan's entries or of a span table; a plan is of one step. */
export type Tags = Readonly<Record<'op' | 'phase' | 'layer' | 'q' | 'kv', ArrayLike<number>>> & { readonly step?: ArrayLike<number> }

const BACKWARD = PHASES.indexOf('backward')

/**
 * Whether two rows lie in one unit, as far as their tags tell. A layer is of one phase. A chunk is a query chunk in a layer, a
 * key/value chunk where there is no query chunk, and in the backward, whose two loops may be either way round, the meeting of both.
 */
export function isSameUnit({ step, op, phase, layer, q, kv }: Tags, a: number, b: number, unit: Unit): boolean {
  if (step && step[a] !== step[b]) return false
  if (unit === 'step') return true
  if (unit === 'op') return op[a] === op[b]
  if (phase[a] !== phase[b] || layer[a] !== layer[b]) return false
  return unit === 'layer' || (q[a] === q[b] && (kv[a] === kv[b] || (q[a] !== NONE && phase[a] !== BACKWARD)))
}

/** A place in the algorithm that is looked for; what is not named matches anything. */
export interface PlaceWanted {
  readonly phase?: Phase
  readonly layer?: number
  readonly q?: number
  readonly kv?: number
}
export const PLACE_TAGS = ['phase', 'layer', 'q', 'kv'] as const satisfies readonly (keyof PlaceWanted)[]
