/** A picture of a run that stands alone, as a file does: title, figures and notes above it, a margin around it. */
import type { Run } from '../model/run.js'
import type { View } from '../model/view.js'
import { facts, keptWords, stateWords } from '../words/run.js'
import { layOut } from './layout.js'
import { draw, type Picture } from './picture.js'
import { type Surface, textWidth, write } from './surface.js'

export interface Sheet {
  /** CSS pixels. */
  readonly width: number
  readonly height: number
  paint(surface: Surface): Picture
}

const MARGIN = 14
const LINE = 19

/** `ruler` is any surface of the kind it will be painted on: sizes of text are needed before the height of a canvas is known. */
export function sheetOf(ruler: Surface, run: Run, view: View, width: number): Sheet {
  const inner = width - 2 * MARGIN
  const lines = headerLines(ruler, run, inner)
  const layout = layOut(ruler, run, view, inner)
  const top = MARGIN + lines.length * LINE + 8
  const height = top + layout.height + MARGIN
  return {
    width,
    height,
    paint: (surface) => {
      const { context, theme } = surface
      context.fillStyle = theme.background
      context.fillRect(0, 0, width, height)
      drawHeader(surface, lines)
      context.save()
      context.translate(MARGIN, top)
      const picture = draw({ ...surface, labels: [] }, run, view, layout)
      context.restore()
      return picture
    },
  }
}

/** The title, then figures and notes, broken into lines. */
function headerLines(ruler: Surface, run: Run, width: number): string[] {
  const { head } = run
  const notes = [stateWords(head), keptWords(head)].filter(Boolean)
  return [
    `${head.title}${head.origin === 'predicted' ? ' (predicted)' : ''}`,
    ...wrapped(
      ruler,
      facts(head).map(({ name, value }) => `${name} ${value}`),
      '   |   ',
      width,
    ),
    ...notes,
  ]
}

/** As many parts in a line as it holds. */
function wrapped(ruler: Surface, parts: readonly string[], between: string, width: number): string[] {
  const lines: string[] = []
  for (const part of parts) {
    const longer = lines.length > 0 ? `${lines.at(-1)}${between}${part}` : ''
    if (longer && textWidth(ruler, longer, { size: 12 }) <= width) lines[lines.length - 1] = longer
    else lines.push(part)
  }
  return lines
}

function drawHeader(surface: Surface, lines: readonly string[]): void {
  const { theme } = surface
  for (const [i, text] of lines.entries()) {
    write(surface, text, MARGIN, MARGIN + i * LINE + LINE / 2, {
      role: 'figure',
      size: i === 0 ? 14 : 12,
      bold: i === 0,
      colour: i === 0 ? theme.text : theme.mutedText,
    })
  }
}
