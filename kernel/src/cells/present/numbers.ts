/** Typed arrays and tensors of any size -> what a person wants to know of them, in a few milliseconds. */
import { types } from 'node:util'
import { bytes } from '../../trace/words/format.js'
import { read } from './read.js'

type Numbers = Exclude<NodeJS.TypedArray, Uint8ClampedArray> | Uint8ClampedArray

/** Shorter arrays are shown whole by `inspect`. */
const WHOLE = 100
/** Longer ones are not walked whole: some 10 ms. */
const WALKED = 2 ** 22
/** Of those that are not: so many runs, evenly spread, of so many elements. Runs, because every one touches a page of memory. */
const RUNS = 256
const RUN = 256
const EDGE = 3

/** Undefined for what is no tensor and no long typed array. */
export function numbersInWords(value: unknown): string | undefined {
  if (types.isTypedArray(value))
    return value.length <= WHOLE || Buffer.isBuffer(value) ? undefined : `${describe(value.constructor.name, [value.length], value)}\n${ends(value)}`
  return tensorInWords(value)
}

/** An instance of a class that has a shape and its numbers in a typed array, as those of onnxruntime and of TensorFlow.js have. */
function tensorInWords(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || types.isProxy(value) || Object.getPrototypeOf(value) === Object.prototype) return undefined
  const shape = read(value, 'shape') ?? read(value, 'dims')
  if (!Array.isArray(shape) || !shape.every((size) => Number.isSafeInteger(size) && size >= 0)) return undefined
  const data = read(value, 'data')
  const dtype = read(value, 'dtype') ?? read(value, 'type')
  const isWhole = types.isTypedArray(data) && data.length === shape.reduce((product, size) => product * size, 1)
  if (!isWhole) return typeof dtype === 'string' ? `${nameOf(value)} (${shape.join(', ')}) ${dtype}` : undefined
  return `${describe(`${nameOf(value)} ${typeof dtype === 'string' ? dtype : data.constructor.name}`, shape, data)}\n${ends(data)}`
}

function nameOf(value: object): string {
  const name = read(read(value, 'constructor'), 'name')
  return typeof name === 'string' && name !== '' ? name : 'Tensor'
}

function describe(kind: string, shape: readonly number[], data: Numbers): string {
  const of = (count: number) => count.toLocaleString('en')
  const found = statistics(data)
  const figures = found.finite === 0 ? [] : [`min ${short(found.min)}`, `max ${short(found.max)}`, `mean ${short(found.sum / found.finite)}`]
  const odd = [found.nan > 0 ? `${of(found.nan)} NaN` : [], found.infinite > 0 ? `${of(found.infinite)} infinite` : []].flat()
  const sampled = found.seen < data.length ? [`of a sample of ${of(found.seen)}`] : []
  return [`${kind} (${shape.map(of).join(' × ')})`, bytes(data.byteLength), ...figures, ...odd, ...sampled].join(' · ')
}

function statistics(data: Numbers): { min: number; max: number; sum: number; finite: number; nan: number; infinite: number; seen: number } {
  const all = { min: Number.POSITIVE_INFINITY, max: Number.NEGATIVE_INFINITY, sum: 0, finite: 0, nan: 0, infinite: 0, seen: 0 }
  const walk = (from: number, to: number): void => {
    for (let index = from; index < to; index++) {
      const value = Number(data[index])
      if (Number.isFinite(value)) {
        if (value < all.min) all.min = value
        if (value > all.max) all.max = value
        all.sum += value
        all.finite++
      } else if (Number.isNaN(value)) all.nan++
      else all.infinite++
    }
    all.seen += to - from
  }
  if (data.length <= WALKED) walk(0, data.length)
  else
    for (let run = 0; run < RUNS; run++) {
      const from = Math.floor((run * (data.length - RUN)) / (RUNS - 1))
      walk(from, from + RUN)
    }
  return all
}

function ends(data: Numbers): string {
  const shown = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => short(data[from + index] as number | bigint))
  if (data.length <= 2 * EDGE) return `[ ${shown(0, data.length).join(', ')} ]`
  return `[ ${[...shown(0, EDGE), '…', ...shown(data.length - EDGE, data.length)].join(', ')} ]`
}

function short(value: number | bigint): string {
  return typeof value === 'bigint' || Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(5)))
}
