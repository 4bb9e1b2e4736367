/** Above the picture: what run this is and its figures; a figure's tooltip holds the formula or the exact number. */
import { facts, keptWords, type Run, stateWords } from 'fpdt/trace'
import { element } from './dom.js'

export function header(run: Run): HTMLElement {
  const { head } = run
  const predicted = head.origin === 'predicted'
  const notes = [keptWords(head), head.device?.note].filter((note): note is string => typeof note === 'string' && note !== '')
  return element('div', 'jp-FPDT-header', [
    element('div', 'jp-FPDT-title', [
      element('span', 'jp-FPDT-origin', predicted ? 'predicted' : 'measured', { 'data-origin': predicted ? 'predicted' : 'measured' }),
      element('span', '', head.title),
    ]),
    element(
      'dl',
      'jp-FPDT-facts',
      facts(head).map(({ name, value, hint }) => element('div', '', [element('dt', '', name), element('dd', '', value)], { title: hint })),
    ),
    // While the run is live, its row of controls says how it stands.
    element('div', 'jp-FPDT-note jp-FPDT-saved-state', stateWords(head)),
    // Where there is little room it is cut to one line.
    notes.length > 0 ? element('div', 'jp-FPDT-note', notes.join(' '), { title: notes.join(' ') }) : null,
  ])
}
