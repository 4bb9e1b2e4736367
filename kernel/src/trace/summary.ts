/**
 * Where the time of a step went, per rank. The compute stream is either busy or idle; idle time is laid to what it waited
 * for, found by walking back from the end of the gap: the op that ended last before compute could go on, what that op
 * had waited for before it started, and so on to the beginning of the gap.
 *
 *   compute   [ attend ]            [ attend ]      exposed fetch      ────
 *   fetch            [== k ==][== v ==]             exposed offload   ──
 *   offload   [=== dq ===]                          (fetch of k could not start before the offload of dq gave its bytes)
 *
 * So for every rank: busy compute + exposed time of each stream + idle = duration of the step.
 */
import type { Program } from '../plan/program.js'
import { STREAMS, type Stream } from './schema.js'
import type { Spans } from './spans.js'

export interface RankSummary {
  readonly rank: number
  /** Time in which each stream was running an op. */
  readonly busy_ns: Readonly<Record<Stream, number>>
  /** Time in which compute stood still and waited for an op of that stream; 0 for compute itself. */
  readonly exposed_ns: Readonly<Record<Stream, number>>
  /** Time in which compute stood still for no op of its rank: before its first, for other ranks, after the last. */
  readonly idle_ns: number
}
export interface TimeSummary {
  readonly start_ns: number
  readonly duration_ns: number
  readonly ranks: readonly RankSummary[]
  /** Mean over ranks: compute idle and waiting for a copy between tiers. The main figure. */
  readonly exposedCopy_ns: number
  readonly exposedCollective_ns: number
  /** Share of the time of copies between tiers that lies under compute: 1 = all hidden. 1 when there are none. */
  readonly hiddenCopyShare: number
}

const COPIES: readonly Stream[] = ['fetch', 'offload', 'load', 'spill']
const COMPUTE = STREAMS.indexOf('compute')

/** Where the time of one step went. `spans` are all of that step's. */
export function summarize(program: Program, spans: Spans): TimeSummary {
  const start_ns = spans.entry.length ? spans.start_ns.reduce((first, time) => Math.min(first, time), Number.POSITIVE_INFINITY) : 0
  const end_ns = spans.end_ns.reduce((last, time) => Math.max(last, time), start_ns)
  const perRank = Array.from({ length: program.ranks }, (_, rank) => rankSummary(program, spans, rank, start_ns, end_ns))
  const mean = (of: (summary: RankSummary) => number): number => perRank.reduce((sum, one) => sum + of(one.summary), 0) / program.ranks
  const over = (streams: readonly Stream[], times: Readonly<Record<Stream, number>>): number => streams.reduce((sum, stream) => sum + times[stream], 0)
  const copying = perRank.reduce((sum, { copying_ns }) => sum + copying_ns, 0)
  const hidden = perRank.reduce((sum, { hidden_ns }) => sum + hidden_ns, 0)
  return {
    start_ns,
    duration_ns: end_ns - start_ns,
    ranks: perRank.map(({ summary }) => summary),
    exposedCopy_ns: mean(({ exposed_ns }) => over(COPIES, exposed_ns)),
    exposedCollective_ns: mean(({ exposed_ns }) => exposed_ns.collective),
    hiddenCopyShare: copying > 0 ? hidden / copying : 1,
  }
}

function rankSummary(program: Program, spans: Spans, rank: number, start_ns: number, end_ns: number) {
  const row = new Int32Array(program.length).fill(-1)
  for (let i = 0; i < spans.entry.length; i++) if (spans.rank[i] === rank) row[spans.entry[i]] = i
  const previous = previousOnStream(program)
  const busy = zeros()
  const exposed = zeros()
  const computing: [number, number][] = []
  const copies: [number, number][] = []
  let idle = 0
  let until = start_ns // end of the last compute op so far
  const last = STREAMS.map(() => -1)
  for (let e = 0; e < program.length; e++) {
    if (row[e] < 0) continue
    const [from, to] = [spans.start_ns[row[e]], spans.end_ns[row[e]]]
    const stream = STREAMS[program.stream[e]]
    busy[stream] += to - from
    last[program.stream[e]] = e
    if (COPIES.includes(stream)) copies.push([from, to])
    if (program.stream[e] !== COMPUTE) continue
    computing.push([from, to])
    layToCauses(causesOf(e), until, from)
    until = to
  }
  layToCauses(
    last.filter((e) => e >= 0),
    until,
    end_ns,
  )
  const summary: RankSummary = { rank, busy_ns: busy, exposed_ns: exposed, idle_ns: idle }
  return { summary, copying_ns: copies.reduce((sum, [from, to]) => sum + to - from, 0), hidden_ns: covered(copies, computing) }

  /** Entries that an entry could not start before. */
  function causesOf(entry: number): number[] {
    const waits = program.waitEntry.subarray(program.waitStart[entry], program.waitStart[entry + 1])
    return previous[entry] < 0 ? [...waits] : [...waits, previous[entry]]
  }
  /** Splits the gap begin .. end by what ran last before its end, what that waited for, and so on. */
  function layToCauses(causes: number[], begin: number, end: number): void {
    let [candidates, open] = [causes, end]
    while (open > begin) {
      let cause = -1
      for (const e of candidates) if (row[e] >= 0 && (cause < 0 || spans.end_ns[row[e]] > spans.end_ns[row[cause]])) cause = e
      const ended = cause < 0 ? begin : Math.max(begin, Math.min(open, spans.end_ns[row[cause]]))
      idle += open - ended
      if (ended <= begin) return
      const started = Math.max(begin, Math.min(ended, spans.start_ns[row[cause]]))
      exposed[STREAMS[program.stream[cause]]] += ended - started
      open = started
      candidates = causesOf(cause)
    }
  }
}

/** The entry before each on its stream, -1 for the first. */
function previousOnStream(program: Program): Int32Array {
  const previous = new Int32Array(program.length)
  const last = STREAMS.map(() => -1)
  for (let e = 0; e < program.length; e++) {
    previous[e] = last[program.stream[e]]
    last[program.stream[e]] = e
  }
  return previous
}

/** Total length of `spans` that lies under `cover`, whose intervals are in order and apart. */
function covered(spans: readonly [number, number][], cover: readonly [number, number][]): number {
  const sorted = [...spans].sort(([a], [b]) => a - b)
  let [sum, first] = [0, 0]
  for (const [from, to] of sorted) {
    while (first < cover.length && cover[first][1] <= from) first++
    for (let i = first; i < cover.length && cover[i][0] < to; i++) sum += Math.min(to, cover[i][1]) - Math.max(from, cover[i][0])
  }
  return sum
}

function zeros(): Record<Stream, number> {
  return { compute: 0, fetch: 0, offload: 0, collective: 0, load: 0, spill: 0 }
}
