/**
 * Small tensors of a notebook: what primitives and schedules of the user's own take and give. Elements lie in memory in the
 * device's dtype, rows first; a tensor whose rows are tokens knows the position of its first (`start`), so that chunks keep their
 * place in the sequence. Knows nothing of devices.
 */
import { INSPECT } from '../../display.js'
import { FpdtError } from '../../errors.js'
import { fromBf16, toBf16 } from '../../model/bf16.js'
import { fillNormal, randomSource } from '../../model/random.js'
import { DTYPE_BYTES, type Dtype } from '../../schedule/values.js'

/** Memory of a tensor: Float32Array (f32), Float64Array (f64), Int32Array (i32), or Uint16Array of bf16 bits. */
export type TensorData = Float32Array | Float64Array | Int32Array | Uint16Array
/** Numbers one can compute with: bf16 is widened to f32, exactly. */
export type Numbers = Float32Array | Float64Array | Int32Array
/** `[[1, 2], [3, 4]]`: as deep as the shape has extents. */
export type Nested = number | readonly Nested[]

const ARRAYS = { f32: Float32Array, f64: Float64Array, i32: Int32Array, bf16: Uint16Array } as const

export class Tensor {
  /** `data` is taken as it is, in the dtype's own array. Throws FpdtError `shape`, `dtype`. Most tensors are made by `tensor` or `random`. */
  constructor(
    readonly dtype: Dtype,
    /** Extents, outermost first. */
    readonly shape: readonly number[],
    readonly data: TensorData,
    /** Position in the sequence of the first row. 0 where rows are no tokens. */
    readonly start = 0,
  ) {
    if (!Object.hasOwn(DTYPE_BYTES, dtype)) throw new FpdtError('dtype', `dtype ${JSON.stringify(dtype)} is not one of ${Object.keys(DTYPE_BYTES).join(', ')}.`)
    checkShape(shape)
    if (!(data instanceof ARRAYS[dtype])) throw new FpdtError('dtype', `a tensor of ${dtype} lies in a ${ARRAYS[dtype].name}; got ${nameOf(data)}.`)
    if (data.length !== countOf(shape)) throw new FpdtError('shape', `shape (${shape.join(', ')}) has ${countOf(shape)} elements; got ${data.length}.`)
    if (!Number.isSafeInteger(start) || start < 0)
      throw new FpdtError('shape', `start ${String(start)} is not a position in a sequence: a whole number of 0 or more.`)
  }

  /** Number of elements. */
  get length(): number {
    return this.data.length
  }
  get bytes(): number {
    return this.data.byteLength
  }
  /** The elements as numbers, rows first: the memory itself, or for bf16 a copy in f32. */
  get values(): Numbers {
    return this.data instanceof Uint16Array ? fromBf16(this.data) : this.data
  }
  /** One element: `t.at(1, 0)`. Throws FpdtError `shape`. */
  at(...index: readonly number[]): number {
    const inside = index.length === this.shape.length && index.every((i, axis) => Number.isInteger(i) && i >= 0 && i < this.shape[axis])
    if (!inside) throw new FpdtError('shape', `(${index.join(', ')}) is no element of ${describe(this)}.`)
    const offset = index.reduce((sum, i, axis) => sum * this.shape[axis] + i, 0)
    return numbersOf(this.dtype, this.data.subarray(offset, offset + 1))[0]
  }

  /** The same numbers in another dtype, rounded to nearest (ties to even). Throws FpdtError `dtype` where i32 is asked of a fraction. */
  to(dtype: Dtype): Tensor {
    return dtype === this.dtype ? this : new Tensor(dtype, this.shape, dataOf(this.values, dtype), this.start)
  }
  /** Rows `first` up to `end` (not included) of the outermost extent, in place in the sequence. Shares memory. */
  rows(first: number, end: number): Tensor {
    const [count, ...row] = this.shape
    if (!(Number.isInteger(first) && Number.isInteger(end) && 0 <= first && first < end && end <= count))
      throw new FpdtError('shape', `rows ${first} to ${end} do not lie in ${describe(this)}.`)
    const size = countOf(row)
    return new Tensor(this.dtype, [end - first, ...row], this.data.subarray(first * size, end * size), this.start + first)
  }
  /** Equal chunks along the sequence, in order: `const [q0, q1] = q.chunks(2)`. Throws FpdtError `shape` where `count` does not divide the rows. */
  chunks(count: number): Tensor[] {
    const each = this.shape[0] / count
    if (!Number.isInteger(each)) throw new FpdtError('shape', `${count} chunks do not divide the ${this.shape[0]} rows of ${describe(this)}.`)
    return Array.from({ length: count }, (_, i) => this.rows(i * each, (i + 1) * each))
  }
  /** The same tensor at another position of the sequence. */
  from(start: number): Tensor {
    return new Tensor(this.dtype, this.shape, this.data, start)
  }
  /** The same elements in another shape. */
  reshape(...shape: readonly number[]): Tensor {
    return new Tensor(this.dtype, shape, this.data, this.start)
  }

  [INSPECT](): string {
    return `Tensor ${describe(this)}${this.start ? ` from token ${this.start}` : ''}\n${printed(this)}`
  }
}

export interface TensorOptions {
  /** Default: that of the array given; f32 for lists. */
  readonly dtype?: Dtype
  /** Default: the nesting of the lists. */
  readonly shape?: readonly number[]
  readonly start?: number
}

/**
 * A tensor of these numbers: `tensor([[1, 2], [3, 4]])`, `tensor(new Float32Array(6), { shape: [2, 3] })`, `tensor([5, 7], { dtype: 'i32' })`.
 * Throws FpdtError `shape` for lists of unequal length, `dtype` for a number that the dtype does not hold.
 */
export function tensor(values: Nested | Numbers, { dtype, shape, start }: TensorOptions = {}): Tensor {
  if (ArrayBuffer.isView(values)) {
    const own = (Object.keys(ARRAYS) as Dtype[]).find((name) => name !== 'bf16' && (values as unknown) instanceof ARRAYS[name])
    if (!own)
      throw new FpdtError('dtype', `${nameOf(values)} is not a Float32Array, Float64Array or Int32Array; raw bf16 bits are new Tensor('bf16', shape, bits).`)
    return new Tensor(dtype ?? own, shape ?? [values.length], dtype && dtype !== own ? dataOf(values, dtype) : values, start)
  }
  const nesting = nestingOf(values)
  const flat = (Array.isArray(values) ? values.flat(Number.POSITIVE_INFINITY) : [values]) as unknown[]
  if (flat.length !== countOf(nesting))
    throw new FpdtError('shape', `the lists are not of equal length: ${flat.length} numbers do not fill (${nesting.join(', ')}).`)
  for (const value of flat) if (typeof value !== 'number') throw new FpdtError('dtype', `${String(value)} among the values is not a number.`)
  const wanted = dtype ?? 'f32'
  return new Tensor(wanted, shape ?? nesting, dataOf(Float64Array.from(flat as number[]), wanted), start)
}

/** Normal deviates of mean 0 and deviation 1 in f32: the same for the same seed, on every machine. */
export function random(shape: readonly number[], seed = 1): Tensor {
  checkShape(shape)
  const data = new Float32Array(countOf(shape))
  fillNormal(data, 1, randomSource(seed))
  return new Tensor('f32', shape, data)
}

/** Chunks put together again, one after the other along the outermost extent. Throws FpdtError `shape`, `dtype` where they do not match. */
export function concat(chunks: readonly Tensor[]): Tensor {
  const [first] = chunks
  if (!first) throw new FpdtError('shape', 'concat needs at least one tensor.')
  for (const chunk of chunks) {
    if (chunk.dtype !== first.dtype) throw new FpdtError('dtype', `concat takes one dtype: ${first.dtype} and ${chunk.dtype} are two.`)
    if (chunk.shape.slice(1).join() !== first.shape.slice(1).join())
      throw new FpdtError('shape', `concat takes rows of one shape; got ${describe(first)} and ${describe(chunk)}.`)
  }
  const data = new ARRAYS[first.dtype](chunks.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const chunk of chunks) {
    data.set(chunk.data, at)
    at += chunk.length
  }
  return new Tensor(first.dtype, [chunks.reduce((sum, { shape }) => sum + shape[0], 0), ...first.shape.slice(1)], data, first.start)
}

/** The largest |a - b| over all elements; NaN where one is NaN. Throws FpdtError `shape` where the shapes differ. */
export function largestDifference(a: Tensor, b: Tensor): number {
  if (a.shape.join() !== b.shape.join()) throw new FpdtError('shape', `${describe(a)} and ${describe(b)} have different shapes.`)
  const [x, y] = [a.values, b.values]
  let largest = 0
  // Equal infinities differ by nothing; Math.max keeps a NaN.
  for (let i = 0; i < x.length; i++) largest = Math.max(largest, x[i] === y[i] ? 0 : Math.abs(x[i] - y[i]))
  return largest
}

/** `f32 (2, 3)`. */
export function describe({ dtype, shape }: { readonly dtype: Dtype; readonly shape: readonly number[] }): string {
  return `${dtype} (${shape.join(', ')})`
}

/** The tensor in bytes read from a device. */
export function fromBytes(dtype: Dtype, shape: readonly number[], bytes: Uint8Array, start = 0): Tensor {
  return new Tensor(dtype, shape, new ARRAYS[dtype](bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength / DTYPE_BYTES[dtype]), start)
}

function dataOf(values: Numbers, dtype: Dtype): TensorData {
  if (dtype === 'i32') {
    const broken = values.find((value) => !Number.isInteger(value) || Math.abs(value) >= 2 ** 31)
    if (broken !== undefined) throw new FpdtError('dtype', `i32 does not hold ${broken}: only whole numbers under 2^31.`)
  }
  if (!Object.hasOwn(ARRAYS, dtype)) throw new FpdtError('dtype', `dtype ${JSON.stringify(dtype)} is not one of ${Object.keys(ARRAYS).join(', ')}.`)
  return dtype === 'bf16' ? toBf16(Float32Array.from(values)) : ARRAYS[dtype].from(values)
}
function numbersOf(dtype: Dtype, data: TensorData): Numbers {
  return dtype === 'bf16' ? fromBf16(data as Uint16Array) : (data as Numbers)
}
function nestingOf(values: Nested): number[] {
  const shape: number[] = []
  for (let inner: unknown = values; Array.isArray(inner); inner = inner[0]) shape.push(inner.length)
  return shape
}
function checkShape(shape: readonly number[]): void {
  if (!Array.isArray(shape) || !shape.every((extent) => Number.isSafeInteger(extent) && extent > 0))
    throw new FpdtError('shape', `shape (${String(shape)}) is not a list of extents, each a whole number above 0.`)
}
function countOf(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1)
}
function nameOf(value: unknown): string {
  return (value as object | null)?.constructor?.name ?? String(value)
}

// ---- printing ------------------------------------------------------------------------------------------------------

/** Of a longer extent the first and last three are printed. */
const EDGE = 3

/** Nested rows, four digits, the middle of long extents left out: a line a row. */
function printed({ dtype, shape, values }: Tensor): string {
  const word = (offset: number): string => (dtype === 'i32' ? String(values[offset]) : String(Number(values[offset].toPrecision(4))))
  /** Calls back for every element that is printed, and nests what comes back. */
  const nest = (cell: (offset: number) => string, axis = 0, offset = 0): string => {
    if (axis === shape.length) return cell(offset)
    const inner = countOf(shape.slice(axis + 1))
    const parts = printedOf(shape[axis]).map((i) => (i === null ? '…' : nest(cell, axis + 1, offset + i * inner)))
    return `[${parts.join(axis === shape.length - 1 ? ', ' : `,\n${' '.repeat(axis + 1)}`)}]`
  }
  let width = 0
  nest((offset) => {
    width = Math.max(width, word(offset).length)
    return ''
  })
  return nest((offset) => word(offset).padStart(width))
}

/** Indices along an extent that are printed; null stands for those left out. */
function printedOf(extent: number): (number | null)[] {
  if (extent <= 2 * EDGE + 1) return Array.from({ length: extent }, (_, i) => i)
  return [0, 1, 2, null, extent - 3, extent - 2, extent - 1]
}
