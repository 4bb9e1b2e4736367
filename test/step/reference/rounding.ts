/** Rounding at random, by which the reference shows what rounding alone does to a step. */
import type { Rounding } from './transformer.js'

/** What a step computes with, and in bf16 what it keeps its hidden state in. */
export type Dtypes = { readonly dtype: 'f32' } | { readonly dtype: 'bf16'; readonly hidden: 'bf16' | 'f32' }

export function randomRounding(dtypes: Dtypes, seed: number): Rounding {
  if (dtypes.dtype === 'f32') return { T: randomF32(seed), H: randomF32(seed) }
  return { T: randomBf16(seed), H: dtypes.hidden === 'bf16' ? randomBf16(seed) : randomF32(seed) }
}

/**
 * To one of the two bf16 values around a value, the more often the nearer it is: nothing is moved on average. Of one seed a value goes
 * always the same way, and its negative likewise, as when it goes to the nearest: what many tokens share is then wrong for all of them
 * alike, and does not average out. Source: Monte Carlo arithmetic, Parker (1997).
 */
export function randomBf16(seed: number): (value: number) => number {
  const float = new Float32Array(1)
  const bits = new Uint32Array(float.buffer)
  return (value) => {
    float[0] = value
    // What is added to the 16 bits that go carries into those that stay.
    bits[0] = (bits[0]! + (hash((bits[0]! & 0x7fffffff) ^ salt(seed)) & 0xffff)) & 0xffff0000
    return float[0]!
  }
}
/** The same to f32. */
export function randomF32(seed: number): (value: number) => number {
  const double = new Float64Array(1)
  const words = new Uint32Array(double.buffer) // the lower one first
  return (value) => {
    double[0] = value
    const lower = words[0]! + (hash(words[0]! ^ hash((words[1]! & 0x7fffffff) ^ salt(seed))) & 0x1fffffff)
    if (lower > 0xffffffff) words[1]!++
    words[0] = lower & 0xe0000000
    return double[0]!
  }
}

const salt = (seed: number): number => Math.imul(seed, 0x9e3779b9)
/** The finaliser of MurmurHash3. */
function hash(bits: number): number {
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35)
  return bits ^ (bits >>> 16)
}
