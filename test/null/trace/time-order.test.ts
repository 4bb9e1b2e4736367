import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { inTimeOrder } from '../../../kernel/src/trace/time-order.js'

describe('time order', () => {
  it('is that of a sort that compares, over ranges short and long, with parts of a nanosecond and with equal times', () => {
    const time = fc.oneof(fc.nat(9), fc.nat(100_000), fc.integer({ min: 0, max: 2 ** 50 }), fc.double({ min: 0, max: 50, noNaN: true }))
    fc.assert(
      fc.property(fc.array(time, { maxLength: 200 }), (list) => {
        const times_ns = Float64Array.from(list)
        const compare = (a: number, b: number): number => times_ns[a] - times_ns[b] || a - b
        expect([...inTimeOrder(times_ns, compare)]).toEqual([...times_ns.keys()].sort(compare))
      }),
      { examples: [[[1, 2 ** -54]]] }, // less than the last bit of their difference
    )
  })
})
