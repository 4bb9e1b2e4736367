/** A value as a page can draw it: a grid of as many cells as it asked for, and what is true of all values. */
import type { KernelMessage } from '../../trace/live/messages.js'
import { type Grid, gridOf, MOST_CELLS } from '../../trace/model/grid.js'
import type { Peek } from '../run/peek.js'

type Peeked = Omit<Extract<KernelMessage, { op: 'peeked' }>, 'op' | 'request'> & { readonly values: Uint8Array }

export function thinned({ name, tier, rank, shape, values }: Peek, most: number): Peeked {
  const { values: cells, ...grid }: Grid = gridOf(values, shape, cellsWithin(most))
  return { name, tier, rank, grid, values: new Uint8Array(Float32Array.from(cells).buffer) }
}

function cellsWithin(most: number): { rows: number; columns: number } {
  let { rows, columns }: { rows: number; columns: number } = MOST_CELLS
  while (rows * columns > most) {
    if (rows >= columns) rows = Math.ceil(rows / 2)
    else columns = Math.ceil(columns / 2)
  }
  return { rows, columns }
}
