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
    const [less, more] = by < 0 ? [b, a] : [a, b]
    const [low, high] = [Math.min(difference.a as number, difference.b as number), Math.max(difference.a as number, difference.b as number)]
    const ratio = low > 0 ? `, ${Number((high / low).toPrecision(3))} times less` : ''
    const words = `${what}: ${less.name} ${amount(difference.unit, low)}, ${more.name} ${amount(difference.unit, high)}${ratio}`
    const better = betterWords(difference, comparison)
    return [better && better !== less.name ? `${words}; ${better} is better.` : `${words}.`]
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
