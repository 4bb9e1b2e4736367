/** A value -> what a front end shows: its own MIME bundle where it has one, else Node's `util.inspect` as text/plain. */
import { type InspectOptions, inspect } from 'node:util'
import { DISPLAY_ID, type MimeBundle, TO_MIME } from '../display.js'

/** May return a promise: Deno's convention allows an asynchronous method. Always contains text/plain. */
export function present(value: unknown): MimeBundle | Promise<MimeBundle> {
  if (isBundle(value)) return value
  const method = hasProperties(value) ? (value as { [TO_MIME]?: unknown })[TO_MIME] : undefined
  if (typeof method !== 'function') return { 'text/plain': plain(value) }
  const bundle = method.call(value) as MimeBundle | Promise<MimeBundle>
  const complete = (own: MimeBundle): MimeBundle => ('text/plain' in own ? own : { ...own, 'text/plain': plain(value) })
  return bundle instanceof Promise ? bundle.then(complete) : complete(bundle)
}

/** Under which id later updates of this value reach its output; undefined for values that do not change. */
export function displayIdOf(value: unknown): string | undefined {
  const id = hasProperties(value) ? (value as { [DISPLAY_ID]?: unknown })[DISPLAY_ID] : undefined
  return typeof id === 'string' ? id : undefined
}

export function plain(value: unknown): string {
  return inspect(value, { colors: false })
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

function hasProperties(value: unknown): boolean {
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
}

/** A plain object all of whose keys are MIME types, such as `{ 'text/html': '<b>x</b>' }`, means itself. */
function isBundle(value: unknown): value is MimeBundle {
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype) return false
  const keys = Object.keys(value)
  return keys.length > 0 && keys.every((key) => /^[a-z]+\/[a-z0-9.+-]+$/.test(key))
}
