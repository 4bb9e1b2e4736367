/** Lines of a listing by what they mean: the end of a chunk, of a layer, of all that is computed at a place. */
import { FpdtError } from '../../errors.js'
import type { Entries } from '../../plan/entries.js'
import type { Plan } from '../../plan/plan.js'
import { firstIndex } from '../../search.js'
import { KINDS, PHASES } from '../../trace/schema.js'
import { isSameUnit, PLACE_TAGS, type PlaceWanted, type Unit } from '../../trace/units.js'
import { refuseUnknown } from '../sizes.js'

const COMPUTE = KINDS.indexOf('compute')

/** The last op of the unit that comes next after `line`. Copies and collectives belong to what is computed before them. */
export function endOfUnit(plan: Plan, line: number, unit: Unit): number {
  const { entries, listing } = plan
  const last = listing.length - 1
  if (unit === 'step') return last
  const first = nextEntry(entries, line, () => true)
  if (unit === 'op') return first < 0 ? last : entries.op[first]
  const begin = nextEntry(entries, line, isCompute)
  if (begin < 0) return last
  const change = nextEntry(entries, entries.op[begin], (entry) => isCompute(entry, entries) && !isSameUnit(entries, begin, entry, unit))
  return change < 0 ? last : entries.op[change] - 1
}

/** The line up to which all that is computed at a place is done. Throws FpdtError `config`, also where nothing ahead of `line` is there. */
export function endOfPlace(plan: Plan, line: number, place: PlaceWanted): number {
  refuseUnknown('until', place, PLACE_TAGS)
  if (place.phase !== undefined && !PHASES.includes(place.phase))
    throw new FpdtError('config', `phase ${JSON.stringify(place.phase)} is not one of ${PHASES.join(', ')}.`)
  const { entries } = plan
  const { phase, ...numbers } = place
  const wanted: { readonly [tag in keyof PlaceWanted]: number } = { ...numbers, ...(phase ? { phase: PHASES.indexOf(phase) } : {}) }
  const matches = (entry: number): boolean =>
    isCompute(entry, entries) && PLACE_TAGS.every((tag) => wanted[tag] === undefined || entries[tag][entry] === wanted[tag])
  for (let entry = entries.length - 1; entry >= 0 && entries.op[entry] > line; entry--) if (matches(entry)) return entries.op[entry]
  throw new FpdtError('config', `no computation ahead is at ${JSON.stringify(place)}; the step stands at op ${line}: ${plan.words(line)}.`)
}

function isCompute(entry: number, entries: Entries): boolean {
  return entries.kind[entry] === COMPUTE
}
/** The first entry after a line for which `is` holds, -1 = none. */
function nextEntry(entries: Entries, line: number, is: (entry: number, entries: Entries) => boolean): number {
  for (let entry = firstIndex(entries.length, (e) => entries.op[e] > line); entry < entries.length; entry++) if (is(entry, entries)) return entry
  return -1
}
