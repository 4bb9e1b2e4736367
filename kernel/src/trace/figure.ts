/**
 * The picture of a run as a PNG, drawn in Node with the same functions as in JupyterLab: for viewers of notebooks that do not
 * have the lab extension. The font comes with the package, so the file does not depend on the machine.
 */

import { fileURLToPath } from 'node:url'
import { createCanvas, GlobalFonts } from '@napi-rs/canvas'
import { FpdtError } from '../errors.js'
import type { PageColours, Picture, Run, Surface, Theme, View } from './draw/index.js'
import { draw, facts, keptWords, LIGHT_PAGE, layOut, openRun, stateWords, themeFor } from './draw/index.js'
import { type Context2D, textWidth, write } from './draw/surface.js'
import type { RunTables } from './schema.js'

export interface FigureOptions {
  /** CSS pixels. */
  width?: number
  /** Pixels of the file per CSS pixel. */
  scale?: number
  page?: Omit<PageColours, 'font'>
}
export interface Figure {
  readonly png: Uint8Array
  /** CSS pixels. */
  readonly width: number
  readonly height: number
  readonly picture: Picture
}

const FONT = 'FPDT Sans'
const MARGIN = 14
const LINE = 19

/** Throws FpdtError 'payload' for tables that break the run format. */
export function figure(tables: RunTables, { width = 1200, scale = 2, page = LIGHT_PAGE }: FigureOptions = {}): Figure {
  useFont()
  const run = openRun(tables)
  const theme = themeFor({ ...page, font: FONT })
  const view: View = { ...run.extent, rank: run.ranks[0] ?? 0 }
  const inner = width - 2 * MARGIN
  // Sizes of text are needed before the height of the canvas is known.
  const ruler: Surface = { context: createCanvas(1, 1).getContext('2d') as Context2D, theme, labels: [] }
  const lines = headerLines(ruler, run, inner)
  const layout = layOut(ruler, run, view, inner)
  const top = MARGIN + lines.length * LINE + 8
  const height = top + layout.height + MARGIN
  const canvas = createCanvas(Math.round(width * scale), Math.round(height * scale))
  const context = canvas.getContext('2d')
  context.scale(scale, scale)
  context.fillStyle = theme.background
  context.fillRect(0, 0, width, height)
  const surface: Surface = { context: context as Context2D, theme, labels: [] }
  drawHeader(surface, theme, lines)
  context.translate(MARGIN, top)
  const picture = draw({ ...surface, labels: [] }, run, view, layout)
  return { png: canvas.toBuffer('image/png'), width, height, picture }
}

/** The title, then figures and notes, broken into lines. */
function headerLines(ruler: Surface, run: Run, width: number): string[] {
  const { head } = run
  const notes = [stateWords(head), keptWords(head)].filter(Boolean)
  return [
    `${head.title}${head.origin === 'predicted' ? ' (predicted)' : ''}`,
    ...wrapped(
      ruler,
      facts(head).map(({ name, value }) => `${name} ${value}`),
      '   |   ',
      width,
    ),
    ...notes,
  ]
}

/** As many parts in a line as it holds. */
function wrapped(ruler: Surface, parts: readonly string[], between: string, width: number): string[] {
  const lines: string[] = []
  for (const part of parts) {
    const longer = lines.length > 0 ? `${lines.at(-1)}${between}${part}` : ''
    if (longer && textWidth(ruler, longer, { size: 12 }) <= width) lines[lines.length - 1] = longer
    else lines.push(part)
  }
  return lines
}

function drawHeader(surface: Surface, theme: Theme, lines: readonly string[]): void {
  for (const [i, text] of lines.entries()) {
    write(surface, text, MARGIN, MARGIN + i * LINE + LINE / 2, {
      role: 'figure',
      size: i === 0 ? 14 : 12,
      bold: i === 0,
      colour: i === 0 ? theme.text : theme.mutedText,
    })
  }
}

function useFont(): void {
  if (GlobalFonts.has(FONT)) return
  const path = fileURLToPath(new URL('../../assets/DejaVuSans.ttf', import.meta.url))
  if (!GlobalFonts.registerFromPath(path, FONT)) throw new FpdtError('install', `the font of figures cannot be read from ${path}; reinstall the package`)
}
