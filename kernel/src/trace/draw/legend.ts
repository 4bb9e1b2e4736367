/** A line of swatches and words; wraps. */
import { type Hatch, hatch } from './hatch.js'
import { line, type PixelRect, type Surface, textWidth, write } from './surface.js'
import { inkFor } from './theme.js'

export interface LegendEntry {
  readonly words: string
  readonly colour: string
  readonly hatch?: Hatch | undefined
  /** A thin dashed band: something predicted. */
  readonly dashed?: boolean
}
export interface LegendLayout {
  readonly entries: readonly (LegendEntry & { readonly x: number; readonly y: number })[]
  readonly height: number
}

const ROW = 18
const SWATCH = 12

export function layOutLegend(surface: Surface, entries: readonly LegendEntry[], rect: { x: number; y: number; width: number }): LegendLayout {
  const placed: (LegendEntry & { x: number; y: number })[] = []
  let x = rect.x
  let y = rect.y
  for (const entry of entries) {
    const width = SWATCH + 5 + textWidth(surface, entry.words) + 16
    if (x > rect.x && x + width - 16 > rect.x + rect.width) {
      x = rect.x
      y += ROW
    }
    placed.push({ ...entry, x, y })
    x += width
  }
  return { entries: placed, height: placed.length > 0 ? y + ROW - rect.y : 0 }
}

export function drawLegend(surface: Surface, layout: LegendLayout): void {
  const { context, theme } = surface
  for (const { words, colour, hatch: kind, dashed, x, y } of layout.entries) {
    const swatch: PixelRect = { x, y: y + 4, width: SWATCH, height: 10 }
    context.fillStyle = colour
    if (dashed) for (const dx of [0, 5, 10]) context.fillRect(x + dx, y + 7, 3, 4)
    else context.fillRect(swatch.x, swatch.y, swatch.width, swatch.height)
    if (kind) hatch(context, [swatch], kind, inkFor(colour))
    write(surface, words, x + SWATCH + 5, y + 9, { role: 'legend', colour: theme.mutedText })
  }
}

/** The swatch of a line rather than a surface. */
export function dash(surface: Surface, x: number, y: number, width: number, colour: string): void {
  const { context } = surface
  context.save()
  context.strokeStyle = colour
  context.lineWidth = 1.5
  context.setLineDash([5, 3])
  line(context, x, y, x + width, y)
  context.restore()
}
