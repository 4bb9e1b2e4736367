/** Searching in what ascends. */
import { firstIndex } from '../../search.js'

/** How many of `times` are before `bound`, at least `from`; what lies near `from` costs little. */
export function countBefore(times: Float64Array, bound: number, from = 0): number {
  let low = from
  let stride = 1
  while (low + stride <= times.length && times[low + stride - 1] < bound) {
    low += stride
    stride *= 2
  }
  let high = Math.min(low + stride - 1, times.length)
  while (low < high) {
    const middle = (low + high) >> 1
    if (times[middle] < bound) low = middle + 1
    else high = middle
  }
  return low
}

/** The first index whose key is greater than `bound`; keys ascend. */
export function firstAfter<T>(items: ArrayLike<T>, key: (item: T) => number, bound: number): number {
  return firstIndex(items.length, (index) => key(items[index]) > bound)
}
