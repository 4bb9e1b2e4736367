/**
 * What kept an op waiting, in one sentence: the op whose end it began after, what that one brought or gave free, and why that
 * one was late itself.
 */

import { type Extent, firstAfter, type Run } from '../model/run.js'
import { type IdleCause, KINDS, type Kind, STREAMS } from '../schema.js'
import { duration } from '../words/format.js'
import { causeOf } from './accounts.js'
import { lookupOf, spanOf } from './lookup.js'
import { opBrief } from './op-text.js'
import { stepStart } from './steps.js'
import { between, endOf, lastWait, streamOf, type Wait } from './waiting.js'

export interface Stall {
  /** Row of the op that waited. */
  readonly row: number
  /** From the end of the op before it on its stream, or the beginning of the step, to its own beginning. */
  readonly waited_ns: number
  /** Row of what it waited for last; null where nobody kept it. */
  readonly on: number | null
  /** How `words` name it; '' where there is none. */
  readonly name: string
  /** `compute`: a copy or a collective waited for what compute makes. */
  readonly cause: IdleCause | 'compute'
  readonly words: string
}

/** Null for an op that began as soon as its stream was free. */
export function stallOf(run: Run, row: number): Stall | null {
  const { spans } = run
  const begin = freeFrom(run, row)
  const waited_ns = spans.start_ns[row] - begin
  if (!(waited_ns > 0)) return null
  const wait = lastWait(run, row, { queue: false })
  const ready = wait ? Math.min(spans.start_ns[row], Math.max(begin, endOf(spans, wait.row))) : begin
  // Its own beginning may have taken longer than what it waited for.
  if (!wait || spans.start_ns[row] - ready > ready - begin) return own(run, row, waited_ns, ready)
  return {
    row,
    waited_ns,
    on: wait.row,
    name: line(run, wait.row),
    cause: causeOf(wait.how, streamOf(spans, wait.row), null),
    words: `Waited ${duration(waited_ns)} for ${line(run, wait.row)}, ${why(run, row, wait)}${late(run, wait.row, begin)}.`,
  }
}

/** The longest waits of compute in a step, longest first. */
export function stallsOf(run: Run, step: number, { rank = null, most = 10 }: { rank?: number | null; most?: number } = {}): Stall[] {
  const { spans } = run
  return firstOf(run, most, (row) => spans.step[row] === step && (rank === null || spans.rank[row] === rank))
}

/** Waits that are looked at for those of every cause: shorter ones explain nothing. */
const MOST_LOOKED_AT = 1000

/** The longest waits of compute in a step of every cause, `most` of each, longest first: a cause that is everywhere does not hide the others. */
export function stallsByCause(run: Run, step: number, most: number): Stall[] {
  const counts = new Map<Stall['cause'], number>()
  return stallsOf(run, step, { most: MOST_LOOKED_AT }).filter(({ cause }) => {
    counts.set(cause, (counts.get(cause) ?? 0) + 1)
    return (counts.get(cause) as number) <= most
  })
}

/** The longest waits of compute of which any part lies in a window, longest first. */
export function stallsIn(run: Run, { start_ns, end_ns }: Extent, most: number): Stall[] {
  return firstOf(run, most, (row) => run.spans.start_ns[row] > start_ns && freeFrom(run, row) < end_ns)
}

function firstOf(run: Run, most: number, wanted: (row: number) => boolean): Stall[] {
  const found: Stall[] = []
  for (const row of byWait(run)) {
    if (found.length === most) break
    const stall = wanted(row) ? stallOf(run, row) : null
    if (stall) found.push(stall)
  }
  return found
}

const sorted = new WeakMap<Run, Uint32Array>()

/** Compute spans that waited, longest first. */
function byWait(run: Run): Uint32Array {
  const known = sorted.get(run)
  if (known) return known
  const { start_ns } = run.spans
  const waited_ns = new Float64Array(start_ns.length)
  const rows = run.lanes.flatMap(({ stream, rows }) => (stream === 'compute' ? [...rows] : []))
  for (const row of rows) waited_ns[row] = start_ns[row] - freeFrom(run, row)
  const waiting = Uint32Array.from(rows.filter((row) => waited_ns[row] > 0)).sort((a, b) => waited_ns[b] - waited_ns[a] || start_ns[a] - start_ns[b])
  sorted.set(run, waiting)
  return waiting
}

/** When the stream of a span had done what it did before. */
export function freeFrom(run: Run, row: number): number {
  const { spans } = run
  const before = lookupOf(run).previous[row]
  if (before >= 0) return endOf(spans, before)
  return Math.min(stepStart(run, spans.step[row]), spans.start_ns[row])
}

/** Nothing that it waited for kept it: other ranks had the cores, or had not reached it, or it was slow to begin. */
function own(run: Run, row: number, waited_ns: number, ready: number): Stall {
  const { spans, head } = run
  const stream = streamOf(spans, row)
  const start = spans.start_ns[row]
  if (stream === 'collective') {
    const last = run.ranks
      .filter((rank) => rank !== spans.rank[row])
      .map((rank) => ({ rank, ready: reached(run, row, rank) }))
      .sort((a, b) => b.ready - a.ready)[0]
    const who = last && last.ready > ready ? `; rank ${last.rank} came last` : ''
    return { row, waited_ns, on: null, name: '', cause: 'collective', words: `Waited ${duration(waited_ns)} until all ranks had reached it${who}.` }
  }
  const other = stream === 'compute' && head.device.backend === 'cpu' ? computingBefore(run, row, ready) : null
  if (other !== null) {
    const name = `rank ${spans.rank[other]} ran ${line(run, other)}`
    const words = `Waited ${duration(waited_ns)} for its turn: ranks share the cores, and ${name} until ${before(start - endOf(spans, other))}.`
    return { row, waited_ns, on: other, name, cause: 'turn', words }
  }
  const since = start - ready < waited_ns ? ` It had all it needs for ${duration(start - ready)}.` : ''
  return {
    row,
    waited_ns,
    on: null,
    name: '',
    cause: 'nothing',
    words: `Waited ${duration(waited_ns)}, and no op kept it: the stream had nothing to do, or was slow to begin.${since}`,
  }
}

/** From the op that waited: of two ends at "6 min 35 s" nobody could tell which was first. */
function before(ns: number): string {
  return ns > 0 ? `${duration(ns)} before it began` : 'it began'
}

/** When a rank had done all that its part of a collective waits for. */
function reached(run: Run, row: number, rank: number): number {
  const { spans } = run
  const same = spanOf(run, spans.step[row], rank, spans.op[row])
  const wait = same < 0 ? null : lastWait(run, same)
  return wait ? endOf(spans, wait.row) : Number.NEGATIVE_INFINITY
}

/** The op of another rank that computed last between `ready` and the beginning of `row`. */
function computingBefore(run: Run, row: number, ready: number): number | null {
  const { spans } = run
  let best: number | null = null
  for (const lane of run.lanes) {
    if (lane.stream !== 'compute' || lane.rank === spans.rank[row]) continue
    const other = lane.rows[firstAfter(lane.rows, (candidate) => spans.start_ns[candidate], spans.start_ns[row] - 1) - 1]
    if (other !== undefined && endOf(spans, other) > ready && (best === null || endOf(spans, other) > endOf(spans, best))) best = other
  }
  return best
}

const BRINGS: Readonly<Record<Kind, (name: string) => string>> = {
  compute: (name) => `which makes ${name}`,
  allToAll: (name) => `which brings ${name} from the other ranks`,
  gather: (name) => `which gathers ${name} from all ranks`,
  reduceScatter: (name) => `which adds up ${name} over all ranks`,
  allReduce: (name) => `which adds up ${name} over all ranks`,
  offload: (name) => `which brings ${name} to the host`,
  fetch: (name) => `which brings ${name} from the host`,
  load: (name) => `which reads ${name} from disk`,
  spill: (name) => `which writes ${name} to disk`,
  free: (name) => `which frees ${name}`,
}

const COPY_KINDS: ReadonlySet<Kind> = new Set(['fetch', 'offload', 'load', 'spill'])

/** What the awaited op does for the one that waits. */
function why(run: Run, row: number, { row: on, how }: Wait): string {
  const { spans, names } = run
  const shared = between(run, spans.op[row], spans.op[on])
  if (how === 'queue') return `which its ${STREAMS[spans.stream[row]]} stream did first`
  if (!shared) return 'which the plan puts before it'
  const [mine, other] = [names[shared.mine], names[shared.other]]
  const kind = KINDS[spans.kind[on]]
  // A copy is of one value, which its line has named.
  if (how === 'data') return BRINGS[kind](COPY_KINDS.has(kind) ? 'it' : mine)
  if (shared.mine === shared.other) return `which still used ${other}, and it overwrites that`
  return mine === other ? `which still used ${other} as it was before, where it is to be again` : `which still used ${other}; ${mine} takes its bytes`
}

/** Why the awaited op had not begun earlier, where that made a difference; '' where it was only slow. */
function late(run: Run, on: number, begin: number): string {
  const { spans, names } = run
  if (spans.start_ns[on] <= begin) return ''
  const wait = lastWait(run, on)
  if (!wait || endOf(spans, wait.row) <= begin) return ''
  const until = `until ${line(run, wait.row)} ended`
  // That compute computes is nothing to explain.
  if (wait.how === 'queue' && streamOf(spans, on) === 'compute') return ''
  if (wait.how === 'queue') return `; it began late because its stream was busy ${until}`
  const shared = between(run, spans.op[on], spans.op[wait.row])
  if (!shared) return `; it began late because the plan has it wait ${until}`
  if (wait.how === 'data') return `; it began late because ${names[shared.mine]} was not there ${until}`
  return `; it began late because its bytes were still held by ${names[shared.other]} ${until}`
}

function line(run: Run, row: number): string {
  return opBrief(run, run.spans.op[row])
}
