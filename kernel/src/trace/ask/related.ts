/** What belongs together: the spans, buffers, meetings and ranks that a target concerns, so that every view can mark them. */
import { firstAfter, type Run, stackFor } from '../model/run.js'
import { levelAt } from '../model/stack.js'
import type { Target } from '../model/target.js'
import { CATEGORIES, KINDS, NONE, NONE_32, PHASES, type Phase } from '../schema.js'
import { groupOf, lookupOf } from './lookup.js'
import { endOf } from './waiting.js'

export interface Meeting {
  readonly phase: Phase
  /** NONE outside layers. */
  readonly layer: number
  readonly q: number
  readonly kv: number
}
export interface Related {
  /** Rows of the span table. */
  readonly spans: readonly number[]
  /** Rows of the buffer table. */
  readonly buffers: readonly number[]
  readonly meetings: readonly Meeting[]
  readonly ranks: readonly number[]
}

/**
 *   span     the buffers it touches, the meeting it is part of
 *   instant  what runs on the rank then, the buffer that brought memory to its level
 *   buffer   the spans of the rank that touch it, the same value on other tiers and at other times
 *   meeting  its spans on the rank, and the buffers they touch
 *   step     its ranks
 */
export function relatedTo(run: Run, target: Target): Related {
  switch (target.kind) {
    case 'span': {
      const { spans } = run
      const meeting = meetingOf(run, target.row)
      return { spans: [target.row], buffers: buffersOf(run, spans.op[target.row]), meetings: meeting ? [meeting] : [], ranks: [spans.rank[target.row]] }
    }
    case 'instant': {
      const rows = runningAt(run, target.rank, target.time_ns)
      const meetings = rows.flatMap((row) => meetingOf(run, row) ?? [])
      return { spans: rows, buffers: pushedBy(run, target), meetings, ranks: [target.rank] }
    }
    case 'buffer': {
      const ops = new Set([...groupOf(lookupOf(run).usesOfBuffer, target.buffer)].map((use) => run.uses.op[use]))
      const spans = [...ops].flatMap((op) => spansOf(run, op, target.rank))
      return { spans, buffers: sameValue(run, target.buffer), meetings: unique(spans.flatMap((row) => meetingOf(run, row) ?? [])), ranks: [target.rank] }
    }
    case 'meeting': {
      const { kind: _, rank, ...meeting } = target
      const ops = opsOfMeeting(run, meeting)
      const buffers = [...new Set(ops.flatMap((op) => buffersOf(run, op)))]
      return { spans: ops.flatMap((op) => spansOf(run, op, rank)), buffers, meetings: [meeting], ranks: [rank] }
    }
    case 'step':
      return { spans: [], buffers: [], meetings: [], ranks: run.ranks }
  }
}

/** The buffers that an op touches, each once, and how: bits READS and WRITES. */
export function usesOf(run: Run, op: number): { buffer: number; access: number }[] {
  const { buffer, access } = run.uses
  const byBuffer = new Map<number, number>()
  for (const use of groupOf(lookupOf(run).usesOfOp, op)) byBuffer.set(buffer[use], (byBuffer.get(buffer[use]) ?? 0) | access[use])
  return [...byBuffer].map(([touched, how]) => ({ buffer: touched, access: how }))
}

function buffersOf(run: Run, op: number): number[] {
  return usesOf(run, op).map(({ buffer }) => buffer)
}

/** Spans of an op on a rank, in all steps. */
function spansOf(run: Run, op: number, rank: number): number[] {
  return [...groupOf(lookupOf(run).spansOfOp, op)].filter((row) => run.spans.rank[row] === rank)
}

const WORKSPACE = CATEGORIES.indexOf('workspace')

/** Residencies of one value, this one among them: fetched anew it has another. A workspace holds no value, and is called after its kernel. */
function sameValue(run: Run, buffer: number): readonly number[] {
  if (run.buffers.category[buffer] === WORKSPACE) return [buffer]
  return indexOf(run).byName.get(run.names[buffer]) ?? []
}

/** The meeting that an op of attention computes. */
function meetingOf({ spans }: Run, row: number): Meeting | null {
  if (KINDS[spans.kind[row]] !== 'compute' || spans.q[row] === NONE || spans.kv[row] === NONE) return null
  return { phase: PHASES[spans.phase[row]], layer: spans.layer[row], q: spans.q[row], kv: spans.kv[row] }
}

function opsOfMeeting(run: Run, meeting: Meeting): readonly number[] {
  return indexOf(run).byMeeting.get(keyOf(meeting)) ?? []
}

function runningAt(run: Run, rank: number, time_ns: number): number[] {
  return run.lanes.flatMap((lane) => {
    if (lane.rank !== rank) return []
    const row = lane.rows[firstAfter(lane.rows, (candidate) => run.spans.start_ns[candidate], time_ns) - 1]
    return row !== undefined && endOf(run.spans, row) > time_ns ? [row] : []
  })
}

/** The buffer whose residency began last. */
function pushedBy(run: Run, { rank, tier, time_ns }: Target & { kind: 'instant' }): number[] {
  const stack = stackFor(run, rank, tier)
  if (!stack) return []
  const { memory } = run
  for (let i = levelAt(stack, time_ns) - 1; i >= 0; i--) {
    const row = stack.rows[i]
    if (memory.delta_bytes[row] > 0) return memory.buffer[row] === NONE_32 ? [] : [memory.buffer[row]]
  }
  return []
}

function unique(meetings: readonly Meeting[]): Meeting[] {
  return [...new Map(meetings.map((meeting) => [keyOf(meeting), meeting])).values()]
}

function keyOf({ phase, layer, q, kv }: Meeting): string {
  return `${phase} ${layer} ${q} ${kv}`
}

interface Index {
  readonly byName: ReadonlyMap<string, readonly number[]>
  /** Ops that compute at a meeting. */
  readonly byMeeting: ReadonlyMap<string, readonly number[]>
}
const indices = new WeakMap<Run, Index>()

function indexOf(run: Run): Index {
  const known = indices.get(run)
  if (known) return known
  const byName = new Map<string, number[]>()
  for (const [buffer, name] of run.names.entries()) push(byName, name, buffer)
  const byMeeting = new Map<string, number[]>()
  const { start, rows } = lookupOf(run).spansOfOp
  for (let op = 0; op < run.listing.length; op++) {
    if (start[op] === start[op + 1]) continue
    const meeting = meetingOf(run, rows[start[op]])
    if (meeting) push(byMeeting, keyOf(meeting), op)
  }
  const index = { byName, byMeeting }
  indices.set(run, index)
  return index
}

function push<Key>(groups: Map<Key, number[]>, key: Key, value: number): void {
  const group = groups.get(key)
  if (group) group.push(value)
  else groups.set(key, [value])
}
