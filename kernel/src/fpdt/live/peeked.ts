/** A value as a page can draw it: its rows, reduced to as many numbers as it asked for. */
import type { KernelMessage } from '../../trace/live/messages.js'
import { gridOf } from '../../trace/model/grid.js'
import type { Peek } from '../run/peek.js'

type Peeked = Omit<Extract<KernelMessage, { op: 'peeked' }>, 'op' | 'request'> & { readonly values: Uint8Array }

/** Of each block of rows and columns the value that stands out most: the last dimension makes the columns, all others the rows. */
export function thinned({ name, tier, rank, shape, values }: Peek, most: number): Peeked {
  const width = shape.at(-1) ?? 1
  const height = values.length / width
  const [down, across] = stridesOf(height, width, most)
  const grid = gridOf(values, [height, width], { rows: Math.ceil(height / down), columns: Math.ceil(width / across) })
  const kept = Float32Array.from(grid.values)
  return { name, tier, rank, shape, rows: grid.cellRows, columns: grid.cellColumns, stride: grid.block, values: new Uint8Array(kept.buffer) }
}

function stridesOf(height: number, width: number, most: number): readonly [number, number] {
  let [down, across] = [1, 1]
  while (Math.ceil(height / down) * Math.ceil(width / across) > most) {
    const [rows, columns] = [Math.ceil(height / down), Math.ceil(width / across)]
    if (rows >= columns) down = Math.ceil(height / Math.max(1, Math.min(rows - 1, Math.floor(rows / 2))))
    else across = Math.ceil(width / Math.max(1, Math.min(columns - 1, Math.floor(columns / 2))))
  }
  return [down, across]
}
