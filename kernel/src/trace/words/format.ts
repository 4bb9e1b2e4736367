/** Numbers as people read them. KiB, MiB, GiB are powers of 1024; everything else is decimal. */

const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
const DECIMAL = ['', 'k', 'M', 'G', 'T', 'P', 'E']
const NARROW = '\u202f' // between a number and its unit: they must not part at a line's end

/** `412 MiB`, `1.00 GiB`, `812 B`. */
export function bytes(value: number): string {
  return scaled(value, 1024, BINARY)
}

/** `812 ns`, `12.4 µs`, `1.20 ms`, `3.45 s`, `12 min 5 s`. */
export function duration(ns: number): string {
  if (Number.isFinite(ns) && Math.abs(ns) >= 120e9) {
    const seconds = Math.round(ns / 1e9)
    return `${Math.floor(seconds / 60)}${NARROW}min ${seconds % 60}${NARROW}s`
  }
  return scaled(ns, 1000, ['ns', 'µs', 'ms', 's'])
}

/** An instant in a window of so many nanoseconds: digits enough to tell its thousandths apart. `3.50214 s`, `6 min 35.104 s`. */
export function instant(ns: number, window_ns: number): string {
  const told = duration(ns)
  if (!Number.isFinite(ns) || !(window_ns > 0)) return told
  const size = Math.abs(ns)
  const exponent = size >= 1e9 ? 9 : size >= 1e6 ? 6 : size >= 1e3 ? 3 : 0
  const places = Math.min(exponent, Math.ceil(exponent + 3 - Math.log10(window_ns)))
  if (places <= (/\.(\d+)/.exec(told)?.[1].length ?? 0)) return told
  const value = Number((ns / 10 ** exponent).toFixed(places))
  if (size < 120e9) return `${value.toFixed(places)}${NARROW}${['ns', 'µs', 'ms', 's'][exponent / 3]}`
  const minutes = Math.floor(value / 60)
  return `${minutes}${NARROW}min ${(value - 60 * minutes).toFixed(places)}${NARROW}s`
}

/** `12.9 GFLOP`. */
export function flops(value: number): string {
  return scaled(
    value,
    1000,
    DECIMAL.map((prefix) => `${prefix}FLOP`),
  )
}

/** `10.7 TFLOP/s`, from operations and nanoseconds. */
export function flopRate(operations: number, ns: number): string {
  return `${flops((operations / ns) * 1e9)}/s`
}

/** `3.20 GiB/s`, from bytes and nanoseconds. */
export function byteRate(moved: number, ns: number): string {
  return `${bytes((moved / ns) * 1e9)}/s`
}

/** `12,345`. */
export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

/** `1 op`, `3 ops`. */
export function counted(value: number, noun: string): string {
  return `${count(value)} ${noun}${Math.round(value) === 1 ? '' : 's'}`
}

/** `41.2 %` of a fraction. */
export function percent(fraction: number): string {
  const value = fraction * 100
  return `${value >= 99.95 || value === 0 ? value.toFixed(0) : value.toFixed(1)}${NARROW}%`
}

/** `w[3] 12.0 MiB, q[3,0] 4.00 MiB and 17 more`. */
export function largestInWords(largestFirst: readonly { readonly name: string; readonly bytes: number }[], most = 5): string {
  const named = largestFirst.slice(0, most).map((one) => `${one.name} ${bytes(one.bytes)}`)
  const more = largestFirst.length - named.length
  return `${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

/** Three significant digits and the unit in which the number has at most three places before the point. */
function scaled(value: number, base: number, units: readonly string[]): string {
  if (!Number.isFinite(value)) return 'unknown'
  let unit = 0
  let rest = value
  while (unit < units.length - 1 && Math.abs(Number(rest.toPrecision(3))) >= (base === 1024 ? 1000 : base)) {
    rest /= base
    unit++
  }
  return `${digits(rest, unit === 0)}${NARROW}${units[unit]}`.trim()
}

function digits(value: number, whole: boolean): string {
  const size = Math.abs(value)
  if (Number.isInteger(value) && whole) return value.toString()
  return size >= 99.95 ? value.toFixed(0) : size >= 9.995 ? value.toFixed(1) : value.toFixed(2)
}

/** `2nd`, `11th`. */
export function ordinal(n: number): string {
  const suffix = n % 100 >= 11 && n % 100 <= 13 ? 'th' : (['th', 'st', 'nd', 'rd'][n % 10] ?? 'th')
  return `${n}${suffix}`
}
