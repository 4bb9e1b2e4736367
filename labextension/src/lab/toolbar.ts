/** The toolbar of a panel: window, views, rank, presentation, and what others put at its end. */
import { hidesRanks } from 'fpdt/trace'
import { showWholeRun, ZOOM, zoom } from './actions.js'
import { element } from './dom.js'
import { type Changed, type Session, type Shown, VIEWS, type ViewName } from './session.js'
import { PARTS_OF_TOOLBAR, type ToolbarPart } from './toolbar-parts.js'
import { KINDS_OF_VIEW } from './views/index.js'

export interface ToolbarActions {
  toggleView(name: ViewName): void
  togglePresentation(): void
}

export class Toolbar {
  readonly node = element('div', 'jp-FPDT-toolbar', [], { role: 'toolbar', 'aria-label': 'View of the run' })
  /** Where live controls and the export menu stand. */
  readonly toolbarSlot = element('div', 'jp-FPDT-parts')
  readonly #views = new Map<ViewName, HTMLButtonElement>()
  readonly #presentation: HTMLButtonElement
  readonly #picker = element('select', '')
  readonly #pickerWords = document.createTextNode('')
  readonly #rank = element('label', 'jp-FPDT-rank', [this.#pickerWords, this.#picker])
  readonly #parts: readonly ToolbarPart[]

  constructor(session: Session, actions: ToolbarActions, panel: HTMLElement) {
    for (const name of VIEWS) {
      const kind = KINDS_OF_VIEW[name]
      if (kind)
        this.#views.set(
          name,
          button(kind.title, `${kind.title}: ${kind.hint}`, () => actions.toggleView(name)),
        )
    }
    this.#presentation = button('Present', 'Present: larger type, one view at a time, arrow keys step from op to op', () => actions.togglePresentation())
    this.#picker.addEventListener('change', () => session.change({ window: { ...session.shown.window, rank: Number(this.#picker.value) } }))
    this.node.append(
      group('Window of time', [
        button('−', 'Zoom out (s or −)', () => zoom(session, 1 / ZOOM)),
        button('+', 'Zoom in (w or +)', () => zoom(session, ZOOM)),
        button('Whole run', 'Whole run: Back to the full time (0)', () => showWholeRun(session)),
      ]),
      group('Views', [...this.#views.values()]),
      this.#presentation,
      this.#rank,
      this.toolbarSlot,
    )
    this.#parts = PARTS_OF_TOOLBAR.map((create) => create(session, panel))
    this.toolbarSlot.append(...this.#parts.map(({ node }) => node))
  }

  update({ run, window, views, presentation }: Shown, changed: Changed): void {
    for (const [name, toggle] of this.#views) toggle.setAttribute('aria-pressed', String(views.has(name)))
    this.#presentation.setAttribute('aria-pressed', String(presentation))
    if (changed.has('run')) {
      this.#picker.replaceChildren(...run.ranks.map((rank) => element('option', '', `rank ${rank}`, { value: String(rank) })))
      this.#rank.hidden = run.ranks.length < 2
      this.#pickerWords.data = hidesRanks(run) ? 'lanes and memory of ' : 'memory of '
    }
    this.#picker.value = String(window.rank)
  }

  dispose(): void {
    for (const part of this.#parts) part.dispose()
  }
}

export function button(text: string, words: string, click: () => void): HTMLButtonElement {
  const node = element('button', 'jp-FPDT-button', text, { type: 'button', title: words, 'aria-label': words })
  node.addEventListener('click', click)
  return node
}

function group(name: string, children: HTMLElement[]): HTMLElement {
  return element('div', 'jp-FPDT-group', children, { role: 'group', 'aria-label': name })
}
