/** The menu of files that a run can be saved as, at the end of the toolbar. */
import { keptWords } from 'fpdt/trace'
import { button } from './button.js'
import { element } from './dom.js'
import { EXPORT_KINDS, EXPORTS, type ExportKind } from './export-kinds.js'
import { exportRun } from './exporting.js'
import type { PartOfToolbar } from './toolbar-parts.js'

export const exportMenu: PartOfToolbar = (session) => {
  const opener = button('Save as…', 'Save as…: PNG, SVG, CSV, Arrow or Chrome trace', () => (menu.hidden ? open() : close()))
  opener.setAttribute('aria-haspopup', 'menu')
  const note = element('div', 'jp-FPDT-menu-note')
  const items = EXPORT_KINDS.map((kind) => {
    const item = element('button', 'jp-FPDT-menu-item', EXPORTS[kind], { type: 'button', role: 'menuitem', tabindex: '-1' })
    item.addEventListener('click', () => void save(kind))
    return item
  })
  const menu = element('div', 'jp-FPDT-menu', [element('div', '', items, { role: 'menu', 'aria-label': 'Save as' }), note])
  const said = element('span', 'jp-FPDT-said', '', { role: 'status' })
  const node = element('div', 'jp-FPDT-exports', [opener, menu, said])
  let opened = new AbortController()
  close(false)
  menu.addEventListener('keydown', (event) => {
    const at = items.indexOf(document.activeElement as HTMLButtonElement)
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key]
    if (to !== undefined) items[(to + items.length) % items.length].focus()
    else if (event.key === 'Escape' || event.key === 'Tab') close()
    else return
    event.preventDefault()
    // These keys move the picture elsewhere in the panel.
    event.stopPropagation()
  })
  return { node, dispose: () => opened.abort() }

  function open(): void {
    note.textContent = keptWords(session.shown.run.head)
    note.hidden = note.textContent === ''
    menu.hidden = false
    menu.classList.remove('jp-mod-leftwards')
    const edge = node.closest('.jp-FPDT-run')?.getBoundingClientRect().right ?? window.innerWidth
    menu.classList.toggle('jp-mod-leftwards', menu.getBoundingClientRect().right > edge)
    opener.setAttribute('aria-expanded', 'true')
    items[0].focus()
    opened = new AbortController()
    document.addEventListener('pointerdown', (event) => event.target instanceof Node && !node.contains(event.target) && close(false), {
      signal: opened.signal,
    })
  }

  function close(refocus = true): void {
    opened.abort()
    menu.hidden = true
    opener.setAttribute('aria-expanded', 'false')
    if (refocus) opener.focus()
  }

  async function save(kind: ExportKind): Promise<void> {
    close()
    said.textContent = `Saving ${EXPORTS[kind]}…`
    try {
      said.textContent = await exportRun(session, kind)
    } catch (error) {
      said.textContent = `It could not be saved: ${error instanceof Error ? error.message : String(error)}`
    }
  }
}
