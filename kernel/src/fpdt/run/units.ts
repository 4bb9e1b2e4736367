/** Lines of a listing by what they mean: the end of a chunk, of a layer, of all that is computed at a place. */
import { FpdtError } from '../../errors.js'
import type { Entries } from '../../plan/entries.js'
import type { Plan } from '../../plan/plan.js'
import { firstIndex } from '../../search.js'
import { KINDS, NONE, PHASES } from '../../trace/schema.js'
import { isSameUnit, PLACE_TAGS, type PlaceWanted, type Unit } from '../../trace/units.js'
import { refuseUnknown } from '../sizes.js'

/** Numbers of tags as a plan's entries have them. */
type Wanted = { readonly [tag in keyof PlaceWanted]: number }

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

/** The line up to which all that is computed at a place is done. Throws FpdtError `config`, also where there is no such place, or nothing of it lies ahead of `line`. */
export function endOfPlace(plan: Plan, line: number, place: PlaceWanted): number {
  refuseUnknown('until', place, PLACE_TAGS)
  if (place.phase !== undefined && !PHASES.includes(place.phase))
    throw new FpdtError('config', `phase ${JSON.stringify(place.phase)} is not one of ${PHASES.join(', ')}.`)
  const { entries } = plan
  const { phase, ...numbers } = place
  const wanted: Wanted = { ...numbers, ...(phase ? { phase: PHASES.indexOf(phase) } : {}) }
  const matches = (entry: number): boolean =>
    isCompute(entry, entries) && PLACE_TAGS.every((tag) => wanted[tag] === undefined || entries[tag][entry] === wanted[tag])
  for (let entry = entries.length - 1; entry >= 0 && entries.op[entry] > line; entry--) if (matches(entry)) return entries.op[entry]
  throw new FpdtError('config', `${whyNot(plan, line, place, wanted, matches)}.`)
}

const TAG_WORDS = { phase: 'phase', layer: 'layer', q: 'query chunk', kv: 'key/value chunk' } as const satisfies Record<keyof PlaceWanted, string>

/** Why nothing is ahead at a place: it does not exist in this step, or is behind. */
function whyNot({ entries, words }: Plan, line: number, place: PlaceWanted, wanted: Wanted, matches: (entry: number) => boolean): string {
  const computed = Array.from(entries.op.keys()).filter((entry) => isCompute(entry, entries))
  for (const tag of PLACE_TAGS) {
    const there = [...new Set(computed.map((entry) => entries[tag][entry]))].filter((value) => value !== NONE).sort((a, b) => a - b)
    if (wanted[tag] === undefined || there.includes(wanted[tag])) continue
    const kind = TAG_WORDS[tag]
    const known = tag === 'phase' ? there.map((phase) => PHASES[phase]).join(', ') : rangeOf(there)
    const these = there.length > 1 ? `${kind}s are ${known}` : there.length === 1 ? `its only ${kind} is ${known}` : `it has no ${kind}s`
    return `there is no ${kind} ${place[tag]} in this step; ${these}`
  }
  const named = PLACE_TAGS.flatMap((tag) => (place[tag] === undefined ? [] : [tag === 'phase' ? place[tag] : `${TAG_WORDS[tag]} ${place[tag]}`]))
  const where = named.length > 0 ? ` at ${named.join(', ')}` : ''
  if (!computed.some(matches)) return `nothing is computed${where} in this step`
  return `everything${where} is done already; the step stands at op ${line}: ${words(line)}`
}
/** Of numbers in order. */
function rangeOf(numbers: readonly number[]): string {
  const [first, last] = [numbers[0], numbers.at(-1)]
  if (numbers.length < 3 || (last as number) - (first as number) >= numbers.length) return numbers.join(' and ')
  return `${first} to ${last}`
}

function isCompute(entry: number, entries: Entries): boolean {
  return entries.kind[entry] === COMPUTE
}
/** The first entry after a line for which `is` holds, -1 = none. */
function nextEntry(entries: Entries, line: number, is: (entry: number, entries: Entries) => boolean): number {
  for (let entry = firstIndex(entries.length, (e) => entries.op[e] > line); entry < entries.length; entry++) if (is(entry, entries)) return entry
  return -1
}
