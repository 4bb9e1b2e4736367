/**
 * How a value shows itself, and where it is shown. The library knows no Jupyter: a host (the kernel's executor) puts a
 * `DisplayHost` on `globalThis[DISPLAY_HOST]`; in plain Node there is none and nothing is shown.
 */

/** Method by which an object gives its MIME bundle; the name Deno introduced, so objects of either world show in both. */
export const TO_MIME: unique symbol = Symbol.for('Jupyter.display') as never
/** Property that names the output an object keeps up to date: a cell whose last value has it shows an output that later updates reach. */
export const DISPLAY_ID: unique symbol = Symbol.for('fpdt.display.id') as never
/** Key of the host on `globalThis`. */
export const DISPLAY_HOST: unique symbol = Symbol.for('fpdt.display.host') as never

/** Method of Node's `util.inspect`, by which an object says what it is in text. */
export const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom') as never

/** How plain data is shown. */
export interface InWords<T> {
  /** As an item of something larger; the whole words where it has none. */
  readonly brief?: (data: T) => string
  /** For notebooks, where words are not enough. */
  readonly html?: (data: T) => string
}

/** Gives plain data words for where it is looked at: as the last value of a cell, in a console, in an array. Its keys, JSON and copies are what they were. */
export function inWords<T extends object>(data: T, words: (data: T) => string, { brief = words, html }: InWords<T> = {}): T {
  const inspect = (depth: number | null, options: { readonly depth?: number | null }): string => (depth === options.depth ? words(data) : brief(data))
  Object.defineProperty(data, INSPECT, { value: inspect })
  if (html) Object.defineProperty(data, TO_MIME, { value: (): MimeBundle => ({ 'text/html': html(data), 'text/plain': words(data) }) })
  return data
}

/** MIME type -> string, or JSON for JSON types. */
export type MimeBundle = Readonly<Record<string, unknown>>

export interface DisplayHost {
  /** A terminal: it shows words alone, so runs do not draw themselves for it after every step. */
  readonly wordsOnly?: true
  /** Shows a bundle in the output of the cell this asynchronous context belongs to; with `update`, replaces earlier ones of that id. */
  display(bundle: MimeBundle, options?: { displayId?: string; update?: boolean; metadata?: Record<string, unknown> }): void
  /** The same object wherever displays go to the same output: what shows itself together must not reach into another cell. */
  owner?(): object | undefined
  /** Calls back when the user interrupts; returns the function that ends it. */
  onInterrupt(callback: () => void): () => void
}

export function displayHost(): DisplayHost | undefined {
  return (globalThis as { [DISPLAY_HOST]?: DisplayHost })[DISPLAY_HOST]
}
