/** The picture of a run as an SVG file. */
import { sheetOf } from '../draw/sheet.js'
import { type Context2D, type Surface, shown } from '../draw/surface.js'
import { SvgContext } from '../draw/svg.js'
import type { Theme } from '../draw/theme.js'
import type { Run } from '../model/run.js'
import type { View } from '../model/view.js'
import { summaryWords } from '../words/run.js'

/** Characters of the sentences that stand for the picture. */
const MOST_WORDS = 5000

/** `ruler`: a canvas context, which measures the words. */
export function runSvg(ruler: Context2D, theme: Theme, run: Run, view: View, width: number): string {
  const context = new SvgContext(ruler)
  const surface: Surface = { context, theme, labels: [] }
  const sheet = sheetOf(surface, run, view, width)
  sheet.paint(surface)
  return context.document(sheet.width, sheet.height, {
    title: shown(run.head.title),
    words: shown(summaryWords(run), MOST_WORDS),
    background: theme.background,
  })
}
