/** What answers are made of: small tables, bars, and names that can be clicked. */
import { opBrief, phraseOf, type Run, type Target } from 'fpdt/trace'
import { showTarget } from '../actions.js'
import { element } from '../dom.js'
import type { Session } from '../session.js'

export type Cell = string | Node

/** A name that shows what it names when it is pointed at, and keeps it when it is clicked. */
export function link(session: Session, text: string, target: Target): HTMLButtonElement {
  const node = element('button', 'jp-FPDT-link', text, { type: 'button' })
  const point = (hover: Target | null) => (): void => session.change({ hover })
  node.addEventListener('click', () => {
    session.change({ hover: null })
    showTarget(session, target)
  })
  node.addEventListener('pointerenter', point(target))
  node.addEventListener('pointerleave', point(null))
  return node
}

/** The op of a span, in words; its notation on hover. */
export function opLink(session: Session, run: Run, row: number): HTMLElement {
  const op = run.spans.op[row]
  const node = link(session, phraseOf(run, op), { kind: 'span', row })
  node.title = opBrief(run, op)
  return node
}

export function answer(title: string, content: readonly (Node | null)[]): HTMLElement {
  return element('section', 'jp-FPDT-answer', [element('h4', '', title), ...content])
}

export function sentence(...parts: readonly Cell[]): HTMLElement {
  return element(
    'p',
    '',
    parts.map((part) => (typeof part === 'string' ? document.createTextNode(part) : part)),
  )
}

/** A column whose name ends in a blank holds numbers and is aligned at its right. */
export function table(caption: string, columns: readonly string[], rows: readonly (readonly Cell[])[]): HTMLElement {
  const isNumber = columns.map((name) => name.endsWith(' '))
  const cells = (tag: 'td' | 'th', contents: readonly Cell[], attributes: Readonly<Record<string, string>> = {}): HTMLElement =>
    element(
      'tr',
      '',
      contents.map((content, i) => element(tag, isNumber[i] ? 'jp-mod-number' : '', typeof content === 'string' ? content : [content], attributes)),
    )
  return element('table', 'jp-FPDT-small', [
    element('caption', '', caption),
    element('thead', '', [cells('th', columns, { scope: 'col' })]),
    element(
      'tbody',
      '',
      rows.map((row) => cells('td', row)),
    ),
  ])
}

/** A bar of a share, 0 to 1. Its words stand beside it. */
export function bar(share: number, colour: string): HTMLElement {
  const fill = element('span', '')
  fill.style.width = `${(100 * Math.min(1, Math.max(0, share))).toFixed(2)}%`
  fill.style.background = colour
  return element('span', 'jp-FPDT-bar', [fill], { 'aria-hidden': 'true' })
}
