/**
 * Whether a text is a Chrome trace that viewers read as it was meant. Knows nothing of the exporter: the rules are those of the
 * Trace Event Format and of Perfetto's reader of it, and some of what a trace of ours must be besides.
 */
export interface TraceEvent {
  ph: string
  name: string
  pid: number
  tid?: number
  ts?: number
  dur?: number
  id?: number
  cat?: string
  bp?: string
  args?: Record<string, unknown>
}

/** Every breach of a rule, in words; none for a trace that is right. */
export function chromeTroubles(text: string): string[] {
  const troubles: string[] = []
  const events = eventsOf(text, troubles)
  const lanes = new Map<string, TraceEvent[]>()
  for (const [i, event] of events.entries()) {
    const where = `event ${i} (${event.ph} ${event.name})`
    if (!['M', 'X', 'C', 's', 't', 'f', 'b', 'e'].includes(event.ph)) troubles.push(`${where}: phase ${event.ph} is not known`)
    if (typeof event.name !== 'string' || event.name === '') troubles.push(`${where}: it has no name`)
    if (!isIndex(event.pid) || event.pid === 0) troubles.push(`${where}: pid ${event.pid} is no process of ours`)
    if (event.ph === 'M') continue
    if (!isTime(event.ts)) troubles.push(`${where}: ts ${event.ts} is not whole nanoseconds after the start of the run, in microseconds`)
    if (event.ph === 'C') continue
    if (!isIndex(event.tid) || event.tid === 0) troubles.push(`${where}: tid ${event.tid} is no thread of ours`)
    const key = `${event.pid} ${event.tid}`
    const lane = lanes.get(key)
    if (lane) lane.push(event)
    else lanes.set(key, [event])
    if (event.ph === 'X' && !isTime(event.dur)) troubles.push(`${where}: dur ${event.dur} is no length of time`)
  }
  names(events, lanes, troubles)
  for (const [key, lane] of lanes) nesting(key, lane, troubles)
  counters(events, troubles)
  pairs(events, troubles)
  flows(events, lanes, troubles)
  return troubles
}

export function eventsOf(text: string, troubles: string[] = []): TraceEvent[] {
  try {
    const trace = JSON.parse(text) as { traceEvents?: TraceEvent[] }
    if (Array.isArray(trace.traceEvents) && trace.traceEvents.length > 0) return trace.traceEvents
    troubles.push('there is no list of traceEvents, or it is empty')
  } catch (error) {
    troubles.push(`it is not JSON: ${String(error)}`)
  }
  return []
}

const isIndex = (value: unknown): boolean => Number.isInteger(value) && (value as number) >= 0
/** Not negative, less than 104 days, and whole nanoseconds as near as a double tells. */
const isTime = (value: unknown): boolean =>
  typeof value === 'number' && value >= 0 && value < 2 ** 53 / 1000 && Math.abs(value * 1000 - Math.round(value * 1000)) < 1e-4 * Math.max(1, value * 1e-9)

function names(events: readonly TraceEvent[], lanes: ReadonlyMap<string, unknown>, troubles: string[]): void {
  const meta = (name: string, event: TraceEvent): TraceEvent[] =>
    events.filter((other) => other.ph === 'M' && other.name === name && other.pid === event.pid && (name.startsWith('process') || other.tid === event.tid))
  const owners = new Map<number, number>()
  for (const key of lanes.keys()) {
    const [pid, tid] = key.split(' ').map(Number) as [number, number]
    const event = { ph: 'M', name: '', pid, tid }
    for (const name of ['process_name', 'process_sort_index', 'thread_name', 'thread_sort_index'])
      if (meta(name, event).length !== 1) troubles.push(`process ${pid}, thread ${tid} has ${meta(name, event).length} times ${name}, not once`)
    if (owners.has(tid)) troubles.push(`thread ${tid} belongs to process ${owners.get(tid)} and to ${pid}`)
    owners.set(tid, pid)
  }
  for (const event of events.filter(({ ph }) => ph === 'C'))
    if (meta('process_name', event).length !== 1) troubles.push(`counter ${event.name} is of process ${event.pid}, which has no name`)
  const values = (name: string): string[] =>
    events.filter((event) => event.name === name).map((event) => `${name.startsWith('thread') ? event.pid : ''} ${event.args?.sort_index}`)
  for (const name of ['process_sort_index', 'thread_sort_index'])
    if (new Set(values(name)).size !== values(name).length) troubles.push(`two have the same ${name}`)
}

/** Complete events of one thread nest or stand apart. */
function nesting(key: string, lane: readonly TraceEvent[], troubles: string[]): void {
  const complete = lane
    .filter(({ ph }) => ph === 'X')
    .map(({ name, ts, dur }) => ({ name, from: Math.round(Number(ts) * 1000), to: Math.round(Number(ts) * 1000) + Math.round(Number(dur) * 1000) }))
    .sort((a, b) => a.from - b.from || b.to - a.to)
  const open: typeof complete = []
  for (const event of complete) {
    while ((open.at(-1)?.to ?? Number.POSITIVE_INFINITY) <= event.from) open.pop()
    const around = open.at(-1)
    if (around && event.to > around.to) troubles.push(`thread ${key}: ${event.name} at ${event.from} ns begins inside ${around.name} and ends after it`)
    open.push(event)
  }
}

function counters(events: readonly TraceEvent[], troubles: string[]): void {
  const known = new Map<string, { series: string; ts: number }>()
  for (const event of events.filter(({ ph }) => ph === 'C')) {
    const key = `${event.pid} ${event.name}`
    const series = Object.keys(event.args ?? {}).join()
    const before = known.get(key)
    if (series === '') troubles.push(`counter ${key} counts nothing`)
    if (before && before.series !== series) troubles.push(`counter ${key} changes its series from ${before.series} to ${series}`)
    if (before && before.ts > Number(event.ts)) troubles.push(`counter ${key} goes back in time`)
    for (const [name, value] of Object.entries(event.args ?? {}))
      if (typeof value !== 'number' || !(value >= 0)) troubles.push(`counter ${key} has ${name} = ${String(value)}`)
    known.set(key, { series, ts: Number(event.ts) })
  }
}

/** Asynchronous events begin once and end once, in this order. */
function pairs(events: readonly TraceEvent[], troubles: string[]): void {
  const open = new Map<string, number>()
  for (const event of events.filter(({ ph }) => ph === 'b' || ph === 'e')) {
    const key = `${event.pid} ${event.cat} ${event.id} ${event.name}`
    if (event.id === undefined || event.cat === undefined) troubles.push(`asynchronous event ${event.name} has no id or no category`)
    if (event.ph === 'b') {
      if (open.has(key)) troubles.push(`asynchronous event ${key} begins twice`)
      open.set(key, Number(event.ts))
    } else if (!((open.get(key) ?? Number.POSITIVE_INFINITY) <= Number(event.ts))) troubles.push(`asynchronous event ${key} ends before it begins`)
    else open.delete(key)
  }
  for (const key of open.keys()) troubles.push(`asynchronous event ${key} does not end`)
}

/** A flow has one start and one finish, goes forward in time, and every point of it lies in a span of its thread. */
function flows(events: readonly TraceEvent[], lanes: ReadonlyMap<string, readonly TraceEvent[]>, troubles: string[]): void {
  const points = new Map<number | undefined, TraceEvent[]>()
  for (const event of events.filter(({ ph }) => ['s', 't', 'f'].includes(ph))) points.set(event.id, [...(points.get(event.id) ?? []), event])
  const starts = new Map([...lanes].map(([key, lane]) => [key, spansOf(lane)]))
  for (const [id, flow] of points) {
    const shape = flow.map(({ ph }) => ph).join('')
    if (id === undefined || !/^st*f$/.test(shape)) troubles.push(`flow ${id} is ${shape}, not s, any t, f`)
    if (flow.at(-1)?.bp !== 'e') troubles.push(`flow ${id} does not say that it ends in the span around its end`)
    if (new Set(flow.map(({ name, cat }) => `${name} ${cat}`)).size > 1) troubles.push(`flow ${id} changes its name`)
    for (const [i, point] of flow.entries()) {
      if (i > 0 && Number(point.ts) < Number(flow[i - 1]?.ts)) troubles.push(`flow ${id} goes back in time`)
      const spans = starts.get(`${point.pid} ${point.tid}`) ?? []
      if (!spans.some(([from, to]) => from <= Number(point.ts) && Number(point.ts) <= to)) troubles.push(`flow ${id} has a point in no span`)
    }
  }
}

function spansOf(lane: readonly TraceEvent[]): [number, number][] {
  return lane.flatMap((event) => {
    if (event.ph === 'X') return [[Number(event.ts), Number(event.ts) + Number(event.dur)] as [number, number]]
    const end = event.ph === 'b' && lane.find((other) => other.ph === 'e' && other.id === event.id && other.name === event.name)
    return end ? [[Number(event.ts), Number(end.ts)] as [number, number]] : []
  })
}
