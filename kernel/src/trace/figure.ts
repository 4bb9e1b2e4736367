/**
 * Pictures made in Node with the same functions as in JupyterLab: for viewers of notebooks that do not have the lab extension,
 * and for files. The font comes with the package, so a file does not depend on the machine.
 */

import { fileURLToPath } from 'node:url'
import { createCanvas, GlobalFonts } from '@napi-rs/canvas'
import { FpdtError } from '../errors.js'
import { drawHeat, type HeatWords, layOutHeat } from './draw/heat.js'
import type { Picture } from './draw/picture.js'
import { sheetOf } from './draw/sheet.js'
import type { Context2D, Surface } from './draw/surface.js'
import { LIGHT_PAGE, type PageColours, themeFor } from './draw/theme.js'
import { runSvg } from './export/svg.js'
import type { Grid } from './model/grid.js'
import { homeOf, openRun, type Run } from './model/run.js'
import type { View } from './model/view.js'
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
/** Beyond it, viewers of pictures and browsers give up too. */
const MOST_PIXELS = 16_384

/** The picture of a run as a PNG. Throws FpdtError 'payload' for tables that break the run format. */
export function figure(tables: RunTables, { width = 1200, scale = 2, page = LIGHT_PAGE }: FigureOptions = {}): Figure {
  const run = openRun(tables)
  const sheet = sheetOf(surfaceOf(1, 1, 1, page), run, firstView(run), width)
  const surface = surfaceOf(width, sheet.height, scale, page)
  const picture = sheet.paint(surface)
  return { png: surface.png(), width, height: sheet.height, picture }
}

/** The same picture as SVG. Throws FpdtError 'payload'. */
export function figureSvg(tables: RunTables, { width = 1200, page = LIGHT_PAGE }: Omit<FigureOptions, 'scale'> = {}): string {
  const { context, theme } = surfaceOf(1, 1, 1, page)
  const run = openRun(tables)
  return runSvg(context, theme, run, firstView(run), width)
}

/** Values as a heat map, as a PNG. */
export function heatFigure(grid: Grid, words: HeatWords, { width = 560, scale = 2, page = LIGHT_PAGE }: FigureOptions = {}): Uint8Array {
  const layout = layOutHeat(grid, words, width)
  const surface = surfaceOf(width, layout.height, scale, page)
  drawHeat(surface, grid, words, layout)
  return surface.png()
}

function surfaceOf(width: number, height: number, scale: number, page: Omit<PageColours, 'font'>): Surface & { png(): Uint8Array } {
  useFont()
  const pixels = [width, height].map((length) => Math.round(length * scale))
  if (!pixels.every((length) => length >= 1 && length <= MOST_PIXELS))
    throw new FpdtError(
      'figure',
      `a figure of ${pixels.join(' x ')} pixels cannot be drawn; try a width and a scale with which it has 1 to ${MOST_PIXELS} each way`,
    )
  const canvas = createCanvas(pixels[0], pixels[1])
  const context = canvas.getContext('2d')
  context.scale(scale, scale)
  return { context: context as Context2D, theme: themeFor({ ...page, font: FONT }), labels: [], png: () => canvas.toBuffer('image/png') }
}

function firstView(run: Run): View {
  return { ...homeOf(run), rank: run.ranks[0] ?? 0 }
}

function useFont(): void {
  if (GlobalFonts.has(FONT)) return
  const path = fileURLToPath(new URL('../../assets/DejaVuSans.ttf', import.meta.url))
  if (!GlobalFonts.registerFromPath(path, FONT)) throw new FpdtError('install', `the font of figures cannot be read from ${path}; reinstall the package`)
}
