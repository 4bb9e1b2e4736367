/** Lines of a listing by what they mean: the end of a chunk, of a layer, of all that is computed at a place. */
import { FpdtError } from '../../errors.js'
import type { Entries } from '../../plan/entries.js'
import type { Plan } from '../../plan/plan.js'
import { firstIndex } from '../../plan/search.js'
import { KINDS, PHASES, type Phase } from '../../trace/schema.js'
import { refuseUnknown } from '../sizes.js'

/** A place in the algorithm; what is not named matches anything. */
export interface Target {
  readonly phase?: Phase
  readonly layer?: number
  readonly q?: number
  readonly kv?: number
}
/** How far a step goes on at once. */
export const UNITS = ['op', 'chunk', 'layer', 'step'] as const
export type Unit = (typeof UNITS)[number]

const COMPUTE = KINDS.indexOf('compute')
const BACKWARD = PHASES.indexOf('backward')

/**
 * The last op of the unit that comes next after `line`. A layer ends where phase or layer of what is computed changes, a chunk where
 * the query chunk does besides, and in the backward, whose two loops may be either way round, the key/value chunk. Copies and
 * collectives belong to what is computed before them.
 */
export function endOfUnit(plan: Plan, line: number, unit: Unit): number {
  const { entries, listing } = plan
  const last = listing.length - 1
  if (unit === 'step') return last
  const first = nextEntry(entries, line, () => true)
  if (unit === 'op') return first < 0 ? last : entries.op[first]
  const begin = nextEntry(entries, line, isCompute)
  if (begin < 0) return last
  const tags: ArrayLike<number>[] = [entries.phase, entries.layer]
  if (unit === 'chunk') tags.push(entries.q, ...(entries.phase[begin] === BACKWARD ? [entries.kv] : []))
  const change = nextEntry(entries, entries.op[begin], (entry) => isCompute(entry, entries) && tags.some((tag) => tag[entry] !== tag[begin]))
  return change < 0 ? last : entries.op[change] - 1
}

/** The line up to which all that is computed at a place is done. Throws FpdtError `config`, also where nothing ahead of `line` is there. */
export function endOfPlace(plan: Plan, line: number, target: Target): number {
  refuseUnknown('until', target, ['phase', 'layer', 'q', 'kv'])
  if (target.phase !== undefined && !PHASES.includes(target.phase))
    throw new FpdtError('config', `phase ${JSON.stringify(target.phase)} is not one of ${PHASES.join(', ')}.`)
  const { entries } = plan
  const wanted: [ArrayLike<number>, number | undefined][] = [
    [entries.phase, target.phase === undefined ? undefined : PHASES.indexOf(target.phase)],
    [entries.layer, target.layer],
    [entries.q, target.q],
    [entries.kv, target.kv],
  ]
  const matches = (entry: number): boolean => isCompute(entry, entries) && wanted.every(([column, value]) => value === undefined || column[entry] === value)
  for (let entry = entries.length - 1; entry >= 0 && entries.op[entry] > line; entry--) if (matches(entry)) return entries.op[entry]
  throw new FpdtError('config', `no computation ahead is at ${JSON.stringify(target)}; the step stands at op ${line}: ${plan.words(line)}.`)
}

function isCompute(entry: number, entries: Entries): boolean {
  return entries.kind[entry] === COMPUTE
}
/** The first entry after a line for which `is` holds, -1 = none. */
function nextEntry(entries: Entries, line: number, is: (entry: number, entries: Entries) => boolean): number {
  for (let entry = firstIndex(entries.length, (e) => entries.op[e] > line); entry < entries.length; entry++) if (is(entry, entries)) return entry
  return -1
}
