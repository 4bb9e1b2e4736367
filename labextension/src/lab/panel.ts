/**
 * The panel of one run: header, toolbar, views, details of what is pointed at. It holds the session of its views, opens and closes
 * them, hands them keys, and lets each draw when it can be seen. Everything that listens ends with `dispose`.
 */
import type { Message } from '@lumino/messaging'
import { Widget } from '@lumino/widgets'
import type { Picture, Run, Target, Theme, View } from 'fpdt/trace'
import { showWholeRun, stepOp } from './actions.js'
import { Details } from './details.js'
import { element } from './dom.js'
import { Painter } from './frame.js'
import { header } from './header.js'
import { KEYS, listOfKeys, numberOf } from './keys.js'
import { page } from './page.js'
import { onThemeChange, pageTheme } from './page-theme.js'
import { forget, use } from './registry.js'
import { type Changed, firstView, type RunView, Session, type Shown, VIEWS, type ViewName } from './session.js'
import { onSettings, settings } from './settings.js'
import { Toolbar, type ToolbarActions } from './toolbar.js'
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
  readonly scale: number
}

/** Following may take one part in so many of the page's time. */
const SHARE = 4

interface Opened {
  readonly view: RunView
  readonly section: HTMLElement
  readonly painter: Painter<keyof Shown>
}

export class RunPanel extends Widget {
  readonly session: Session
  readonly toolbar: Toolbar
  readonly #views = element('div', 'jp-FPDT-views')
  readonly #opened = new Map<ViewName, Opened>()
  readonly #ends: { dispose(): void }[] = []
  readonly #ended = new AbortController()
  /** Takes newer data when the panel can be seen, and not more often than the reader wants. */
  readonly #data: Painter<'run'>
  #newest: (() => Run | null) | null = null
  #taken_ms = 0
  /** What the last picture cost: making its run, and drawing it in the next frame. */
  #cost_ms = 0
  #header: HTMLElement
  #themes: { dispose(): void } | null = null
  #keys: HTMLElement | null = null
  /** The views to come back to after a presentation. */
  #before: ReadonlySet<ViewName> | null = null

  constructor(run: Run) {
    super()
    this.addClass('jp-FPDT-run')
    this.node.setAttribute('role', 'group')
    this.node.tabIndex = -1
    // JupyterLab would take a and d for commands of the notebook.
    this.node.setAttribute('data-lm-suppress-shortcuts', 'true')
    this.session = new Session(firstShown(run, pageTheme(this.node)))
    this.#header = header(run)
    this.toolbar = new Toolbar(this.session, this.#actions(), this.node)
    const details = new Details(this.session)
    this.node.append(this.#header, this.toolbar.node, this.#views, details.node, details.answers)
    this.#data = new Painter(this.node, () => this.#takeNewest())
    const told = [details.node, details.answers].map((node) => new Painter<keyof Shown>(node, () => details.update(this.session.shown)))
    this.#ends.push(
      this.#data,
      ...told,
      this.session.onChange((shown, changed) => {
        this.#take(shown, changed)
        for (const painter of told) painter.mark(changed)
      }),
      onSettings(() => this.#setScale()),
      { dispose: () => this.#ended.abort() },
    )
    this.#take(this.session.shown, everything(this.session.shown))
    const { signal } = this.#ended
    this.node.addEventListener('keydown', (event) => this.#key(event), { signal })
    this.node.addEventListener('focusin', () => use(this), { signal })
    Object.defineProperty(this.node, 'fpdtState', { get: () => this.#state() })
  }

  /** Takes newer data of the same run; `newest` is asked for it when it is drawn, which is not at all while nobody can see it. Null: nothing newer. */
  setRun(newest: () => Run | null): void {
    this.#newest = newest
    this.#data.mark(['run'])
  }

  showWholeRun(): void {
    showWholeRun(this.session)
  }

  offers(name: ViewName): boolean {
    return KINDS_OF_VIEW[name] !== undefined
  }

  /** Opens or closes a view; in presentation mode, shows it instead of the one that is shown. */
  toggleView(name: ViewName): void {
    if (!KINDS_OF_VIEW[name]) return
    const { views, presentation } = this.session.shown
    const next = new Set(presentation ? [] : views)
    if (presentation || !next.delete(name)) next.add(name)
    this.session.change({ views: next })
    // Arrow keys go from op to op there; on a button they would go from button to button.
    if (presentation) this.focus()
  }

  togglePresentation(): void {
    const { views, presentation } = this.session.shown
    if (!presentation) this.#before = views
    const next = presentation ? this.#before : new Set(VIEWS.filter((name) => views.has(name)).slice(0, 1))
    this.session.change({ presentation: !presentation, views: next ?? views })
    this.#setScale()
    this.focus()
  }

  toggleKeys(): void {
    const shown = this.#keys === null
    this.#keys?.remove()
    this.#keys = shown
      ? listOfKeys(
          [...this.#opened.values()].flatMap(({ view }) => (view.keys ? [{ title: KINDS_OF_VIEW[view.name]?.title ?? view.name, keys: view.keys }] : [])),
        )
      : null
    if (this.#keys) this.toolbar.node.after(this.#keys)
    this.toolbar.tellKeys(shown)
  }

  /** Puts the focus where keys work: on the first view that takes it. */
  focus(): void {
    const first = this.#views.querySelector<HTMLElement>('[tabindex="0"]') ?? this.node
    first.focus({ preventScroll: true })
  }

  override dispose(): void {
    if (this.isDisposed) return
    for (const end of this.#ends.splice(0)) end.dispose()
    for (const name of [...this.#opened.keys()]) this.#close(name)
    this.toolbar.dispose()
    this.#themes?.dispose()
    forget(this)
    super.dispose()
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message)
    // JupyterLab attaches an output more than once; colours are known from the first time on.
    this.#themes ??= onThemeChange(this.node, () => this.#readTheme())
    this.#readTheme()
    use(this)
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message)
    // What is not rendered has no transitions.
    this.#readTheme()
  }

  #actions(): ToolbarActions {
    const open = page.openInMainArea
    return {
      toggleView: (name) => this.toggleView(name),
      togglePresentation: () => this.togglePresentation(),
      toggleKeys: () => this.toggleKeys(),
      openInMainArea: open && (() => open(this)),
    }
  }

  #takeNewest(): void {
    if (!this.#newest) return
    const run = this.#newest
    const wait_ms =
      this.session.shown.run.head.state === 'running'
        ? this.#taken_ms + Math.max(1000 / settings().framesPerSecond, SHARE * this.#cost_ms) - performance.now()
        : 0
    if (wait_ms > 1) {
      setTimeout(() => this.isDisposed || this.#data.mark(['run']), wait_ms)
      return
    }
    this.#newest = null
    this.#taken_ms = performance.now()
    // Asked for before those who draw ask for theirs, so it is called before them.
    requestAnimationFrame((drawn_ms) => setTimeout(() => (this.#cost_ms = made_ms + performance.now() - drawn_ms)))
    const newer = run()
    if (newer) this.session.setRun(newer)
    const made_ms = performance.now() - this.#taken_ms
  }

  #readTheme(): void {
    this.session.change({ theme: pageTheme(this.node) })
  }

  #setScale(): void {
    this.session.change({ scale: this.session.shown.presentation ? settings().presentationScale : 1 })
  }

  #take(shown: Shown, changed: Changed): void {
    if (changed.has('views')) this.#arrange(shown.views)
    if (changed.has('run')) {
      const next = header(shown.run)
      this.#header.replaceWith(next)
      this.#header = next
      this.node.setAttribute('aria-label', shown.run.head.title)
    }
    this.toggleClass('jp-mod-presentation', shown.presentation)
    this.node.style.setProperty('--jp-FPDT-scale', String(shown.scale))
    this.toolbar.update(shown, changed)
    for (const { painter } of this.#opened.values()) painter.mark(changed)
  }

  #arrange(views: ReadonlySet<ViewName>): void {
    for (const name of [...this.#opened.keys()]) if (!views.has(name)) this.#close(name)
    for (const name of VIEWS) if (views.has(name)) this.#open(name)
    let before: HTMLElement | null = null
    for (const name of VIEWS) {
      const section = this.#opened.get(name)?.section
      if (!section) continue
      // A node that is where it belongs stays untouched: moving it would take the focus from it.
      const at: ChildNode | null = before ? before.nextSibling : this.#views.firstChild
      if (at !== section) this.#views.insertBefore(section, at)
      before = section
    }
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
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isField(event.target)) return
    // Buttons and summaries are pressed by these.
    if ((event.key === ' ' || event.key === 'Enter') && event.target instanceof HTMLElement && event.target.matches('button, summary, a')) return
    const focused = [...this.#opened.values()].find(({ section }) => event.target instanceof Node && section.contains(event.target))
    if (!this.#presentationKey(event.key) && !focused?.view.key?.(event) && !this.#ownKey(event.key)) return
    event.preventDefault()
    event.stopPropagation()
  }

  #presentationKey(key: string): boolean {
    const { presentation, views } = this.session.shown
    if (!presentation) return false
    const offered = VIEWS.filter((name) => KINDS_OF_VIEW[name])
    const turn = (by: 1 | -1): void => {
      const at = offered.findIndex((name) => views.has(name))
      this.toggleView(offered[(at + by + offered.length) % offered.length])
    }
    const actions: Readonly<Record<string, () => void>> = {
      ArrowLeft: () => stepOp(this.session, -1),
      ArrowRight: () => stepOp(this.session, 1),
      ArrowUp: () => turn(-1),
      ArrowDown: () => turn(1),
      Escape: () => this.togglePresentation(),
    }
    actions[key]?.()
    return key in actions
  }

  #ownKey(key: string): boolean {
    const view = VIEWS.find((name) => numberOf(name) === key && KINDS_OF_VIEW[name])
    if (view) {
      this.toggleView(view)
      // The focus may have gone with the view that it was in.
      if (!this.node.contains(document.activeElement)) this.focus()
      return true
    }
    if (key === '?' || (key === 'Escape' && this.#keys)) {
      this.toggleKeys()
      if (!this.node.contains(document.activeElement)) this.focus()
      return true
    }
    const known = KEYS.find(({ keys }) => keys.includes(key))
    known?.do(this.session)
    return known !== undefined
  }

  #state(): PanelState | null {
    const timeline = this.#opened.get('timeline')?.view
    const drawn = timeline instanceof TimelineView ? timeline.drawn : null
    if (!drawn) return null
    const { theme, window, run, pinned, hover, cursor_ns, pointer_ns, presentation, scale } = this.session.shown
    return { theme, view: window, extent: run.extent, ...drawn, pinned, hover, cursor_ns, pointer_ns, views: [...this.#opened.keys()], presentation, scale }
  }
}

function firstShown(run: Run, theme: Theme): Shown {
  return {
    run,
    other: null,
    steps: { a: null, b: null },
    predicted: true,
    window: firstView(run),
    layer: 0,
    phase: 'forward',
    cursor_ns: null,
    pointer_ns: null,
    hover: null,
    pinned: null,
    stalls: false,
    views: new Set(settings().views),
    presentation: false,
    // A picture that moves by itself is what readers who want less motion do not want.
    follow: settings().followLive && !window.matchMedia('(prefers-reduced-motion: reduce)').matches,
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
