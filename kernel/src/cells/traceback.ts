/**
 * What a cell reports for whatever it threw: name and message, where it came from, the lines around that place, what caused it. Anything can be
 * thrown, a thing that throws when it is looked at too; and nothing is longer than a person reads.
 */
import { inspect, types } from 'node:util'
import { asWritten } from '../language/as-written.js'
import { SourceError } from '../language/syntax.js'
import type { Position } from '../language/transpile.js'
import { counted } from '../trace/words/format.js'
import { isInternal, placeOf } from './frames.js'
import { cut, plain } from './present/plain.js'
import { isOpen, read } from './present/read.js'
import type { Failure } from './protocol.js'

const NAME_CHARS = 100
const MESSAGE_CHARS = 10_000
const SHOWN_FRAMES = 20
const INTERNAL_FRAMES = 4
/** Of a chain of causes, and of the errors that an AggregateError holds. */
const CAUSES = 8
const LINE_CHARS = 160

const red = (text: string): string => `\x1b[31m${text}\x1b[39m`
// Not in red: bold and red are a dark red in JupyterLab, on the dark red that its dark theme shows errors on.
const bold = (text: string): string => `\x1b[1m${text}\x1b[22m`
const dim = (text: string): string => `\x1b[2m${text}\x1b[22m`

/** Never throws. Colours are in the traceback alone. */
export function failureOf(thrown: unknown): Failure {
  try {
    if (isSourceError(thrown)) return ofSource(thrown)
    if (isError(thrown))
      return { status: 'error', ename: nameOf(thrown), evalue: messageOf(thrown), traceback: [...lines(thrown, new Set()), ...excerptOf(thrown)] }
  } catch {
    // Whatever it is that cannot even be asked what it is, is shown as a value.
  }
  const shown = plain(thrown)
  return {
    status: 'error',
    ename: thrown === null ? 'null' : typeof thrown,
    evalue: typeof thrown === 'string' ? shorten(thrown) : shorten(shown),
    traceback: [...`${bold('Uncaught')} ${shorten(shown)}`.split('\n'), dim('    (not an Error, so it does not say where it was thrown)')],
  }
}

/** Also one of a local file: it comes from another thread, which keeps what it says but not its class. */
function isSourceError(thrown: unknown): thrown is SourceError {
  if (!isOpen(thrown)) return false
  return (
    thrown instanceof SourceError || (thrown instanceof SyntaxError && typeof read(thrown, 'source') === 'string' && typeof read(thrown, 'file') === 'string')
  )
}

function ofSource(error: SourceError): Failure {
  const { file, source, line, column, message } = error
  const place = file.startsWith('/') ? `${file}:${line}:${column}` : `${file} line ${line}:${column}`
  const traceback = [`${bold('SyntaxError')}: ${message}`, `    at ${place}`, ...excerpt(file, source, error)]
  return { status: 'error', ename: 'SyntaxError', evalue: message, traceback }
}

function isError(thrown: unknown): thrown is Error {
  return isOpen(thrown) && (types.isNativeError(thrown) || thrown instanceof Error)
}

/** Head, frames, properties, causes. `seen` ends circles. */
function lines(error: Error, seen: Set<unknown>): string[] {
  seen.add(error)
  const [first = '', ...rest] = messageOf(error).split('\n')
  const head = [`${bold(nameOf(error))}${first === '' && rest.length === 0 ? '' : `: ${first}`}`, ...rest]
  const shown = [...head, ...collapsed(framesOf(error)), ...propertiesOf(error)]
  const errors = read(error, 'errors')
  const parts = Array.isArray(errors) ? errors.slice(0, CAUSES).map((part, index) => ({ what: `${index + 1} of ${errors.length}`, part })) : []
  const cause = Object.hasOwn(error, 'cause') ? [{ what: 'caused by', part: read(error, 'cause') }] : []
  for (const { what, part } of [...parts, ...cause]) {
    if (seen.size > CAUSES) shown.push(`  ${dim('and so on')}`)
    else if (!isError(part)) shown.push(`  ${dim(`${what}:`)} ${cut(plain(part), MESSAGE_CHARS)}`)
    else if (seen.has(part)) shown.push(`  ${dim(`${what}:`)} ${nameOf(part)} as above`)
    else {
      const [partHead = '', ...more] = lines(part, seen)
      shown.push(`  ${dim(`${what}:`)} ${partHead}`, ...more.map((line) => `  ${line}`))
    }
  }
  return shown
}

/** A class of errors that sets no name of its own is called by its class. */
function nameOf(error: Error): string {
  const name = asText(() => error.name) ?? 'Error'
  const own = asText(() => error.constructor.name)
  return cut(name === 'Error' && own !== undefined && own !== '' ? own : name, NAME_CHARS)
}

function messageOf(error: Error): string {
  return shorten(asText(() => error.message) ?? '[a message that cannot be read]')
}

/** What a getter, or a conversion to text, throws is no news. */
function asText(get: () => unknown): string | undefined {
  try {
    const value = get()
    return value === undefined ? undefined : String(value)
  } catch {
    return undefined
  }
}

/** Also without what transpiled functions contain and their author has not written. */
function shorten(text: string): string {
  const clean = asWritten(text)
  const more = clean.length - MESSAGE_CHARS
  return more > 0 ? `${clean.slice(0, MESSAGE_CHARS)}… ${more.toLocaleString('en')} more characters` : clean
}

/** Frames of Node and of this library only where there are no others, and few. */
function framesOf(error: Error): string[] {
  const stack = asText(() => error.stack) ?? ''
  const all = stack.split('\n')
  const frames = all.slice(all.findLastIndex((line) => !/^\s+at /.test(line)) + 1).map((line) => line.trim())
  const own = frames.filter((frame) => !isInternal(frame))
  return own.length > 0 ? own : frames.slice(0, INTERNAL_FRAMES)
}

function collapsed(frames: readonly string[]): string[] {
  const shown: string[] = []
  let same = 0
  const close = (): void => {
    if (same > 0) shown.push(dim(`    … the same ${counted(same, 'more time')}`))
    same = 0
  }
  frames.forEach((frame, index) => {
    if (index > 0 && frame === frames[index - 1]) same++
    else {
      close()
      shown.push(`    ${frame}`)
    }
  })
  close()
  const more = shown.length - SHOWN_FRAMES
  return more > 0 ? [...shown.slice(0, SHOWN_FRAMES), dim(`    … ${more} more`)] : shown
}

/** An assertion's message says these. */
const ASSERTED = ['generatedMessage', 'actual', 'expected', 'operator', 'code', 'diff']

/** `code`, `path` and what else it carries. */
function propertiesOf(error: Error): string[] {
  const known = new Set(['stack', 'message', 'name', 'cause', 'errors', ...(Object.hasOwn(error, 'generatedMessage') ? ASSERTED : [])])
  const entries = Object.keys(error).flatMap((key) => (known.has(key) ? [] : [[key, Object.getOwnPropertyDescriptor(error, key)?.value] as const]))
  if (entries.length === 0) return []
  const text = inspect(Object.fromEntries(entries.slice(0, 20)), { depth: 1, breakLength: 120, maxArrayLength: 10, maxStringLength: 200 })
  return cut(text, 2000)
    .split('\n')
    .map((line) => `    ${line}`)
}

/** The innermost line that the user wrote: of the error, or where it has none, of an error inside it. */
function excerptOf(error: Error): string[] {
  for (let inner: unknown = error, depth = 0; isError(inner) && depth < CAUSES; depth++) {
    for (const frame of framesOf(inner)) {
      const place = placeOf(frame)
      if (place !== undefined) return excerpt(place.file, place.source, place)
    }
    const errors = read(inner, 'errors')
    inner = Array.isArray(errors) ? errors[0] : read(inner, 'cause')
  }
  return []
}

/** A line with its neighbours and a caret under the column. */
function excerpt(file: string, source: string, { line, column }: Position): string[] {
  const all = source.split(/\r?\n/)
  const from = Math.max(1, line - 2)
  const to = Math.min(all.length, line + 2)
  const width = String(to).length
  const begin = Math.max(0, column - LINE_CHARS / 2)
  const window = (text: string): string => `${begin > 0 ? '…' : ''}${cut(text.slice(begin), LINE_CHARS)}`
  const shown = ['', file]
  for (let number = from; number <= to; number++) {
    const text = all[number - 1] ?? ''
    const row = `${String(number).padStart(width)} | ${window(text)}`
    if (number !== line) {
      shown.push(dim(`  ${row}`))
      continue
    }
    const before = `${begin > 0 ? ' ' : ''}${text.slice(begin, column - 1).replace(/[^\t]/g, ' ')}`
    shown.push(`${red('>')} ${row}`, `  ${' '.repeat(width)} | ${before}${red('^')}`)
  }
  return shown
}
