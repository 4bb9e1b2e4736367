/**
 * Values as colours: a grid of cells, a scale bar, and below it what the numbers are.
 *
 *   k[0,1] on the device of rank 0, after op 37
 *      0 ▓▓░░▒▒  █ 1.2
 *        ▒▒▓▓░░  ▒ 0
 *     63 ░░▒▒▓▓  ░ -1.2
 *        0    31
 *
 * Signed values take two hues with the page's tone at zero, others one ramp from dark to bright: both are told apart by every
 * kind of eye, as lightness alone tells them apart. What is not finite has a colour that is on no scale, and is counted.
 */
import type { Grid } from '../model/grid.js'
import { count as counted } from '../words/format.js'
import { hexOf, inkOn, mix, parseColour, type Rgb } from './colour.js'
import { line, type PixelRect, type Surface, textWidth, write } from './surface.js'
import type { Theme } from './theme.js'

export type HeatScale = 'linear' | 'log'
export interface HeatWords {
  /** What it is: `k[0,1]`. */
  readonly title: string
  /** Where and when, or ''. */
  readonly place: string
}
export interface HeatLayout extends PixelRect {
  /** Where the cells are. */
  readonly map: PixelRect
  /** Size of a cell. */
  readonly cell: readonly [number, number]
  readonly bar: PixelRect
  /** Lines below the map. */
  readonly lines: readonly string[]
}

const LINE = 17
const TITLE = 22
const LARGEST_CELL = 26
const TALLEST_MAP = 260
const BAR = { width: 14, height: 96, gap: 18, labels: 62 } as const
const COLOURS = 64
/** On no scale below, and far from all that is. */
const NOT_FINITE = '#ff00c8'
/** Cells smaller than this get a frame when they are not finite; beyond so many of them the colour is seen anyway. */
const SEEN_CELL = 9
const MOST_FRAMES = 200

/** Viridis (CC0): lightness grows evenly along it. */
const RAMP = ['#440154', '#482878', '#3e4a89', '#31688e', '#26828e', '#1f9e89', '#35b779', '#6ece58', '#b5de2b', '#fde725']
const SIGNED = { light: ['#0b3c78', '#4a90d9', '#d9700a', '#7a2f00'], dark: ['#9cc8ff', '#2f6fc0', '#c06a1c', '#ffc48a'] } as const

export function layOutHeat(grid: Grid, words: HeatWords, width: number): HeatLayout {
  const left = 8 + 7 * String(Math.max(0, grid.rows - 1)).length
  const room = Math.max(40, width - left - BAR.gap - BAR.width - BAR.labels)
  const size = (space: number, cells: number): number => Math.max(1, Math.min(LARGEST_CELL, Math.floor(space / Math.max(1, cells))))
  const cell = [size(room, grid.cellColumns), size(TALLEST_MAP, grid.cellRows)] as const
  const top = TITLE + (words.place ? LINE : 0) + 4
  const map = { x: left, y: top, width: cell[0] * grid.cellColumns, height: cell[1] * grid.cellRows }
  const height = Math.max(map.height, BAR.height)
  const lines = linesOf(grid)
  return {
    x: 0,
    y: 0,
    width,
    height: top + height + LINE + 6 + lines.length * LINE,
    map,
    cell,
    bar: { x: map.x + map.width + BAR.gap, y: top, width: BAR.width, height: BAR.height },
    lines,
  }
}

export function drawHeat(surface: Surface, grid: Grid, words: HeatWords, layout: HeatLayout, kind: HeatScale = 'linear'): void {
  const { context, theme } = surface
  context.fillStyle = theme.background
  context.fillRect(0, 0, layout.width, layout.height)
  write(surface, words.title, 1, TITLE / 2, { role: 'chart', size: 13, bold: true })
  if (words.place) write(surface, words.place, 1, TITLE + LINE / 2 - 2, { role: 'note', colour: theme.mutedText })
  const scale = scaleOf(grid, theme, kind)
  drawCells(surface, grid, layout, scale)
  drawIndices(surface, grid, layout)
  if (grid.summary.finite > 0) drawBar(surface, layout.bar, scale)
  const first = layout.height - layout.lines.length * LINE + LINE / 2 - 3
  for (const [i, text] of layout.lines.entries()) {
    const isBad = text.startsWith(NOT_FINITE_WORDS)
    write(surface, text, 1, first + i * LINE, { role: 'note', bold: isBad, colour: isBad ? theme.budget : theme.mutedText })
  }
}

/** The numbers in a sentence, for those who do not see the picture. */
export function heatWords(grid: Grid, { title, place }: HeatWords): string {
  return [title + (place ? `, ${place}` : ''), ...linesOf(grid)].join('. ')
}

// ---- words ---------------------------------------------------------------------------------------------------------

const NOT_FINITE_WORDS = 'Not finite:'

function linesOf({ shape, rows, columns, block, summary }: Grid): string[] {
  const { count, finite, nan, infinite, minimum, maximum, mean, middle } = summary
  const flat = shape.length !== 2 && count > 1 ? `, drawn as ${counted(rows)} × ${counted(columns)}` : ''
  return [
    `Shape (${shape.join(', ')})${flat}${finite > 0 ? `. Minimum ${short(minimum)}, maximum ${short(maximum)}, mean ${short(mean)}` : ''}`,
    ...(block[0] * block[1] > 1 ? [`Each cell is the one of ${block[0]} × ${block[1]} values that is farthest from ${middle === 0 ? '0' : `the mean`}`] : []),
    ...(nan + infinite > 0
      ? [
          `${NOT_FINITE_WORDS} ${[nan > 0 ? `${counted(nan)} NaN` : '', infinite > 0 ? `${counted(infinite)} infinite` : ''].filter(Boolean).join(', ')} of ${counted(count)} values`,
        ]
      : []),
  ]
}

/** Four digits. */
function short(value: number): string {
  const size = Math.abs(value)
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(2) : String(Number(value.toPrecision(4)))
}

// ---- scale ---------------------------------------------------------------------------------------------------------

interface Scale {
  /** -1 to 1 for signed values, else 0 to 1. */
  readonly low: number
  at(value: number): number
  /** The value at a place of the bar. */
  inverse(at: number): number
  /** From low to 1. */
  readonly colours: readonly string[]
}

/** A log scale spans at most so many powers of ten below the largest value. */
const DECADES = 8

function scaleOf({ summary, values }: Grid, theme: Theme, kind: HeatScale): Scale {
  const { minimum, maximum } = summary
  const isSigned = minimum < 0 && maximum > 0
  const largest = Math.max(Math.abs(minimum), Math.abs(maximum))
  const colours = isSigned ? signedColours(theme) : rampColours()
  // Values of one sign are as far from zero as they are: a log scale of them needs no zero.
  if (kind === 'log' && largest > 0) {
    let least = largest
    for (const value of values) if (value !== 0 && Number.isFinite(value)) least = Math.min(least, Math.abs(value))
    const floor = Math.max(least, largest * 10 ** -DECADES)
    const span = Math.log(largest / floor)
    const size = (value: number): number => (span === 0 ? 1 : Math.max(0, Math.log(Math.abs(value) / floor) / span))
    const back = (at: number): number => floor * Math.exp(Math.abs(at) * span)
    if (isSigned) return { low: -1, colours, at: (value) => Math.sign(value) * size(value), inverse: (at) => (at === 0 ? 0 : Math.sign(at) * back(at)) }
    if (minimum >= 0) return { low: 0, colours, at: size, inverse: back }
    return { low: 0, colours, at: (value) => 1 - size(value), inverse: (at) => -back(1 - at) }
  }
  if (isSigned) return { low: -1, colours, at: (value) => value / largest, inverse: (at) => at * largest }
  const span = maximum - minimum
  return { low: 0, colours, at: (value) => (span === 0 ? 0.5 : (value - minimum) / span), inverse: (at) => minimum + at * span }
}

function rampColours(): string[] {
  return Array.from({ length: COLOURS + 1 }, (_, i) => along(RAMP, i / COLOURS))
}
/** The middle is the page's tone, so that what is near zero steps back. */
function signedColours(theme: Theme): string[] {
  const page = parseColour(theme.background) as Rgb
  const [low, lower, higher, high] = SIGNED[theme.name]
  const middle = hexOf(mix(page, inkOn(page), theme.name === 'dark' ? 0.12 : 0.05))
  return Array.from({ length: COLOURS + 1 }, (_, i) => along([low, lower, middle, higher, high], i / COLOURS))
}
function along(stops: readonly string[], at: number): string {
  const place = at * (stops.length - 1)
  const i = Math.min(Math.floor(place), stops.length - 2)
  return hexOf(mix(parseColour(stops[i]) as Rgb, parseColour(stops[i + 1]) as Rgb, place - i))
}

function colourOf({ low, at, colours }: Scale, value: number): string {
  if (!Number.isFinite(value)) return NOT_FINITE
  return colours[Math.round(Math.min(1, Math.max(0, (at(value) - low) / (1 - low))) * COLOURS)]
}

// ---- painting ------------------------------------------------------------------------------------------------------

function drawCells({ context, theme }: Surface, { values, cellRows, cellColumns }: Grid, { map, cell }: HeatLayout, scale: Scale): void {
  const bad: PixelRect[] = []
  for (let row = 0; row < cellRows; row++) {
    for (let column = 0, end = 0; column < cellColumns; column = end) {
      const colour = colourOf(scale, values[row * cellColumns + column])
      for (end = column + 1; end < cellColumns && colourOf(scale, values[row * cellColumns + end]) === colour; end++);
      const rect = { x: map.x + column * cell[0], y: map.y + row * cell[1], width: (end - column) * cell[0], height: cell[1] }
      context.fillStyle = colour
      context.fillRect(rect.x, rect.y, rect.width, rect.height)
      if (colour === NOT_FINITE) bad.push(rect)
    }
  }
  context.lineWidth = 1
  context.strokeStyle = theme.mutedText
  context.strokeRect(map.x - 0.5, map.y - 0.5, map.width + 1, map.height + 1)
  if (Math.min(...cell) >= SEEN_CELL || bad.length > MOST_FRAMES) return
  context.strokeStyle = theme.marker
  for (const { x, y, width, height } of bad) context.strokeRect(x - 2.5, y - 2.5, width + 5, height + 5)
}

/** The first and the last index of rows and columns. */
function drawIndices(surface: Surface, { rows, columns }: Grid, { map, cell }: HeatLayout): void {
  const style = { role: 'tick', colour: surface.theme.mutedText } as const
  const below = map.y + map.height + 11
  if (rows > 0) write(surface, '0', map.x - 6, map.y + Math.max(6, cell[1] / 2), { ...style, align: 'right' })
  if (rows > 1 && map.height > 24) write(surface, String(rows - 1), map.x - 6, map.y + map.height - Math.max(6, cell[1] / 2), { ...style, align: 'right' })
  if (columns > 0) write(surface, '0', map.x, below, style)
  const last = String(columns - 1)
  if (columns > 1 && map.width > textWidth(surface, last) + 16) write(surface, last, map.x + map.width, below, { ...style, align: 'right' })
}

function drawBar(surface: Surface, bar: PixelRect, scale: Scale): void {
  const { context, theme } = surface
  const { colours, low } = scale
  for (let y = 0; y < bar.height; y++) {
    context.fillStyle = colours[Math.round((1 - (y + 0.5) / bar.height) * COLOURS)]
    context.fillRect(bar.x, bar.y + y, bar.width, 1)
  }
  context.lineWidth = 1
  context.strokeStyle = theme.mutedText
  context.strokeRect(bar.x - 0.5, bar.y - 0.5, bar.width + 1, bar.height + 1)
  for (const share of [0, 0.5, 1]) {
    const y = bar.y + bar.height * (1 - share)
    line(context, bar.x + bar.width, Math.round(y) + 0.5, bar.x + bar.width + 4, Math.round(y) + 0.5)
    write(surface, short(scale.inverse(low + share * (1 - low))), bar.x + bar.width + 7, Math.min(Math.max(y, bar.y + 6), bar.y + bar.height - 5), {
      role: 'tick',
      colour: theme.mutedText,
    })
  }
}
