/**
 * The chunk triangle at an instant: what has met is full, what meets now has an outline, what is to come is pale and dashed. Colour
 * and hatch say where k and v came from; small grids say it in each cell, with the number of the meeting.
 *
 *                 key/value chunk
 *   query chunk   0     1     2
 *             0   1                  never: a query sees no later key
 *             1   2 H   3
 *             2   4 H   5 H   6
 */
import { FETCHED_KV, FETCHED_Q, meetingAt, metBy, SOURCES, type Source, type Triangle } from '../ask/meetings.js'
import type { Target } from '../model/target.js'
import { type ChunkGrid, cellAt, cellRect, drawSeams, outline, paleOf, runsOf, tickStep } from './chunk-grid.js'
import { type Hatch, hatch } from './hatch.js'
import { drawLegend, type LegendEntry, type LegendLayout, layOutLegend } from './legend.js'
import { type Context2D, type PixelRect, type Surface, textWidth, write } from './surface.js'
import { inkFor, type Theme } from './theme.js'

export interface TriangleLayout {
  readonly width: number
  readonly height: number
  readonly legend: LegendLayout
  readonly titleLine: number
  readonly tickLine: number
  readonly grid: ChunkGrid
  /** Cells are large enough for a number and a letter. */
  readonly isRoomy: boolean
}

export interface DrawnTriangle {
  /** Meetings that are over, and the one under way, -1 between two. */
  readonly met: number
  readonly running: number
}

const SOURCE_WORDS: Readonly<Record<Source, string>> = {
  made: 'N: new, made on the device',
  stayed: 'S: stayed on the device',
  host: 'H: fetched from the host (kv: keys and values; q: queries)',
  disk: 'D: loaded from disk and fetched',
}
const SOURCE_LETTERS: Readonly<Record<Source, string>> = { made: 'N', stayed: 'S', host: 'H', disk: 'D' }
const SOURCE_HATCHES: Readonly<Record<Source, Hatch | undefined>> = { made: undefined, stayed: 'level', host: 'rising', disk: 'upright' }

const GRID = 520
const LARGEST_CELL = 44
/** From this size on a cell has room for words. */
const ROOMY_CELL = 26
const ROOMY_CHUNKS = 16
/** Narrower cells bear no hatch: nobody could tell it from the cells, and clipping it to 512 rows takes longer than all else. */
const HATCHED_CELL = 2
const SMALL = { size: 9, bold: true }
export function layOutTriangle(surface: Surface, triangle: Triangle, width: number): TriangleLayout {
  const { theme } = surface
  const left = Math.ceil(textWidth(surface, ROWS) + 10)
  const legend = layOutLegend(surface, legendOf(theme, triangle), { x: 0, y: 0, width })
  const most = Math.max(triangle.queries, triangle.keys)
  const room = Math.max(40, Math.min(GRID, width - left - 4))
  const cell = Math.min(LARGEST_CELL, room >= most ? Math.floor(room / most) : room / most)
  const titleLine = legend.height + 12
  const grid = { x: left, y: titleLine + 28, rows: triangle.queries, columns: triangle.keys, cellWidth: cell, cellHeight: cell }
  return {
    width,
    height: Math.ceil(grid.y + cell * triangle.queries + 6),
    legend,
    titleLine,
    tickLine: titleLine + 16,
    grid,
    isRoomy: most <= ROOMY_CHUNKS && cell >= ROOMY_CELL,
  }
}

export function drawTriangle(surface: Surface, triangle: Triangle, time_ns: number, layout: TriangleLayout): DrawnTriangle {
  const { theme } = surface
  const met = metBy(triangle, time_ns)
  const running = meetingAt(triangle, time_ns)
  drawLegend(surface, layout.legend)
  drawAxes(surface, layout)
  const codes = codesAt(triangle, met)
  const fills = fillsOf(theme)
  const full = SOURCES.map((): PixelRect[] => [])
  runsOf(layout.grid, codes, (rect, code) => {
    surface.context.fillStyle = code < 0 ? theme.laneBed : fills[code]
    surface.context.fillRect(rect.x, rect.y, rect.width, rect.height)
    if (code >= 0 && code < SOURCES.length) full[code].push(rect)
  })
  for (const [code, source] of SOURCES.entries()) {
    const kind = SOURCE_HATCHES[source]
    if (kind && layout.grid.cellWidth >= HATCHED_CELL) hatch(surface.context, full[code], kind, inkFor(fills[code]))
  }
  if (layout.grid.cellWidth >= 5) drawSeams(surface.context, theme, layout.grid)
  drawNever(surface, triangle, layout)
  if (layout.isRoomy) drawCells(surface, triangle, met, layout, fills)
  if (running >= 0) outlineCell(surface.context, theme, layout.grid, triangle.q[running], triangle.kv[running])
  return { met, running }
}

/** The meeting under a point; null beside the grid and where chunks never meet. */
export function triangleTargetAt(triangle: Triangle, layout: TriangleLayout, x: number, y: number): Target | null {
  const cell = cellAt(layout.grid, x, y)
  if (!cell || triangle.first[cell.row * triangle.keys + cell.column] < 0) return null
  return { kind: 'meeting', phase: triangle.phase, layer: triangle.layer, q: cell.row, kv: cell.column, rank: triangle.rank }
}

/** Outlines of what is pointed at or kept: meetings of this triangle. */
export function drawTrianglePointer(surface: Surface, triangle: Triangle, layout: TriangleLayout, targets: readonly Target[]): void {
  for (const target of targets) {
    if (target.kind !== 'meeting' || target.phase !== triangle.phase || target.layer !== triangle.layer) continue
    if (target.q < triangle.queries && target.kv < triangle.keys) outlineCell(surface.context, surface.theme, layout.grid, target.q, target.kv)
  }
}

const ROWS = 'query chunk'
const COLUMNS = 'key/value chunk'

function drawAxes(surface: Surface, layout: TriangleLayout): void {
  const { grid, titleLine, tickLine } = layout
  const colour = surface.theme.mutedText
  write(surface, COLUMNS, grid.x, titleLine, { role: 'axis', colour })
  write(surface, ROWS, grid.x - 8, tickLine, { role: 'axis', align: 'right', colour })
  const wide = textWidth(surface, String(grid.columns - 1)) + 8
  const across = tickStep(grid.cellWidth, wide)
  for (let column = 0; column < grid.columns; column += across)
    write(surface, String(column), grid.x + (column + 0.5) * grid.cellWidth, tickLine, { role: 'tick', align: 'center', colour })
  const down = tickStep(grid.cellHeight, 15)
  for (let row = 0; row < grid.rows; row += down) {
    const y = grid.y + (row + 0.5) * grid.cellHeight
    write(surface, String(row), grid.x - 8, Math.max(y, tickLine + 15), { role: 'tick', align: 'right', colour })
  }
}

/** Per cell: index into SOURCES where it has been met, that and the number of sources where it is to be, -1 where it never is. */
function codesAt(triangle: Triangle, met: number): Int8Array {
  const codes = new Int8Array(triangle.first.length)
  for (let cell = 0; cell < codes.length; cell++) {
    let meeting = triangle.first[cell]
    if (meeting < 0) {
      codes[cell] = -1
      continue
    }
    for (let next = triangle.next[meeting]; next >= 0 && next < met; next = triangle.next[next]) meeting = next
    codes[cell] = triangle.source[meeting] + (meeting < met ? 0 : SOURCES.length)
  }
  return codes
}

/** Colours by code: full, then pale. */
function fillsOf(theme: Theme): string[] {
  const full = SOURCES.map((source) => sourceColour(theme, source))
  return [...full, ...full.map((colour) => paleOf(theme, colour))]
}

function sourceColour(theme: Theme, source: Source): string {
  const { families } = theme
  return { made: families.attention, stayed: families.elementwise, host: families.fetch, disk: families.disk }[source]
}

function legendOf(theme: Theme, triangle: Triangle): LegendEntry[] {
  // All that a run can have, met or not: the picture must not move when the layer or the phase changes.
  const entries = SOURCES.filter((source) => source !== 'disk' || triangle.hasDisk).map(
    (source): LegendEntry => ({ words: SOURCE_WORDS[source], colour: sourceColour(theme, source), hatch: SOURCE_HATCHES[source] }),
  )
  return [...entries, { words: 'pale: not yet met', colour: paleOf(theme, theme.families.attention) }]
}

/** Said once, above the diagonal, where there is room. */
function drawNever(surface: Surface, triangle: Triangle, { grid }: TriangleLayout): void {
  const { theme } = surface
  const y = grid.y + Math.max(9, grid.cellHeight / 2)
  const lowest = Math.ceil((y + 8 - grid.y) / grid.cellHeight) - 1
  const from = grid.x + Math.round((lowest + 1) * grid.cellWidth)
  const right = grid.x + Math.round(grid.columns * grid.cellWidth)
  for (let row = 0; row <= lowest; row++)
    for (let column = lowest + 1; column < grid.columns; column++) if (triangle.first[row * grid.columns + column] >= 0) return
  for (const words of ['never: a query sees no later key', 'never: later keys', 'never']) {
    if (textWidth(surface, words) + 12 > right - from) continue
    write(surface, words, right - 6, y, { role: 'note', align: 'right', on: theme.laneBed, plate: true })
    return
  }
}

/** The number of each meeting and the letter of its source; of several meetings in a cell the first number, and how many. */
function drawCells(surface: Surface, triangle: Triangle, met: number, { grid }: TriangleLayout, fills: readonly string[]): void {
  const { context, theme } = surface
  for (let row = 0; row < grid.rows; row++) {
    for (let column = 0; column < grid.columns; column++) {
      const meeting = triangle.first[row * grid.columns + column]
      if (meeting < 0) continue
      const isOver = meeting < met
      const fill = fills[triangle.source[meeting] + (isOver ? 0 : SOURCES.length)]
      const colour = isOver ? inkFor(fill) : theme.text
      const rect = cellRect(grid, row, column)
      if (!isOver) {
        context.save()
        context.strokeStyle = theme.mutedText
        context.lineWidth = 1
        context.setLineDash([3, 3])
        context.strokeRect(rect.x + 1.5, rect.y + 1.5, rect.width - 4, rect.height - 4)
        context.restore()
      }
      const middle = rect.x + (rect.width - 1) / 2
      write(surface, String(meeting + 1), middle, rect.y + rect.height / 2 - 6, { role: 'bar', size: 10, align: 'center', colour, on: fill, plate: isOver })
      let times = 0
      for (let next: number = meeting; next >= 0; next = triangle.next[next]) times++
      const letter = SOURCE_LETTERS[SOURCES[triangle.source[meeting]]]
      const what = triangle.fetched[meeting]
      const from = `${what & FETCHED_Q ? 'q ' : ''}${what & FETCHED_KV ? 'kv ' : ''}${letter}`
      const room = rect.width - 6
      const below =
        [`${from} ×${times}`, `${letter}×${times}`, from, letter]
          .filter((words) => times > 1 === words.includes('×'))
          .find((words) => textWidth(surface, words, SMALL) <= room) ?? letter
      write(surface, below, middle, rect.y + rect.height / 2 + 6, { role: 'bar', ...SMALL, align: 'center', colour, on: fill, plate: isOver })
    }
  }
}

function outlineCell(context: Context2D, theme: Theme, grid: ChunkGrid, row: number, column: number): void {
  const rect = cellRect(grid, row, column)
  outline(context, theme, { ...rect, width: rect.width - 1, height: rect.height - 1 })
}
