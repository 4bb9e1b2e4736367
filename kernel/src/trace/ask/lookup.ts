/** Ways through the tables of a run: which rows belong to an op, a buffer, a span. Made when first asked for, once for a run. */
import { firstIndex } from '../../search.js'
import type { RunTables } from '../schema.js'

/** Tables that can be looked up. */
export type Linked = Pick<RunTables, 'listing' | 'names' | 'buffers' | 'uses' | 'waits' | 'spans'>

/** Groups of rows: those of group g are `rows[start[g]] .. rows[start[g + 1] - 1]`, in the order of the table. */
export interface Groups {
  readonly start: Uint32Array
  readonly rows: Uint32Array
}
export interface Lookup {
  /** Rows of `uses` by op, and by buffer. */
  readonly usesOfOp: Groups
  readonly usesOfBuffer: Groups
  /** Rows of `waits` by op. */
  readonly waitsOfOp: Groups
  /** Rows of `spans` by op; of one op by step, then rank. */
  readonly spansOfOp: Groups
  /** Per span, the row of the one before it on its rank and stream in its step; -1 for the first. */
  readonly previous: Int32Array
}

const made = new WeakMap<object, Lookup>()

export function lookupOf(tables: Linked): Lookup {
  const known = made.get(tables)
  if (known) return known
  const { listing, names, uses, waits, spans } = tables
  const lookup: Lookup = {
    usesOfOp: grouped(uses.op, listing.length),
    usesOfBuffer: grouped(uses.buffer, names.length),
    waitsOfOp: grouped(waits.op, listing.length),
    spansOfOp: inOrder(spans, grouped(spans.op, listing.length)),
    previous: previousOf(spans),
  }
  made.set(tables, lookup)
  return lookup
}

export function groupOf({ start, rows }: Groups, group: number): Uint32Array {
  return rows.subarray(start[group], start[group + 1])
}

/** The span of an op on a rank in a step; -1 where it has none. */
export function spanOf(tables: Linked, step: number, rank: number, op: number): number {
  const { spans } = tables
  const rows = groupOf(lookupOf(tables).spansOfOp, op)
  const at = firstIndex(rows.length, (i) => spans.step[rows[i]] > step || (spans.step[rows[i]] === step && spans.rank[rows[i]] >= rank))
  return at < rows.length && spans.step[rows[at]] === step && spans.rank[rows[at]] === rank ? rows[at] : -1
}

/** Counting sort: linear in rows and groups. Rows of a group beyond `count` are left out: they are of nothing that exists. */
function grouped(keys: Uint32Array, count: number): Groups {
  const start = new Uint32Array(count + 1)
  for (const key of keys) if (key < count) start[key + 1]++
  for (let group = 0; group < count; group++) start[group + 1] += start[group]
  const rows = new Uint32Array(start[count])
  const next = start.slice()
  for (let row = 0; row < keys.length; row++) if (keys[row] < count) rows[next[keys[row]]++] = row
  return { start, rows }
}

/** Sorts spans within each op; tables that executors write are sorted already. */
function inOrder({ step, rank }: RunTables['spans'], groups: Groups): Groups {
  const { start, rows } = groups
  const isLess = (a: number, b: number): boolean => step[a] < step[b] || (step[a] === step[b] && rank[a] < rank[b])
  for (let group = 0; group + 1 < start.length; group++) {
    for (let i = start[group] + 1; i < start[group + 1]; i++) {
      if (!isLess(rows[i], rows[i - 1])) continue
      rows.subarray(start[group], start[group + 1]).sort((a, b) => step[a] - step[b] || rank[a] - rank[b] || a - b)
      break
    }
  }
  return groups
}

function previousOf({ step, rank, stream }: RunTables['spans']): Int32Array {
  const previous = new Int32Array(step.length).fill(-1)
  const last: number[] = []
  for (let row = 0; row < step.length; row++) {
    const lane = rank[row] * 256 + stream[row]
    const before = last[lane]
    if (before !== undefined && step[before] === step[row]) previous[row] = before
    last[lane] = row
  }
  return previous
}
