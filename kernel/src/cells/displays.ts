/**
 * What a cell says to show something besides its last value. Everything shown has an id, so it can be changed later, from any cell:
 *
 *     const shown = display(plot)                  then  shown.update(other)
 *     display(plot, { id: 'plot' })                then  display.update('plot', other)
 *     const words = display.markdown`*reading*`    then  words.update('**done**')
 *     display.html`<b>${anything}</b>`             what is filled in is escaped; not so the text of display.html(text)
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { DisplayHost, MimeBundle } from '../display.js'
import { escapeHtml } from '../escape-html.js'
import { cells } from './cell.js'
import { arrowTable } from './present/arrow.js'
import { bytesOf, imageType } from './present/image-bytes.js'
import { displayIdOf, present, sendable } from './present/index.js'
import { plain } from './present/plain.js'
import { isOpen, read } from './present/read.js'
import { recordsTable } from './present/records.js'
import { tableBundle } from './present/table.js'

type Metadata = Readonly<Record<string, unknown>>
type Shown = MimeBundle | Promise<MimeBundle>
/** A value -> its bundle. */
type Form = (value: unknown) => Shown

/** An output that can be changed. As a cell's last value it shows nothing: it has been shown. */
export class DisplayHandle {
  #last: Promise<void> | undefined

  constructor(
    readonly id: string,
    private readonly host: DisplayHost,
    /** How values are shown that are not their own bundle. */
    private readonly form: Form,
    private readonly metadata: Metadata = {},
  ) {}

  /** Shows something else in the place of what is shown, in the same form: text in the place of Markdown is Markdown. */
  update(value: unknown): void {
    this.show(value, true)
  }

  show(value: unknown, update: boolean): void {
    const bundle = this.form(value)
    const send = (data: MimeBundle): void => {
      const metadata = Object.fromEntries(Object.entries(this.metadata).filter(([key]) => key in data || !key.includes('/')))
      this.host.display(data, { displayId: this.id, update, metadata })
    }
    if (!(bundle instanceof Promise) && this.#last === undefined) {
      send(bundle)
      return
    }
    // In the order they were asked for, and before the cell ends.
    const last = Promise.all([bundle, this.#last]).then(([data]) => {
      send(data)
      if (this.#last === last) this.#last = undefined
    })
    this.#last = last
    cells.getStore()?.pending.push(last)
  }
}

/** Whether there is nothing more to show of a cell's last value. */
export function isShown(value: unknown): boolean {
  return value === undefined || (isOpen(value) && value instanceof DisplayHandle)
}

/** The word `display` of cells. */
export function createDisplay(host: DisplayHost, clear: (options?: { wait?: boolean }) => void) {
  const prefix = Math.random().toString(36).slice(2)
  let count = 0
  const show = (value: unknown, form: Form, metadata?: Metadata, id = `${prefix}-${++count}`, update = false): DisplayHandle => {
    if (typeof id !== 'string') throw new TypeError(`display: its id is a ${id === null ? 'null' : typeof id}, not a string; write { id: 'plot' }`)
    const handle = new DisplayHandle(id, host, form, metadata)
    handle.show(value, update)
    return handle
  }
  /** Called with text, or as the tag of a template. */
  const inForm = (form: (text: string) => MimeBundle, fill: Fill) => {
    const shown: Form = (value) => (typeof value === 'string' ? form(value) : present(value))
    return (text: unknown, ...values: readonly unknown[]): DisplayHandle => show(isTemplate(text) ? fill(text, values) : text, shown)
  }
  const options = (value: unknown, { id = displayIdOf(value), update, metadata }: DisplayOptions = {}) => [metadata, id, update] as const
  return Object.assign(
    (value: unknown, given?: DisplayOptions, ...more: readonly unknown[]): DisplayHandle => {
      refuseValues(given, more)
      return show(value, present, ...options(value, given))
    },
    {
      clear,
      update: (id: string, value: unknown): DisplayHandle => show(value, present, {}, id, true),
      html: inForm((text) => ({ 'text/html': text, 'text/plain': textOfHtml(text) }), escaped),
      svg: inForm((text) => ({ 'image/svg+xml': text, 'text/plain': '[SVG picture]' }), escaped),
      markdown: inForm((text) => ({ 'text/markdown': text, 'text/plain': text }), asWritten),
      latex: inForm((text) => ({ 'text/latex': inDollars(text), 'text/plain': text }), asWritten),
      /** A tree that can be folded. */
      json: (value: unknown, { expanded = false }: { expanded?: boolean } = {}) =>
        show(value, (json) => sendable({ 'application/json': json, 'text/plain': plain(json) }), { 'application/json': { expanded } }),
      table: (value: unknown, { columns }: { columns?: readonly string[] } = {}) =>
        show(value, (rows) => tableBundle((columns === undefined ? arrowTable(rows) : undefined) ?? recordsTable(rows, columns))),
      image: (source: unknown, { width, height, alt = '' }: ImageOptions = {}) => {
        const size = { ...(width === undefined ? {} : { width }), ...(height === undefined ? {} : { height }) }
        const types = ['image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/svg+xml']
        return show(source, (picture) => imageBundle(picture, size, alt), Object.fromEntries(types.map((type) => [type, size])))
      },
    },
  )
}

interface DisplayOptions {
  /** By which later updates reach this output; without one it gets its own. */
  readonly id?: string | undefined
  /** Replaces what that id shows. */
  readonly update?: boolean
  readonly metadata?: Metadata
}

interface ImageOptions {
  readonly width?: number
  readonly height?: number
  /** What those read who do not see it. */
  readonly alt?: string
}

/** `display(a, b)` would show the first alone. */
function refuseValues(given: unknown, more: readonly unknown[]): void {
  const isOptions =
    given === undefined || (typeof given === 'object' && given !== null && Object.keys(given).every((key) => ['id', 'update', 'metadata'].includes(key)))
  if (isOptions && !Array.isArray(given) && more.length === 0) return
  throw new TypeError('display shows one value; after it come options, { id, update, metadata }. Call it once for each value, or give it an array')
}

type Fill = (strings: TemplateStringsArray, values: readonly unknown[]) => string

function isTemplate(text: unknown): text is TemplateStringsArray {
  return Array.isArray(text) && 'raw' in text
}

/** HTML: values are text, unless they are HTML themselves: `{ 'text/html': '<b>x</b>' }`. Arrays are joined. */
function escaped(strings: TemplateStringsArray, values: readonly unknown[]): string {
  const filled = (value: unknown): string => {
    if (value === undefined || value === null || value === false) return ''
    if (Array.isArray(value)) return value.map(filled).join('')
    const own = read(value, 'text/html') ?? read(value, 'image/svg+xml')
    return typeof own === 'string' ? own : escapeHtml(String(value))
  }
  return strings.map((text, index) => text + (index < values.length ? filled(values[index]) : '')).join('')
}

/** Backslashes are kept, as formulas need them; only a backtick and `${` are written with one. */
function asWritten({ raw }: TemplateStringsArray, values: readonly unknown[]): string {
  return raw.map((text, index) => text.replace(/\\(`|\$\{)/g, '$1') + (index < values.length ? String(values[index]) : '')).join('')
}

function textOfHtml(html: string): string {
  const words = html
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ')
    .trim()
  return words === '' ? '[HTML]' : words
}

/** MathJax looks for formulas between delimiters. */
function inDollars(text: string): string {
  return /\$|\\\(|\\\[|\\begin/.test(text) ? text : `$$${text}$$`
}

/** Bytes, a file, a `data:` URL, or the address of a picture that the browser fetches. */
function imageBundle(source: unknown, size: { readonly width?: number; readonly height?: number }, alt: string): Shown {
  const text = source instanceof URL ? source.href : source
  if (typeof text === 'string' && /^(?:https?|data):/.test(text)) {
    const attributes = Object.entries({ src: text, alt, ...size }).map(([name, value]) => `${name}="${escapeHtml(String(value))}"`)
    return { 'text/html': `<img ${attributes.join(' ')}>`, 'text/plain': alt || text.slice(0, 200) }
  }
  const bytes = typeof text === 'string' ? readFileSync(text.startsWith('file:') ? fileURLToPath(text) : text) : bytesOf(text)
  if (bytes === undefined) return present(source) // a canvas, or what else shows itself
  const type = imageType(bytes) ?? (/^\s*<(?:\?xml|svg|!DOCTYPE svg)/i.test(Buffer.from(bytes.subarray(0, 200)).toString()) ? 'image/svg+xml' : undefined)
  if (type === undefined) {
    const what = typeof text === 'string' ? `the file ${text}` : `bytes that begin with ${Buffer.from(bytes.subarray(0, 8)).toString('hex')}`
    throw new TypeError(`display.image: ${what}: no PNG, JPEG, GIF, WebP or SVG picture`)
  }
  return sendable({ [type]: bytes, 'text/plain': alt || `${type} of ${bytes.length.toLocaleString('en')} bytes` })
}
