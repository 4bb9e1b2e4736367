import { element } from './dom.js'

/** A button; `words` begins with its text, so that who speaks to the page may say what stands on it. */
export function button(text: string, words: string, click: () => void): HTMLButtonElement {
  const node = element('button', 'jp-FPDT-button', text, { type: 'button', title: words, 'aria-label': words })
  node.addEventListener('click', click)
  return node
}
