/** Texts of a page with their colours, as they come out on what lies below them. */
import type { Locator } from 'playwright'
import { hexOf, parseColour, type Rgb } from '../../kernel/src/trace/draw/colour.js'

export interface ShownText {
  readonly text: string
  readonly colour: string
  readonly on: string
}

/** Of the elements of a node that a selector names and that hold a text of their own. */
export async function textsOf(node: Locator, selector = '*'): Promise<ShownText[]> {
  const raw = await node.evaluate((root, wanted) => {
    const isTextOf = (child: Node) => child.nodeType === Node.TEXT_NODE && (child.nodeValue ?? '').trim() !== ''
    return [...root.querySelectorAll<HTMLElement>(wanted)]
      .filter((element) => element instanceof HTMLElement && element.checkVisibility() && [...element.childNodes].some(isTextOf))
      .map((element) => {
        const backgrounds: string[] = []
        for (let below: HTMLElement | null = element; below; below = below.parentElement) backgrounds.push(getComputedStyle(below).backgroundColor)
        return { text: element.innerText, colour: getComputedStyle(element).color, backgrounds: backgrounds.reverse() }
      })
  }, selector)
  return raw.map(({ text, colour, backgrounds }) => {
    const under = backgrounds.reduce<Rgb>((below, background) => parseColour(background, below) ?? below, { r: 255, g: 255, b: 255 })
    return { text, colour: hexOf(parseColour(colour, under) as Rgb), on: hexOf(under) }
  })
}
