/**
 * The panel of one run: header, toolbar, views, details of what is pointed at. It holds the session of its views, opens and closes
 * them, hands them keys, and lets each draw when it can be seen. Everything that listens ends with `dispose`.
 */
import type { Message } from '@lumino/messaging'
import { Widget } from '@lumino/widgets'
import type { Picture, Run, Target, Theme, View } from 'fpdt/trace'
import { showWholeRun } from './actions.js'
import { details } from './details.js'
import { element } from './dom.js'
import { Painter } from './frame.js'
import { header } from './header.js'
import { KEYS } from './keys.js'
import { onThemeChange, pageTheme } from './page-theme.js'
import { forget, use } from './registry.js'
import { type Changed, type RunView, Session, type Shown, VIEWS, type ViewName, wholeOf } from './session.js'
import { Toolbar } from './toolbar.js'
import { KINDS_OF_VIEW } from './views/index.js'
import { TimelineView } from './views/timeline.js'

/** What a test may ask of a panel: `node.fpdtState`. */
export interface PanelState {
  readonly theme: Theme
  readonly view: View
  readonly extent: { readonly start_ns: number; readonly end_ns: number }
  readonly size: { readonly width: number; readonly height: number }
  readonly picture: Picture
  readonly pinned: Target | null
  readonly hover: Target | null
  readonly cursor_ns: number | null
  readonly pointer_ns: number | null
  readonly views: readonly ViewName[]
  readonly presentation: boolean
}

interface Opened {
  readonly view: RunView
  readonly section: HTMLElement
  readonly painter: Painter<keyof Shown>
}

export class RunPanel extends Widget {
  readonly session: Session
  readonly #toolbar: Toolbar
  readonly #views = element('div', 'jp-FPDT-views')
  readonly #details = element('div', 'jp-FPDT-details', [], { 'aria-live': 'polite' })
  readonly #opened = new Map<ViewName, Opened>()
  readonly #painters: Painter<keyof Shown>[]
  readonly #ended = new AbortController()
  #header: HTMLElement
  #themes: { dispose(): void } | null = null

  constructor(run: Run) {
    super()
    this.addClass('jp-FPDT-run')
    this.node.setAttribute('role', 'group')
    // JupyterLab would take a and d for commands of the notebook.
    this.node.setAttribute('data-lm-suppress-shortcuts', 'true')
    this.session = new Session(firstShown(run, pageTheme(this.node)))
    this.#header = header(run)
    this.#toolbar = new Toolbar(this.session, this, this.node)
    this.node.append(this.#header, this.#toolbar.node, this.#views, this.#details)
    this.#painters = [new Painter(this.#details, () => this.#details.replaceChildren(...details(this.session.shown)))]
    this.session.onChange((shown, changed) => this.#take(shown, changed))
    this.#take(this.session.shown, everything(this.session.shown))
    const { signal } = this.#ended
    this.node.addEventListener('keydown', (event) => this.#key(event), { signal })
    this.node.addEventListener('focusin', () => use(this), { signal })
    Object.defineProperty(this.node, 'fpdtState', { get: () => this.#state() })
  }

  showWholeRun(): void {
    showWholeRun(this.session)
  }

  toggleView(name: ViewName): void {
    const views = new Set(this.session.shown.views)
    if (!views.delete(name)) views.add(name)
    this.session.change({ views })
  }

  togglePresentation(): void {
    const presentation = !this.session.shown.presentation
    this.session.change({ presentation, scale: presentation ? 1.5 : 1 })
  }

  override dispose(): void {
    if (this.isDisposed) return
    this.#ended.abort()
    this.#themes?.dispose()
    for (const name of [...this.#opened.keys()]) this.#close(name)
    for (const painter of this.#painters) painter.dispose()
    this.#toolbar.dispose()
    forget(this)
    super.dispose()
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message)
    this.#themes ??= onThemeChange(() => this.#readTheme())
    this.#readTheme()
    use(this)
  }

  #readTheme(): void {
    this.session.change({ theme: pageTheme(this.node) })
  }

  #take(shown: Shown, changed: Changed): void {
    if (changed.has('views')) this.#arrange(shown.views)
    if (changed.has('run')) {
      const next = header(shown.run)
      this.#header.replaceWith(next)
      this.#header = next
      this.node.setAttribute('aria-label', shown.run.head.title)
    }
    this.#toolbar.update(shown, changed)
    for (const { painter } of this.#opened.values()) painter.mark(changed)
    for (const painter of this.#painters) painter.mark(changed)
  }

  #arrange(views: ReadonlySet<ViewName>): void {
    for (const name of [...this.#opened.keys()]) if (!views.has(name)) this.#close(name)
    for (const name of VIEWS) if (views.has(name)) this.#open(name)
    this.#views.append(...VIEWS.flatMap((name) => this.#opened.get(name)?.section ?? []))
  }

  #open(name: ViewName): void {
    const kind = KINDS_OF_VIEW[name]
    if (!kind || this.#opened.has(name)) return
    const view = kind.create(this.session)
    const title = element('div', 'jp-FPDT-view-title', [element('strong', '', kind.title), element('span', '', kind.hint)])
    const section = element('section', 'jp-FPDT-view', [title, view.node], { 'data-view': name, 'aria-label': kind.title })
    const painter = new Painter<keyof Shown>(view.node, (changed) => view.update(this.session.shown, changed))
    painter.mark(everything(this.session.shown))
    this.#opened.set(name, { view, section, painter })
  }

  #close(name: ViewName): void {
    const opened = this.#opened.get(name)
    if (!opened) return
    this.#opened.delete(name)
    opened.painter.dispose()
    opened.view.dispose()
    opened.section.remove()
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || isField(event.target)) return
    const focused = [...this.#opened.values()].find(({ section }) => event.target instanceof Node && section.contains(event.target))
    const onButton = event.target instanceof HTMLButtonElement || (event.target instanceof HTMLElement && event.target.tagName === 'SUMMARY')
    if (onButton && event.key === ' ') return
    if (!focused?.view.key?.(event)) {
      const known = KEYS.find(({ keys }) => keys.includes(event.key))
      if (!known) return
      known.do(this.session)
    }
    event.preventDefault()
    event.stopPropagation()
  }

  #state(): PanelState | null {
    const timeline = this.#opened.get('timeline')?.view
    const drawn = timeline instanceof TimelineView ? timeline.drawn : null
    if (!drawn) return null
    const { theme, window, run, pinned, hover, cursor_ns, pointer_ns, presentation } = this.session.shown
    return { theme, view: window, extent: run.extent, ...drawn, pinned, hover, cursor_ns, pointer_ns, views: [...this.#opened.keys()], presentation }
  }
}

function firstShown(run: Run, theme: Theme): Shown {
  return {
    run,
    other: null,
    window: wholeOf(run),
    layer: 0,
    phase: 'forward',
    cursor_ns: null,
    pointer_ns: null,
    hover: null,
    pinned: null,
    views: new Set(['timeline']),
    presentation: false,
    follow: true,
    theme,
    scale: 1,
  }
}

function everything(shown: Shown): ReadonlySet<keyof Shown> {
  return new Set(Object.keys(shown) as (keyof Shown)[])
}

/** Where keys are for writing or choosing. */
function isField(at: EventTarget | null): boolean {
  return at instanceof HTMLInputElement || at instanceof HTMLSelectElement || at instanceof HTMLTextAreaElement
}
