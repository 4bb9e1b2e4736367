/** A comparison in words and figures, as tables and sentences show them. */

import type { Comparison } from '../ask/compare.js'
import { betterOf, type Difference, differenceOf, type Unit } from '../ask/compared-groups.js'
import { bytes, count, counted, duration, flops, percent } from './format.js'

const NONE_KNOWN = '–'

/** `1.20 s`, `31.0 MiB`; a dash for what is not known. */
export function amount(unit: Unit, value: number | null): string {
  if (value === null) return NONE_KNOWN
  switch (unit) {
    case 'time':
      return duration(value)
    case 'bytes':
      return bytes(value)
    case 'share':
      return percent(value)
    case 'rate':
      return `${count(value)}/s`
    case 'count':
      return count(value)
    case 'flops':
      return flops(value)
    default:
      return unit satisfies never
  }
}

/** What the second side has more or less: `+1.20 ms (+4.3 %)`. */
export function differenceWords(difference: Difference): string {
  const by = differenceOf(difference)
  if (by === null) return NONE_KNOWN
  if (by === 0) return 'equal'
  const sign = by > 0 ? '+' : '−'
  const size = difference.unit === 'share' ? `${(100 * Math.abs(by)).toFixed(1)} points` : amount(difference.unit, Math.abs(by))
  return difference.a === 0 ? `${sign}${size}` : `${sign}${size} (${sign}${percent(Math.abs(by) / Math.abs(difference.a as number))})`
}

/** The name of the better side; `equal`, or nothing where neither is. */
export function betterWords(difference: Difference, { a, b }: Comparison): string {
  const better = betterOf(difference)
  return better === 'a' ? a.name : better === 'b' ? b.name : better === 'equal' ? 'equal' : ''
}

/** `: 3.8 times as long`, what the second has of the first; a ratio that its digits would show as 1 is not said. */
function ratioWords(first: number, second: number, unit: Unit): string {
  const ratio = Number((second / first).toPrecision(3))
  if (!Number.isFinite(ratio) || ratio === 1) return ''
  return `: ${ratio} times as ${unit === 'time' ? 'long' : 'much'}`
}

/** What matters most, in sentences: time, peaks, bytes moved, ops. */
export function headlines(comparison: Comparison): string[] {
  const { a, b, groups, sameOps, ops, moved } = comparison
  const row = (title: string, name?: string): Difference | undefined => {
    const group = groups.find((one) => one.title.startsWith(title))
    return name === undefined ? (group?.total ?? undefined) : group?.parts.find((part) => part.name === name)
  }
  const said = (difference: Difference | undefined, what: string): string[] => {
    if (!difference) return []
    const by = differenceOf(difference)
    if (by === null) return []
    if (by === 0) return [`${what} is equal: ${amount(difference.unit, difference.a)}.`]
    // The better side stands first, and the ratio is that of the numbers as they stand.
    const better = betterOf(difference)
    const isFirst = better === 'neither' ? by > 0 : better === 'a'
    const [first, second] = isFirst ? [a, b] : [b, a]
    const [here, there] = (isFirst ? [difference.a, difference.b] : [difference.b, difference.a]) as [number, number]
    return [
      `${what}: ${first.name} takes ${amount(difference.unit, here)}, ${second.name} ${amount(difference.unit, there)}${ratioWords(here, there, difference.unit)}.`,
    ]
  }
  const order = moved.length > 0 ? `${counted(moved.length, 'op')} began in another order` : 'all began in the same order'
  return [
    ...said(row('Speed', 'duration'), 'Time of the step'),
    ...said(row('Speed', 'time of 1000 tokens'), 'Time of 1000 tokens'),
    ...said(row('Peak of device'), 'Peak of device memory'),
    ...said(row('Peak of host'), 'Peak of host memory'),
    ...said(row('Arenas', 'device arena'), 'Device arena'),
    ...said(row('Copies', 'not under compute'), 'Copies that compute does not hide'),
    ...(sameOps
      ? [`Both have the same ops: ${counted(ops.length, 'op')} took another time, and ${order}.`]
      : ['The two have different ops; they are compared by phase, layer and kernel.']),
  ]
}
