/** What a page sent, checked: comms carry what anybody wrote into them. */
import { FpdtError } from '../../errors.js'
import type { Control, PageMessage } from '../../trace/live/messages.js'
import { PHASES } from '../../trace/schema.js'
import { PLACE_TAGS, type PlaceWanted, UNITS } from '../../trace/units.js'

/** Most values of one `peek`. */
const MOST_VALUES = 2 ** 20

type Json = Readonly<Record<string, unknown>>

/** Throws FpdtError `request` with what is wrong. */
export function readPageMessage(data: Json): PageMessage {
  const { op } = data
  switch (op) {
    case 'follow':
    case 'unfollow':
      return { op, run_id: text(data, 'run_id') }
    case 'ack':
      return { op, run_id: text(data, 'run_id'), seq: whole(data, 'seq') }
    case 'control':
      return { op, run_id: text(data, 'run_id'), request: whole(data, 'request'), do: readControl(object(data, 'do')) }
    case 'peek':
      return {
        op,
        run_id: text(data, 'run_id'),
        request: whole(data, 'request'),
        name: text(data, 'name'),
        rank: whole(data, 'rank'),
        most: whole(data, 'most', 1, MOST_VALUES),
      }
    default:
      throw wrong(`op ${shown(op)} is not known`)
  }
}

/** The number of the request, -1 where there is none: an answer can be given even if the rest means nothing. */
export function requestOf({ request }: Json): number {
  return Number.isSafeInteger(request) && (request as number) >= 0 ? (request as number) : -1
}

function readControl(control: Json): Control {
  const { verb } = control
  switch (verb) {
    case 'pause':
    case 'resume':
    case 'stop':
      return { verb }
    case 'step': {
      const unit = UNITS.find((known) => known === control.unit)
      if (!unit) throw wrong(`unit ${shown(control.unit)} is not one of ${UNITS.join(', ')}`)
      return { verb, unit }
    }
    case 'until':
      return { verb, place: readPlace(object(control, 'place')) }
    default:
      throw wrong(`verb ${shown(verb)} is not known`)
  }
}

function readPlace(place: Json): PlaceWanted {
  for (const name of Object.keys(place)) if (!PLACE_TAGS.some((tag) => tag === name)) throw wrong(`a place has no ${shown(name)}`)
  const phase = PHASES.find((known) => known === place.phase)
  if (place.phase !== undefined && !phase) throw wrong(`phase ${shown(place.phase)} is not one of ${PHASES.join(', ')}`)
  const numbers = (['layer', 'q', 'kv'] as const).flatMap((name) => (place[name] === undefined ? [] : [[name, whole(place, name)]]))
  return { ...(phase ? { phase } : {}), ...Object.fromEntries(numbers) }
}

function text(data: Json, name: string): string {
  const value = data[name]
  if (typeof value !== 'string') throw wrong(`${name} ${shown(value)} is not text`)
  return value
}
function whole(data: Json, name: string, least = 0, most = Number.MAX_SAFE_INTEGER): number {
  const value = data[name]
  if (!Number.isSafeInteger(value) || (value as number) < least || (value as number) > most)
    throw wrong(`${name} ${shown(value)} is not a whole number from ${least}${most === Number.MAX_SAFE_INTEGER ? ' on' : ` to ${most}`}`)
  return value as number
}
function object(data: Json, name: string): Json {
  const value = data[name]
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(`${name} ${shown(value)} is not an object`)
  return value as Json
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? 'that is missing').slice(0, 60)
}
function wrong(reason: string): FpdtError {
  return new FpdtError('request', `${reason}.`)
}
