/** Answers as a reader of a cell sees them: the figures in lines, and the names by which a program has them. */
import { largestInWords, sizeInWords } from '../../plan/words.js'
import type { Comparison } from '../../trace/ask/compare.js'
import type { Difference } from '../../trace/ask/compared-groups.js'
import type { Spike } from '../../trace/ask/spike.js'
import type { Stall } from '../../trace/ask/stall.js'
import type { Run } from '../../trace/model/run.js'
import { amount, differenceWords } from '../../trace/words/compare.js'
import { duration } from '../../trace/words/format.js'
import type { MeetingRow } from './answers.js'

/** Buffers that are named. */
const LARGEST = 8

export function spikeInWords(run: Run, { rank, tier, time_ns, bytes, budget_bytes, categories, buffers, pushed, freed }: Spike): string {
  const nameOf = (buffer: number): string => run.names[buffer] as string
  return [
    `${tier} of rank ${rank} at ${duration(time_ns)}: ${sizeInWords(bytes)}${budget_bytes === null ? '' : ` of ${sizeInWords(budget_bytes)}`}`,
    `  ${categories.map(({ category, bytes: each }) => `${category} ${sizeInWords(each)}`).join(', ')}`,
    `  largest: ${largestInWords(buffers, LARGEST)}`,
    ...(pushed === null
      ? []
      : [
          `  brought there by ${nameOf(pushed.buffer)}, ${sizeInWords(pushed.bytes)}${pushed.op === null ? '' : `, in op ${pushed.op}: ${run.listing[pushed.op]}`}`,
        ]),
    ...(freed === null ? [] : [`  freed next, after op ${freed.op}: ${freed.buffers.map(nameOf).join(', ')}, ${sizeInWords(freed.bytes)}`]),
    '{ rank, tier, time_ns, bytes, budget_bytes, categories, buffers, unnamed_bytes, pushed, freed }',
  ].join('\n')
}

export function stallsInWords(stalls: readonly Stall[]): string {
  if (stalls.length === 0) return 'No op waited. []'
  return [...stalls.map(({ words }) => words), '[{ row, waited_ns, on, name, cause, words }, …]'].join('\n')
}

export function meetingsInWords(meetings: readonly MeetingRow[]): string {
  const lines = meetings.map(({ q, kv, from, duration_ns, copied, waited_ns }) => {
    const came = copied.length === 0 ? '' : `, ${copied.join(', ')}${waited_ns > 0 ? `, waited for ${duration(waited_ns)}` : ''}`
    return `query chunk ${q} met key/value chunk ${kv} for ${duration(duration_ns)}; from: ${from}${came}`
  })
  return [...lines, '[{ q, kv, from, start_ns, duration_ns, copied, waited_ns }, …]'].join('\n')
}

export function comparisonInWords({ a, b, groups, ops, notes }: Comparison): string {
  const row = (difference: Difference): string[] => [
    difference.name,
    amount(difference.unit, difference.a),
    amount(difference.unit, difference.b),
    differenceWords(difference),
  ]
  const parts = groups.map(({ title, total, parts }) => ({ title, rows: [...parts, ...(total ? [total] : [])].map(row) }))
  const all = parts.flatMap(({ rows }) => rows)
  const widths = [0, 1, 2].map((column) => Math.max(...all.map((cells) => (cells[column] as string).length)))
  const line = ([name = '', ofA = '', ofB = '', by = '']: readonly string[]): string =>
    `  ${name.padEnd(widths[0] as number)}  ${ofA.padStart(widths[1] as number)}  ${ofB.padStart(widths[2] as number)}  ${by}`.trimEnd()
  return [
    `${a.name}, then ${b.name}, and what that has more or less`,
    ...parts.flatMap(({ title, rows }) => [title, ...rows.map(line)]),
    ...(ops.length > 0 ? [`${ops.length} ops differ in time`] : []),
    ...notes,
    '{ a, b, offset_ns, groups, sameOps, ops, moved, notes }',
  ].join('\n')
}
