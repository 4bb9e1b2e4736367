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

/** At most `most` marks at multiples of 1, 2 or 5 times a power of ten, inside [start, end]. */
export function timeTicks(start_ns: number, end_ns: number, most: number): TimeTicks {
  const step = roundStep((end_ns - start_ns) / Math.max(1, most))
  const unit = TIME_UNITS.findLast((candidate) => candidate.size <= Math.max(step, 1)) ?? TIME_UNITS[0]
  const far = start_ns > 2000 * step
  const origin_ns = far ? Math.floor(start_ns / (step * 100)) * step * 100 : 0
  const places = Math.max(0, Math.ceil(-Math.log10(step / unit.size) - 1e-9))
  const ticks: Tick[] = []
  for (let i = Math.ceil(start_ns / step - 1e-9); i * step <= end_ns + step * 1e-9; i++) {
    const from = i * step - origin_ns
    ticks.push({ value: i * step, label: `${far ? '+' : ''}${(from / unit.size).toFixed(places)}` })
  }
  return { ticks, unit: unit.name, origin_ns, title: far ? `${unit.name} after ${plainTime(origin_ns, step)}` : `time, ${unit.name}` }
}

/** At most `most` + 1 marks from 0 to `end`, a power of two of a binary unit apart. */
export function byteTicks(end: number, most: number): Tick[] {
  const step = Math.max(1, 2 ** Math.ceil(Math.log2(Math.max(end, 1) / Math.max(1, most))))
  const unit = BYTE_UNITS.findLast((candidate) => candidate.size <= step) ?? BYTE_UNITS[0]
  const ticks: Tick[] = []
  for (let value = 0; value <= end; value += step) ticks.push({ value, label: value === 0 ? '0' : `${value / unit.size} ${unit.name}` })
  return ticks
}

/** At most about `most` multiples of 1, 2 or 5 times a power of ten inside [low, high]. */
export function roundTicks(low: number, high: number, most: number): number[] {
  const power = 10 ** Math.floor(Math.log10((high - low) / Math.max(1, most)))
  const step = ([1, 2, 5].find((factor) => (high - low) / (factor * power) <= most) ?? 10) * power
  const first = Math.ceil(low / step - 1e-9)
  return Array.from({ length: Math.max(0, Math.floor(high / step + 1e-9) - first + 1) }, (_, i) => (first + i) * step)
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
