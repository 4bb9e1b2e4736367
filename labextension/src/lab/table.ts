/** Tables on the page: for reading exact numbers, for copying, and for screen readers. */
import { element } from './dom.js'

export interface Listing {
  readonly caption: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

export function listing({ caption, columns, rows }: Listing): HTMLElement {
  const cells = (tag: 'td' | 'th', texts: readonly string[], attributes: Record<string, string> = {}): HTMLElement =>
    element(
      'tr',
      '',
      texts.map((text) => element(tag, '', text, attributes)),
    )
  const table = element('table', '', [
    element('caption', '', caption),
    element('thead', '', [cells('th', columns, { scope: 'col' })]),
    element(
      'tbody',
      '',
      rows.map((row) => cells('td', row)),
    ),
  ])
  // What scrolls must be reachable by keys.
  return element('div', 'jp-FPDT-table', [table], { tabindex: '0', role: 'region', 'aria-label': caption })
}
