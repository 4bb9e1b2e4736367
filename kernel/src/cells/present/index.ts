/**
 * A value -> what a front end shows. Asked in this order, and always with `text/plain`:
 *
 *     { 'text/html': '<b>x</b>' }            a plain object from MIME types to data means itself
 *     [Symbol.for('Jupyter.display')]()      a MIME bundle, or a promise of one (`TO_MIME`)
 *     toPng() toJpeg() toSvg() toHtml() toMarkdown() toLatex()
 *                                            text or bytes, or a promise of them; also spelt toPNG, and as in Python: _repr_png_
 *     Vega and Vega-Lite specs, DOM elements, canvases, Arrow tables, tensors and long typed arrays, bytes that are a picture
 *     anything                               `util.inspect`, bounded; and so proxies in any case: their traps could do anything
 *
 * A value that fails to show itself is shown as text, and why is said on stderr: to look at something must not end a cell.
 */
import { inspect, types } from 'node:util'
import { DISPLAY_ID, type MimeBundle, TO_MIME } from '../../display.js'
import { arrowTable } from './arrow.js'
import { base64, bytesOf, imageType } from './image-bytes.js'
import { numbersInWords } from './numbers.js'
import { messageOf, plain } from './plain.js'
import { isOpen, method, read } from './read.js'
import { tableBundle } from './table.js'

type Bundle = MimeBundle | Promise<MimeBundle>

const WAYS: readonly ((value: object) => Bundle | undefined)[] = [bySymbol, byMethods, asVega, asElement, asCanvas, asArrow, asNumbers, asPicture]

/** May return a promise, which never rejects: Deno's convention allows an asynchronous method. Always contains text/plain. Never throws. */
export function present(value: unknown): Bundle {
  const complete = (bundle: MimeBundle): MimeBundle => {
    const own = sendable(bundle)
    if ('text/plain' in own) return own
    const whole = { ...own, 'text/plain': plain(value) }
    checked.add(whole)
    return whole
  }
  const failed = (error: unknown): MimeBundle => {
    complain(`shown as text, because showing it failed: ${messageOf(error)}`)
    return { 'text/plain': plain(value) }
  }
  if (!isOpen(value)) return { 'text/plain': plain(value) }
  try {
    if (isBundle(value)) return complete(value)
    for (const way of WAYS) {
      const bundle = way(value)
      if (types.isPromise(bundle)) return bundle.then(complete).catch(failed)
      if (bundle !== undefined) return complete(bundle as MimeBundle)
    }
  } catch (error) {
    return failed(error)
  }
  return { 'text/plain': plain(value) }
}

/** Under which id later updates of this value reach its output; undefined for values that do not change. */
export function displayIdOf(value: unknown): string | undefined {
  const id = read(value, DISPLAY_ID)
  return typeof id === 'string' ? id : undefined
}

/** Where a value's own method failed. */
function complain(words: string): void {
  process.stderr.write(`${words}\n`)
}

const MIME = /^(?:application|audio|image|model|text|video)\/[a-z0-9.+-]+$/
const isJson = (mime: string): boolean => /[/+]json$/.test(mime)
const isText = (mime: string): boolean => mime.startsWith('text/') || mime === 'image/svg+xml' || mime === 'application/javascript'

function isBundle(value: object): value is MimeBundle {
  if (Object.getPrototypeOf(value) !== Object.prototype) return false
  let count = 0
  for (const key in value) {
    const data = read(value, key)
    // A folder may be called `text` or `image`: an object from paths to sizes is no bundle.
    if (!MIME.test(key) || !(isJson(key) || typeof data === 'string' || bytesOf(data) !== undefined)) return false
    count++
  }
  return count > 0
}

/** Bundles that `sendable` has made. */
const checked = new WeakSet<object>()

/** As messages have it: text as strings, other bytes in base64, JSON types as JSON. What cannot be sent is left out, and said. */
export function sendable(bundle: MimeBundle): MimeBundle {
  if (checked.has(bundle)) return bundle
  if (typeof bundle !== 'object' || bundle === null || types.isProxy(bundle)) throw new TypeError('a MIME bundle is an object from MIME types to data')
  const sent: Record<string, unknown> = {}
  for (const [mime, data] of Object.entries(bundle)) {
    try {
      sent[mime] = dataOf(mime, data)
    } catch (error) {
      complain(`not shown as ${mime}: ${messageOf(error)}`)
    }
  }
  checked.add(sent)
  return sent
}

function dataOf(mime: string, data: unknown): unknown {
  if (isJson(mime)) {
    const text = JSON.stringify(data)
    if (text === undefined) throw new TypeError(`${typeof data} is no JSON`)
    return JSON.parse(text)
  }
  const bytes = bytesOf(data)
  if (bytes !== undefined) return isText(mime) ? new TextDecoder().decode(bytes) : base64(bytes)
  if (Array.isArray(data)) return data.join('') // lines, as notebook files have them
  if (typeof data !== 'string') throw new TypeError(`${data === null ? 'null' : typeof data} is neither text nor bytes`)
  return isText(mime) ? data : data.replace(/^data:[^,]*;base64,/, '')
}

function bySymbol(value: object): Bundle | undefined {
  const own = (value as { [TO_MIME]?: unknown })[TO_MIME]
  return typeof own === 'function' ? (own.call(value) as Bundle) : undefined
}

const METHODS: Readonly<Record<string, readonly string[]>> = {
  'image/png': ['toPng', 'toPNG', '_repr_png_'],
  'image/jpeg': ['toJpeg', 'toJPEG', '_repr_jpeg_'],
  'image/svg+xml': ['toSvg', 'toSVG', '_repr_svg_'],
  'text/html': ['toHtml', 'toHTML', '_repr_html_'],
  'text/markdown': ['toMarkdown', '_repr_markdown_'],
  'text/latex': ['toLatex', 'toLaTeX', '_repr_latex_'],
}

function byMethods(value: object): Bundle | undefined {
  const found = Object.entries(METHODS).flatMap(([mime, names]) => {
    const call = typeof value === 'object' ? method(value, ...names) : undefined
    return call === undefined ? [] : [{ mime, call }]
  })
  if (found.length === 0) return undefined
  const parts = found.map(({ mime, call }) => {
    const failed = (error: unknown) => complain(`not shown as ${mime}, because its method failed: ${messageOf(error)}`)
    try {
      const data = call()
      return { mime, data: types.isPromise(data) ? data.catch(failed) : data }
    } catch (error) {
      failed(error)
      return { mime, data: undefined }
    }
  })
  const gathered = (data: readonly unknown[]): MimeBundle =>
    Object.fromEntries(parts.flatMap(({ mime }, index) => (data[index] === undefined || data[index] === null ? [] : [[mime, data[index]]])))
  const data = parts.map((part) => part.data)
  return data.some(types.isPromise) ? Promise.all(data).then(gathered) : gathered(data)
}

function asVega(value: object): Bundle | undefined {
  const toSpec = method(value, 'toSpec')
  const spec = toSpec === undefined ? value : toSpec()
  const [, lite, version] = /^https?:\/\/vega\.github\.io\/schema\/vega(-lite)?\/v(\d+)/.exec(String(read(spec, '$schema') ?? '')) ?? []
  return version === undefined ? undefined : { [`application/vnd.vega${lite === undefined ? '' : 'lite'}.v${version}+json`]: spec }
}

function asElement(value: object): Bundle | undefined {
  if (read(value, 'nodeType') !== 1) return undefined
  const html = read(value, 'outerHTML')
  return typeof html === 'string' ? { [/^<svg\b/i.test(html) ? 'image/svg+xml' : 'text/html']: html } : undefined
}

/** Of @napi-rs/canvas, node-canvas, skia-canvas, and of browsers' kind. */
function asCanvas(value: object): Bundle | undefined {
  if (method(value, 'getContext') === undefined) return undefined
  const bytes = method(value, 'toBuffer')?.('image/png') ?? method(value, 'toDataURL')?.('image/png')
  if (types.isPromise(bytes)) return bytes.then((data) => ({ 'image/png': data }))
  return bytes === undefined ? undefined : { 'image/png': bytes }
}

function asArrow(value: object): Bundle | undefined {
  const table = arrowTable(value)
  return table === undefined ? undefined : tableBundle(table)
}

function asNumbers(value: object): Bundle | undefined {
  const words = method(value, inspect.custom) === undefined ? numbersInWords(value) : undefined
  return words === undefined ? undefined : { 'text/plain': words }
}

function asPicture(value: object): Bundle | undefined {
  if (value instanceof Blob && /^image\//.test(value.type)) return value.arrayBuffer().then((data) => ({ [value.type]: data }))
  const bytes = bytesOf(value)
  const type = bytes === undefined ? undefined : imageType(bytes)
  return type === undefined ? undefined : { [type]: bytes, 'text/plain': `${type} of ${bytes?.length.toLocaleString('en')} bytes` }
}
