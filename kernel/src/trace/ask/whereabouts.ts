/**
 * Where each chunk of each value of a layer is at an instant.
 *
 *            chunk 0    chunk 1    chunk 2
 *   q        host       device     .           a tier where the chunk holds what it means: a copy that a later write has made
 *   k        host       ..fetch..  .           stale does not count
 *
 * A chunk is under way from the beginning to the end of the op that copies it; what makes or changes it on the device writes it
 * that long. It leaves a tier when the last op that uses it there has ended, as in the memory charts.
 */
import { firstAfter, type Run } from '../model/run.js'
import { stepsIn } from '../model/steps.js'
import { CATEGORIES, type Category, KINDS, NONE, NONE_32, TIERS, type Tier, WRITES } from '../schema.js'
import { cached } from './cache.js'
import { groupOf, lookupOf, spanOf } from './lookup.js'
import { firstOpOf } from './steps.js'
import { valueName } from './value-name.js'

/** Bits of a state. The first three are TIERS, on which the chunk is; then the copies that are under way; then that it is being written. */
export const ON = { device: 1, host: 2, disk: 4 } as const satisfies Record<Tier, number>
export const COPYING = { fetch: 8, offload: 16, load: 32, spill: 64 } as const
export const WRITTEN = 128
export type CopyKind = keyof typeof COPYING
/** From where to where a copy goes. */
export const ROUTES: Readonly<Record<CopyKind, readonly [from: Tier, to: Tier]>> = {
  fetch: ['host', 'device'],
  offload: ['device', 'host'],
  load: ['disk', 'host'],
  spill: ['host', 'disk'],
}

/** One row of the map. */
export interface ValueRow {
  /** `k` of `k[2,5]`. */
  readonly base: string
  readonly category: Category
  /** Some chunk of it is on another tier than the device some time. */
  readonly travels: boolean
  /** By chunk; undefined where the value has no such chunk. */
  readonly cells: readonly (Cell | undefined)[]
}
/** A chunk, in one piece or in parts that come and go on their own. */
export interface Cell {
  readonly parts: readonly Part[]
}
export interface Part {
  readonly name: string
  /** When the state changes, ascending. */
  readonly times_ns: Float64Array
  /** After each of these times. Before the first: nowhere. */
  readonly states: Uint8Array
  /** The buffer in which it is then, on the nearest tier; NONE_32 for nowhere. */
  readonly buffers: Uint32Array
}
export interface Whereabouts {
  readonly step: number
  readonly rank: number
  readonly layer: number
  readonly chunks: number
  /** That any of these values is on. */
  readonly tiers: readonly Tier[]
  /** In the order in which they are first made, MOST_ROWS at most. */
  readonly rows: readonly ValueRow[]
  /** Values that are left out after these, because nobody would read so many rows. */
  readonly more: number
}

/** Layers that have values in chunks, ascending; NONE for values of no layer. */
export function layersWithChunks(run: Run): number[] {
  return [...valuesByLayer(run).keys()].sort((a, b) => a - b)
}

/** Ops looked through for one that names a layer with chunks: those of the optimizer are of none. */
const LOOKED_BACK = 64

/** The layer that a rank works on at an instant, or did little before; the first of all where there is none. */
export function layerAt(run: Run, rank: number, time_ns: number): number {
  const { start_ns, layer } = run.spans
  const layers = valuesByLayer(run)
  const rows = run.lanes.find((lane) => lane.rank === rank && lane.stream === 'compute')?.rows ?? new Uint32Array(0)
  const now = firstAfter(rows, (row) => start_ns[row], time_ns) - 1
  for (let at = now; at >= 0 && at > now - LOOKED_BACK; at--) if (layer[rows[at]] !== NONE && layers.has(layer[rows[at]])) return layer[rows[at]]
  return layersWithChunks(run)[0] ?? NONE
}

/** Whereabouts of a layer's values during a step. Made once for a step, rank and layer; asking for an instant is a search in each cell. */
export function whereabouts(run: Run, step: number, rank: number, layer: number): Whereabouts {
  return cached(maps, run, `${step} ${rank} ${layer}`, () => makeMap(run, step, rank, layer))
}
const maps = new WeakMap<object, Map<string, Whereabouts>>()

/** State of a chunk at an instant: what holds for any of its parts. */
export function stateAt(cell: Cell | undefined, time_ns: number): number {
  let state = 0
  if (cell) for (const part of cell.parts) state |= partAt(part, time_ns).state
  return state
}

/** State of one part, and the buffer in which it is. */
export function partAt(part: Part, time_ns: number): { state: number; buffer: number } {
  const at = firstAfter(part.times_ns, (time) => time, time_ns) - 1
  return at < 0 ? { state: 0, buffer: NONE_32 } : { state: part.states[at], buffer: part.buffers[at] }
}

interface Value {
  readonly name: string
  readonly chunk: number
  readonly buffers: number[]
}

/** What belongs to a group of parameters is counted by it, not by chunks. */
const WITHOUT_CHUNKS: readonly Category[] = ['parameters', 'gradients', 'optimizer', 'workspace']

/** Values in chunks, by layer and base, in order of birth. */
function valuesByLayer(run: Run): ReadonlyMap<number, ReadonlyMap<string, Value[]>> {
  const known = valuesOfPlan.get(run.names)
  if (known) return known
  const layers = new Map<number, Map<string, Value[]>>()
  const values = new Map<string, Value>()
  for (const [buffer, name] of run.names.entries()) {
    const value = values.get(name)
    if (value) {
      value.buffers.push(buffer)
      continue
    }
    const { base, layer, chunk } = valueName(name)
    if (chunk === NONE || WITHOUT_CHUNKS.includes(CATEGORIES[run.buffers.category[buffer]])) continue
    const made: Value = { name, chunk, buffers: [buffer] }
    values.set(name, made)
    const bases = layers.get(layer) ?? new Map<string, Value[]>()
    layers.set(layer, bases)
    const same = bases.get(base)
    if (same) same.push(made)
    else bases.set(base, [made])
  }
  valuesOfPlan.set(run.names, layers)
  return layers
}
const valuesOfPlan = new WeakMap<readonly string[], ReadonlyMap<number, ReadonlyMap<string, Value[]>>>()

/** A layer of any model has a few dozen values. */
const MOST_ROWS = 200

function makeMap(run: Run, step: number, rank: number, layer: number): Whereabouts {
  const start_ns = stepsIn(run.spans).find((times) => times.step === step)?.start_ns ?? 0
  const tiers = new Set<number>()
  const rows: ValueRow[] = []
  let chunks = 0
  const all = [...(valuesByLayer(run).get(layer) ?? [])]
  for (const [base, values] of all.slice(0, MOST_ROWS)) {
    const parts: Part[][] = []
    let travels = false
    for (const { name, chunk, buffers } of values) {
      for (const buffer of buffers) {
        tiers.add(run.buffers.tier[buffer])
        travels ||= TIERS[run.buffers.tier[buffer]] !== 'device'
      }
      const part = partOf(run, step, rank, start_ns, name, buffers)
      if (parts[chunk]) parts[chunk].push(part)
      else parts[chunk] = [part]
      chunks = Math.max(chunks, chunk + 1)
    }
    const category = CATEGORIES[run.buffers.category[values[0].buffers[0]]]
    rows.push({ base, category, travels, cells: Array.from(parts, (list) => list && { parts: list }) })
  }
  return { step, rank, layer, chunks, tiers: TIERS.filter((_, code) => tiers.has(code)), rows, more: all.length - rows.length }
}

/** Something that happens to a value. Order: what ends at an instant ends before what begins then, which is later in the schedule. */
interface Change {
  readonly time_ns: number
  readonly order: number
  readonly what: 'begins' | 'ends' | 'leaves' | 'stands'
  readonly kind: CopyKind | 'write'
  readonly op: number
  readonly buffer: number
}

/** Places in which a value is at once: one a tier, and those that only wait for a last reader. */
const MOST_COPIES = 64

function partOf(run: Run, step: number, rank: number, start_ns: number, name: string, buffers: readonly number[]): Part {
  const changes = buffers.flatMap((buffer) => changesOf(run, step, rank, start_ns, buffer)).sort((a, b) => a.time_ns - b.time_ns || a.order - b.order)
  const valid = new Set<number>() // oldest first
  const running = { fetch: 0, offload: 0, load: 0, spill: 0, write: 0 }
  const times: number[] = []
  const states: number[] = []
  const where: number[] = []
  let filling = NONE_32
  for (const { time_ns, what, kind, op, buffer } of changes) {
    if (what === 'begins') {
      running[kind]++
      filling = buffer
      // A write makes copies stale; a residency that the schedule has freed by then only waits for its last reader.
      if (kind === 'write') for (const other of valid) if (other !== buffer && run.buffers.death[other] > op) valid.delete(other)
    } else if (what === 'ends') {
      running[kind]--
      valid.add(buffer)
      if (valid.size > MOST_COPIES) valid.delete(valid.values().next().value as number)
    } else if (what === 'leaves') valid.delete(buffer)
    else if (valid.size < MOST_COPIES) valid.add(buffer)
    let state = running.write > 0 ? WRITTEN : 0
    for (const there of valid) state |= ON[TIERS[run.buffers.tier[there]]]
    for (const [copy, bit] of Object.entries(COPYING) as [CopyKind, number][]) if (running[copy] > 0) state |= bit
    const nearest = [...valid].sort((a, b) => run.buffers.tier[a] - run.buffers.tier[b] || b - a)[0]
    const at = nearest ?? (state === 0 ? NONE_32 : filling)
    if (times.at(-1) === time_ns) {
      states[states.length - 1] = state
      where[where.length - 1] = at
    } else if (states.at(-1) !== state || where.at(-1) !== at) {
      times.push(time_ns)
      states.push(state)
      where.push(at)
    }
  }
  return { name, times_ns: Float64Array.from(times), states: Uint8Array.from(states), buffers: Uint32Array.from(where) }
}

function changesOf(run: Run, step: number, rank: number, start_ns: number, buffer: number): Change[] {
  const { uses, buffers, spans } = run
  const changes: Change[] = []
  const users = groupOf(lookupOf(run).usesOfBuffer, buffer)
  const isThere = buffers.birth[buffer] === NONE_32 && (users.length === 0 || uses.access[users[0]] !== WRITES)
  // The spans of a step may begin in its middle: what was made before and is not freed yet stands there.
  const firstOp = firstOpOf(run.spans, step, rank)
  if (isThere || (buffers.birth[buffer] < firstOp && buffers.death[buffer] > firstOp))
    changes.push({ time_ns: start_ns, order: -1, what: 'stands', kind: 'write', op: 0, buffer })
  let allRan = true
  let last = -1
  let end_ns = Number.NEGATIVE_INFINITY
  for (const use of users) {
    const op = uses.op[use]
    const row = spanOf(run, step, rank, op)
    if (row < 0) {
      allRan &&= op < firstOp
      continue
    }
    const from = spans.start_ns[row]
    const to = from + spans.duration_ns[row]
    if (to >= end_ns) [last, end_ns] = [op, to]
    if ((uses.access[use] & WRITES) === 0) continue
    const word = KINDS[spans.kind[row]]
    const kind = word in COPYING ? (word as CopyKind) : 'write'
    changes.push({ time_ns: from, order: 2 * op, what: 'begins', kind, op, buffer }, { time_ns: to, order: 2 * op + 1, what: 'ends', kind, op, buffer })
  }
  if (allRan && last >= 0 && !buffers.persistent[buffer])
    changes.push({ time_ns: end_ns, order: 2 * last + 1, what: 'leaves', kind: 'write', op: last, buffer })
  return changes
}
