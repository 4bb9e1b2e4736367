/** A value as a page can draw it: its rows, thinned out to as many numbers as it asked for. */
import type { KernelMessage } from '../../trace/live/messages.js'
import type { Peek } from '../run/peek.js'

type Peeked = Omit<Extract<KernelMessage, { op: 'peeked' }>, 'op' | 'request'> & { readonly values: Uint8Array }

/** Every n-th row and column, alike as far as that goes: the last dimension makes the columns, all others the rows. */
export function strided({ name, tier, rank, shape, values }: Peek, most: number): Peeked {
  const width = shape.at(-1) ?? 1
  const height = values.length / width
  const [down, across] = stridesOf(height, width, most)
  const [rows, columns] = [Math.ceil(height / down), Math.ceil(width / across)]
  const kept = new Float32Array(rows * columns)
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) kept[row * columns + column] = values[row * down * width + column * across]
  return { name, tier, rank, shape, rows, columns, stride: [down, across], values: new Uint8Array(kept.buffer) }
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
