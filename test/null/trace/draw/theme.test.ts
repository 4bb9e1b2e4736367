import { describe, expect, it } from 'vitest'
import { parseColour, type Rgb } from '../../../../kernel/src/trace/draw/colour.js'
import { contrastOf, DARK_PAGE, HATCHES, inkFor, LIGHT_PAGE, themeFor } from '../../../../kernel/src/trace/draw/theme.js'
import { CATEGORIES, FAMILIES } from '../../../../kernel/src/trace/schema.js'

const themes = [
  themeFor(LIGHT_PAGE),
  themeFor(DARK_PAGE),
  themeFor({ background: 'rgb(253, 246, 227)', text: 'rgb(101, 123, 131)', mutedText: 'rgba(0, 0, 0, 0.4)', font: 'serif' }),
]

/** Machado et al. 2009, severity 1, on linear RGB. */
const VISION = {
  full: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protanopia: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deuteranopia: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  tritanopia: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
} // biome-ignore format: matrices

/** Distance in Oklab, in hundredths; about 2 is just noticeable. */
function distance(a: string, b: string, matrix: number[][]): number {
  const seen = (text: string): number[] => {
    const { r, g, b: blue } = parseColour(text) as Rgb
    const linear = [r, g, blue].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4))
    const [x, y, z] = matrix.map((row) =>
      Math.max(
        0,
        row.reduce((sum, weight, i) => sum + weight * linear[i], 0),
      ),
    )
    const l = Math.cbrt(0.4122214708 * x + 0.5363325363 * y + 0.0514459929 * z)
    const m = Math.cbrt(0.2119034982 * x + 0.6806995451 * y + 0.1073969566 * z)
    const s = Math.cbrt(0.0883024619 * x + 0.2817188376 * y + 0.6299787005 * z)
    return [
      0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
      1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
      0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
    ]
  }
  const [p, q] = [seen(a), seen(b)]
  return 100 * Math.hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2])
}

describe('theme', () => {
  it.each(themes)('$name on $background: every fill stands off the page by 3, every text by 4.5, every ink on its fill by 4.5', (theme) => {
    for (const family of FAMILIES) {
      expect(contrastOf(theme.families[family], theme.background), family).toBeGreaterThanOrEqual(3)
      expect(contrastOf(inkFor(theme.families[family]), theme.families[family]), family).toBeGreaterThanOrEqual(4.5)
    }
    for (const category of [...CATEGORIES, 'earlier'] as const)
      expect(contrastOf(theme.categories[category], theme.background), category).toBeGreaterThanOrEqual(3)
    for (const colour of [theme.text, theme.mutedText, theme.budget]) expect(contrastOf(colour, theme.background)).toBeGreaterThanOrEqual(4.5)
  })

  it.each(themes.slice(0, 2))('$name: families that share the compute lane are told apart with any kind of colour vision', (theme) => {
    const shared = FAMILIES.filter((family) => !HATCHES[family])
    for (const [i, a] of shared.entries()) {
      for (const b of shared.slice(i + 1)) {
        for (const [kind, matrix] of Object.entries(VISION))
          expect(distance(theme.families[a], theme.families[b], matrix), `${a}, ${b}, ${kind}`).toBeGreaterThan(8)
      }
    }
  })

  it.each(themes.slice(0, 2))('$name: categories that lie on each other are told apart with any kind of colour vision', (theme) => {
    for (const [i, a] of CATEGORIES.entries()) {
      for (const b of CATEGORIES.slice(i + 1)) {
        for (const [kind, matrix] of Object.entries(VISION))
          expect(distance(theme.categories[a], theme.categories[b], matrix), `${a}, ${b}, ${kind}`).toBeGreaterThan(5)
      }
    }
  })

  it('gives copies and collectives a hatch each', () => {
    const hatched = FAMILIES.filter((family) => HATCHES[family])
    expect(hatched).toEqual(['collective', 'offload', 'fetch', 'disk'])
    expect(new Set(hatched.map((family) => HATCHES[family])).size).toBe(4)
  })

  it('reads colours as browsers write them', () => {
    expect(parseColour('rgba(0, 0, 0, 0.5)')).toEqual({ r: 127.5, g: 127.5, b: 127.5 })
    expect(parseColour('rgb(1 2 3 / 1)')).toEqual({ r: 1, g: 2, b: 3 })
    expect(parseColour('javascript:alert(1)')).toBeNull()
  })
})
