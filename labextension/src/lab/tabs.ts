/** The tabs that runs are open in, and which notebook they belong to. */
import type { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application'
import { MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils'
import type { DocumentRegistry } from '@jupyterlab/docregistry'
import { Toolbar } from '@jupyterlab/ui-components'
import { type ISignal, Signal } from '@lumino/signaling'
import type { Widget } from '@lumino/widgets'
import type { OpenNotebooks } from './notebooks.js'
import { page } from './page.js'
import type { RunPanel } from './panel.js'
import { type RunPlace, RunTab } from './run-tab.js'

/** The command that opens a tab: the layout of a page names it, so that a reload brings the tab back. */
export const OPEN = 'fpdt:open'

export class RunTabs {
  readonly #app: JupyterFrontEnd
  readonly #notebooks: OpenNotebooks
  /** Notebook 7 has one document in its main area: there a run opens below it. */
  readonly #area: 'main' | 'down'
  readonly #tracker = new WidgetTracker<MainAreaWidget<RunTab>>({ namespace: 'fpdt-runs' })
  readonly #currentChanged = new Signal<this, void>(this)
  #currentNotebook: string | null = null

  constructor(app: JupyterFrontEnd, notebooks: OpenNotebooks, area: 'main' | 'down') {
    this.#app = app
    this.#notebooks = notebooks
    this.#area = area
    page.openInMainArea = (panel) => {
      const place = placeOf(panel)
      if (place) this.open(place)
    }
    app.shell.currentChanged?.connect(() => this.#look())
    void app.restored.then(() => this.#look())
    notebooks.changed.connect(() => this.#look())
  }

  /** Path of the notebook that was looked at last; null before there is one, and when it is closed. */
  get currentNotebook(): string | null {
    return this.#currentNotebook
  }

  get currentChanged(): ISignal<this, void> {
    return this.#currentChanged
  }

  /** The tab of a run: the one that is open, or a new one. Never waits, so that restoring a page does not. */
  open(place: RunPlace): MainAreaWidget<RunTab> {
    const before = this.#tracker.find(({ content }) => content.place.path === place.path && content.place.run_id === place.run_id)
    const tab = before ?? this.#make(place)
    this.#app.shell.activateById(tab.id)
    return tab
  }

  restoreWith(restorer: ILayoutRestorer): void {
    void restorer.restore(this.#tracker, {
      command: OPEN,
      args: ({ content }) => ({ ...content.place }),
      name: ({ content }) => `${content.place.path}:${content.place.run_id}`,
    })
  }

  #make(place: RunPlace): MainAreaWidget<RunTab> {
    const content = new RunTab(place, this.#notebooks, (path) => void this.#app.commands.execute('docmanager:open', { path, factory: 'Notebook' }))
    // The toolbar that a tab has by itself leaves a button behind when it is closed.
    const tab = new MainAreaWidget({ content, toolbar: new Toolbar() })
    tab.id = `fpdt-run-${place.run_id}-${Date.now()}`
    tab.title.closable = true
    // The area below a notebook is as high as what is in it wants to be, which is nothing.
    if (this.#area === 'down') tab.addClass('jp-FPDT-below')
    const name = (): void => {
      const { path, run_id } = content.place
      tab.title.label = `Run in ${path.split('/').at(-1)}`
      tab.title.caption = this.#notebooks.find(path, run_id)?.head.title ?? `FPDT run in ${path}`
    }
    const rename = (): void => {
      name()
      void this.#tracker.save(tab)
    }
    name()
    this.#notebooks.changed.connect(name)
    this.#notebooks.renamed.connect(rename)
    tab.disposed.connect(() => {
      this.#notebooks.changed.disconnect(name)
      this.#notebooks.renamed.disconnect(rename)
    })
    // The first one splits the page; others stand in the same half.
    const beside = this.#tracker.find(({ isAttached }) => isAttached)
    void this.#tracker.add(tab)
    this.#app.shell.add(tab, this.#area, { activate: false, ...(beside ? { mode: 'tab-after', ref: beside.id } : { mode: 'split-right' }) })
    return tab
  }

  #look(): void {
    const path = pathOf(this.#app.shell.currentWidget)
    const isNotebook = path !== null && this.#notebooks.isOpen(path)
    const stillOpen = this.#currentNotebook !== null && this.#notebooks.isOpen(this.#currentNotebook)
    this.#currentNotebook = isNotebook ? path : stillOpen ? this.#currentNotebook : null
    this.#currentChanged.emit()
  }
}

/** Where the run of a panel is saved; null where that is no notebook. */
export function placeOf(panel: RunPanel): RunPlace | null {
  let widget: Widget | null = panel
  while (widget && !(widget instanceof RunTab) && pathOf(widget) === null) widget = widget.parent
  if (widget instanceof RunTab) return widget.place
  const path = pathOf(widget)
  return path === null ? null : { path, run_id: panel.session.shown.run.head.run_id }
}

/** The path of a document, or of the notebook of a tab. */
function pathOf(widget: Widget | null): string | null {
  if (widget instanceof MainAreaWidget && widget.content instanceof RunTab) return widget.content.place.path
  return (widget as { context?: DocumentRegistry.Context } | null)?.context?.path ?? null
}
