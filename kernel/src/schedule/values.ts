/**
 * Values: the tensors of one rank, by the names of the paper. A value has no place; a place of a value is a *residency*
 * (`k[0,2]@device`), made and ended by ops (`ops.ts`).
 *
 * Letters: N sequence, P ranks, C tokens of a chunk over all ranks, c = C/P, u = N/C chunks, d width, h query heads,
 * g key/value heads, D head size, f feed-forward width, V vocabulary, L layers. l is a layer, i a query chunk, j a kv chunk.
 */
import type { Category } from '../trace/schema.js'

export type Dtype = 'bf16' | 'f32' | 'f64' | 'i32'
export const DTYPE_BYTES: Record<Dtype, number> = { bf16: 2, f32: 4, f64: 8, i32: 4 }

export interface Value {
  /** Whole and readable: `k[0,2]` is k of layer 0, chunk 2. Unique in a step. */
  readonly name: string
  readonly dtype: Dtype
  /** Extents, outermost first; rows are tokens where there are tokens. */
  readonly shape: readonly number[]
  readonly category: Category
  /** Position in the sequence of the first row, for values whose rows are consecutive tokens (after the all-to-all). */
  readonly start?: number
  /** A view names part of another value: it lives, moves and dies with it. `offset` in elements of the whole. */
  readonly of?: { readonly value: Value; readonly offset: number }
}

export function elements(value: Value): number {
  return value.shape.reduce((product, extent) => product * extent, 1)
}
export function bytesOf(value: Value): number {
  return elements(value) * DTYPE_BYTES[value.dtype]
}
/** The value that owns the bytes: itself, or what it is a view of. */
export function whole(value: Value): Value {
  return value.of ? value.of.value : value
}
/** First byte and one past the last byte of a value inside `whole(value)`. */
export function byteRange(value: Value): readonly [number, number] {
  const start = value.of ? value.of.offset * DTYPE_BYTES[value.of.value.dtype] : 0
  return [start, start + bytesOf(value)]
}
/** Part of a value: rows or parameters `offset ..` in elements, named `whole.part`. */
export function view(value: Value, part: string, shape: readonly number[], offset: number): Value {
  return { name: `${value.name}.${part}`, dtype: value.dtype, shape, category: value.category, of: { value, offset } }
}
/** Rows `first .. first + count` of a value whose outermost extent is rows. */
export function rows(value: Value, part: string, first: number, count: number): Value {
  const rowElements = elements(value) / (value.shape[0] as number)
  return view(value, part, [count, ...value.shape.slice(1)], first * rowElements)
}
