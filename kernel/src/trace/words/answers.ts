/** Answers as a reader of a cell sees them: the figures in lines, and the names by which a program has them. */
import { aligned } from '../../aligned.js'
import type { Comparison } from '../ask/compare.js'
import type { Difference } from '../ask/compared-groups.js'
import type { Spike } from '../ask/spike.js'
import type { Stall } from '../ask/stall.js'
import type { Run } from '../model/run.js'
import { amount, differenceWords } from './compare.js'
import { counted, duration, bytes as inBytes, largestInWords } from './format.js'

/** Buffers that are named. */
const LARGEST = 8

export function spikeInWords(run: Run, { rank, tier, time_ns, bytes, budget_bytes, categories, buffers, pushed, freed }: Spike): string {
  const nameOf = (buffer: number): string => run.names[buffer] as string
  return [
    `${tier} of rank ${rank} at ${duration(time_ns)}: ${inBytes(bytes)}${budget_bytes === null ? '' : ` of ${inBytes(budget_bytes)}`}`,
    `  ${categories.map(({ category, bytes: each }) => `${category} ${inBytes(each)}`).join(', ')}`,
    `  largest: ${largestInWords(buffers, LARGEST)}`,
    ...(pushed === null
      ? []
      : [
          `  brought there by ${nameOf(pushed.buffer)}, ${inBytes(pushed.bytes)}${pushed.op === null ? '' : `, in op ${pushed.op}: ${run.listing[pushed.op]}`}`,
        ]),
    ...(freed === null ? [] : [`  freed next, after op ${freed.op}: ${freed.buffers.map(nameOf).join(', ')}, ${inBytes(freed.bytes)}`]),
    '{ rank, tier, time_ns, bytes, budget_bytes, categories, buffers, unnamed_bytes, pushed, freed }',
  ].join('\n')
}

export function stallsInWords(stalls: readonly Stall[]): string {
  if (stalls.length === 0) return 'No op waited. []'
  return [...stalls.map(({ words }) => words), '[{ row, waited_ns, on, name, cause, words }, …]'].join('\n')
}

export function comparisonInWords({ a, b, groups, ops, notes }: Comparison): string {
  const row = (difference: Difference): string[] => [
    difference.name,
    amount(difference.unit, difference.a),
    amount(difference.unit, difference.b),
    differenceWords(difference),
  ]
  const rows = groups.map(({ total, parts }) => [...parts, ...(total ? [total] : [])].map(row))
  const lines = aligned(rows.flat(), [1, 2]).map((line) => `  ${line}`)
  return [
    `${a.name}, then ${b.name}, and what that has more or less`,
    ...groups.flatMap(({ title }, i) => [title, ...lines.splice(0, rows[i]?.length)]),
    ...(ops.length > 0 ? [`${counted(ops.length, 'op')} ${ops.length === 1 ? 'differs' : 'differ'} in time`] : []),
    ...notes,
    '{ a, b, offset_ns, groups, sameOps, ops, moved, notes }',
  ].join('\n')
}
