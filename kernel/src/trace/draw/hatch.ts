/** Hatches: how copies and collectives are told apart without colour. */
import type { Context2D, PixelRect } from './surface.js'

export type Hatch = 'rising' | 'falling' | 'crossed' | 'upright' | 'level'

const GAP = 6

/** Draws the hatch over all rectangles at once; its lines run through from one to the next, so neighbours look like one surface. */
export function hatch(context: Context2D, rects: readonly PixelRect[], kind: Hatch, colour: string): void {
  if (rects.length === 0) return
  const left = Math.min(...rects.map(({ x }) => x))
  const right = Math.max(...rects.map(({ x, width }) => x + width))
  const top = Math.min(...rects.map(({ y }) => y))
  const bottom = Math.max(...rects.map(({ y, height }) => y + height))
  const height = bottom - top
  context.save()
  context.beginPath()
  for (const { x, y, width, height } of rects) context.rect(x, y, width, height)
  context.clip()
  context.strokeStyle = colour
  context.lineWidth = 1
  context.globalAlpha = 0.55
  context.beginPath()
  const first = Math.floor((left - height) / GAP) * GAP
  for (let x = first; x <= right + height; x += GAP) {
    if (kind === 'rising' || kind === 'crossed') path(context, x, bottom, x + height, top)
    if (kind === 'falling' || kind === 'crossed') path(context, x, top, x + height, bottom)
    if (kind === 'upright') path(context, x + 0.5, top, x + 0.5, bottom)
  }
  if (kind === 'level') for (let y = Math.floor(top / GAP) * GAP + 0.5; y <= bottom; y += GAP) path(context, left, y, right, y)
  context.stroke()
  context.restore()
}

function path(context: Context2D, x0: number, y0: number, x1: number, y1: number): void {
  context.moveTo(x0, y0)
  context.lineTo(x1, y1)
}
