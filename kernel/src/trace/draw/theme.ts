/**
 * The colours of a picture. Two palettes, one for light and one for dark backgrounds: every fill has a contrast of at
 * least 3 to its background, and compute families, which share a lane, stay apart for the three kinds of colour blindness
 * (`test/null/trace/draw/theme.test.ts` computes both). Copies and collectives carry a hatch besides.
 */
import type { Category, Family } from '../schema.js'
import { contrast, hexOf, inkOn, luminance, mix, parseColour, type Rgb, readable } from './colour.js'
import type { Hatch } from './hatch.js'

export interface Theme {
  readonly name: 'light' | 'dark'
  /** CSS font family. */
  readonly font: string
  readonly background: string
  readonly text: string
  readonly mutedText: string
  readonly grid: string
  readonly laneBed: string
  readonly budget: string
  readonly marker: string
  readonly families: Readonly<Record<Family, string>>
  readonly categories: Readonly<Record<Category | 'earlier', string>>
}

/** What a page gives: CSS colours as the browser computes them. */
export interface PageColours {
  readonly background: string
  readonly text: string
  readonly mutedText: string
  readonly font: string
}

/** How a family is told apart without colour. */
export const HATCHES: Readonly<Partial<Record<Family, Hatch>>> = {
  fetch: 'rising',
  offload: 'falling',
  collective: 'crossed',
  disk: 'upright',
}

const LIGHT = {
  families: {
    attention: '#3d66dc',
    projection: '#12563e',
    elementwise: '#8f9094',
    loss: '#ee4a1b',
    optimizer: '#741f97',
    collective: '#a83874',
    offload: '#86660a',
    fetch: '#1791cf',
    disk: '#8b6f59',
  },
  categories: {
    parameters: '#22406f',
    gradients: '#d6621f',
    optimizer: '#8e2fa6',
    hidden: '#1791cf',
    attention: '#3d66dc',
    feedForward: '#15695c',
    loss: '#6d172b',
    input: '#8d8e91',
    workspace: '#7a5a08',
    earlier: '#75777b',
  },
  budget: '#b3261e',
}
const DARK = {
  families: {
    attention: '#8fb2ff',
    projection: '#2b8272',
    elementwise: '#a4a6a9',
    loss: '#ff7a26',
    optimizer: '#bb4fdc',
    collective: '#de5aa4',
    offload: '#c08a2c',
    fetch: '#3fbcf8',
    disk: '#d8b7a6',
  },
  categories: {
    parameters: '#a9c4ea',
    gradients: '#f3702a',
    optimizer: '#a14ddd',
    hidden: '#2a8fb8',
    attention: '#5f98ff',
    feedForward: '#4fdca6',
    loss: '#d9365a',
    input: '#8d8e91',
    workspace: '#f0b04a',
    earlier: '#9a9ca0',
  },
  budget: '#ff8a80',
}

export const LIGHT_PAGE: PageColours = { background: '#ffffff', text: '#212121', mutedText: '#5a5a5a', font: 'sans-serif' }
export const DARK_PAGE: PageColours = { background: '#111111', text: '#e8e8e8', mutedText: '#b0b0b0', font: 'sans-serif' }

/** The theme for a page: palette by the luminance of its background, so that themes of other people work too. */
export function themeFor(page: PageColours): Theme {
  const background = parseColour(page.background) ?? { r: 255, g: 255, b: 255 }
  const dark = luminance(background) < 0.18
  const palette = dark ? DARK : LIGHT
  const onPage = (text: string, least: number): string => hexOf(readable(parseColour(text, background) ?? inkOn(background), background, least))
  const shade = (share: number): string => hexOf(mix(background, inkOn(background), share))
  const fills = <K extends string>(colours: Readonly<Record<K, string>>): Record<K, string> =>
    Object.fromEntries(Object.entries<string>(colours).map(([key, colour]) => [key, onPage(colour, 3)])) as Record<K, string>
  return {
    name: dark ? 'dark' : 'light',
    font: page.font,
    background: hexOf(background),
    text: onPage(page.text, 7),
    mutedText: onPage(page.mutedText, 4.6),
    grid: shade(dark ? 0.16 : 0.1),
    laneBed: shade(dark ? 0.07 : 0.035),
    budget: onPage(palette.budget, 4.6),
    marker: onPage(page.text, 7),
    families: fills(palette.families),
    categories: fills(palette.categories),
  }
}

/** Contrast of two colours of a theme, as written. */
export function contrastOf(a: string, b: string): number {
  return contrast(parseColour(a) as Rgb, parseColour(b) as Rgb)
}

/** Colour of text on a fill. */
export function inkFor(fill: string): string {
  return hexOf(inkOn(parseColour(fill) as Rgb))
}
