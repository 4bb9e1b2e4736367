/**
 * A 2D context that writes SVG: what draws a picture on a canvas draws it as lines and text, by the same calls. It knows what our
 * drawing uses of a canvas (`Context2D`) and no more.
 *
 * What looks alike becomes one path: a shape joins an earlier one of its style, unless something that was painted between them
 * lies where it is. So a picture of many spans stays small, and nothing comes to lie above what it lay below.
 */
import type { Context2D, PixelRect } from './surface.js'

interface State {
  fillStyle: unknown
  strokeStyle: unknown
  globalAlpha: number
  lineWidth: number
  font: string
  textBaseline: unknown
  textAlign: unknown
  dash: readonly number[]
  /** Number of the clip path in force, 0 for none. */
  clip: number
  x: number
  y: number
}
/** One element of the document, which may still grow. */
interface Element {
  /** Attributes; elements of one style can be one. */
  readonly style: string
  /** Path data, or the whole element where it is text. */
  data: string
  readonly isPath: boolean
  box: PixelRect
}

/** Elements that are looked back through for one to join: a lane has fewer colours. */
const LOOK_BACK = 24

export class SvgContext implements Context2D {
  fillStyle: unknown = '#000000'
  strokeStyle: unknown = '#000000'
  globalAlpha = 1
  lineWidth = 1
  font = '10px sans-serif'
  textBaseline: unknown = 'alphabetic'
  textAlign: unknown = 'start'
  readonly #saved: State[] = []
  readonly #elements: Element[] = []
  readonly #clips: string[] = []
  readonly #middles = new Map<string, number>()
  /** Of the first text; others that have it need not say so. */
  #family = ''
  #dash: readonly number[] = []
  #clip = 0
  #x = 0
  #y = 0
  #path = ''
  #box: PixelRect | null = null
  #at = { x: 0, y: 0 } // end of the path so far

  /** `ruler` measures text: the width of words depends on fonts that only a canvas knows. */
  constructor(private readonly ruler: Pick<Context2D, 'font' | 'textBaseline' | 'measureText'>) {}

  // ---- state -------------------------------------------------------------------------------------------------------

  save(): void {
    const { fillStyle, strokeStyle, globalAlpha, lineWidth, font, textBaseline, textAlign } = this
    this.#saved.push({
      fillStyle,
      strokeStyle,
      globalAlpha,
      lineWidth,
      font,
      textBaseline,
      textAlign,
      dash: this.#dash,
      clip: this.#clip,
      x: this.#x,
      y: this.#y,
    })
  }
  restore(): void {
    const state = this.#saved.pop()
    if (!state) return
    const { dash, clip, x, y, ...styles } = state
    Object.assign(this, styles)
    this.#dash = dash
    this.#clip = clip
    this.#x = x
    this.#y = y
  }
  translate(x: number, y: number): void {
    this.#x += x
    this.#y += y
  }
  setLineDash(segments: number[]): void {
    this.#dash = segments
  }
  measureText(text: string): ReturnType<Context2D['measureText']> {
    this.ruler.font = this.font
    return this.ruler.measureText(text)
  }

  // ---- paths -------------------------------------------------------------------------------------------------------

  beginPath(): void {
    this.#path = ''
    this.#box = null
  }
  closePath(): void {
    this.#path += 'z'
  }
  moveTo(x: number, y: number): void {
    this.#path += `M${this.#point(x, y)}`
  }
  lineTo(x: number, y: number): void {
    const [from, to] = [this.#at, { x: x + this.#x, y: y + this.#y }]
    const isUpright = number(from.x) === number(to.x)
    const isLevel = number(from.y) === number(to.y)
    const point = this.#point(x, y)
    this.#path += isUpright ? `V${number(to.y)}` : isLevel ? `H${number(to.x)}` : `L${point}`
  }
  rect(x: number, y: number, width: number, height: number): void {
    this.#path += rectPath(x + this.#x, y + this.#y, width, height)
    this.#reach({ x: x + this.#x, y: y + this.#y, width, height })
  }
  arc(x: number, y: number, radius: number, start: number, end: number): void {
    const on = (angle: number): string => this.#point(x + radius * Math.cos(angle), y + radius * Math.sin(angle))
    const to = Math.min(end, start + 2 * Math.PI)
    const r = number(radius)
    // In halves: the ends of one arc may not be one point.
    this.#path += `${this.#path === '' ? 'M' : 'L'}${on(start)}A${r} ${r} 0 0 1 ${on((start + to) / 2)}A${r} ${r} 0 0 1 ${on(to)}`
    this.#reach({ x: x + this.#x - radius, y: y + this.#y - radius, width: 2 * radius, height: 2 * radius })
  }
  clip(): void {
    const within = this.#clip > 0 ? ` clip-path="url(#${clipName(this.#clip)})"` : ''
    this.#clips.push(`<clipPath id="${clipName(this.#clips.length + 1)}"${within}><path d="${this.#path}"/></clipPath>`)
    this.#clip = this.#clips.length
  }

  // ---- painting ----------------------------------------------------------------------------------------------------

  fill(): void {
    if (this.#box) this.#add(this.#filled(), this.#path, this.#box)
  }
  stroke(): void {
    if (this.#box) this.#add(this.#stroked(), this.#path, grown(this.#box, this.lineWidth / 2))
  }
  fillRect(x: number, y: number, width: number, height: number): void {
    const box = { x: x + this.#x, y: y + this.#y, width, height }
    this.#add(this.#filled(), rectPath(box.x, box.y, width, height), box)
  }
  strokeRect(x: number, y: number, width: number, height: number): void {
    const box = { x: x + this.#x, y: y + this.#y, width, height }
    this.#add(this.#stroked(), rectPath(box.x, box.y, width, height), grown(box, this.lineWidth / 2))
  }
  fillText(words: string, x: number, y: number): void {
    const text = spaced(legal(words))
    if (text === '') return
    const { style, weight, size, family } = fontOf(this.font)
    const { width } = this.measureText(text)
    const anchor = { center: 'middle', right: 'end', end: 'end' }[String(this.textAlign)]
    const left = anchor === 'middle' ? x - width / 2 : anchor === 'end' ? x - width : x
    const base = this.textBaseline === 'middle' ? y + this.#middle() : this.textBaseline === 'top' ? y + 0.8 * size : y
    this.#family ||= family
    const attributes = [
      `x="${number(x + this.#x)}" y="${number(base + this.#y)}"`,
      // As wide as it was measured, whatever font a reader's machine takes for it: words that stood apart stay apart.
      `textLength="${number(width)}"`,
      `font-size="${number(size)}"`,
      ...(family === this.#family ? [] : [`font-family="${escaped(family)}"`]),
      ...(weight ? [`font-weight="${weight}"`] : []),
      ...(style ? [`font-style="${style}"`] : []),
      ...(anchor ? [`text-anchor="${anchor}"`] : []),
      this.#filled(),
    ]
    const box = { x: left + this.#x, y: base + this.#y - size, width, height: 1.3 * size }
    this.#elements.push({ style: '', data: `<text ${attributes.join(' ')}>${escaped(text)}</text>`, isPath: false, box })
  }

  /** The document. `title` and `words` are for those who hear it. */
  document(width: number, height: number, { title, words, background }: { title: string; words: string; background: string }): string {
    const font = this.#family ? ` font-family="${escaped(this.#family)}"` : ''
    const size = `width="${number(width)}" height="${number(height)}" viewBox="0 0 ${number(width)} ${number(height)}"`
    return [
      `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img"${font} text-rendering="geometricPrecision">`,
      `<title>${escaped(title)}</title>`,
      `<desc>${escaped(words)}</desc>`,
      ...(this.#clips.length > 0 ? [`<defs>${this.#clips.join('')}</defs>`] : []),
      `<rect width="100%" height="100%" fill="${escaped(background)}"/>`,
      ...this.#elements.map(({ style, data, isPath }) => (isPath ? `<path ${style} d="${data}"/>` : data)),
      '</svg>\n',
    ].join('\n')
  }

  // ---- elements ----------------------------------------------------------------------------------------------------

  #add(style: string, data: string, box: PixelRect): void {
    const elements = this.#elements
    const isTranslucent = this.globalAlpha < 1
    for (let i = elements.length - 1; i >= Math.max(0, elements.length - LOOK_BACK); i--) {
      const element = elements[i]
      // Two translucent shapes in one path would not darken each other.
      const joins = element.isPath && element.style === style && !(isTranslucent && overlap(element.box, box))
      if (joins) {
        element.data += data
        element.box = around(element.box, box)
        return
      }
      if (overlap(element.box, box)) break
    }
    elements.push({ style, data, isPath: true, box })
  }
  /** From the base line of letters up to the middle of the line: SVG's readers disagree about where a middle is. */
  #middle(): number {
    const known = this.#middles.get(this.font)
    if (known !== undefined) return known
    const { ruler } = this
    const above = (baseline: string): number => {
      ruler.textBaseline = baseline
      return ruler.measureText('').fontBoundingBoxAscent
    }
    ruler.font = this.font
    const middle = above('alphabetic') - above('middle')
    this.#middles.set(this.font, middle)
    return middle
  }
  #filled(): string {
    return [`fill="${escaped(String(this.fillStyle))}"`, ...this.#shared('fill-opacity')].join(' ')
  }
  #stroked(): string {
    const width = this.lineWidth === 1 ? [] : [`stroke-width="${number(this.lineWidth)}"`]
    const dash = this.#dash.length > 0 ? [`stroke-dasharray="${this.#dash.map(number).join(' ')}"`] : []
    return ['fill="none"', `stroke="${escaped(String(this.strokeStyle))}"`, ...width, ...dash, ...this.#shared('stroke-opacity')].join(' ')
  }
  #shared(opacity: string): string[] {
    const alpha = this.globalAlpha < 1 ? [`${opacity}="${number(this.globalAlpha)}"`] : []
    return this.#clip > 0 ? [...alpha, `clip-path="url(#${clipName(this.#clip)})"`] : alpha
  }
  #point(x: number, y: number): string {
    this.#at = { x: x + this.#x, y: y + this.#y }
    this.#reach({ ...this.#at, width: 0, height: 0 })
    return `${number(this.#at.x)} ${number(this.#at.y)}`
  }
  #reach(box: PixelRect): void {
    this.#box = this.#box ? around(this.#box, box) : box
  }
}

function clipName(clip: number): string {
  return `fpdt-clip-${clip}`
}

function rectPath(x: number, y: number, width: number, height: number): string {
  return `M${number(x)} ${number(y)}h${number(width)}v${number(height)}h${number(-width)}z`
}

/** Hundredths of a pixel. */
function number(value: number): string {
  return String(Math.round(value * 100) / 100)
}

function grown({ x, y, width, height }: PixelRect, by: number): PixelRect {
  return { x: x - by, y: y - by, width: width + 2 * by, height: height + 2 * by }
}
function around(a: PixelRect, b: PixelRect): PixelRect {
  const x = Math.min(a.x, b.x)
  const y = Math.min(a.y, b.y)
  return { x, y, width: Math.max(a.x + a.width, b.x + b.width) - x, height: Math.max(a.y + a.height, b.y + b.height) - y }
}
/** Rectangles that only touch do not. */
function overlap(a: PixelRect, b: PixelRect): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height
}

/** `italic 600 11px "DejaVu Sans", sans-serif`. */
function fontOf(font: string): { style: string; weight: string; size: number; family: string } {
  const match = /^(?:(italic)\s+)?(?:(bold|\d{3})\s+)?([\d.]+)px\s+(.+)$/.exec(font.trim())
  if (!match) throw new Error(`SvgContext does not read the font ${font}`)
  const [, style = '', weight = '', size, family] = match
  return { style, weight, size: Number(size), family: /(sans-)?serif|monospace/.test(family) ? family : `${family}, sans-serif` }
}

/** Several spaces in a row are one to SVG. */
function spaced(text: string): string {
  return text.replace(/ {2,}/g, (spaces) => '\u00a0'.repeat(spaces.length))
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
/** Text of a payload becomes no markup. */
function escaped(text: string): string {
  return legal(text).replace(/[&<>"']/g, (character) => ENTITIES[character])
}
/** Without the characters that XML does not have. */
function legal(text: string): string {
  return text.replace(/[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu, '\ufffd')
}
