/** Sets of bytes, as sorted disjoint ranges [from, to). Small: a value has as many as it has views. */
export type Range = readonly [from: number, to: number]

/** The set and a range. */
export function include(ranges: readonly Range[], [from, to]: Range): Range[] {
  const apart = ranges.filter(([a, b]) => b < from || a > to)
  const joined = ranges.filter(([a, b]) => b >= from && a <= to)
  const merged: Range = [Math.min(from, ...joined.map(([a]) => a)), Math.max(to, ...joined.map(([, b]) => b))]
  return [...apart, merged].sort(([a], [b]) => a - b)
}
/** The set without a range. */
export function exclude(ranges: readonly Range[], [from, to]: Range): Range[] {
  return ranges.flatMap(([a, b]) =>
    (
      [
        [a, Math.min(b, from)],
        [Math.max(a, to), b],
      ] as Range[]
    ).filter(([start, end]) => start < end),
  )
}
/** Every byte of a range is in the set. */
export function covers(ranges: readonly Range[], [from, to]: Range): boolean {
  return from === to || ranges.some(([a, b]) => a <= from && b >= to)
}
/** Some byte is in both. */
export function overlap([a, b]: Range, [from, to]: Range): boolean {
  return a < to && b > from
}
