/** The toolbar of a panel: window, views, rank, presentation, and what others put at its end. */
import { hidesRanks, keptWords } from 'fpdt/trace'
import { showWholeRun, ZOOM, zoom } from './actions.js'
import { button } from './button.js'
import { element } from './dom.js'
import { numberOf } from './keys.js'
import { Roving } from './roving.js'
import { type Changed, type Session, type Shown, VIEWS, type ViewName } from './session.js'
import { PARTS_OF_TOOLBAR, type ToolbarPart } from './toolbar-parts.js'
import { KINDS_OF_VIEW } from './views/index.js'

export interface ToolbarActions {
  toggleView(name: ViewName): void
  togglePresentation(): void
  toggleKeys(): void
  /** Null where there is no other place to open it in. */
  readonly openInMainArea: (() => void) | null
}

export class Toolbar {
  readonly node = element('div', 'jp-FPDT-toolbar', [], { role: 'toolbar', 'aria-label': 'View of the run' })
  /** Where live controls and the export menu stand. */
  readonly toolbarSlot = element('div', 'jp-FPDT-parts')
  readonly #views = new Map<ViewName, HTMLButtonElement>()
  readonly #presentation: HTMLButtonElement
  readonly #keys: HTMLButtonElement
  readonly #picker = element('select', '')
  readonly #pickerWords = document.createTextNode('')
  readonly #rank = element('label', 'jp-FPDT-rank', [this.#pickerWords, this.#picker])
  readonly #whole: HTMLButtonElement
  readonly #parts: readonly ToolbarPart[]
  readonly #roving: Roving

  constructor(session: Session, actions: ToolbarActions, panel: HTMLElement) {
    for (const name of VIEWS) {
      const kind = KINDS_OF_VIEW[name]
      if (kind)
        this.#views.set(
          name,
          button(kind.title, `${kind.title}: ${kind.hint} (${numberOf(name)})`, () => actions.toggleView(name)),
        )
    }
    this.#presentation = button('Present', 'Present: larger type, one view at a time, arrow keys go from op to op', () => actions.togglePresentation())
    this.#keys = button('?', 'List the keys (?)', () => actions.toggleKeys())
    this.#picker.addEventListener('change', () => session.change({ window: { ...session.shown.window, rank: Number(this.#picker.value) } }))
    this.#whole = button('Whole run', '', () => showWholeRun(session))
    const { openInMainArea } = actions
    const open = openInMainArea && button('Open in tab', 'Open in tab: the same run beside the notebook', openInMainArea)
    open?.classList.add('jp-FPDT-open-in-tab')
    this.node.append(
      group('Window of time', [
        button('−', 'Zoom out (s or −)', () => zoom(session, 1 / ZOOM)),
        button('+', 'Zoom in (w or +)', () => zoom(session, ZOOM)),
        this.#whole,
      ]),
      group('Views', [...this.#views.values()]),
      this.#rank,
      this.toolbarSlot,
      group('Panel', [...(open ? [open] : []), this.#presentation, this.#keys]),
    )
    this.#parts = PARTS_OF_TOOLBAR.map((create) => create(session, panel))
    this.toolbarSlot.append(...this.#parts.map(({ node }) => node))
    this.#roving = new Roving(this.node)
  }

  update({ run, window, views, presentation }: Shown, changed: Changed): void {
    for (const [name, toggle] of this.#views) press(toggle, views.has(name))
    press(this.#presentation, presentation)
    if (changed.has('run')) {
      this.#picker.replaceChildren(...run.ranks.map((rank) => element('option', '', `rank ${rank}`, { value: String(rank) })))
      this.#rank.hidden = run.ranks.length < 2
      this.#pickerWords.data = hidesRanks(run) ? 'lanes and memory of ' : 'memory of '
    }
    this.#picker.value = String(window.rank)
    if (changed.has('run')) {
      const text = keptWords(run.head) === '' ? 'Whole run' : 'All that is kept'
      this.#whole.textContent = text
      this.#whole.title = this.#whole.ariaLabel = `${text}: Back to the full time (0)`
      this.#roving.settle()
    }
  }

  tellKeys(shown: boolean): void {
    press(this.#keys, shown)
  }

  dispose(): void {
    for (const part of this.#parts) part.dispose()
  }
}

function press(toggle: HTMLButtonElement, pressed: boolean): void {
  toggle.setAttribute('aria-pressed', String(pressed))
}

function group(name: string, children: HTMLElement[]): HTMLElement {
  return element('div', 'jp-FPDT-group', children, { role: 'group', 'aria-label': name })
}
