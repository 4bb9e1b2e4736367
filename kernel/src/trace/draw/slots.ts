/**
 * Slots of the arena over the timeline's axis: who lives where, being filled, ready, or in use. While one slot is used, the next
 * is filled: that is the double buffer.
 *
 *   A  128 KiB   ░k[0,0]░████████        ░k[0,2]░████████
 *   B  128 KiB           ░k[0,1]░────████████
 */
import type { Slot } from '../ask/slots.js'
import { firstAfter, type Run } from '../model/run.js'
import type { Target } from '../model/target.js'
import type { View } from '../model/view.js'
import { slotLetter } from '../words/chunks.js'
import { bytes } from '../words/format.js'
import { outline, paleOf } from './chunk-grid.js'
import { hatch } from './hatch.js'
import { timeAt, xOf } from './layout.js'
import { drawLegend, type LegendLayout, layOutLegend } from './legend.js'
import { line, type PixelRect, type Surface, textWidth, write } from './surface.js'
import { inkFor } from './theme.js'
import { timeTicks } from './ticks.js'

export interface SlotRow {
  readonly slot: Slot
  /** By its place among those in view: A is the first in the arena. */
  readonly letter: string
  readonly y: number
}
export interface SlotsLayout {
  readonly width: number
  readonly height: number
  readonly legend: LegendLayout
  readonly tickLine: number
  /** The columns that are time. */
  readonly plot: { readonly x: number; readonly width: number }
  readonly rows: readonly SlotRow[]
  /** Slots used in the window that are left out, and the line that says so. */
  readonly hidden: number
  readonly hiddenLine: number
}

const ROW = 17
const GAP = 4
/** Of more, those that most chunks take by turns in the window are shown. */
const MOST_ROWS = 12
const NAME = 10

/** `plot`: that of the timeline, so that instants lie below each other. */
export function layOutSlots(
  surface: Surface,
  slots: readonly Slot[],
  view: View,
  width: number,
  plot: { readonly x: number; readonly width: number },
): SlotsLayout {
  const { theme } = surface
  const used = slots.map((slot) => ({ slot, ...turnsIn(slot, view) })).filter(({ turns }) => turns > 0)
  const busiest = new Set([...used].sort((a, b) => b.turns - a.turns || b.time_ns - a.time_ns).slice(0, MOST_ROWS))
  const legend = layOutLegend(
    surface,
    [
      { words: 'being filled', colour: theme.families.fetch, hatch: 'rising' },
      { words: 'in use', colour: theme.families.attention },
      { words: 'ready, not in use', colour: paleOf(theme, theme.families.attention) },
      { words: 'free', colour: theme.laneBed },
    ],
    { x: plot.x, y: 0, width: width - plot.x },
  )
  const tickLine = legend.height + 8
  const top = tickLine + 10
  const rows = used.filter((each) => busiest.has(each)).map(({ slot }, i) => ({ slot, letter: slotLetter(i), y: top + i * (ROW + GAP) }))
  const end = top + rows.length * (ROW + GAP)
  const hidden = used.length - rows.length
  return { width, height: Math.max(end, top + ROW) + (hidden > 0 || rows.length === 0 ? 18 : 4), legend, tickLine, plot, rows, hidden, hiddenLine: end + 8 }
}

export function drawSlots(surface: Surface, run: Run, view: View, layout: SlotsLayout): void {
  const { context, theme } = surface
  const { plot } = layout
  drawLegend(surface, layout.legend)
  const axis = timeTicks(view.start_ns, view.end_ns, plot.width / 70)
  write(surface, axis.title, plot.x - 8, layout.tickLine, { role: 'axis', align: 'right', colour: theme.mutedText })
  for (const { value, label } of axis.ticks) {
    const half = textWidth(surface, label) / 2
    const x = Math.min(Math.max(xOf(layout, view, value), plot.x + half), plot.x + plot.width - half)
    write(surface, label, x, layout.tickLine, { role: 'tick', align: 'center', colour: theme.mutedText })
  }
  if (layout.rows.length === 0)
    write(surface, 'no chunk lives at a place of its own in this window', plot.x, layout.hiddenLine, { role: 'note', colour: theme.mutedText })
  for (const row of layout.rows) {
    const middle = row.y + ROW / 2
    write(surface, row.letter, plot.x - textWidth(surface, '000 KiB') - 14, middle, { role: 'lane', align: 'right', bold: true })
    write(surface, bytes(row.slot.size_bytes), plot.x - 8, middle, { role: 'tick', align: 'right', colour: theme.mutedText })
    context.fillStyle = theme.laneBed
    context.fillRect(plot.x, row.y, plot.width, ROW)
    drawLives(surface, run, view, layout, row)
  }
  if (layout.hidden > 0)
    write(surface, `${layout.hidden} more places have fewer turns in this window; zoom in to see them`, plot.x, layout.hiddenLine, {
      role: 'note',
      colour: theme.mutedText,
    })
}

/** The buffer that lives in a slot at a point; null where nobody does. */
export function slotTargetAt(layout: SlotsLayout, rank: number, view: View, x: number, y: number): Target | null {
  const row = layout.rows.find((at) => y >= at.y - GAP / 2 && y < at.y + ROW + GAP / 2)
  if (!row || x < layout.plot.x || x > layout.plot.x + layout.plot.width) return null
  const time_ns = timeAt(layout, view, x)
  const life = firstAfter(row.slot.start_ns, (start_ns) => start_ns, time_ns) - 1
  return life < 0 || row.slot.end_ns[life] < time_ns ? null : { kind: 'buffer', buffer: row.slot.buffer[life], rank }
}

/** What lies over the picture: lines at instants, outlines of the lives of buffers. */
export function drawSlotsPointer(surface: Surface, view: View, layout: SlotsLayout, instants_ns: readonly number[], buffers: ReadonlySet<number>): void {
  const { context, theme } = surface
  const [first] = layout.rows
  const last = layout.rows[layout.rows.length - 1]
  if (!first) return
  context.lineWidth = 1
  context.strokeStyle = theme.mutedText
  for (const time_ns of instants_ns) {
    if (time_ns < view.start_ns || time_ns > view.end_ns) continue
    const x = Math.round(xOf(layout, view, time_ns)) + 0.5
    line(context, x, first.y - 3, x, last.y + ROW + 3)
  }
  if (buffers.size === 0) return
  for (const { slot, y } of layout.rows) {
    for (let life = firstIn(slot, view); life < slot.buffer.length && slot.start_ns[life] < view.end_ns; life++) {
      if (!buffers.has(slot.buffer[life])) continue
      const x = clampedX(layout, view, slot.start_ns[life])
      outline(context, theme, { x, y, width: clampedX(layout, view, slot.end_ns[life]) - x, height: ROW })
    }
  }
}

/** Lives narrower than a pixel are passed over by a search, so a row takes no longer than it is wide. */
function drawLives(surface: Surface, run: Run, view: View, layout: SlotsLayout, { slot, y }: SlotRow): void {
  const { context, theme } = surface
  const filled: PixelRect[] = []
  const pale = paleOf(theme, theme.families.attention)
  const bar = (from_ns: number, to_ns: number, colour: string): PixelRect => {
    const x = Math.floor(clampedX(layout, view, from_ns))
    const rect = { x, y, width: Math.max(1, Math.ceil(clampedX(layout, view, to_ns)) - x), height: ROW }
    context.fillStyle = colour
    context.fillRect(rect.x, rect.y, rect.width, rect.height)
    return rect
  }
  const pixel_ns = (view.end_ns - view.start_ns) / layout.plot.width
  for (let life = firstIn(slot, view); life < slot.buffer.length && slot.start_ns[life] < view.end_ns; ) {
    const whole = bar(slot.start_ns[life], slot.end_ns[life], pale)
    drawUses(run, view, slot, life, pixel_ns, (from_ns, to_ns) => bar(from_ns, to_ns, theme.families.attention))
    if (slot.ready_ns[life] > view.start_ns) filled.push(bar(slot.start_ns[life], slot.ready_ns[life], theme.families.fetch))
    drawName(surface, run.names[slot.buffer[life]], whole)
    // The next life that begins in another pixel.
    const next = firstAfter(slot.start_ns, (start_ns) => start_ns, Math.max(slot.start_ns[life], view.start_ns) + pixel_ns) // not this pixel
    life = slot.end_ns[life] - slot.start_ns[life] >= pixel_ns ? life + 1 : Math.max(life + 1, next)
  }
  hatch(
    context,
    filled.filter(({ width }) => width > 2),
    'rising',
    inkFor(theme.families.fetch),
  )
}

function drawUses({ spans }: Run, view: View, slot: Slot, life: number, pixel_ns: number, bar: (from_ns: number, to_ns: number) => void): void {
  let drawnTo = Number.NEGATIVE_INFINITY
  for (let use = slot.firstUse[life]; use < slot.firstUse[life + 1]; use++) {
    const from_ns = spans.start_ns[slot.uses[use]]
    const to_ns = from_ns + spans.duration_ns[slot.uses[use]]
    if (to_ns < view.start_ns || to_ns < drawnTo + pixel_ns / 2) continue
    if (from_ns > view.end_ns) return
    bar(Math.max(from_ns, view.start_ns), Math.min(to_ns, view.end_ns))
    drawnTo = to_ns
  }
}

function drawName(surface: Surface, name: string, { x, y, width }: PixelRect): void {
  const { theme } = surface
  if (width < 24 || textWidth(surface, name, { size: NAME }) > width - 8) return
  write(surface, name, x + 4, y + ROW / 2, { role: 'bar', size: NAME, colour: theme.text, on: theme.background, plate: true })
}

/** The first life that reaches into the window. Lives of a slot follow each other. */
function firstIn(slot: Slot, view: View): number {
  return firstAfter(slot.end_ns, (end_ns) => end_ns, view.start_ns)
}

/** How many live there in the window, and how long. */
function turnsIn(slot: Slot, view: View): { turns: number; time_ns: number } {
  const first = firstIn(slot, view)
  let life = first
  let time_ns = 0
  for (; life < slot.buffer.length && slot.start_ns[life] < view.end_ns; life++)
    time_ns += Math.min(slot.end_ns[life], view.end_ns) - Math.max(slot.start_ns[life], view.start_ns)
  return { turns: life - first, time_ns }
}

function clampedX(layout: SlotsLayout, view: View, time_ns: number): number {
  const { x, width } = layout.plot
  return Math.min(Math.max(xOf(layout, view, time_ns), x), x + width)
}
