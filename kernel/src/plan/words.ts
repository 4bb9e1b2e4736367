/** Sizes and buffers in words, for messages. */
import type { Residency } from './lifetimes.js'

/** `1.50 GiB`, `12.0 MiB`, `768 bytes`: three figures, units of 2^10. */
export function sizeInWords(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let [size, unit] = [bytes, 0]
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024
    unit++
  }
  return unit === 0 ? `${bytes} bytes` : `${size.toFixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2)} ${units[unit]}`
}

/** `w[3] 12.0 MiB, q[3,0] 4.00 MiB and 17 more`. */
export function largestInWords(largestFirst: readonly Pick<Residency, 'name' | 'bytes'>[], count = 5): string {
  const named = largestFirst.slice(0, count).map(({ name, bytes }) => `${name} ${sizeInWords(bytes)}`)
  const more = largestFirst.length - named.length
  return `${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}
