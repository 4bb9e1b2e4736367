/** The ops of a run in the order of one of their numbers, and those of them in a window: a page of a list sorts once, whatever is in view. */
import type { Extent, Run } from '../model/run.js'
import { cached } from './cache.js'
import { freeFrom } from './stall.js'
import { endOf } from './waiting.js'

export const OP_ORDERS = ['start', 'duration', 'waited', 'bytes', 'FLOP'] as const
export type OpOrder = (typeof OP_ORDERS)[number]

/** Rows of spans that lie in a window in any part; of equal ones the earlier first, in either direction. */
export function opsIn(run: Run, { start_ns, end_ns }: Extent, by: OpOrder, descending: boolean): Uint32Array {
  const { spans } = run
  return orderOf(run, by, descending).filter((row) => spans.start_ns[row] < end_ns && endOf(spans, row) > start_ns)
}

/** From the end of the op before it on its stream, or the beginning of its step, to its own beginning. */
export function waitedOf(run: Run, row: number): number {
  return Math.max(0, run.spans.start_ns[row] - freeFrom(run, row))
}

function orderOf(run: Run, by: OpOrder, descending: boolean): Uint32Array {
  return cached(orders, run, `${by} ${descending}`, () => {
    const keys = keysOf(run, by)
    const { start_ns } = run.spans
    const sign = descending ? -1 : 1
    return Uint32Array.from(keys, (_, row) => row).sort((a, b) => sign * (keys[a] - keys[b]) || start_ns[a] - start_ns[b] || a - b)
  })
}
const orders = new WeakMap<object, Map<string, Uint32Array>>()

function keysOf(run: Run, by: OpOrder): Float64Array {
  const { start_ns, duration_ns, bytes, flops } = run.spans
  switch (by) {
    case 'start':
      return start_ns
    case 'duration':
      return duration_ns
    case 'waited':
      return Float64Array.from(start_ns, (_, row) => waitedOf(run, row))
    case 'bytes':
      return bytes
    case 'FLOP':
      return flops
    default:
      return by satisfies never
  }
}
