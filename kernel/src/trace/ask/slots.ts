/**
 * Double buffering, seen in the arena: places on the device that chunks take by turns. While one is used, the next is filled.
 *
 *   slot A   [fetch k0][ used ··· ]          [fetch k2][ used ··· ]
 *   slot B             [fetch k1]   [ used ··· ]       [fetch k3]
 *
 * A slot is an offset. Double buffering is not a mechanism of the engine, and nothing here knows of two: whatever chunks a
 * schedule brings or makes on the device, where and when, is what is shown.
 */
import { firstAfter, type Run } from '../model/run.js'
import { CATEGORIES, NONE, NONE_32, TIERS } from '../schema.js'
import { cached } from './cache.js'
import { groupOf, lookupOf, spanOf } from './lookup.js'
import { verbOf } from './op-text.js'
import { valueName } from './value-name.js'

/** A place in the device's arena, and those who lived there, in order of time. Columns have one entry a life. */
export interface Slot {
  readonly offset_bytes: number
  /** Of the largest that lived there. */
  readonly size_bytes: number
  readonly buffer: Uint32Array
  readonly step: Uint32Array
  /** Its first span: a fetch, or the op that makes it. */
  readonly row: Uint32Array
  readonly start_ns: Float64Array
  /** That op has ended: it can be used. */
  readonly ready_ns: Float64Array
  /** Its last user has ended. */
  readonly end_ns: Float64Array
  /** Spans that use it, of life i from firstUse[i] to firstUse[i + 1], by start. */
  readonly firstUse: Uint32Array
  readonly uses: Uint32Array
}

/** `fetched`: of chunks of attention, those that copies bring. `attention`: all of them. */
export type SlotChoice = 'fetched' | 'attention'

/** Slots of a rank, by offset; empty where a schedule has no such chunks. */
export function slotsOf(run: Run, rank: number, choice: SlotChoice): readonly Slot[] {
  return cached(made, run, `${rank} ${choice}`, () => makeSlots(run, rank, choice))
}
const made = new WeakMap<object, Map<string, readonly Slot[]>>()

/** What a life does at an instant: `filled` by its first op, `ready`, or in `use`. */
export type SlotState = 'filled' | 'ready' | 'used'

/** Who lives in a slot at an instant, and what it does; null for nobody. */
export function livesAt(run: Run, slot: Slot, time_ns: number): { life: number; state: SlotState } | null {
  const life = firstAfter(slot.start_ns, (start_ns) => start_ns, time_ns) - 1
  if (life < 0 || slot.end_ns[life] <= time_ns) return null
  if (time_ns < slot.ready_ns[life]) return { life, state: 'filled' }
  const { start_ns, duration_ns } = run.spans
  for (let use = slot.firstUse[life]; use < slot.firstUse[life + 1]; use++) {
    const row = slot.uses[use]
    if (start_ns[row] <= time_ns && time_ns < start_ns[row] + duration_ns[row]) return { life, state: 'used' }
  }
  return { life, state: 'ready' }
}

interface Life {
  readonly buffer: number
  readonly step: number
  readonly row: number
  readonly start_ns: number
  readonly ready_ns: number
  readonly end_ns: number
  readonly uses: readonly number[]
}

/** Uses looked up, once in each step: those of a million spans. What comes after is left out. */
const MOST_LOOKED_UP = 2 ** 23

function makeSlots(run: Run, rank: number, choice: SlotChoice): Slot[] {
  const { buffers, names } = run
  const attention = CATEGORIES.indexOf('attention')
  const device = TIERS.indexOf('device')
  const places = new Map<number, Life[]>()
  let left = MOST_LOOKED_UP
  for (const [buffer, name] of names.entries()) {
    if (buffers.tier[buffer] !== device || buffers.category[buffer] !== attention || buffers.birth[buffer] === NONE_32) continue
    if (choice === 'fetched' && verbOf(run.listing[buffers.birth[buffer]]) !== 'fetch') continue
    if (choice === 'attention' && valueName(name).chunk === NONE) continue
    for (const row of groupOf(lookupOf(run).spansOfOp, buffers.birth[buffer])) {
      if (run.spans.rank[row] !== rank || left <= 0) continue
      left -= 1 + groupOf(lookupOf(run).usesOfBuffer, buffer).length
      const step = run.spans.step[row]
      const life = lifeOf(run, step, rank, buffer)
      if (!life) continue
      const lives = places.get(buffers.offset_bytes[buffer])
      if (lives) lives.push(life)
      else places.set(buffers.offset_bytes[buffer], [life])
    }
  }
  return [...places].sort(([a], [b]) => a - b).map(([offset_bytes, lives]) => slotOf(run, offset_bytes, lives))
}

/** Null where it was not made in that step, as far as the spans tell. */
function lifeOf(run: Run, step: number, rank: number, buffer: number): Life | null {
  const { spans, uses, extent } = run
  const rows: number[] = []
  let allRan = true
  for (const use of groupOf(lookupOf(run).usesOfBuffer, buffer)) {
    const row = spanOf(run, step, rank, uses.op[use])
    if (row >= 0) rows.push(row)
    else allRan = false
  }
  const endOf = (row: number): number => spans.start_ns[row] + spans.duration_ns[row]
  const [row, ...users] = rows
  if (row === undefined || spans.op[row] !== run.buffers.birth[buffer]) return null
  const end_ns = rows.reduce((last, user) => Math.max(last, endOf(user)), 0)
  return { buffer, step, row, start_ns: spans.start_ns[row], ready_ns: endOf(row), end_ns: allRan ? end_ns : Math.max(end_ns, extent.end_ns), uses: users }
}

function slotOf(run: Run, offset_bytes: number, unsorted: readonly Life[]): Slot {
  const lives = [...unsorted].sort((a, b) => a.start_ns - b.start_ns)
  const { start_ns } = run.spans
  const firstUse = new Uint32Array(lives.length + 1)
  for (const [i, { uses }] of lives.entries()) firstUse[i + 1] = firstUse[i] + uses.length
  return {
    offset_bytes,
    size_bytes: lives.reduce((most, { buffer }) => Math.max(most, run.buffers.size_bytes[buffer]), 0),
    buffer: Uint32Array.from(lives, ({ buffer }) => buffer),
    step: Uint32Array.from(lives, ({ step }) => step),
    row: Uint32Array.from(lives, ({ row }) => row),
    start_ns: Float64Array.from(lives, (life) => life.start_ns),
    ready_ns: Float64Array.from(lives, ({ ready_ns }) => ready_ns),
    end_ns: Float64Array.from(lives, ({ end_ns }) => end_ns),
    firstUse,
    uses: Uint32Array.from(lives.flatMap(({ uses }) => [...uses].sort((a, b) => start_ns[a] - start_ns[b]))),
  }
}
