import { loadImage } from '@napi-rs/canvas'
import { describe, expect, it } from 'vitest'
import { DARK_PAGE } from '../../../kernel/src/trace/draw/theme.js'
import { figure } from '../../../kernel/src/trace/figure.js'
import { fixture } from './fixture.js'

describe('figure', () => {
  it('is a PNG of the run, small enough for a notebook', async () => {
    const { png, width, height, picture } = figure(fixture())
    const image = await loadImage(png)
    expect([image.width, image.height]).toEqual([2 * width, 2 * height])
    expect(png.length).toBeLessThan(400_000)
    expect(picture.lanes).toHaveLength(8)
    expect(picture.charts).toHaveLength(2)
  })

  it('is the same file each time', () => {
    const tables = fixture({ ranks: 1, layers: 1, chunks: 2, steps: 1 })
    expect(Buffer.from(figure(tables).png).equals(Buffer.from(figure(tables).png))).toBe(true)
  })

  it('has another background on a dark page', () => {
    const tables = fixture({ ranks: 1, layers: 1, chunks: 2, steps: 1 })
    expect(Buffer.from(figure(tables, { page: DARK_PAGE }).png).equals(Buffer.from(figure(tables).png))).toBe(false)
  })
})
