/** Rounding at random, by which the reference shows what rounding alone does to a step. */
import type { Rounding } from './transformer.js'

/**
 * To one of the two bf16 values around a value, the more often the nearer it is: nothing is moved on average. Of one seed a value goes
 * always the same way, and its negative likewise, as when it goes to the nearest: what many tokens share is then wrong for all of them
 * alike, and does not average out. Source: Monte Carlo arithmetic, Parker (1997).
 */
export function randomBf16(seed: number): (value: number) => number {
  const float = new Float32Array(1)
  const bits = new Uint32Array(float.buffer)
  const salt = Math.imul(seed, 0x9e3779b9)
  return (value) => {
    float[0] = value
    // The finaliser of MurmurHash3; what is added to the 16 bits that go carries into those that stay.
    let hash = (bits[0]! & 0x7fffffff) ^ salt
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
    bits[0] = (bits[0]! + ((hash ^ (hash >>> 16)) & 0xffff)) & 0xffff0000
    return float[0]!
  }
}

/** A step in bf16 with its hidden state in `hidden`. */
export function randomRounding(hidden: 'bf16' | 'f32', seed: number): Rounding {
  const T = randomBf16(seed)
  return { T, H: hidden === 'bf16' ? T : (value) => value }
}
