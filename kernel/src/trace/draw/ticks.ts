/** Where an axis is marked, and in what words: round numbers in one unit for the whole axis. */

export interface Tick {
  readonly value: number
  readonly label: string
}
export interface TimeTicks {
  readonly ticks: readonly Tick[]
  readonly unit: string
  /** Labels count from here; not 0 when the view is so deep that full times would fill the axis. */
  readonly origin_ns: number
  /** What the axis shows: `time, ms`, or `time, µs after 3.2001 s`. */
  readonly title: string
}

const TIME_UNITS = [
  { name: 'ns', size: 1 },
  { name: 'µs', size: 1e3 },
  { name: 'ms', size: 1e6 },
  { name: 's', size: 1e9 },
]
const BYTE_UNITS = [
  { name: 'B', size: 1 },
  { name: 'KiB', size: 2 ** 10 },
  { name: 'MiB', size: 2 ** 20 },
  { name: 'GiB', size: 2 ** 30 },
  { name: 'TiB', size: 2 ** 40 },
]

/** Part of a time below which doubles do not tell times apart any more. */
const TELLS_APART = 2 ** -50
/** More marks than any axis has. */
const MOST_TICKS = 10_000

/** At most `most` marks at multiples of 1, 2 or 5 times a power of ten, inside [start, end]. */
export function timeTicks(start_ns: number, end_ns: number, most: number): TimeTicks {
  const step = roundStep(Math.max((end_ns - start_ns) / Math.max(1, most), Math.abs(end_ns) * TELLS_APART))
  const unit = TIME_UNITS.findLast((candidate) => candidate.size <= Math.max(step, 1)) ?? TIME_UNITS[0]
  const far = start_ns > 2000 * step
  const origin_ns = far ? Math.floor(start_ns / (step * 100)) * step * 100 : 0
  const places = Math.max(0, Math.ceil(-Math.log10(step / unit.size) - 1e-9))
  const ticks = multiples(step, start_ns, end_ns).map((value) => ({ value, label: `${far ? '+' : ''}${((value - origin_ns) / unit.size).toFixed(places)}` }))
  return { ticks, unit: unit.name, origin_ns, title: far ? `${unit.name} after ${plainTime(origin_ns, step)}` : `time, ${unit.name}` }
}

/** At most `most` + 1 marks from 0 to `end`, a power of two of a binary unit apart. */
export function byteTicks(end: number, most: number): Tick[] {
  const step = Math.max(1, 2 ** Math.ceil(Math.log2(Math.max(end, 1) / Math.max(1, most))))
  const unit = BYTE_UNITS.findLast((candidate) => candidate.size <= step) ?? BYTE_UNITS[0]
  return multiples(step, 0, end).map((value) => ({ value, label: value === 0 ? '0' : `${value / unit.size} ${unit.name}` }))
}

/** At most about `most` multiples of 1, 2 or 5 times a power of ten inside [low, high]. */
export function roundTicks(low: number, high: number, most: number): number[] {
  const power = 10 ** Math.floor(Math.log10((high - low) / Math.max(1, most)))
  const step = ([1, 2, 5].find((factor) => (high - low) / (factor * power) <= most) ?? 10) * power
  return multiples(step, low, high)
}

/** Counted before any is made: of numbers so large that one step more is the same number, a loop would not end. None where an end is not finite. */
function multiples(step: number, low: number, high: number): number[] {
  const first = Math.ceil(low / step - 1e-9)
  const count = Math.floor(high / step + 1e-9) - first + 1
  return Array.from({ length: count > 0 && count <= MOST_TICKS ? count : 0 }, (_, i) => (first + i) * step)
}

/** An axis that fits values. */
export interface Scale {
  readonly low: number
  readonly high: number
  readonly ticks: readonly Tick[]
}

/** `least`: a range that is shown in any case; of one whose ends differ no more than that and the values, else with some room. */
export function scaleOf(values: Float64Array, least: readonly [number, number] | null, label: (value: number) => string): Scale {
  let [low, high] = least ?? [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (const value of values) {
    if (value < low) low = value
    if (value > high) high = value
  }
  if (low === high) [low, high] = low === 0 ? [0, 1] : [low - Math.abs(low) / 10, high + Math.abs(high) / 10]
  const room = (high - low) * 0.06
  const isFixed = least !== null && least[1] > least[0]
  const top = isFixed ? high : high + room
  const bottom = least ? low : low - room
  return { low: bottom, high: top, ticks: roundTicks(bottom, top, 4).map((value) => ({ value, label: label(value) })) }
}

/** `12.5 %`. */
export function percentTick(share: number): string {
  return `${Number((100 * share).toPrecision(4))} %`
}

/** `12.5k`, `2M`. */
export function countTick(value: number): string {
  const [size, unit] = value >= 1e9 ? [1e9, 'G'] : value >= 1e6 ? [1e6, 'M'] : value >= 1e4 ? [1e3, 'k'] : [1, '']
  return `${Number((value / size).toPrecision(4))}${unit}`
}

function roundStep(atLeast: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(atLeast, 1e-3)))
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= atLeast * (1 - 1e-9)) ?? 10)
}

/** A time written out as far as `step` tells it apart. */
function plainTime(ns: number, step: number): string {
  const unit = TIME_UNITS.findLast((candidate) => candidate.size <= ns) ?? TIME_UNITS[0]
  const places = Math.max(0, Math.round(Math.log10(unit.size) - Math.log10(step * 100)))
  return `${(ns / unit.size).toFixed(Math.min(places, 9))} ${unit.name}`
}
