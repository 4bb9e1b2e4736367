import { createCanvas } from '@napi-rs/canvas'
import { describe, expect, it } from 'vitest'
import { meetingAt, meetingsOf, SOURCES, type Triangle, triangleOf } from '../../../../kernel/src/trace/ask/meetings.js'
import { slotsOf } from '../../../../kernel/src/trace/ask/slots.js'
import { ON, stateAt, whereabouts } from '../../../../kernel/src/trace/ask/whereabouts.js'
import { cellRect, paleOf, tickStep } from '../../../../kernel/src/trace/draw/chunk-grid.js'
import { layOut } from '../../../../kernel/src/trace/draw/layout.js'
import { drawSlots, layOutSlots, slotTargetAt } from '../../../../kernel/src/trace/draw/slots.js'
import { type Context2D, type Label, overlaps, type Surface } from '../../../../kernel/src/trace/draw/surface.js'
import { contrastOf, DARK_PAGE, LIGHT_PAGE, themeFor } from '../../../../kernel/src/trace/draw/theme.js'
import { drawTriangle, drawTrianglePointer, layOutTriangle, triangleTargetAt } from '../../../../kernel/src/trace/draw/triangle.js'
import { drawWhere, layOutWhere, whereTargetAt } from '../../../../kernel/src/trace/draw/whereabouts.js'
import { openRun } from '../../../../kernel/src/trace/model/run.js'
import { cellWords, meetingWords, slotLetter, stateInWords } from '../../../../kernel/src/trace/words/chunks.js'
import { fixture } from '../fixture.js'

const run = openRun(fixture({ steps: 1 }))
const forward = triangle('forward')
const backward = triangle('backward')

function triangle(phase: Triangle['phase'], layer = 1): Triangle {
  const found = triangleOf(run, 1, 0, { phase, layer })
  if (!found) throw new Error('no triangle')
  return found
}

interface Drawn {
  readonly labels: Label[]
  readonly width: number
  readonly height: number
  pixel(x: number, y: number): string
}

function paint<Laid extends { readonly height: number }>(
  layOut: (surface: Surface, width: number) => Laid,
  draw: (surface: Surface, laid: Laid) => void,
  { page = LIGHT_PAGE, width = 900 } = {},
): Drawn & { laid: Laid } {
  const theme = themeFor(page)
  const ruler: Surface = { context: createCanvas(1, 1).getContext('2d') as Context2D, theme, labels: [] }
  const laid = layOut(ruler, width)
  const context = createCanvas(width, Math.ceil(laid.height)).getContext('2d')
  context.fillStyle = theme.background
  context.fillRect(0, 0, width, laid.height)
  const surface: Surface = { context: context as Context2D, theme, labels: [] }
  draw(surface, laid)
  const pixel = (x: number, y: number): string =>
    `#${[...context.getImageData(Math.floor(x), Math.floor(y), 1, 1).data.subarray(0, 3)].map((v) => v.toString(16).padStart(2, '0')).join('')}`
  return { laid, labels: surface.labels, width, height: laid.height, pixel }
}
type Options = Parameters<typeof paint>[2]

const triangleAt = (of: Triangle, time_ns: number, options?: Options) =>
  paint(
    (surface, width) => layOutTriangle(surface, of, width),
    (surface, laid) => void drawTriangle(surface, of, time_ns, laid),
    options,
  )
const whereAt = (time_ns: number, choice: 'travelling' | 'all', options?: Options) => {
  const map = whereabouts(run, 1, 0, 1)
  return paint(
    (surface, width) => layOutWhere(surface, map, choice, width),
    (surface, laid) => drawWhere(surface, map, time_ns, laid),
    options,
  )
}
const inner = { rank: 0, start_ns: forward.start_ns[12], end_ns: forward.end_ns[35] }
const slotsIn = (view: typeof inner, options?: Options) => {
  const slots = slotsOf(run, 0, 'fetched')
  return paint(
    (surface, width) => layOutSlots(surface, slots, view, width, layOut(surface, run, view, width).plot),
    (surface, laid) => drawSlots(surface, run, view, laid),
    options,
  )
}
const middle = (of: Triangle, meeting: number): number => (of.start_ns[meeting] + of.end_ns[meeting]) / 2

/** A causal triangle of any size, met row by row in equal times. */
function large(chunks: number): Triangle {
  const cells = Array.from({ length: chunks }, (_, q) => Array.from({ length: q + 1 }, (__, kv) => ({ q, kv }))).flat()
  const first = new Int32Array(chunks * chunks).fill(-1)
  for (const [i, { q, kv }] of cells.entries()) first[q * chunks + kv] = i
  const at = (offset: number): Float64Array => Float64Array.from(cells, (_, i) => i + offset)
  return {
    ...forward,
    queries: chunks,
    keys: chunks,
    q: Uint16Array.from(cells, ({ q }) => q),
    kv: Uint16Array.from(cells, ({ kv }) => kv),
    op: Uint32Array.from(cells.keys()),
    row: Int32Array.from(cells.keys()),
    start_ns: at(0),
    end_ns: at(1),
    hasDisk: false,
    source: Uint8Array.from(cells, ({ q, kv }) => SOURCES.indexOf(kv === q ? 'made' : 'host')),
    fetched: new Uint8Array(cells.length),
    first,
    next: new Int32Array(cells.length).fill(-1),
  }
}

const scenes: [string, () => Drawn][] = [
  ['triangle, forward, light', () => triangleAt(forward, middle(forward, 20))],
  ['triangle, backward, dark', () => triangleAt(backward, middle(backward, 20), { page: DARK_PAGE })],
  ['triangle, narrow', () => triangleAt(forward, middle(forward, 3), { width: 320 })],
  ['triangle, one chunk', () => triangleAt(large(1), 0.5)],
  ['triangle, sixteen chunks', () => triangleAt(large(16), 60.5)],
  ['triangle, a hundred chunks', () => triangleAt(large(100), 60.5)],
  ['where, light', () => whereAt(middle(backward, 9), 'all')],
  ['where, dark', () => whereAt(middle(backward, 9), 'travelling', { page: DARK_PAGE })],
  ['where, narrow', () => whereAt(middle(backward, 9), 'travelling', { width: 360 })],
  ['slots, light', () => slotsIn(inner)],
  ['slots, whole, dark', () => slotsIn({ ...run.extent, rank: 0 }, { page: DARK_PAGE })],
]

describe('pictures of chunks', () => {
  it.each(scenes)('%s: no words overlap, none are cut, all can be read', (_, scene) => {
    const { labels, width, height } = scene()
    expect(labels.length).toBeGreaterThan(3)
    for (const [i, label] of labels.entries()) {
      expect(label.x, label.text).toBeGreaterThanOrEqual(-0.5)
      expect(label.y, label.text).toBeGreaterThanOrEqual(0)
      expect(label.x + label.width, label.text).toBeLessThanOrEqual(width + 0.5)
      expect(label.y + label.height, label.text).toBeLessThanOrEqual(height)
      expect(contrastOf(label.colour, label.on), `${label.text} ${label.colour} on ${label.on}`).toBeGreaterThanOrEqual(4.5)
      for (const other of labels.slice(i + 1)) expect(overlaps(label, other), `${label.text} / ${other.text}`).toBe(false)
    }
  })
})

describe('triangle', () => {
  it('paints what is over full, what is to come pale, what never is in the bed’s colour, and frames the meeting under way', () => {
    for (const page of [LIGHT_PAGE, DARK_PAGE]) {
      const theme = themeFor(page)
      const now = 20
      const { laid, pixel } = triangleAt(forward, middle(forward, now), { page })
      const fills = { made: theme.families.attention, stayed: theme.families.elementwise, host: theme.families.fetch, disk: theme.families.disk }
      expect(meetingAt(forward, middle(forward, now))).toBe(now)
      for (let q = 0; q < 8; q++) {
        for (let kv = 0; kv < 8; kv++) {
          const { x, y, width, height } = cellRect(laid.grid, q, kv)
          const [meeting] = meetingsOf(forward, q, kv)
          // Beside the words, and all pixels of a row: a hatch covers some.
          const seen = new Set(Array.from({ length: width - 12 }, (_, i) => pixel(x + 6 + i, y + height - 8)))
          if (meeting === undefined) {
            if (q > 0) expect([...seen]).toEqual([theme.laneBed])
          } else {
            const fill = fills[SOURCES[forward.source[meeting]]]
            expect(seen, `${q} ${kv}`).toContain(meeting < now ? fill : paleOf(theme, fill))
          }
          if (meeting === now) expect([pixel(x, y + height / 2), pixel(x + width / 2, y)]).toEqual([theme.marker, theme.marker])
        }
      }
    }
  })

  it('writes number and source into the cells of small grids, and into no others', () => {
    const words = ({ labels }: Drawn): string[] => labels.filter(({ role }) => role === 'bar').map(({ text }) => text)
    const small = words(triangleAt(forward, 0))
    expect(small.filter((text) => /^\d+$/.test(text))).toEqual(Array.from({ length: 36 }, (_, i) => String(i + 1)))
    expect(small.filter((text) => text === 'N')).toHaveLength(8)
    expect(small.filter((text) => text === 'kv H')).toHaveLength(28)
    expect(words(triangleAt(large(100), 0))).toEqual([])
  })

  it('answers what is under a point, and outlines what is pointed at', () => {
    const { laid, pixel } = triangleAt(forward, Number.MAX_VALUE)
    const at = (q: number, kv: number): [number, number] => [laid.grid.x + (kv + 0.5) * laid.grid.cellWidth, laid.grid.y + (q + 0.5) * laid.grid.cellHeight]
    expect(triangleTargetAt(forward, laid, ...at(5, 2))).toEqual({ kind: 'meeting', phase: 'forward', layer: 1, q: 5, kv: 2, rank: 0 })
    expect(triangleTargetAt(forward, laid, ...at(2, 5))).toBeNull()
    expect(triangleTargetAt(forward, laid, ...at(8, 2))).toBeNull()
    expect(triangleTargetAt(forward, laid, laid.grid.x - 1, laid.grid.y + 1)).toBeNull()
    const rect = cellRect(laid.grid, 5, 2)
    const theme = themeFor(LIGHT_PAGE)
    expect(pixel(rect.x, rect.y + 20)).not.toBe(theme.marker)
    const pointed = paint(
      () => laid,
      (surface) => drawTrianglePointer(surface, forward, laid, [{ kind: 'meeting', phase: 'forward', layer: 1, q: 5, kv: 2, rank: 0 }]),
    )
    expect(pointed.pixel(rect.x, rect.y + 20)).toBe(theme.marker)
  })

  it('draws 512 x 512 cells in a few runs a row', () => {
    const of = large(512)
    const theme = themeFor(LIGHT_PAGE)
    const context = createCanvas(900, 700).getContext('2d')
    let rects = 0
    const counting = new Proxy(context, {
      get: (target, name) => {
        const value = target[name as keyof typeof target] as unknown
        if (name === 'fillRect') rects++
        return typeof value === 'function' ? value.bind(target) : value
      },
      set: (target, name, value) => Reflect.set(target, name, value, target),
    })
    const surface: Surface = { context: counting as unknown as Context2D, theme, labels: [] }
    const laid = layOutTriangle(surface, of, 900)
    drawTriangle(surface, of, 70_000.5, laid)
    expect(laid.grid.cellWidth).toBeGreaterThan(0)
    expect(rects).toBeLessThan(4 * 512)
  })
})

describe('where', () => {
  it('fills the band of each tier that a chunk is on, and no other', () => {
    const theme = themeFor(LIGHT_PAGE)
    const instant = middle(backward, 9)
    const { laid, pixel } = whereAt(instant, 'all', { width: 300 }) // too narrow for words
    const colours = [theme.families.attention, theme.families.fetch]
    expect(laid.isRoomy).toBe(false)
    let checked = 0
    for (const [row, { cells }] of laid.rows.entries()) {
      for (const [chunk, cell] of cells.entries()) {
        const state = stateAt(cell, instant)
        if (state & ~(ON.device | ON.host)) continue
        const { x, y, width } = cellRect(laid.grid, row, chunk)
        for (const level of [0, 1]) {
          expect(pixel(x + width / 2, y + (level + 0.5) * laid.band)).toBe(state & (1 << level) ? colours[level] : theme.laneBed)
          checked++
        }
      }
    }
    expect(checked).toBeGreaterThan(100)
  })

  it('answers with a buffer of the value under a point, alive or not', () => {
    const map = whereabouts(run, 1, 0, 1)
    const { laid } = whereAt(middle(backward, 9), 'travelling')
    for (const [row, { cells }] of laid.rows.entries()) {
      for (const [chunk, cell] of cells.entries()) {
        const { x, y, width, height } = cellRect(laid.grid, row, chunk)
        const target = whereTargetAt(map, middle(backward, 9), laid, x + width / 2, y + height / 2)
        expect(target?.kind === 'buffer' && cell?.parts.map(({ name }) => name).includes(run.names[target.buffer])).toBe(true)
      }
    }
    expect(whereTargetAt(map, 0, laid, laid.grid.x - 2, laid.grid.y)).toBeNull()
  })
})

describe('slots', () => {
  it('paints filling, use and rest of a life, and answers who lives there', () => {
    const theme = themeFor(LIGHT_PAGE)
    const { laid, pixel } = slotsIn(inner, { width: 4000 })
    const x = (time_ns: number): number => laid.plot.x + ((time_ns - inner.start_ns) / (inner.end_ns - inner.start_ns)) * laid.plot.width
    let uses = 0
    for (const { slot, y } of laid.rows) {
      for (const life of slot.buffer.keys()) {
        if (slot.start_ns[life] < inner.start_ns || slot.end_ns[life] > inner.end_ns) continue
        expect(slotTargetAt(laid, 0, inner, x((slot.start_ns[life] + slot.end_ns[life]) / 2), y + 3)).toEqual({
          kind: 'buffer',
          buffer: slot.buffer[life],
          rank: 0,
        })
        for (let use = slot.firstUse[life]; use < slot.firstUse[life + 1]; use++) {
          const row = slot.uses[use]
          expect(pixel(x(run.spans.start_ns[row] + run.spans.duration_ns[row] / 2), y + 1)).toBe(theme.families.attention)
          uses++
        }
      }
    }
    expect(uses).toBeGreaterThan(10)
    expect(laid.rows.map(({ letter }) => letter)).toEqual(laid.rows.map((_, i) => slotLetter(i)))
  })
})

describe('chunk-words', () => {
  it('say of a meeting its turn, its time and how what it needs came', () => {
    const [first, ...ways] = meetingWords(run, forward, 5, 2)
    expect(first).toMatch(/^query chunk 5 met key\/value chunk 2 in forward of layer 1: 18th of 36 meetings, at [\d.]+\u202f.?s for [\d.]+\u202f.?s$/)
    expect(ways.find((line) => line.startsWith('k and v'))).toMatch(
      /^k and v were fetched from the host(, hidden under |; compute stood still |, in good time)/,
    )
    const late = forward.start_ns.map((time_ns) => time_ns + 100e9)
    const [said] = meetingWords(run, { ...forward, start_ns: late, end_ns: late.map((time_ns) => time_ns + 1e6) }, 5, 2)
    expect(said).toMatch(/ at 100\.\d{4,}\u202fs for 1\.00\u202fms$/)
    expect(meetingWords(run, forward, 3, 3)).toContain('k and v were on the device, made there')
    expect(meetingWords(run, forward, 1, 4)).toEqual(['query chunk 1 never meets key/value chunk 4 in forward of layer 1: no query sees a later key'])
    expect(meetingWords(run, large(4), 99, 0)[0]).toMatch(/^query chunk 99 never meets/)
  })

  it('say of a chunk where it is', () => {
    expect([0, 1, 3, 2 + 8, 128, 1 + 128, 1 + 16].map(stateInWords)).toEqual([
      'nowhere',
      'on the device',
      'on the device and the host',
      'on the host; on its way from host to device',
      'being made on the device',
      'on the device; being changed on the device',
      'on the device; on its way from device to host',
    ])
    const k = whereabouts(run, 1, 0, 1).rows.find(({ base }) => base === 'k')
    expect(k && cellWords(k, 0, run.extent.start_ns)).toBe('k[1,0]: nowhere')
  })

  it('name slots like columns of a sheet, and thin out numbers of chunks', () => {
    expect([0, 25, 26, 51, 52].map(slotLetter)).toEqual(['A', 'Z', 'AA', 'AZ', 'BA'])
    expect([30, 12, 6, 1, 0.5].map((size) => tickStep(size, 20))).toEqual([1, 2, 5, 20, 50])
  })
})
