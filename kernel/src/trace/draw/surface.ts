/**
 * What is drawn on: the part of a 2D canvas context used here (a browser's and @napi-rs/canvas' both fit), and text that
 * leaves a record, so that a test can ask of any picture whether its words overlap, are cut or are too pale.
 */
import type { Theme } from './theme.js'

export interface Context2D {
  // A context gives back more than one may rely on (gradients, patterns); only strings are ever set.
  fillStyle: unknown
  strokeStyle: unknown
  globalAlpha: number
  lineWidth: number
  font: string
  textBaseline: unknown
  textAlign: unknown
  save(): void
  restore(): void
  translate(x: number, y: number): void
  beginPath(): void
  closePath(): void
  moveTo(x: number, y: number): void
  lineTo(x: number, y: number): void
  rect(x: number, y: number, width: number, height: number): void
  arc(x: number, y: number, radius: number, start: number, end: number): void
  clip(): void
  fill(): void
  stroke(): void
  fillRect(x: number, y: number, width: number, height: number): void
  strokeRect(x: number, y: number, width: number, height: number): void
  setLineDash(segments: number[]): void
  fillText(text: string, x: number, y: number): void
  measureText(text: string): { width: number; fontBoundingBoxAscent: number }
}

export interface PixelRect {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

export type LabelRole = 'lane' | 'rank' | 'tick' | 'axis' | 'step' | 'bar' | 'chart' | 'budget' | 'peak' | 'legend' | 'figure' | 'origin' | 'note'
/** A text that was written: where, in what colour, on what. */
export interface Label extends PixelRect {
  readonly text: string
  readonly role: LabelRole
  readonly colour: string
  readonly on: string
}

export interface Surface {
  readonly context: Context2D
  readonly theme: Theme
  readonly labels: Label[]
}

export interface TextStyle {
  readonly role: LabelRole
  readonly size?: number
  readonly bold?: boolean
  readonly colour?: string
  /** Colour below the text; the page's where not given. */
  readonly on?: string
  readonly align?: 'left' | 'right' | 'center'
  /** Paints a rectangle of `on` below the text first. */
  readonly plate?: boolean
}

const TEXT_SIZE = 11
/** Characters of a text: more than any picture is wide. */
const MOST_SHOWN = 500

/** A text of anyone's as one line: without what steers a terminal, turns the line round or is half a character, and no longer than `most`. */
export function shown(text: string, most = MOST_SHOWN): string {
  const short = text.length > most ? `${text.slice(0, most - 1)}…` : text
  return short.replace(/[\p{Cc}\p{Cs}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '\ufffd')
}

export function textWidth(surface: Surface, text: string, style: { size?: number; bold?: boolean } = {}): number {
  surface.context.font = fontOf(surface.theme, style)
  return surface.context.measureText(shown(text)).width
}

/** The rectangle `write` would fill; `y` is the middle of the line. */
export function textRect(surface: Surface, text: string, x: number, y: number, style: TextStyle): PixelRect {
  const width = textWidth(surface, text, style)
  const height = (style.size ?? TEXT_SIZE) + 2
  const left = style.align === 'right' ? x - width : style.align === 'center' ? x - width / 2 : x
  return { x: left, y: y - height / 2, width, height }
}

export function write(surface: Surface, words: string, x: number, y: number, style: TextStyle): PixelRect {
  const { context, theme } = surface
  const text = shown(words)
  const rect = textRect(surface, text, x, y, style)
  const on = style.on ?? theme.background
  const colour = style.colour ?? theme.text
  if (style.plate) {
    context.fillStyle = on
    context.fillRect(rect.x - 2, rect.y, rect.width + 4, rect.height)
  }
  context.font = fontOf(theme, style)
  context.textAlign = 'left'
  context.textBaseline = 'middle'
  context.fillStyle = colour
  context.fillText(text, rect.x, y + 0.5)
  surface.labels.push({ ...rect, text, role: style.role, colour, on })
  return rect
}

export function overlaps(a: PixelRect, b: PixelRect, margin = 0): boolean {
  return a.x < b.x + b.width + margin && b.x < a.x + a.width + margin && a.y < b.y + b.height + margin && b.y < a.y + a.height + margin
}

/** Neighbouring columns of one key, drawn as one. */
export function inRuns(width: number, key: (x: number) => number, draw: (x: number, end: number) => void): void {
  for (let x = 0, end = 0; x < width; x = end) {
    const same = key(x)
    for (end = x + 1; end < width && key(end) === same; end++);
    draw(x, end)
  }
}

/** A one-pixel line that is sharp: through the middle of the pixel. */
export function line(context: Context2D, x0: number, y0: number, x1: number, y1: number): void {
  context.beginPath()
  context.moveTo(x0, y0)
  context.lineTo(x1, y1)
  context.stroke()
}

function fontOf(theme: Theme, style: { size?: number; bold?: boolean }): string {
  return `${style.bold ? '600 ' : ''}${style.size ?? TEXT_SIZE}px ${theme.font}`
}
