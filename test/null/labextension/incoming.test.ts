/** What a page reads of what a kernel says. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { thinned } from '../../../kernel/src/fpdt/live/peeked.js'
import { Peek } from '../../../kernel/src/fpdt/run/peek.js'
import { encodeTable } from '../../../kernel/src/trace/codec.js'
import { MOST_LINES, textOf } from '../../../kernel/src/trace/lines.js'
import { gridOf } from '../../../kernel/src/trace/model/grid.js'
import { readMessage } from '../../../labextension/src/live/incoming.js'
import { fixture } from '../trace/fixture.js'

const { head, buffers, uses, waits } = fixture({ layers: 1, chunks: 2, steps: 1 })
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const planWith = (listing: string, names: string) =>
  readMessage({ op: 'plan', run_id: head.run_id, seq: 1, head, predicted: false }, [
    bytes(listing),
    bytes(names),
    encodeTable('buffers', buffers),
    encodeTable('uses', uses),
    encodeTable('waits', waits),
  ])

describe('lists of a plan', () => {
  it.each([[[]], [['']], [['a', '', 'b', '']]])('are what the kernel had: %j', (list) => {
    expect(planWith(textOf(list), textOf(['x']))).toMatchObject({ plan: { listing: list, names: ['x'] } })
    expect(planWith(textOf(['op']), textOf(list))).toMatchObject({ plan: { listing: ['op'], names: list } })
  })

  it('are no longer than a plan ever is', () => {
    const long = '\n'.repeat(MOST_LINES + 1)
    expect(() => planWith(long, '')).toThrow(`listing has more than ${MOST_LINES} lines`)
    expect(() => planWith('', long)).toThrow(`names has more than ${MOST_LINES} lines`)
  })
})

describe('values of a buffer', () => {
  it('are a grid of all of them, with their own shape, extremes and mean, in no more cells than were asked for', () => {
    const shape = fc.array(fc.integer({ min: 1, max: 24 }), { minLength: 1, maxLength: 3 })
    fc.assert(
      fc.property(shape, fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 1, max: 2 ** 31 - 1 }), (sizes, most, seed) => {
        const count = sizes.reduce((a, b) => a * b, 1)
        const values = Float32Array.from({ length: count }, (_, i) => Math.fround(((seed * (i + 1)) % 1009) / 7 - 60))
        const { values: cells, ...peeked } = thinned(new Peek('x', 'host', 1, sizes, values, 'after op 3'), most)
        const message = readMessage(JSON.parse(JSON.stringify({ op: 'peeked', request: 1, ...peeked })), [cells])
        if (message.op !== 'peeked') throw new Error(message.op)
        const { grid } = message
        expect(grid.cellRows * grid.cellColumns).toBeLessThanOrEqual(most)
        expect({ shape: grid.shape, summary: grid.summary }).toEqual({ shape: sizes, summary: gridOf(values, sizes).summary })
        // What stands out most of all is in the picture, however small it is.
        const farthest = (of: ArrayLike<number>): number => Math.max(...Array.from(of, (value) => Math.abs(value - grid.summary.middle)))
        expect(farthest(grid.values)).toBeCloseTo(farthest(values), 3)
      }),
    )
  })
})
