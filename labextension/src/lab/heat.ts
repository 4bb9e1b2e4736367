/** Values of a buffer as a heat map on the page, with a switch to a log scale and the numbers in words. */
import { type Context2D, drawHeat, type Grid, type HeatWords, heatWords, layOutHeat, type Surface, type Theme } from 'fpdt/trace'
import { element } from './dom.js'

/** CSS pixels. */
const WIDTH = 560

export function heat(grid: Grid, words: HeatWords, theme: Theme, width = WIDTH): HTMLElement {
  const layout = layOutHeat(grid, words, width)
  const canvas = element('canvas', 'jp-FPDT-picture', [], { role: 'img', 'aria-label': heatWords(grid, words) })
  const log = element('input', '', [], { type: 'checkbox' })
  const draw = (): void => {
    const ratio = Math.ceil(window.devicePixelRatio || 1)
    canvas.width = layout.width * ratio
    canvas.height = Math.ceil(layout.height) * ratio
    canvas.style.width = `${layout.width}px`
    canvas.style.height = `${Math.ceil(layout.height)}px`
    const context = canvas.getContext('2d') as Context2D & CanvasRenderingContext2D
    context.setTransform(ratio, 0, 0, ratio, 0, 0)
    const surface: Surface = { context, theme, labels: [] }
    drawHeat(surface, grid, words, layout, log.checked ? 'log' : 'linear')
  }
  log.addEventListener('change', draw)
  draw()
  return element('div', 'jp-FPDT-heat', [canvas, element('label', '', [log, document.createTextNode(' log scale')])])
}
