/**
 * Where the time of a step went, per rank. Compute is busy or stands still; the time it stands still is laid to what it waited
 * for, found by walking back from the end of each gap: what ended last of what the op after the gap waited for, what that had
 * waited for, and so on to the beginning of the gap.
 *
 *   compute   [ attend ]                    [ attend ]      memory ─────  nobody needs what is offloaded here: its bytes are wanted
 *   offload   [==== dq ====]                                fetch  ─────────────
 *   fetch                  [= k =]  [= v =]                 (k takes the bytes of dq; the gap before v is v's, which was slow to begin)
 *                      memory        fetch
 *                       ├───┤├──────────────┤
 *
 * What is left between the last thing an op waited for and its own beginning is its turn on cores that ranks share, or nothing.
 * After the last op of compute the step waits for the last ops of the other streams. So, in whole nanoseconds, for every rank:
 * busy compute + all idle causes = duration of the step.
 */
import { firstAfter } from '../model/search.js'
import { COPY_STREAMS, IDLE_CAUSES, type IdleCause, type RankAccount, STREAMS, type StepSummary, type Stream } from '../schema.js'
import type { Linked } from './lookup.js'
import { endOf, lastWait, streamOf, type Wait } from './waiting.js'

/** What time is laid to while an op of that stream is waited for; `compute` is what other streams may wait for. */
const CAUSES: Readonly<Record<Stream, IdleCause | 'compute'>> = {
  compute: 'compute',
  fetch: 'fetch',
  offload: 'fetch', // on its way to the host, to be fetched again
  collective: 'collective',
  load: 'disk',
  spill: 'disk',
}

/** The cause of waiting for an op of that stream. In a queue it is that of the op that stands behind. */
export function causeOf(how: Wait['how'], stream: Stream, behind: IdleCause | 'compute' | null): IdleCause | 'compute' {
  if (how === 'bytes') return 'memory'
  return how === 'queue' && behind !== null ? behind : CAUSES[stream]
}

/** An account for every rank that has spans. `backend`: ranks of `cpu` share their cores. */
export function accountsOf(tables: Linked, step: Pick<StepSummary, 'step' | 'start_ns' | 'duration_ns'>, backend: string): RankAccount[] {
  const { spans } = tables
  const [begin, end] = [step.start_ns, step.start_ns + step.duration_ns]
  const lanes = new Map<number, number[][]>() // rows by rank and stream, in time
  for (let row = 0; row < spans.op.length; row++) {
    const streams = lanes.get(spans.rank[row]) ?? STREAMS.map(() => [])
    lanes.set(spans.rank[row], streams)
    if (spans.step[row] === step.step) streams[spans.stream[row]].push(row)
  }
  const shared = backend === 'cpu' ? union([...lanes.values()].flatMap(([compute]) => intervals(compute))) : []
  return [...lanes]
    .sort(([a], [b]) => a - b)
    .map(([rank, streams]) => {
      const account: RankAccount = { rank, busy_ns: zeros(STREAMS), idle_ns: zeros(IDLE_CAUSES), hidden_copy_ns: 0, exposed_copy_ns: 0 }
      for (const [code, rows] of streams.entries()) account.busy_ns[STREAMS[code]] = lengthOf(intervals(rows))
      // Where all ranks share the cores, a copy costs nothing while any of them computes.
      const computing = backend === 'cpu' ? shared : intervals(streams[0])
      for (const [code, rows] of streams.entries()) if (isCopying(STREAMS[code])) account.hidden_copy_ns += covered(intervals(rows), computing)
      let until = begin
      for (const row of streams[0]) {
        layGap(account, until, inStep(spans.start_ns[row]), row)
        until = Math.max(until, inStep(endOf(spans, row)))
      }
      layGap(
        account,
        until,
        end,
        -1,
        streams.flatMap((rows) => rows.at(-1) ?? []),
      )
      return account
    })

  function inStep(time_ns: number): number {
    return Math.min(end, Math.max(begin, Math.round(time_ns)))
  }
  /** In order and apart: a span that begins before the one before it has ended counts from there. */
  function intervals(rows: readonly number[]): Interval[] {
    let until = begin
    return rows.map((row): Interval => {
      const from = Math.max(until, inStep(spans.start_ns[row]))
      until = Math.max(from, inStep(endOf(spans, row)))
      return [from, until]
    })
  }
  /** Lays from .. to, in which compute stood still before the span `next`, or, without one, before the step ended with the spans `lasts`. */
  function layGap(account: RankAccount, from: number, to: number, next: number, lasts: readonly number[] = []): void {
    let open = to
    let row = next
    let cause: IdleCause | 'compute' | null = null // of the stretch before `open`; null: of the op itself
    while (open > from) {
      const wait = row < 0 ? latest(lasts) : lastWait(tables, row)
      const ended = wait ? Math.max(from, Math.min(open, inStep(endOf(spans, wait.row)))) : from
      if (cause === null) layOwn(account, ended, open, row >= 0)
      else lay(account, cause, open - ended, row)
      if (!wait || ended <= from) return
      cause = causeOf(wait.how, streamOf(spans, wait.row), cause)
      row = wait.row
      open = Math.max(from, Math.min(ended, inStep(spans.start_ns[row])))
      lay(account, cause, ended - open, row)
    }
  }
  function latest(rows: readonly number[]): Wait | null {
    const row = rows.reduce((best, candidate) => (best < 0 || endOf(spans, candidate) > endOf(spans, best) ? candidate : best), -1)
    return row < 0 ? null : { row, how: 'data' }
  }
  /** An op that waits for nothing more and does not run: another rank has the cores, or nobody is to blame. */
  function layOwn(account: RankAccount, from: number, to: number, isOp: boolean): void {
    const turn = isOp ? covered([[from, to]], shared) : 0
    account.idle_ns.turn += turn
    account.idle_ns.nothing += to - from - turn
  }
  function lay(account: RankAccount, cause: IdleCause | 'compute', time_ns: number, row: number): void {
    account.idle_ns[cause === 'compute' ? 'nothing' : cause] += time_ns
    if (isCopying(streamOf(spans, row))) account.exposed_copy_ns += time_ns
  }
}

/** Where the time of a step went, over all ranks. */
export interface TimeSummary {
  readonly start_ns: number
  readonly duration_ns: number
  readonly ranks: readonly RankAccount[]
  /** Mean over ranks: compute stands still and waits for a copy between tiers, for its data or for its bytes. The main figure. */
  readonly exposedCopy_ns: number
  /** Mean over ranks: compute stands still and waits for a collective, or for ranks that have not reached it. */
  readonly exposedCollective_ns: number
  /** Share of the time of copies between tiers that lies under compute: 1 = all hidden. Null where nothing was copied. */
  readonly hiddenCopyShare: number | null
}

export function timesOf({ start_ns, duration_ns, accounts }: Pick<StepSummary, 'start_ns' | 'duration_ns' | 'accounts'>): TimeSummary {
  const mean = (of: (account: RankAccount) => number): number => accounts.reduce((sum, one) => sum + of(one), 0) / Math.max(1, accounts.length)
  return {
    start_ns,
    duration_ns,
    ranks: accounts,
    exposedCopy_ns: mean(({ exposed_copy_ns }) => exposed_copy_ns),
    exposedCollective_ns: mean(({ idle_ns }) => idle_ns.collective),
    hiddenCopyShare: hiddenShare(accounts),
  }
}

/** Time of copies that lies under compute / time of copies, of all these ranks together; null where they copied nothing. */
export function hiddenShare(accounts: readonly RankAccount[]): number | null {
  let [hidden, copied] = [0, 0]
  for (const account of accounts) {
    hidden += account.hidden_copy_ns
    copied += copyTime(account)
  }
  return copied > 0 ? hidden / copied : null
}

/** Time in which a rank copied between tiers, summed over streams. */
export function copyTime({ busy_ns }: RankAccount): number {
  return COPY_STREAMS.reduce((sum, stream) => sum + busy_ns[stream], 0)
}

function isCopying(stream: Stream): boolean {
  return (COPY_STREAMS as readonly Stream[]).includes(stream)
}

type Interval = readonly [from: number, to: number]

function lengthOf(intervals: readonly Interval[]): number {
  return intervals.reduce((sum, [from, to]) => sum + to - from, 0)
}

/** Total length of `intervals` that lies under `cover`; each list is in order and apart. */
function covered(intervals: readonly Interval[], cover: readonly Interval[]): number {
  let sum = 0
  let first = firstAfter(cover, ([, to]) => to, intervals[0]?.[0] ?? 0)
  for (const [from, to] of intervals) {
    while (first < cover.length && cover[first][1] <= from) first++
    for (let i = first; i < cover.length && cover[i][0] < to; i++) sum += Math.min(to, cover[i][1]) - Math.max(from, cover[i][0])
  }
  return sum
}

/** The same time as intervals in order and apart. */
function union(intervals: Interval[]): Interval[] {
  const joined: [number, number][] = []
  for (const [from, to] of intervals.sort(([a], [b]) => a - b)) {
    const last = joined.at(-1)
    if (last && from <= last[1]) last[1] = Math.max(last[1], to)
    else joined.push([from, to])
  }
  return joined
}

function zeros<Name extends string>(names: readonly Name[]): Record<Name, number> {
  return Object.fromEntries(names.map((name) => [name, 0])) as Record<Name, number>
}
