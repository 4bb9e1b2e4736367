import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PATHS, runOnThreads, runsOf } from './reference/run.js'
import { poison, random, tensor } from './reference/tensor.js'

const check = (x: Float32Array, path: string): void => {
  const { out } = runOnThreads('round', { count: x.length }, { out: poison(x.length, 'bf16'), x }, { path })
  expect(out).toEqual(tensor(x, 'bf16'))
}

describe.each(PATHS)('round on %s', (path) => {
  it('gives the nearest bf16 of any number of any bits, and of a tie the even one', () => {
    fc.assert(
      fc.property(fc.uint32Array({ minLength: 1, maxLength: 3000 }), (bits) => check(new Float32Array(bits.buffer), path)),
      { numRuns: runsOf(50) },
    )
    // Halfway between two neighbours, and one bit to either side; the last of all but infinity; subnormal numbers; none.
    const middle = [0x3f808000, 0x3f818000, 0xbf818000, 0x7f7f8000, 0x00008000, 0x7f800000]
    check(new Float32Array(Uint32Array.from([...middle.flatMap((bits) => [bits - 1, bits, bits + 1]), 0, 0x80000000, 0xffc00001]).buffer), path)
  })
  it('rounds more than one tile', () => check(random(5, 100_001, 'f32') as Float32Array, path))
})
