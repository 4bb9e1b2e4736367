/**
 * Runs a program on a clock instead of a machine: a queue per rank and stream, the plan's waits, collectives that meet at
 * entry and exit. Knows nothing of what ops compute. Spans have the same entries in the same order per stream as a native
 * run of the program, so predicted and measured lie over each other op by op.
 *
 *   rank 0  compute     [a]      [c]         c waits for the exchange b
 *           collective     [==b==]
 *   rank 1  compute     [--a--]     [c]
 *           collective        [=b=]          b starts when both ranks have reached it, and has ended when both are through
 */
import { FpdtError } from '../errors.js'
import type { Program } from '../plan/program.js'
import { STREAMS } from '../trace/schema.js'
import type { Spans } from '../trace/spans.js'
import { Heap } from './heap.js'

/** How long an entry takes on a rank once it runs. */
export type Duration = (entry: number, rank: number) => number

export interface SimulateOptions {
  /** What computes: rank r on pool r modulo so many, and ranks of one pool take turns op by op, first come first served. 1 on a CPU. Default: a pool for each rank. */
  readonly pools?: number
  /** Entries [from, to) run; earlier ones are taken as done. Default all. */
  readonly from?: number
  readonly to?: number
  /** Time at which all streams begin. Default 0. */
  readonly start_ns?: number
  /** false: a rank leaves a collective when its own part is done. Shows what the exit rendezvous is for. Default true. */
  readonly exit?: boolean
}

const COMPUTE = STREAMS.indexOf('compute')
const COLLECTIVE = STREAMS.indexOf('collective')

/** Spans of all ranks: rank by rank, entries in order. Throws FpdtError `deadlock` with what each stream waits for. */
export function simulate(program: Program, duration: Duration, options: SimulateOptions = {}): Spans {
  const { ranks } = program
  const { pools = ranks, from = 0, to = program.length, start_ns = 0, exit = true } = options
  const count = Math.max(0, to - from)
  const spans = emptySpans(ranks * count)
  for (let i = 0; i < ranks * count; i++) {
    spans.rank[i] = Math.floor(i / count)
    spans.entry[i] = from + (i % count)
    spans.end_ns[i] = Number.NaN // not ended
  }
  const row = (rank: number, entry: number): number => rank * count + entry - from
  const queues = Array.from({ length: ranks }, () => queuesOf(program, from, to))
  const running = new Heap<{ rank: number; entry: number; end_ns: number }>((a, b) => a.end_ns - b.end_ns || a.rank - b.rank || a.entry - b.entry)
  const turns = Array.from(
    { length: pools },
    () => new Heap<{ rank: number; entry: number; ready_ns: number }>((a, b) => a.ready_ns - b.ready_ns || a.rank - b.rank),
  )
  const arrived = new Set<number>() // ranks that have reached the collective at the head of their queue
  const poolBusy = Array<boolean>(pools).fill(false)
  let left = ranks * count

  for (let rank = 0; rank < ranks; rank++) for (let stream = 0; stream < STREAMS.length; stream++) advance(rank, stream, start_ns)
  for (let pool = 0; pool < pools; pool++) takeTurn(pool, start_ns)
  for (let ended = running.pop(); ended; ended = running.pop()) {
    const { rank, entry, end_ns } = ended
    spans.end_ns[row(rank, entry)] = end_ns
    left--
    const stream = program.stream[entry]
    queues[rank][stream].next++
    queues[rank][stream].reached = false
    if (stream === COMPUTE) poolBusy[rank % pools] = false
    for (let s = 0; s < STREAMS.length; s++) advance(rank, s, end_ns)
    takeTurn(rank % pools, end_ns)
  }
  if (left > 0) throw new FpdtError('deadlock', `the program cannot go on: ${stuck()}`)
  return spans

  /** Starts the head of a queue if all it waits for has ended. */
  function advance(rank: number, stream: number, now_ns: number): void {
    const queue = queues[rank][stream]
    if (queue.reached || queue.next >= queue.entries.length) return
    const entry = queue.entries[queue.next]
    if (waitsOf(entry).some((wait) => !hasEnded(rank, wait))) return
    queue.reached = true
    if (stream === COLLECTIVE) arrive(rank, entry, now_ns)
    else if (stream === COMPUTE && pools < ranks) turns[rank % pools].push({ rank, entry, ready_ns: now_ns })
    else begin(rank, entry, now_ns, now_ns + duration(entry, rank))
  }
  function arrive(rank: number, entry: number, now_ns: number): void {
    arrived.add(rank)
    if (arrived.size < ranks) return
    arrived.clear()
    const ends = Array.from({ length: ranks }, (_, r) => now_ns + duration(entry, r))
    const last = Math.max(...ends)
    for (let r = 0; r < ranks; r++) begin(r, entry, now_ns, exit ? last : ends[r])
  }
  function takeTurn(pool: number, now_ns: number): void {
    if (poolBusy[pool]) return
    const turn = turns[pool].pop()
    if (!turn) return
    poolBusy[pool] = true
    begin(turn.rank, turn.entry, now_ns, now_ns + duration(turn.entry, turn.rank))
  }
  function begin(rank: number, entry: number, begin_ns: number, end_ns: number): void {
    spans.start_ns[row(rank, entry)] = begin_ns
    running.push({ rank, entry, end_ns })
  }
  function waitsOf(entry: number): Uint32Array {
    return program.waitEntry.subarray(program.waitStart[entry], program.waitStart[entry + 1])
  }
  function hasEnded(rank: number, entry: number): boolean {
    return entry < from || (entry < to && !Number.isNaN(spans.end_ns[row(rank, entry)]))
  }
  function stuck(): string {
    const heads = queues.flatMap((streams, rank) =>
      streams.flatMap((queue, stream) => {
        if (queue.next >= queue.entries.length) return []
        const entry = queue.entries[queue.next]
        const open = [...waitsOf(entry)].filter((wait) => !hasEnded(rank, wait))
        const why = open.length ? `for ${open.map((wait) => `op ${program.op[wait]}`).join(' and ')}` : 'for the other ranks'
        return [`rank ${rank} ${STREAMS[stream]} waits before op ${program.op[entry]} ${why}`]
      }),
    )
    return heads.join('; ')
  }
}

/** Entries [from, to) of each stream, in order. `reached`: the next one waits no more, only for its turn, its peers or its end. */
function queuesOf(program: Program, from: number, to: number): { entries: number[]; next: number; reached: boolean }[] {
  const queues = STREAMS.map(() => ({ entries: [] as number[], next: 0, reached: false }))
  for (let e = from; e < to; e++) queues[program.stream[e]].entries.push(e)
  return queues
}

function emptySpans(length: number): Spans {
  return { rank: new Uint16Array(length), entry: new Uint32Array(length), start_ns: new Float64Array(length), end_ns: new Float64Array(length) }
}
