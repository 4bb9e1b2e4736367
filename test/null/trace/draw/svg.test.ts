import { createCanvas, loadImage } from '@napi-rs/canvas'
import { describe, expect, it } from 'vitest'
import { hatch } from '../../../../kernel/src/trace/draw/hatch.js'
import type { Context2D } from '../../../../kernel/src/trace/draw/surface.js'
import { SvgContext } from '../../../../kernel/src/trace/draw/svg.js'
import { figure, figureSvg } from '../../../../kernel/src/trace/figure.js'
import { fixture } from '../fixture.js'

const ruler = (): Context2D => createCanvas(1, 1).getContext('2d') as Context2D
const SIZE = { width: 120, height: 80 }
const page = { title: '', words: '', background: '#ffffff' }

/** The pixels of both ways to draw, and how many differ visibly. */
async function compared(draw: (context: Context2D) => void): Promise<{ differ: number; inked: number; svg: string }> {
  const canvas = createCanvas(SIZE.width, SIZE.height).getContext('2d')
  canvas.save()
  canvas.fillStyle = page.background
  canvas.fillRect(0, 0, SIZE.width, SIZE.height)
  canvas.restore()
  draw(canvas as Context2D)
  const recorded = new SvgContext(ruler())
  draw(recorded)
  const svg = recorded.document(SIZE.width, SIZE.height, page)
  const other = createCanvas(SIZE.width, SIZE.height).getContext('2d')
  other.drawImage(await loadImage(Buffer.from(svg)), 0, 0)
  const [a, b] = [canvas, other].map((context) => context.getImageData(0, 0, SIZE.width, SIZE.height).data) as [Uint8ClampedArray, Uint8ClampedArray]
  let [differ, inked] = [0, 0]
  for (let i = 0; i < a.length; i += 4) {
    if ([0, 1, 2].some((c) => Math.abs((a[i + c] as number) - (b[i + c] as number)) > 24)) differ++
    if ([0, 1, 2].some((c) => (a[i + c] as number) < 240)) inked++
  }
  return { differ, inked, svg }
}

describe('drawing as SVG', () => {
  const scenes: Record<string, (context: Context2D) => void> = {
    'rectangles of alternating colours, one over another': (context) => {
      for (let i = 0; i < 40; i++) {
        context.fillStyle = i % 2 ? '#aa0000' : '#0000aa'
        context.fillRect(i * 3, (i * 7) % 50, 9, 20)
      }
    },
    'translucent ones that darken each other': (context) => {
      context.fillStyle = '#008800'
      context.globalAlpha = 0.4
      for (let i = 0; i < 6; i++) context.fillRect(10 + i * 8, 10 + i * 5, 30, 30)
    },
    'clips within clips, and hatches': (context) => {
      context.save()
      context.beginPath()
      context.rect(10, 10, 60, 50)
      context.clip()
      hatch(context, [{ x: 20, y: 0, width: 80, height: 40 }], 'crossed', '#000000')
      context.fillStyle = '#cc6600'
      context.fillRect(0, 45, 200, 40)
      context.restore()
      context.fillRect(100, 60, 15, 15)
    },
    'paths: lines, dashes, discs, arcs': (context) => {
      context.strokeStyle = '#222222'
      context.lineWidth = 2
      context.beginPath()
      context.moveTo(5, 5)
      context.lineTo(60, 5)
      context.lineTo(60, 40)
      context.lineTo(20, 70)
      context.closePath()
      context.stroke()
      context.save()
      context.setLineDash([6, 4])
      context.strokeRect(70.5, 10.5, 40, 30)
      context.restore()
      context.beginPath()
      context.arc(90, 60, 12, 0, 2 * Math.PI)
      context.fill()
      context.beginPath()
      context.arc(40, 30, 10, Math.PI, 1.5 * Math.PI)
      context.stroke()
    },
    'a moved origin, and what restore takes back': (context) => {
      context.save()
      context.translate(30, 20)
      context.fillStyle = '#123456'
      context.fillRect(0, 0, 20, 20)
      context.translate(30, 20)
      context.strokeRect(0.5, 0.5, 20, 20)
      context.restore()
      context.fillRect(0, 0, 10, 10)
    },
  }
  it.each(Object.keys(scenes))('looks as on a canvas: %s', async (name) => {
    const { differ, inked } = await compared(scenes[name] as (context: Context2D) => void)
    expect(inked).toBeGreaterThan(100)
    expect(differ).toBeLessThanOrEqual(0.01 * inked)
  })

  it('makes one path of what is of one colour, and keeps what lies above above', async () => {
    const { svg } = await compared((context) => {
      for (let x = 0; x < 100; x++) {
        context.fillStyle = x % 2 ? '#aa0000' : '#0000aa'
        context.fillRect(x, 0, 1, 10)
      }
      context.fillStyle = '#0000aa'
      context.fillRect(10, 5, 30, 10) // above red ones: it may not join the first blue path, which lies below them
    })
    expect(svg.match(/<path/g)).toHaveLength(3)
  })

  it('has words as text, as wide as they were measured, whatever they say', () => {
    const context = new SvgContext(ruler())
    context.font = '600 12px "A & B"'
    context.textBaseline = 'middle'
    context.fillText('a < b & "c"\u0000\ud800 </text><script>   x', 10, 20)
    const svg = context.document(100, 50, { title: '<t>', words: "it's & so", background: '#fff' })
    expect(svg).toContain('a &lt; b &amp; &quot;c&quot;\ufffd\ufffd &lt;/text&gt;&lt;script&gt;\u00a0\u00a0\u00a0x</text>')
    expect(svg).toContain('<title>&lt;t&gt;</title>')
    expect(svg).toContain('font-family="&quot;A &amp; B&quot;, sans-serif"')
    expect(svg).toMatch(/textLength="\d+(\.\d+)?" font-size="12" font-weight="600"/)
    expect(svg).not.toContain('<script')
  })
})

describe('the picture of a run as SVG', () => {
  it('is small: twenty thousand spans in less than 2 MB, with the words of the picture', () => {
    const tables = fixture({ steps: 5 })
    expect(tables.spans.op.length).toBeGreaterThan(20_000)
    const svg = figureSvg(tables)
    expect(svg.length).toBeLessThan(500_000)
    for (const text of ['rank 0', 'compute', 'device memory of rank 0']) expect(svg).toContain(`>${text}</text>`)
    expect(svg).toContain(`<title>${tables.head.title}</title>`)
  })

  it('is, pixel for pixel, the PNG, but for its letters', async () => {
    const tables = fixture({ chunks: 4, steps: 2 })
    const { png, width, height, picture } = figure(tables, { scale: 1 })
    const drawn = async (source: Uint8Array | string): Promise<Uint8ClampedArray> => {
      const context = createCanvas(width, height).getContext('2d')
      context.drawImage(await loadImage(Buffer.from(source)), 0, 0, width, height)
      return context.getImageData(0, 0, width, height).data
    }
    const [a, b] = [await drawn(png), await drawn(figureSvg(tables))]
    // Lanes and charts without the peak's and the budget's words, which lie over a chart.
    let differ = 0
    let seen = 0
    const top = height - 14 - Math.max(...picture.charts.map((chart) => chart.y + chart.height + 10))
    const words = picture.labels.map(({ x, y, width: w, height: h }) => [x + 14 - 3, y + top - 3, x + w + 14 + 3, y + h + top + 3] as const)
    for (const { x, y, width: w, height: h } of [...picture.lanes, ...picture.charts])
      for (let py = Math.ceil(y + top); py < y + top + h; py++)
        for (let px = x + 14; px < x + 14 + w; px++) {
          if (words.some(([left, upper, right, lower]) => px >= left && px <= right && py >= upper && py <= lower)) continue
          const i = 4 * (py * width + px)
          seen++
          if ([0, 1, 2].some((c) => Math.abs((a[i + c] as number) - (b[i + c] as number)) > 24)) differ++
        }
    expect(seen).toBeGreaterThan(100_000)
    expect(differ / seen).toBeLessThan(0.002)
  })
})
