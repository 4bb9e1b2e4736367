import { describe, expect, it } from 'vitest'
import { llama } from '../../../kernel/src/model/llama.js'
import { cheaperOrder } from '../../../kernel/src/schedule/backward-order.js'
import { BACKWARD_ORDERS, type StepConfig, stepConfig } from '../../../kernel/src/schedule/config.js'
import { attentionBackwardBytes } from '../../../kernel/src/schedule/link-bytes.js'

const HEAD = 128
/** A layer of 8 query heads. */
function layer(kvHeads: number, chunks: number, rest: { offload?: 'device'; prefetch?: number } = {}): StepConfig {
  const model = llama({ layers: 1, width: 8 * HEAD, heads: 8, kvHeads, vocab: 32 })
  return stepConfig({ model, sequence: 64 * chunks, chunk: 64, ...rest })
}
/** Bytes with key/value chunks outside, for each byte with query chunks outside. */
function ratio(config: StepConfig): number {
  const [kv, q] = BACKWARD_ORDERS.map((order) => attentionBackwardBytes(config, order)).map((bytes) => bytes.in + bytes.out)
  return kv / q
}

describe('link bytes of the attention backward', () => {
  /**
   * Over an inner step, per token and query width: key/value chunks outside move q, dO (2 bytes each), dq (4) in and dq out, and lse
   * and delta (4 bytes a head each) in; query chunks outside move k, v (2), dk, dv (4) in and dk, dv out, over the group of heads that share them.
   */
  const inTheLimit = (group: number): number => (12 + 8 / HEAD) / (20 / group)

  it.each([1, 4, 8])('approach what an inner step moves with more chunks, at %s query heads for one key/value head', (group) => {
    // What a row moves once is the n-th part of what it moves for each of n columns: twice the chunks, half the distance.
    const [near, nearer] = [64, 128].map((chunks) => inTheLimit(group) - ratio(layer(8 / group, chunks)))
    expect(nearer / near).toBeGreaterThan(0.45)
    expect(nearer / near).toBeLessThan(0.55)
    expect(2 * ratio(layer(8 / group, 128)) - ratio(layer(8 / group, 64))).toBeCloseTo(inTheLimit(group), 1)
  })
  it('are 2.4 times fewer with query chunks outside at 4 query heads for one, and 0.6 times at one for one', () => {
    expect(inTheLimit(4).toFixed(1)).toBe('2.4')
    expect(ratio(layer(2, 256)).toFixed(1)).toBe('2.4')
    expect(ratio(layer(8, 256)).toFixed(1)).toBe('0.6')
  })
  it('do not depend on what is fetched ahead, but for the columns that every second row keeps', () => {
    expect(ratio(layer(2, 64, { prefetch: 0 }))).toBeCloseTo(ratio(layer(2, 64, { prefetch: 1 })), 2)
  })
  it('decide the order: fewer bytes, and the paper’s where none move', () => {
    for (const chunks of [2, 3, 8, 40]) {
      for (const kvHeads of [1, 2, 4, 8]) {
        const order = cheaperOrder(layer(kvHeads, chunks))
        expect(order, `${kvHeads} key/value heads, ${chunks} chunks`).toBe(ratio(layer(kvHeads, chunks)) > 1 ? 'q' : 'kv')
      }
    }
    const nothing = layer(2, 8, { offload: 'device' })
    expect(attentionBackwardBytes(nothing, 'q')).toEqual({ in: 0, out: 0 })
    expect(cheaperOrder(nothing)).toBe('kv')
  })
})
