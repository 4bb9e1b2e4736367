/**
 * Memory in time, from spans and the plan's tables: a residency begins when the op that makes it starts and ends when its last
 * user on any stream has ended, which is when its bytes may be another's. The same for measured and for simulated spans, and
 * the same in the kernel and on a page that follows a run.
 *
 *   spans      [fetch k]   [attend .. k ..]
 *   k@device   |═══════════════════════════|
 */
import { CATEGORIES, type MemoryColumns, NONE_32, type PlanTables, type RunHead, type SpanColumns, TIERS } from './schema.js'
import { inTimeOrder } from './time-order.js'

/** Rows of the memory table for the steps that `spans` hold. What stands between steps begins with the first. */
export function memoryOf({ buffers, uses }: Pick<PlanTables, 'buffers' | 'uses'>, spans: SpanColumns): MemoryColumns {
  const events = new Events()
  if (spans.op.length === 0) return events.table(buffers)
  const users = usersOf(uses, buffers.tier.length)
  const rowOf = new Int32Array(Math.max(uses.op.at(-1) ?? 0, greatest(spans.op)) + 1).fill(-1)
  let left: number[] = [] // buffer and rank, in turns: began in a step that was stopped, and not ended by it
  for (const [index, { step, ranks, start_ns }] of stepsOf(spans).entries()) {
    for (let i = 0; i < left.length; i += 2) events.add(start_ns, -2, step, birthOf(left[i]), left[i + 1], left[i], false)
    left = []
    for (const [rank, rows] of ranks.entries()) {
      for (let i = 0; i < rows.length; i++) rowOf[spans.op[rows[i]]] = rows[i]
      for (let b = 0; b < buffers.tier.length; b++) {
        if (buffers.size_bytes[b] === 0) continue
        if (buffers.persistent[b]) {
          if (index === 0) events.add(start_ns, -1, step, birthOf(b), rank, b, true)
          continue
        }
        const first = users.op[users.start[b]]
        const isThere = buffers.birth[b] === NONE_32 // before the first op
        if (!isThere && (first === undefined || rowOf[first] < 0)) continue
        if (isThere) events.add(start_ns, -1, step, birthOf(b), rank, b, true)
        else events.add(spans.start_ns[rowOf[first]], 2 * first, step, birthOf(b), rank, b, true)
        let last = -1
        let end_ns = Number.NEGATIVE_INFINITY
        for (let u = users.start[b]; u < users.start[b + 1]; u++) {
          const row = rowOf[users.op[u]]
          if (row < 0) {
            last = -1
            break
          }
          const ended = spans.start_ns[row] + spans.duration_ns[row]
          if (ended >= end_ns) {
            last = users.op[u]
            end_ns = ended
          }
        }
        if (last < 0) left.push(b, rank)
        else events.add(end_ns, 2 * last + 1, step, last, rank, b, false)
      }
      for (let i = 0; i < rows.length; i++) rowOf[spans.op[rows[i]]] = -1
    }
  }
  return events.table(buffers)

  function birthOf(buffer: number): number {
    return buffers.birth[buffer] === NONE_32 ? 0 : buffers.birth[buffer]
  }
}

/** Buffers of a peak that are named one by one; the rest is summed by category. */
const NAMED_BUFFERS = 24

/** The live peak of each tier, of the rank where it is highest: when, at which op, and what was alive, largest first. `words` says an op. */
export function peaksOf({ names, buffers }: Pick<PlanTables, 'names' | 'buffers'>, memory: MemoryColumns, words: (op: number) => string): RunHead['peaks'] {
  return TIERS.flatMap((tier, code) => {
    let at = -1
    for (let row = 0; row < memory.op.length; row++) if (memory.tier[row] === code && memory.total_bytes[row] > (at < 0 ? 0 : memory.total_bytes[at])) at = row
    if (at < 0) return []
    const alive = new Set<number>()
    for (let row = 0; row <= at; row++) {
      if (memory.rank[row] !== memory.rank[at] || memory.tier[row] !== code) continue
      if (memory.delta_bytes[row] > 0) alive.add(memory.buffer[row])
      else alive.delete(memory.buffer[row])
    }
    const made = memory.buffer[at]
    const birth = buffers.birth[made]
    const largest = [...alive].map((buffer) => ({
      name: names[buffer],
      bytes: buffers.size_bytes[buffer],
      category: CATEGORIES[buffers.category[buffer]],
    }))
    return [
      {
        tier,
        bytes: memory.total_bytes[at],
        time_ns: memory.time_ns[at],
        step: memory.step[at],
        op: memory.op[at],
        words: birth === NONE_32 ? words(-1) : words(birth),
        buffers: summed(largest.sort((a, b) => b.bytes - a.bytes)),
      },
    ]
  })
}

function summed(largest: RunHead['peaks'][number]['buffers']): RunHead['peaks'][number]['buffers'] {
  const rest = largest.slice(NAMED_BUFFERS)
  const sums = CATEGORIES.flatMap((category) => {
    const same = rest.filter((buffer) => buffer.category === category)
    return same.length > 0 ? [{ name: `${same.length} more`, bytes: same.reduce((sum, { bytes }) => sum + bytes, 0), category }] : []
  })
  return [...largest.slice(0, NAMED_BUFFERS), ...sums]
}

/** Beginnings and ends, gathered in any order. */
class Events {
  private count = 0
  private time_ns = new Float64Array(1024)
  /** Place among events of one instant: what ends then ends before what takes its bytes begins. */
  private place = new Int32Array(1024)
  private step = new Uint32Array(1024)
  private op = new Uint32Array(1024)
  private rank = new Uint16Array(1024)
  private buffer = new Uint32Array(1024)
  private begins = new Uint8Array(1024)

  add(time_ns: number, place: number, step: number, op: number, rank: number, buffer: number, begins: boolean): void {
    if (this.count === this.time_ns.length) this.grow()
    const i = this.count++
    this.time_ns[i] = time_ns
    this.place[i] = place
    this.step[i] = step
    this.op[i] = op
    this.rank[i] = rank
    this.buffer[i] = buffer
    this.begins[i] = Number(begins)
  }

  private grow(): void {
    const twice = <T extends Float64Array | Int32Array | Uint32Array | Uint16Array | Uint8Array>(column: T): T => {
      const longer = new (column.constructor as new (length: number) => T)(2 * column.length)
      longer.set(column)
      return longer
    }
    this.time_ns = twice(this.time_ns)
    this.place = twice(this.place)
    this.step = twice(this.step)
    this.op = twice(this.op)
    this.rank = twice(this.rank)
    this.buffer = twice(this.buffer)
    this.begins = twice(this.begins)
  }

  /** In order of time, with the bytes that stand after each. */
  table(buffers: PlanTables['buffers']): MemoryColumns {
    const { count, time_ns, place, step, op, rank, buffer, begins } = this
    const sorted = inTimeOrder(
      time_ns.subarray(0, count),
      (a, b) => time_ns[a] - time_ns[b] || step[a] - step[b] || place[a] - place[b] || rank[a] - rank[b] || a - b,
    )
    const totals = new Float64Array((greatest(rank.subarray(0, count)) + 1) * TIERS.length)
    const rows: MemoryColumns = {
      step: new Uint32Array(count),
      op: new Uint32Array(count),
      rank: new Uint16Array(count),
      tier: new Uint8Array(count),
      category: new Uint8Array(count),
      time_ns: new Float64Array(count),
      delta_bytes: new Float64Array(count),
      total_bytes: new Float64Array(count),
      buffer: new Uint32Array(count),
    }
    for (let row = 0; row < count; row++) {
      const event = sorted[row]
      const b = buffer[event]
      const arena = rank[event] * TIERS.length + buffers.tier[b]
      rows.step[row] = step[event]
      rows.op[row] = op[event]
      rows.rank[row] = rank[event]
      rows.tier[row] = buffers.tier[b]
      rows.category[row] = buffers.category[b]
      rows.time_ns[row] = time_ns[event]
      rows.delta_bytes[row] = begins[event] ? buffers.size_bytes[b] : -buffers.size_bytes[b]
      rows.total_bytes[row] = totals[arena] += rows.delta_bytes[row]
      rows.buffer[row] = b
    }
    return rows
  }
}

/** Rows of the span table by step, in order, and by rank; with the start of the first. */
function stepsOf(spans: SpanColumns): { step: number; ranks: Uint32Array[]; start_ns: number }[] {
  const count = greatest(spans.rank) + 1
  const steps = new Map<number, { step: number; counts: Uint32Array; ranks: Uint32Array[]; start_ns: number }>()
  const stepOf = (row: number) => {
    const number = spans.step[row]
    const known = steps.get(number)
    if (known) return known
    const step = { step: number, counts: new Uint32Array(count), ranks: [], start_ns: Number.POSITIVE_INFINITY }
    steps.set(number, step)
    return step
  }
  for (let row = 0; row < spans.op.length; row++) {
    const step = stepOf(row)
    step.counts[spans.rank[row]]++
    if (spans.start_ns[row] < step.start_ns) step.start_ns = spans.start_ns[row]
  }
  for (const step of steps.values()) step.ranks = Array.from(step.counts, (rows) => new Uint32Array(rows))
  for (let row = spans.op.length - 1; row >= 0; row--) {
    const { counts, ranks } = stepOf(row)
    const rank = spans.rank[row]
    ranks[rank][--counts[rank]] = row
  }
  return [...steps.values()].sort((a, b) => a.step - b.step)
}

/** Ops that touch each buffer, in order: those of b lie at start[b] .. start[b + 1]. */
function usersOf(uses: PlanTables['uses'], count: number): { start: Uint32Array; op: Uint32Array } {
  const start = new Uint32Array(count + 1)
  for (const buffer of uses.buffer) start[buffer + 1]++
  for (let b = 0; b < count; b++) start[b + 1] += start[b]
  const op = new Uint32Array(uses.op.length)
  const next = start.slice()
  for (let u = 0; u < uses.op.length; u++) op[next[uses.buffer[u]]++] = uses.op[u]
  return { start, op }
}

function greatest(values: Uint32Array | Uint16Array): number {
  let most = 0
  for (let i = 0; i < values.length; i++) if (values[i] > most) most = values[i]
  return most
}
