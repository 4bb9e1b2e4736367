/**
 * A run as Chrome trace events, which Perfetto (ui.perfetto.dev), chrome://tracing and speedscope open.
 *
 *   process = rank, thread = stream      X  an op                        C      live bytes of a tier, by category
 *   one more process for the steps       b e an op that overlaps its lane  s t f  a value on its way: fetch -> compute -> offload
 *
 * Times are microseconds from the start of the run, with the nanoseconds as decimals, so that readers that keep them as
 * doubles lose nothing. Spans of one thread nest or stand apart, as viewers demand: one that does neither is an
 * asynchronous event. Format: "Trace Event Format", Google, 2016.
 */

import type { Lane, Run } from '../model/run.js'
import { levelsAfter } from '../model/stack.js'
import { CATEGORIES, FAMILIES, KINDS, NONE, PHASES, STREAMS } from '../schema.js'
import { keptWords } from '../words/run.js'
import { journeys } from './journeys.js'
import { inPieces } from './pieces.js'

type Event = Readonly<Record<string, unknown>>

/** The JSON text, in pieces. */
export function chromeTrace(run: Run): Generator<string, void, undefined> {
  return inPieces(jsonOf(run))
}

function* jsonOf(run: Run): Generator<string, void, undefined> {
  const { title, run_id, created, origin, system, device } = run.head
  const about = { title, run_id, created, origin, system, device: device?.name, kept: keptWords(run.head) || 'everything' }
  yield `{"displayTimeUnit":"ns","otherData":${JSON.stringify(about)},"traceEvents":[\n`
  let between = ''
  for (const event of eventsOf(run)) {
    yield between + textOf(event)
    between = ',\n'
  }
  yield '\n]}\n'
}

function* eventsOf(run: Run): Generator<Event, void, undefined> {
  yield* names(run)
  yield* steps(run)
  for (const lane of run.lanes) yield* ops(run, lane)
  yield* counters(run)
  yield* flows(run)
}

// Process and thread 0 mean the idle task to Perfetto, and a thread's number is its own on the whole machine.
// A thread with the number of a process is its main thread: these begin beyond the processes of all ranks.
const STEPS = 1
const FIRST_THREAD = 2 ** 17
const pidOf = (rank: number): number => rank + 2
const tidOf = (rank: number, stream: number): number => FIRST_THREAD + rank * STREAMS.length + stream

function* names({ head, ranks, lanes }: Run): Generator<Event, void, undefined> {
  const name = (ph: string, pid: number, args: object, tid?: number): Event => ({ ph: 'M', name: ph, pid, ...(tid === undefined ? {} : { tid }), args })
  yield name('process_name', STEPS, { name: head.origin === 'predicted' ? 'steps (predicted)' : 'steps' })
  yield name('process_sort_index', STEPS, { sort_index: 0 })
  yield name('thread_name', STEPS, { name: 'step' }, STEPS)
  yield name('thread_sort_index', STEPS, { sort_index: 0 }, STEPS)
  for (const rank of ranks) {
    yield name('process_name', pidOf(rank), { name: `rank ${rank}` })
    yield name('process_sort_index', pidOf(rank), { sort_index: rank + 1 })
  }
  for (const { rank, stream } of lanes) {
    const order = STREAMS.indexOf(stream)
    yield name('thread_name', pidOf(rank), { name: stream }, tidOf(rank, order))
    yield name('thread_sort_index', pidOf(rank), { sort_index: order }, tidOf(rank, order))
  }
}

function* steps({ head }: Run): Generator<Event, void, undefined> {
  for (const { step, start_ns, duration_ns, loss, tokens, tokens_per_second, mfu } of head.steps)
    yield {
      ph: 'X',
      name: `step ${step}`,
      cat: 'step',
      pid: STEPS,
      tid: STEPS,
      ts: new Micros(start_ns),
      dur: new Micros(duration_ns),
      args: { loss, tokens, tokens_per_second, mfu },
    }
}

function* ops(run: Run, { rank, stream, rows }: Lane): Generator<Event, void, undefined> {
  const { spans } = run
  const thread = { pid: pidOf(rank), tid: tidOf(rank, STREAMS.indexOf(stream)) }
  let free_ns = Number.NEGATIVE_INFINITY
  for (const row of rows) {
    const start_ns = spans.start_ns[row]
    const end_ns = start_ns + spans.duration_ns[row]
    const event = { name: nameOf(run, row), cat: FAMILIES[run.families[row]], ...thread, ts: new Micros(start_ns), args: argsOf(run, row) }
    if (start_ns >= free_ns) {
      yield { ph: 'X', ...event, dur: new Micros(spans.duration_ns[row]) }
      free_ns = end_ns
    } else {
      yield { ph: 'b', id: row, ...event }
      yield { ph: 'e', id: row, name: event.name, cat: event.cat, ...thread, ts: new Micros(end_ns) }
    }
  }
}

/** The verb alone: viewers sum up what has one name. */
function nameOf({ head, spans }: Run, row: number): string {
  const kind = KINDS[spans.kind[row]]
  return kind === 'compute' ? head.codes.kernels[spans.kernel[row]].name : kind
}

function argsOf({ spans, listing }: Run, row: number): object {
  const index = (name: 'layer' | 'q' | 'kv'): object => (spans[name][row] === NONE ? {} : { [name]: spans[name][row] })
  return {
    op: spans.op[row],
    line: listing[spans.op[row]],
    step: spans.step[row],
    phase: PHASES[spans.phase[row]],
    ...index('layer'),
    ...index('q'),
    ...index('kv'),
    ...(spans.flops[row] > 0 ? { flops: spans.flops[row] } : {}),
    ...(spans.bytes[row] > 0 ? { bytes: spans.bytes[row] } : {}),
  }
}

/** Every category in every event: viewers stack what an event names. */
function* counters({ stacks }: Run): Generator<Event, void, undefined> {
  for (const stack of stacks) {
    const { rank, tier, memory, rows, categories } = stack
    const levels = levelsAfter(stack, 0)
    for (const row of rows) {
      levels[categories.indexOf(CATEGORIES[memory.category[row]])] += memory.delta_bytes[row]
      const args = Object.fromEntries(categories.map((category, c) => [category, levels[c]]))
      yield { ph: 'C', name: `${tier} memory, bytes`, pid: pidOf(rank), ts: new Micros(memory.time_ns[row]), args }
    }
  }
}

/** Bound to spans by an instant inside them. */
function* flows(run: Run): Generator<Event, void, undefined> {
  const { spans, names } = run
  let id = 0
  for (const { buffer, rows } of journeys(run)) {
    id++
    for (const [i, row] of rows.entries()) {
      const ph = i === 0 ? 's' : i === rows.length - 1 ? 'f' : 't'
      const rank = spans.rank[row]
      yield {
        ph,
        id,
        name: names[buffer],
        cat: 'value',
        pid: pidOf(rank),
        tid: tidOf(rank, spans.stream[row]),
        ts: new Micros(spans.start_ns[row] + Math.floor(spans.duration_ns[row] / 2)),
        ...(ph === 'f' ? { bp: 'e' } : {}),
      }
    }
  }
}

/** Whole nanoseconds, written as decimals of a microsecond: a division would round them. */
class Micros {
  constructor(readonly ns: number) {}
  toString(): string {
    const ns = Math.round(this.ns)
    // Beyond what is exact a number is written as it is, and none at all as null: either is JSON.
    if (!Number.isSafeInteger(ns)) return JSON.stringify(this.ns / 1000)
    const rest = Math.abs(ns % 1000)
    const whole = `${ns < 0 ? '-' : ''}${Math.floor(Math.abs(ns) / 1000)}`
    return rest === 0 ? whole : `${whole}.${String(rest).padStart(3, '0')}`
  }
}

function textOf(event: Event): string {
  const fields = Object.entries(event).map(([key, value]) => `${JSON.stringify(key)}:${value instanceof Micros ? value : JSON.stringify(value)}`)
  return `{${fields.join(',')}}`
}
