/** Chunks in plain words: who met whom, where a chunk is, who lives at a place of the arena. */

import { type Arrival, arrivalsOf, type Copy, meetingsOf, type Triangle } from '../ask/meetings.js'
import { verbOf } from '../ask/op-text.js'
import { livesAt, type Slot } from '../ask/slots.js'
import { stemOf } from '../ask/value-name.js'
import { type Cell, COPYING, type CopyKind, ON, partAt, ROUTES, stateAt, type ValueRow, WRITTEN } from '../ask/whereabouts.js'
import type { Run } from '../model/run.js'
import { NONE, TIERS } from '../schema.js'
import { bytes, counted, duration, instant, ordinal } from './format.js'
import { phaseWords } from './names.js'

/** `query chunk 3 met key/value chunk 1 in forward of layer 2: 8th of 36 meetings, at 12.3 ms for 1.20 ms`, and a line for each way its operands came. */
export function meetingWords(run: Run, triangle: Triangle, q: number, kv: number): string[] {
  const meetings = meetingsOf(triangle, q, kv)
  const place = phaseWords(triangle)
  if (meetings.length === 0) return [`query chunk ${q} never meets key/value chunk ${kv} in ${place}${kv > q ? ': no query sees a later key' : ''}`]
  return meetings.flatMap((meeting) => {
    const turn = `${ordinal(meeting + 1)} of ${counted(triangle.op.length, 'meeting')}`
    const start_ns = triangle.start_ns[meeting]
    const lines = arrivalsInWords(run, arrivalsOf(run, triangle, meeting))
    if (start_ns === Number.POSITIVE_INFINITY) return [`query chunk ${q} will meet key/value chunk ${kv} in ${place}: ${turn}`]
    if (start_ns === Number.NEGATIVE_INFINITY) return [`query chunk ${q} met key/value chunk ${kv} in ${place}: ${turn}, before the ops that were kept`]
    const length = triangle.end_ns[meeting] - start_ns
    // Late in a run, too, so exact that it can be told from the meeting before.
    const at = instant(start_ns, 100 * length)
    return [`query chunk ${q} met key/value chunk ${kv} in ${place}: ${turn}, at ${at} for ${duration(length)}`, ...lines]
  })
}

/** `k and v were fetched from the host, hidden under attend of (3, 0)`: what came the same way is said at once. */
function arrivalsInWords(run: Run, arrivals: readonly Arrival[]): string[] {
  const ways = new Map<string, string[]>()
  for (const arrival of arrivals) {
    const way = wayInWords(run, arrival)
    const same = ways.get(way)
    const base = stemOf(arrival.name)
    if (same) same.push(base)
    else ways.set(way, [base])
  }
  return [...ways].map(([way, names]) => `${listed(names)} ${names.length > 1 ? 'were' : 'was'} ${way}`)
}

/** One chunk of a value at an instant: `k[0,2]: on the host; being fetched to the device`. */
export function cellWords(row: ValueRow, chunk: number, time_ns: number): string {
  const cell = row.cells[chunk]
  if (!cell) return `there is no ${row.base} of chunk ${chunk}`
  if (cell.parts.length === 1) return `${cell.parts[0].name}: ${stateInWords(partAt(cell.parts[0], time_ns).state)}`
  const state = stateAt(cell, time_ns)
  const there = cell.parts.filter((part) => partAt(part, time_ns).state !== 0).length
  return `${row.base} of chunk ${chunk}: ${stateInWords(state)}${state === 0 ? '' : ` (${there} of ${cell.parts.length} parts)`}`
}

/** When a chunk comes, goes or changes next. */
export function nextChange(cell: Cell, time_ns: number): number | null {
  let next = Number.POSITIVE_INFINITY
  for (const { times_ns } of cell.parts) next = Math.min(next, times_ns.find((time) => time > time_ns) ?? Number.POSITIVE_INFINITY)
  return Number.isFinite(next) ? next : null
}

export function stateInWords(state: number): string {
  const on = TIERS.filter((tier) => (state & ON[tier]) !== 0)
  const words: string[] = []
  if (on.length > 0) words.push(`on ${listed(on.map((tier) => (tier === 'disk' ? 'disk' : `the ${tier}`)))}`)
  if (state & WRITTEN) words.push(state & ON.device ? 'being changed on the device' : 'being made on the device')
  for (const [kind, bit] of Object.entries(COPYING) as [CopyKind, number][]) if (state & bit) words.push(`on its way from ${ROUTES[kind].join(' to ')}`)
  return words.length > 0 ? words.join('; ') : 'nowhere'
}

/** `slot B, 128 KiB at byte 15,204: k[0,2] is being filled`. */
export function slotWords(run: Run, slot: Slot, letter: string, time_ns: number): string {
  const lives = livesAt(run, slot, time_ns)
  const place = `slot ${letter}, ${bytes(slot.size_bytes)}`
  if (!lives) return `${place}: free`
  const name = run.names[slot.buffer[lives.life]]
  return `${place}: ${name}, ${{ filled: 'being filled', ready: 'ready, not in use', used: 'in use' }[lives.state]}`
}

/** A, B, ... Z, AA, AB ... */
export function slotLetter(index: number): string {
  const letter = String.fromCharCode(65 + (index % 26))
  return index < 26 ? letter : slotLetter(Math.floor(index / 26) - 1) + letter
}

function wayInWords(run: Run, { source, fetch, load }: Arrival): string {
  if (source === 'made') return 'on the device, made there'
  if (source === 'stayed') return 'on the device, from an earlier meeting'
  const from = load ? `loaded from disk${waitInWords(run, load)}, then fetched from the host` : 'fetched from the host'
  return `${from}${fetch ? waitInWords(run, fetch) : ''}`
}

function waitInWords(run: Run, { row, waited_ns, under }: Copy): string {
  if (row < 0) return ''
  if (waited_ns > 0) return `; compute stood still ${duration(waited_ns)} before it was there`
  return under < 0 ? ', in good time' : `, hidden under ${opInWords(run, under, run.spans.rank[row])}`
}

/** `attend of (3, 0)`, `project of query chunk 3`. */
function opInWords({ spans, listing }: Run, row: number, rank: number): string {
  const verb = verbOf(listing[spans.op[row]])
  const [q, kv] = [spans.q[row], spans.kv[row]]
  const where = q !== NONE && kv !== NONE ? ` of (${q}, ${kv})` : q !== NONE ? ` of query chunk ${q}` : ''
  return `${verb}${where}${spans.rank[row] === rank ? '' : ` of rank ${spans.rank[row]}`}`
}

function listed(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words[words.length - 1]}`
}
