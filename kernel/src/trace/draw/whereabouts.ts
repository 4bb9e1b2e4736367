/**
 * The map of a layer's chunks at an instant: a row a value, a column a chunk, and in each cell a band a tier, fastest on top. A
 * full band: the chunk is there. A pale, hatched one: a copy is on its way there. A framed one: it is being written.
 */
import { COPYING, type CopyKind, ON, partAt, ROUTES, stateAt, type ValueRow, type Whereabouts, WRITTEN } from '../ask/whereabouts.js'
import type { Target } from '../model/target.js'
import { NONE_32, TIERS, type Tier } from '../schema.js'
import { counted } from '../words/format.js'
import { type ChunkGrid, cellAt, cellRect, drawSeams, outline, paleOf, tickStep } from './chunk-grid.js'
import { type Hatch, hatch } from './hatch.js'
import { drawLegend, type LegendEntry, type LegendLayout, layOutLegend } from './legend.js'
import { type PixelRect, type Surface, textWidth, write } from './surface.js'
import { HATCHES, inkFor, type Theme } from './theme.js'

export interface WhereLayout {
  readonly width: number
  readonly height: number
  readonly legend: LegendLayout
  readonly tickLine: number
  readonly grid: ChunkGrid
  /** The rows that are drawn. */
  readonly rows: readonly ValueRow[]
  readonly band: number
  /** Bands have room for a word. */
  readonly isRoomy: boolean
}

/** `travelling`: values that leave the device some time, or all where none does. */
export type WhereChoice = 'travelling' | 'all'

const WIDEST_CELL = 64
const WORDY_CELL = 38
const BANDS = { roomy: 12, dense: 5 } as const
const GAP = 2

export function layOutWhere(surface: Surface, map: Whereabouts, choice: WhereChoice, width: number): WhereLayout {
  const travelling = map.rows.filter(({ travels }) => travels)
  const rows = choice === 'all' || travelling.length === 0 ? map.rows : travelling
  const left = Math.ceil(Math.max(textWidth(surface, COLUMNS), ...rows.map(({ base }) => textWidth(surface, base))) + 10)
  const columns = Math.max(1, map.chunks)
  const room = Math.max(40, width - left - 4)
  const cellWidth = Math.min(WIDEST_CELL, room >= columns ? Math.floor(room / columns) : room / columns)
  const isRoomy = cellWidth >= WORDY_CELL
  const band = isRoomy ? BANDS.roomy : BANDS.dense
  // A row of one tier is still as high as its name.
  const cellHeight = Math.max(12, band * map.tiers.length) + GAP
  const legend = layOutLegend(surface, legendOf(surface.theme, map), { x: 0, y: 0, width })
  const grid = { x: left, y: legend.height + 22, rows: rows.length, columns, cellWidth, cellHeight }
  return {
    width,
    height: grid.y + rows.length * cellHeight + (map.more > 0 ? 20 : 6),
    legend,
    tickLine: legend.height + 12,
    grid,
    rows,
    band: (cellHeight - GAP) / Math.max(1, map.tiers.length),
    isRoomy,
  }
}

export function drawWhere(surface: Surface, map: Whereabouts, time_ns: number, layout: WhereLayout): void {
  const { context, theme } = surface
  const { grid, rows, band } = layout
  drawLegend(surface, layout.legend)
  drawAxes(surface, layout)
  const states = statesAt(rows, grid, time_ns)
  const hatched = new Map<Hatch, Map<string, PixelRect[]>>()
  const words: { text: string; rect: PixelRect; fill: string }[] = []
  for (const [row] of rows.entries()) {
    for (const [level, tier] of map.tiers.entries()) {
      const looks = (column: number): Look => lookOf(theme, states[row * grid.columns + column], tier)
      for (let column = 0, end = 0; column < grid.columns; column = end) {
        const state = states[row * grid.columns + column]
        for (end = column + 1; end < grid.columns && states[row * grid.columns + end] === state; end++);
        const from = cellRect(grid, row, column)
        const rect = { x: from.x, y: from.y + level * band, width: cellRect(grid, row, end - 1).x + cellRect(grid, row, end - 1).width - from.x, height: band }
        const look = looks(column)
        context.fillStyle = look.fill
        context.fillRect(rect.x, rect.y, rect.width, rect.height)
        if (look.hatch) add(hatched, look.hatch, look.ink, rect)
        if (layout.isRoomy && look.words)
          for (let at = column; at < end; at++) words.push({ text: look.words, rect: { ...cellRect(grid, row, at), y: rect.y, height: band }, fill: look.fill })
      }
    }
  }
  for (const [kind, inks] of hatched) for (const [ink, rects] of inks) hatch(context, rects, kind, ink)
  if (grid.cellWidth >= 5) drawSeams(context, theme, grid)
  context.fillStyle = theme.background
  for (let row = 0; row < rows.length; row++) context.fillRect(grid.x, grid.y + (row + 1) * grid.cellHeight - GAP, grid.columns * grid.cellWidth, GAP)
  if (map.more > 0)
    write(surface, `and ${counted(map.more, 'more value')}`, grid.x, grid.y + grid.rows * grid.cellHeight + 10, { role: 'note', colour: theme.mutedText })
  for (const { text, rect, fill } of words)
    write(surface, text, rect.x + (rect.width - 1) / 2, rect.y + rect.height / 2, {
      role: 'bar',
      size: 9,
      align: 'center',
      colour: inkFor(fill),
      on: fill,
      plate: true,
    })
}

/** The buffer under a point, where the chunk is; where it is nowhere, one in which it was or will be. Null beside the grid. */
export function whereTargetAt(map: Whereabouts, time_ns: number, layout: WhereLayout, x: number, y: number): Target | null {
  const at = whereCellAt(layout, x, y)
  const parts = at?.row.cells[at.chunk]?.parts ?? []
  const candidates = [...parts.map((part) => partAt(part, time_ns).buffer), ...parts.flatMap(({ buffers }) => [...buffers])]
  const buffer = candidates.find((found) => found !== NONE_32)
  return buffer === undefined ? null : { kind: 'buffer', buffer, rank: map.rank }
}

/** The value and chunk under a point. */
function whereCellAt(layout: WhereLayout, x: number, y: number): { row: ValueRow; chunk: number } | null {
  const cell = cellAt(layout.grid, x, y)
  return cell && { row: layout.rows[cell.row], chunk: cell.column }
}

/** Outlines of cells whose value is one of `names`: chunks that are pointed at or kept, wherever they are by now. */
export function drawWherePointer(surface: Surface, layout: WhereLayout, names: ReadonlySet<string>): void {
  if (names.size === 0) return
  for (const [row, { cells }] of layout.rows.entries()) {
    for (const [chunk, cell] of cells.entries()) {
      if (!cell?.parts.some(({ name }) => names.has(name))) continue
      const rect = cellRect(layout.grid, row, chunk)
      outline(surface.context, surface.theme, { ...rect, width: rect.width - 1, height: rect.height - GAP })
    }
  }
}

const COLUMNS = 'chunk'

function drawAxes(surface: Surface, { grid, rows, tickLine }: WhereLayout): void {
  const colour = surface.theme.mutedText
  write(surface, COLUMNS, grid.x - 8, tickLine, { role: 'axis', align: 'right', colour })
  const step = tickStep(grid.cellWidth, textWidth(surface, String(grid.columns - 1)) + 8)
  for (let column = 0; column < grid.columns; column += step)
    write(surface, String(column), grid.x + (column + 0.5) * grid.cellWidth, tickLine, { role: 'tick', align: 'center', colour })
  for (const [row, { base }] of rows.entries())
    write(surface, base, grid.x - 8, grid.y + row * grid.cellHeight + (grid.cellHeight - GAP) / 2, { role: 'lane', align: 'right' })
}

function statesAt(rows: readonly ValueRow[], grid: ChunkGrid, time_ns: number): Uint8Array {
  const states = new Uint8Array(rows.length * grid.columns)
  for (const [row, { cells }] of rows.entries()) for (const [chunk, cell] of cells.entries()) states[row * grid.columns + chunk] = stateAt(cell, time_ns)
  return states
}

interface Look {
  readonly fill: string
  readonly ink: string
  readonly hatch?: Hatch | undefined
  readonly words: string
}

/** A band: full where the chunk is there; pale and hatched where it is on its way there, or made there. */
function lookOf(theme: Theme, state: number, tier: Tier): Look {
  const copying = (Object.keys(COPYING) as CopyKind[]).find((kind) => (state & COPYING[kind]) !== 0 && ROUTES[kind][1] === tier)
  const colour = tierColour(theme, tier)
  if (copying) return { fill: paleOf(theme, colour), ink: theme.text, hatch: COPY_HATCHES[copying], words: copying }
  if (tier === 'device' && state & WRITTEN)
    return { fill: state & ON.device ? colour : paleOf(theme, colour), ink: state & ON.device ? inkFor(colour) : theme.text, hatch: 'level', words: 'write' }
  if (state & ON[tier]) return { fill: colour, ink: inkFor(colour), words: tier === 'device' ? 'dev' : tier }
  return { fill: theme.laneBed, ink: theme.text, words: '' }
}

const COPY_HATCHES: Readonly<Record<CopyKind, Hatch | undefined>> = { fetch: HATCHES.fetch, offload: HATCHES.offload, load: HATCHES.disk, spill: HATCHES.disk }

function tierColour({ families }: Theme, tier: Tier): string {
  return { device: families.attention, host: families.fetch, disk: families.disk }[tier]
}

function add(hatched: Map<Hatch, Map<string, PixelRect[]>>, kind: Hatch, ink: string, rect: PixelRect): void {
  const inks = hatched.get(kind) ?? new Map<string, PixelRect[]>()
  hatched.set(kind, inks)
  const rects = inks.get(ink)
  if (rects) rects.push(rect)
  else inks.set(ink, [rect])
}

function legendOf(theme: Theme, map: Whereabouts): LegendEntry[] {
  const bands = ['top', 'middle', 'bottom']
  const device = tierColour(theme, 'device')
  const host = tierColour(theme, 'host')
  const disk = tierColour(theme, 'disk')
  const entries: LegendEntry[] = TIERS.filter((tier) => map.tiers.includes(tier)).map((tier, i, all) => ({
    words: `on ${tier === 'disk' ? 'disk' : `the ${tier}`}${all.length > 1 ? `, ${i === all.length - 1 ? 'bottom' : bands[i]} band` : ''}`,
    colour: tierColour(theme, tier),
  }))
  entries.push({ words: 'being written', colour: paleOf(theme, device), hatch: 'level' })
  if (map.tiers.includes('host'))
    entries.push(
      { words: 'being fetched', colour: paleOf(theme, device), hatch: COPY_HATCHES.fetch },
      { words: 'being offloaded', colour: paleOf(theme, host), hatch: COPY_HATCHES.offload },
    )
  if (map.tiers.includes('disk')) entries.push({ words: 'to or from disk', colour: paleOf(theme, disk), hatch: COPY_HATCHES.spill })
  return [...entries, { words: 'not there', colour: theme.laneBed }]
}
