/** The values of a buffer as the kernel found them, drawn as a heat map. */
import { drawHeat, gridOf, heatWords, layOutHeat, type Surface, type Theme } from 'fpdt/trace'
import { element } from '../lab/dom.js'
import type { Peeked } from './incoming.js'

export function valuesOf({ values, rows, columns, name, tier, rank, shape, stride }: Peeked, theme: Theme, width: number): HTMLElement {
  const thinned = stride.some((by) => by > 1) ? `, every ${stride[0]}th row and ${stride[1]}th column` : ''
  const words = { title: name, place: `${shape.join(' × ')} on the ${tier} of rank ${rank}${thinned}` }
  const grid = gridOf(values, [rows, columns])
  const canvas = element('canvas', 'jp-FPDT-picture', [], { role: 'img', 'aria-label': heatWords(grid, words) })
  const context = canvas.getContext('2d') as CanvasRenderingContext2D
  const surface = { context, theme, labels: [] } as unknown as Surface
  const layout = layOutHeat(grid, words, width)
  const ratio = Math.ceil(window.devicePixelRatio || 1)
  canvas.width = Math.round(width * ratio)
  canvas.height = Math.round(layout.height * ratio)
  canvas.style.width = `${width}px`
  canvas.style.height = `${layout.height}px`
  context.setTransform(ratio, 0, 0, ratio, 0, 0)
  drawHeat(surface, grid, words, layout)
  return canvas
}
