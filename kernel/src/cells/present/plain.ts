/** Any value as text that fits a notebook, in time that does not grow with the value. */
import { type InspectOptions, inspect, types } from 'node:util'

const MAX_CHARS = 100_000
const OUTLINED_KEYS = 100
/** Made once: an error collects its stack, which takes longer than most values take. */
const TOO_LONG = new Error('too long')

/** Node's `util.inspect`; where that would be too long, less deep, and in the end an outline that says what it leaves out. Runs no getter and no proxy. Never throws. */
export function plain(value: unknown): string {
  try {
    const handle = ofHandle(value)
    if (handle !== undefined) return handle
    const whole = within(MAX_CHARS, value, {})
    if (whole !== undefined) return whole
    // To go through a million keys takes a second, so not again and again.
    const isHuge = !types.isProxy(value) && Object.keys(value as object).length > MAX_CHARS / 10
    const shallow = isHuge ? undefined : (within(MAX_CHARS, value, { depth: 1 }) ?? within(MAX_CHARS, value, { depth: 0 }))
    return shallow ?? outline(value as object)
  } catch (error) {
    return `[a value that cannot be shown, because its inspection throws: ${messageOf(error)}]`
  }
}

/** Timers, servers, sockets and processes of Node, whose insides are many lines that say nothing to who started them. */
function ofHandle(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || types.isProxy(value)) return undefined
  if (!['_idleTimeout', '_onImmediate', '_handle'].some((sign) => Object.hasOwn(value, sign))) return undefined
  const name: unknown = Object.getPrototypeOf(value)?.constructor?.name
  const figures = ['_idleTimeout', 'pid'].flatMap((key) => {
    const figure: unknown = Object.getOwnPropertyDescriptor(value, key)?.value
    return typeof figure === 'number' ? [key === 'pid' ? `process ${figure}` : `${figure} ms`] : []
  })
  return /^(?:Timeout|Immediate|Server|Socket|TLSSocket|ChildProcess)$/.test(`${name}`) ? `${name} { ${[...figures, '…'].join(', ')} }` : undefined
}

/** On one line of at most `chars` characters. */
export function brief(value: unknown, chars: number): string {
  let text: string | undefined
  try {
    text = within(20 * chars, value, { depth: 1, breakLength: Number.POSITIVE_INFINITY, maxArrayLength: 10, maxStringLength: chars })
  } catch {
    // Said as what it is below.
  }
  return cut((text ?? `[${typeof value}]`).replace(/\s*\n\s*/g, ' '), chars)
}

export function cut(text: string, chars: number): string {
  return text.length <= chars ? text : `${text.slice(0, chars - 1)}…`
}

/** What an error says, whatever it is. */
export function messageOf(error: unknown): string {
  try {
    return error instanceof Error ? String(error.message) : String(error)
  } catch {
    return 'an error that cannot be shown either'
  }
}

/** Undefined when there is more to say. `inspect` bounds arrays, maps and strings, but not the keys of objects: it is left at the word that is too much. */
function within(chars: number, value: unknown, options: InspectOptions): string | undefined {
  let left = chars
  const stylize = (text: string): string => {
    left -= text.length + 4
    if (left < 0) throw TOO_LONG
    return text
  }
  try {
    const text = inspect(value, { ...options, stylize } as InspectOptions)
    return text.length <= chars ? text : undefined
  } catch (error) {
    if (error === TOO_LONG) return undefined
    throw error
  }
}

/** The first keys of an object that has too many, or whose values are too long. */
function outline(value: object): string {
  if (types.isProxy(value)) return '[a Proxy of a large object]'
  const keys = Object.keys(value)
  const shown: Record<string, unknown> = {}
  for (const key of keys.slice(0, OUTLINED_KEYS)) shown[key] = Object.getOwnPropertyDescriptor(value, key)?.value
  const text = inspect(shown, { depth: 0, maxStringLength: 100 })
  const more = keys.length - OUTLINED_KEYS
  return more > 0 ? `${cut(text, MAX_CHARS)}\n… ${more.toLocaleString('en')} more of ${keys.length.toLocaleString('en')} keys` : cut(text, MAX_CHARS)
}

/**
 * AsyncLocalStorage of Node 20 hangs its books on every promise as enumerable symbols, and a promise that somebody forgot to await is shown often.
 * They are hidden when a promise is inspected; at its creation that would slow every `await` down.
 */
export function hidePromiseBooks(): void {
  Object.defineProperty(Promise.prototype, inspect.custom, {
    configurable: true,
    value(this: Promise<unknown>, _depth: number, options: InspectOptions, inspectPlainly: typeof inspect) {
      for (const symbol of Object.getOwnPropertySymbols(this)) {
        if (/^(?:async_id_symbol|trigger_async_id_symbol|kResourceStore)$/.test(symbol.description ?? ''))
          Object.defineProperty(this, symbol, { enumerable: false })
      }
      return inspectPlainly(this, { ...options, customInspect: false })
    },
  })
}
