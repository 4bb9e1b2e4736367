/** Grids of chunks: cells by row and column, found under a point, painted in runs, parted by seams, outlined. */
import { hexOf, mix, parseColour, type Rgb } from './colour.js'
import type { Context2D, PixelRect } from './surface.js'
import type { Theme } from './theme.js'

/** Cells by row and column; a cell may be narrower than a pixel. */
export interface ChunkGrid {
  readonly x: number
  readonly y: number
  readonly rows: number
  readonly columns: number
  readonly cellWidth: number
  readonly cellHeight: number
}

/** How much of its colour a cell has before it is met. */
const PALE = 0.3

/** The cell under a point; null beside the grid. */
export function cellAt({ x, y, rows, columns, cellWidth, cellHeight }: ChunkGrid, atX: number, atY: number): { row: number; column: number } | null {
  const row = Math.floor((atY - y) / cellHeight)
  const column = Math.floor((atX - x) / cellWidth)
  return row < 0 || row >= rows || column < 0 || column >= columns ? null : { row, column }
}

/** Numbers of columns that leave room for each other: every one, every second, every fifth ... */
export function tickStep(size: number, width: number): number {
  for (let decade = 1; ; decade *= 10) for (const step of [decade, 2 * decade, 5 * decade]) if (step * size >= width) return step
}

/** Runs of cells of equal code in a row of the grid, as rectangles: neighbours are painted at once, so that 512 x 512 cells are few. */
export function runsOf(grid: ChunkGrid, codes: Int8Array | Uint8Array, paint: (rect: PixelRect, code: number) => void): void {
  const { x, y, rows, columns, cellWidth, cellHeight } = grid
  for (let row = 0; row < rows; row++) {
    const top = y + Math.round(row * cellHeight)
    const height = y + Math.round((row + 1) * cellHeight) - top
    if (height === 0) continue
    const base = row * columns
    for (let column = 0, end = 0; column < columns; column = end) {
      const code = codes[base + column]
      for (end = column + 1; end < columns && codes[base + end] === code; end++);
      const left = x + Math.round(column * cellWidth)
      paint({ x: left, y: top, width: x + Math.round(end * cellWidth) - left, height }, code)
    }
  }
}

export function cellRect({ x, y, cellWidth, cellHeight }: ChunkGrid, row: number, column: number): PixelRect {
  const left = x + Math.round(column * cellWidth)
  const top = y + Math.round(row * cellHeight)
  return { x: left, y: top, width: x + Math.round((column + 1) * cellWidth) - left, height: y + Math.round((row + 1) * cellHeight) - top }
}

/** A frame that is seen on any colour: the page's colour around the marker's. At least three pixels wide. */
export function outline(context: Context2D, theme: Theme, { x, y, width, height }: PixelRect): void {
  const [w, h] = [Math.max(3, width), Math.max(3, height)]
  for (const [colour, thickness] of [
    [theme.background, 4],
    [theme.marker, 2],
  ] as const) {
    context.strokeStyle = colour
    context.lineWidth = thickness
    context.strokeRect(x, y, w, h)
  }
}

export function paleOf(theme: Theme, colour: string): string {
  return hexOf(mix(parseColour(theme.background) as Rgb, parseColour(colour) as Rgb, PALE))
}

/** Lines of the page's colour between cells. */
export function drawSeams(context: Context2D, theme: Theme, grid: ChunkGrid): void {
  context.fillStyle = theme.background
  for (let column = 1; column < grid.columns; column++)
    context.fillRect(grid.x + Math.round(column * grid.cellWidth) - 1, grid.y, 1, Math.round(grid.rows * grid.cellHeight))
  for (let row = 1; row < grid.rows; row++)
    context.fillRect(grid.x, grid.y + Math.round(row * grid.cellHeight) - 1, Math.round(grid.columns * grid.cellWidth), 1)
}
