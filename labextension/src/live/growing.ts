/** A span table that grows: rows are added at the end of columns that have room, so that a batch costs what it holds. */
import { SPAN_COLUMNS, type SpanColumns } from 'fpdt/trace'

const ARRAYS = { Uint8: Uint8Array, Uint16: Uint16Array, Uint32: Uint32Array, Float64: Float64Array }
const NAMES = Object.keys(SPAN_COLUMNS) as (keyof SpanColumns)[]
const FIRST_ROOM = 4096

export class GrowingSpans {
  #length = 0
  #room = 0
  #columns = emptySpans()

  get length(): number {
    return this.#length
  }

  append(spans: SpanColumns): void {
    const length = this.#length + spans.op.length
    if (length > this.#room) this.#grow(Math.max(FIRST_ROOM, 2 * this.#room, length))
    for (const name of NAMES) this.#columns[name].set(spans[name], this.#length)
    this.#length = length
  }

  /** The table from a row on. What was handed out stays as it is: rows are added behind it, and a change of rows makes new columns. */
  from(row: number): SpanColumns {
    return tableOf((name) => this.#columns[name].subarray(row, this.#length))
  }

  /** Begins again with these rows. */
  replace(spans: SpanColumns): void {
    this.#columns = spans
    this.#length = this.#room = spans.op.length
  }

  #grow(room: number): void {
    const before = this.from(0)
    this.#columns = tableOf((name) => {
      const column = new ARRAYS[SPAN_COLUMNS[name]](room)
      column.set(before[name])
      return column
    })
    this.#room = room
  }
}

export function emptySpans(): SpanColumns {
  return tableOf((name) => new ARRAYS[SPAN_COLUMNS[name]](0))
}

function tableOf(column: (name: keyof SpanColumns) => SpanColumns[keyof SpanColumns]): SpanColumns {
  return Object.fromEntries(NAMES.map((name) => [name, column(name)])) as unknown as SpanColumns
}
