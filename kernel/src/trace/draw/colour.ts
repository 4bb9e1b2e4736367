/** Colour arithmetic: contrast as WCAG 2 defines it, and colours that are made to reach it. */

export interface Rgb {
  /** 0 to 255. */
  readonly r: number
  readonly g: number
  readonly b: number
}

/** Reads `#rrggbb`, `rgb(…)` and `rgba(…)` (what a browser's computed style holds); anything translucent is laid over `under`. */
export function parseColour(text: string, under: Rgb = { r: 255, g: 255, b: 255 }): Rgb | null {
  const hex = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(text.trim())
  if (hex) return { r: parseInt(hex[1], 16), g: parseInt(hex[2], 16), b: parseInt(hex[3], 16) }
  const call = /^rgba?\(([^)]*)\)$/i.exec(text.trim())
  if (!call) return null
  const [r, g, b, a = 1] = call[1]
    .split(/[\s,/]+/)
    .filter(Boolean)
    .map(Number)
  if (r === undefined || g === undefined || b === undefined || [r, g, b, a].some(Number.isNaN)) return null
  return mix(under, { r, g, b }, a)
}

export function hexOf({ r, g, b }: Rgb): string {
  return `#${[r, g, b]
    .map((v) =>
      Math.round(Math.min(255, Math.max(0, v)))
        .toString(16)
        .padStart(2, '0'),
    )
    .join('')}`
}

/** `from` at 0, `to` at 1. */
export function mix(from: Rgb, to: Rgb, share: number): Rgb {
  return { r: from.r + (to.r - from.r) * share, g: from.g + (to.g - from.g) * share, b: from.b + (to.b - from.b) * share }
}

/** Relative luminance, 0 to 1. */
export function luminance(colour: Rgb): number {
  const [r, g, b] = [colour.r, colour.g, colour.b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4)) as [
    number,
    number,
    number,
  ]
  return 0.2126 * r + 0.7152 * g + 0.0722 * b
}

/** 1 (equal) to 21 (black on white). */
export function contrast(a: Rgb, b: Rgb): number {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y) as [number, number]
  return (high + 0.05) / (low + 0.05)
}

/** `colour`, moved towards black or white (whichever is farther from `background`) only as far as `least` needs. */
export function readable(colour: Rgb, background: Rgb, least: number): Rgb {
  const pole = luminance(background) > 0.18 ? { r: 0, g: 0, b: 0 } : { r: 255, g: 255, b: 255 }
  for (let share = 0; share < 1; share += 0.05) {
    const { r, g, b } = mix(colour, pole, share)
    // Judged as it will be written: in whole steps of a channel.
    const written = { r: Math.round(r), g: Math.round(g), b: Math.round(b) }
    if (contrast(written, background) >= least) return written
  }
  return pole
}

/** Black or white, whichever reads better; the better one is never below 4.5. */
export function inkOn(fill: Rgb): Rgb {
  const black = { r: 0, g: 0, b: 0 }
  const white = { r: 255, g: 255, b: 255 }
  return contrast(black, fill) >= contrast(white, fill) ? black : white
}
