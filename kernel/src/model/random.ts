/** Seeded random numbers: the same on every machine, whatever the number of ranks or threads. */

/** xoshiro128** (Blackman and Vigna, 2018), seeded by splitmix32. Returns whole numbers from 0 to 2^32 - 1. */
export function randomSource(seed: number): () => number {
  let s = seed >>> 0
  const splitmix = (): number => {
    s = (s + 0x9e3779b9) >>> 0
    let z = s
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b)
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35)
    return (z ^ (z >>> 16)) >>> 0
  }
  let [a, b, c, d] = [splitmix(), splitmix(), splitmix(), splitmix()]
  const rotate = (x: number, k: number): number => (x << k) | (x >>> (32 - k))
  return () => {
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0
    const t = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= t
    d = rotate(d, 11)
    return result
  }
}

/** Fills with normal deviates of mean 0 (Box and Muller, 1958). */
export function fillNormal(out: Float32Array, deviation: number, next: () => number): void {
  for (let i = 0; i < out.length; i += 2) {
    const radius = Math.sqrt(-2 * Math.log((next() + 1) / 2 ** 32)) * deviation
    const angle = (2 * Math.PI * next()) / 2 ** 32
    out[i] = radius * Math.cos(angle)
    if (i + 1 < out.length) out[i + 1] = radius * Math.sin(angle)
  }
}
