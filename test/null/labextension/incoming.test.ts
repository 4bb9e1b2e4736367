/** What a page reads of what a kernel says. */
import { describe, expect, it } from 'vitest'
import { encodeTable } from '../../../kernel/src/trace/codec.js'
import { MOST_LINES, textOf } from '../../../kernel/src/trace/lines.js'
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
