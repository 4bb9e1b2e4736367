/**
 * Memory in time, from spans and the plan's tables: a residency begins when the op that makes it starts and ends when its last
 * user on any stream has ended, which is when its bytes may be another's. The same for measured and for simulated spans, and
 * the same in the kernel and on a page that follows a run.
 *
 *   spans      [fetch k]   [attend .. k ..]
 *   k@device   |═══════════════════════════|
 */
import { CATEGORIES, type MemoryColumns, NONE_32, type PlanTables, type RunHead, type SpanColumns, TIERS } from './schema.js'

/** Rows of the memory table for the steps that `spans` hold. What stands between steps begins with the first. */
export function memoryOf({ buffers, uses }: Pick<PlanTables, 'buffers' | 'uses'>, spans: SpanColumns): MemoryColumns {
  const users = usersOf(uses, buffers.tier.length)
  const events = new Events()
  const lines = Math.max(uses.op.at(-1) ?? 0, greatest(spans.op)) + 1
  let left: number[] = [] // buffer and rank, in turns: began in a step that was stopped, and not ended by it
  for (const [index, { step, ranks }] of stepsOf(spans).entries()) {
    const start_ns = ranks.reduce((least, rows) => rows.reduce((first, row) => Math.min(first, spans.start_ns[row]), least), Number.POSITIVE_INFINITY)
    if (!Number.isFinite(start_ns)) continue
    for (let i = 0; i < left.length; i += 2) events.add(start_ns, -2, step, birthOf(left[i]), left[i + 1], left[i], false)
    left = []
    for (const [rank, rows] of ranks.entries()) {
      const rowOf = new Int32Array(lines).fill(-1)
      for (const row of rows) rowOf[spans.op[row]] = row
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
          if (ended >= end_ns) [last, end_ns] = [users.op[u], ended]
        }
        if (last < 0) left.push(b, rank)
        else events.add(end_ns, 2 * last + 1, step, last, rank, b, false)
      }
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
  private readonly time_ns: number[] = []
  /** Place among events of one instant: what ends then ends before what takes its bytes begins. */
  private readonly order: number[] = []
  private readonly step: number[] = []
  private readonly op: number[] = []
  private readonly rank: number[] = []
  private readonly buffer: number[] = []
  private readonly begins: boolean[] = []

  add(time_ns: number, order: number, step: number, op: number, rank: number, buffer: number, begins: boolean): void {
    this.time_ns.push(time_ns)
    this.order.push(order)
    this.step.push(step)
    this.op.push(op)
    this.rank.push(rank)
    this.buffer.push(buffer)
    this.begins.push(begins)
  }

  /** In order of time, with the bytes that stand after each. */
  table(buffers: PlanTables['buffers']): MemoryColumns {
    const { time_ns, order, step, rank } = this
    const sorted = Uint32Array.from(time_ns, (_, i) => i).sort(
      (a, b) => time_ns[a] - time_ns[b] || step[a] - step[b] || order[a] - order[b] || rank[a] - rank[b],
    )
    const totals = new Map<number, number>()
    const delta_bytes = new Float64Array(sorted.length)
    const total_bytes = new Float64Array(sorted.length)
    sorted.forEach((event, row) => {
      const buffer = this.buffer[event]
      const arena = rank[event] * TIERS.length + buffers.tier[buffer]
      const delta = this.begins[event] ? buffers.size_bytes[buffer] : -buffers.size_bytes[buffer]
      const total = (totals.get(arena) ?? 0) + delta
      totals.set(arena, total)
      delta_bytes[row] = delta
      total_bytes[row] = total
    })
    const column =
      (values: readonly number[]): ((event: number) => number) =>
      (event) =>
        values[event]
    return {
      step: sorted.map(column(step)),
      op: sorted.map(column(this.op)),
      rank: Uint16Array.from(sorted, column(rank)),
      tier: Uint8Array.from(sorted, (event) => buffers.tier[this.buffer[event]]),
      category: Uint8Array.from(sorted, (event) => buffers.category[this.buffer[event]]),
      time_ns: Float64Array.from(sorted, column(time_ns)),
      delta_bytes,
      total_bytes,
      buffer: sorted.map(column(this.buffer)),
    }
  }
}

/** Rows of the span table by step, in order, and by rank. */
function stepsOf(spans: SpanColumns): { step: number; ranks: number[][] }[] {
  const ranks = spans.rank.reduce((most, rank) => Math.max(most, rank), 0) + 1
  const steps = new Map<number, number[][]>()
  for (let row = 0; row < spans.op.length; row++) {
    const step = spans.step[row]
    const rows = steps.get(step) ?? Array.from({ length: ranks }, (): number[] => [])
    steps.set(step, rows)
    rows[spans.rank[row]].push(row)
  }
  return [...steps].sort(([a], [b]) => a - b).map(([step, rows]) => ({ step, ranks: rows }))
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

function greatest(values: Uint32Array): number {
  return values.reduce((most, value) => Math.max(most, value), 0)
}
