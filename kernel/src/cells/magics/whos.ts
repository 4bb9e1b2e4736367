/** What `%whos` says of a value: its size and kind, and of what has none its beginning. Runs no code of the value's but its `inspect`. */
import { types } from 'node:util'
import { brief, cut } from '../present/plain.js'

const CHARS = 80
const STRING_CHARS = 50

export function outlineOf(value: unknown): string {
  if (typeof value === 'string') return `${value.length.toLocaleString('en')} characters: ${JSON.stringify(cut(value, STRING_CHARS))}`
  if (typeof value === 'function') return cut(headOf(value), CHARS)
  if (types.isProxy(value) || typeof value !== 'object' || value === null) return brief(value, CHARS)
  const size = sizeOf(value)
  return size === undefined ? brief(value, CHARS) : `${typeName(value)}(${size})`
}

export function typeName(value: unknown): string {
  if (typeof value !== 'object' || value === null) return value === null ? 'null' : typeof value
  const { constructor: made } = Object.getPrototypeOf(value) ?? {}
  return typeof made === 'function' && made.name !== '' ? made.name : 'object'
}

function sizeOf(value: object): number | undefined {
  if (Array.isArray(value) || types.isTypedArray(value)) return value.length
  if (types.isAnyArrayBuffer(value) || types.isDataView(value)) return value.byteLength
  return types.isMap(value) || types.isSet(value) ? value.size : undefined
}

/** `class Foo`, `function add(a, b)`. */
function headOf(value: object & { readonly name: string }): string {
  const text = Function.prototype.toString.call(value).trim()
  if (/^class\b/.test(text)) return `class ${value.name}`
  const isAsync = /^async\b/.test(text) ? 'async ' : ''
  const parameters = /^[^(]*?(?:\(([^)]*)\)|([\p{ID_Continue}$]+)\s*=>)/u.exec(text.replace(/^async\s+/, ''))
  return `${isAsync}function ${value.name}(${(parameters?.[1] ?? parameters?.[2] ?? '…').replace(/\s+/g, ' ').trim()})`
}
