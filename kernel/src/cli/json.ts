/**
 * JSON as people write it by hand (RFC 8259): every mistake is told with its line and column, and so can every value be later on.
 * `JSON.parse` gives no place for most mistakes, and keeps the last of two equal keys in silence.
 */
import { FpdtError } from '../errors.js'

export type Path = readonly (string | number)[]

export interface JsonFile {
  readonly value: unknown
  /** Where a key stands, or an item, or the nearest one around it: `config.json:3:12`. */
  at(path: Path): string
}

/** No file that people write nests deeper; a hostile one must not exhaust the stack. */
const DEEPEST = 64

/** Reads JSON; `name` is the file's, for messages. Throws FpdtError `json`. */
export function readJson(text: string, name: string): JsonFile {
  const places = new Map<string, number>()
  const where = (offset: number): string => {
    const before = text.slice(0, offset)
    const lineStart = before.lastIndexOf('\n') + 1
    return `${name}:${before.split('\n').length}:${offset - lineStart + 1}`
  }
  const at = (path: Path): string => {
    for (let length = path.length; length > 0; length--) {
      const offset = places.get(JSON.stringify(path.slice(0, length)))
      if (offset !== undefined) return where(offset)
    }
    return where(places.get('[]') ?? 0)
  }
  let offset = text.startsWith('\uFEFF') ? 1 : 0
  const value = readValue([])
  skip()
  if (offset < text.length) wrong('the end of the file')
  return { value, at }

  function readValue(path: Path): unknown {
    skip()
    const place = JSON.stringify(path)
    if (!places.has(place)) places.set(place, offset)
    if (path.length > DEEPEST) throw new FpdtError('json', `${where(offset)}: nested deeper than ${DEEPEST} levels`)
    if (take('{')) return readObject(path)
    if (take('[')) return readArray(path)
    if (text[offset] === '"') return readString()
    const number = match(/-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.])/y)
    if (number !== undefined) return Number(number)
    const word = match(/(?:true|false|null)(?!\w)/y)
    return word === undefined ? wrong('a value') : JSON.parse(word)
  }
  function readObject(path: Path): unknown {
    const entries = new Map<string, unknown>()
    skip()
    if (take('}')) return {}
    do {
      skip()
      const begin = offset
      if (text[offset] !== '"') wrong('a key in double quotes')
      const key = readString()
      if (entries.has(key)) throw new FpdtError('json', `${where(begin)}: "${key}" is here for the second time; which of the two is meant?`)
      skip()
      if (!take(':')) wrong(`':' after "${key}"`)
      places.set(JSON.stringify([...path, key]), begin)
      entries.set(key, readValue([...path, key]))
      skip()
    } while (take(','))
    if (!take('}')) wrong(`',' or '}'`)
    return Object.fromEntries(entries)
  }
  function readArray(path: Path): unknown {
    const items: unknown[] = []
    skip()
    if (take(']')) return items
    do {
      items.push(readValue([...path, items.length]))
      skip()
    } while (take(','))
    if (!take(']')) wrong(`',' or ']'`)
    return items
  }
  function readString(): string {
    const begin = offset++
    while (!take('"')) {
      if (offset >= text.length) wrong(`'"' at the end of a string`)
      if (text[offset] === '\\') {
        if (match(/\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y) === undefined) wrong('an escape such as \\n, \\\\ or \\u00e9')
      } else if ((text[offset] as string) < ' ') wrong('no line break or tab inside a string; write \\n or \\t')
      else offset++
    }
    return JSON.parse(text.slice(begin, offset))
  }
  function match(pattern: RegExp): string | undefined {
    pattern.lastIndex = offset
    const found = pattern.exec(text)?.[0]
    if (found !== undefined) offset += found.length
    return found
  }
  function take(character: string): boolean {
    if (text[offset] !== character) return false
    offset++
    return true
  }
  function skip(): void {
    match(/[ \t\r\n]*/y)
  }
  function wrong(expected: string): never {
    const found = offset >= text.length ? 'the end of the file' : JSON.stringify(text.slice(offset, offset + 12).split('\n')[0] || text[offset])
    throw new FpdtError('json', `${where(offset)}: expected ${expected}, found ${found}`)
  }
}
