/**
 * The panel of one run: header, toolbar, picture, details of what is pointed at, table.
 *
 * Two canvases lie on each other. The lower one holds the picture and is drawn when data, window, size or theme change;
 * the upper one holds cursor and outlines and is drawn when the pointer moves. Both at most once a frame, and never when
 * nothing changed. Everything that listens ends with `dispose`.
 */

import type { Message } from '@lumino/messaging'
import { Widget } from '@lumino/widgets'
import type { Context2D, Layout, Picture, Run, Surface, Target, Theme, View } from 'fpdt/trace'
import { draw, drawPointer, duration, layOut, levelsAt, panned, shown, summaryWords, targetAt, timeAt, zoomed } from 'fpdt/trace'
import { details } from './details.js'
import { element } from './dom.js'
import { type Gestures, listen } from './gestures.js'
import { header } from './header.js'
import { onThemeChange, pageTheme } from './page-theme.js'
import { type DrawnRun, forget, use } from './registry.js'
import { opsTable } from './table.js'

/** What a test may ask of a panel: `node.fpdtState`. */
export interface PanelState {
  readonly theme: Theme
  readonly view: View
  readonly extent: { readonly start_ns: number; readonly end_ns: number }
  readonly size: { readonly width: number; readonly height: number }
  readonly picture: Picture
  readonly pinned: Target | null
}

const ZOOM = 0.7
const PAN = 0.2

export class RunPanel extends Widget implements DrawnRun {
  #run: Run
  #view: View
  #theme: Theme
  #layout: Layout | null = null
  #picture: Picture | null = null
  #pointer: { x: number; y: number } | null = null
  #pinned: Target | null = null
  #table: HTMLElement | null = null
  #header: HTMLElement
  #frame = 0
  #stale = true
  readonly #toolbar = element('div', 'jp-FPDT-toolbar', [], { role: 'toolbar', 'aria-label': 'View of the run' })
  readonly #picker = element('select', '')
  readonly #pickerWords = document.createTextNode('')
  readonly #tableButton = button('Show as table', 'List the ops in view', () => this.toggleTable())
  readonly #canvas = element('canvas', 'jp-FPDT-picture', [])
  readonly #overlay = element('canvas', 'jp-FPDT-pointer', [])
  readonly #stage = element('div', 'jp-FPDT-stage', [this.#canvas, this.#overlay], {
    tabindex: '0',
    role: 'application',
    'aria-roledescription': 'timeline',
    // JupyterLab would take a and d for commands of the notebook.
    'data-lm-suppress-shortcuts': 'true',
  })
  readonly #details = element('div', 'jp-FPDT-details', [], { 'aria-live': 'polite' })
  readonly #ends: { dispose(): void }[] = []

  constructor(run: Run) {
    super()
    this.addClass('jp-FPDT-run')
    this.#run = run
    this.#view = wholeOf(run)
    this.#theme = pageTheme(this.node)
    this.#header = header(run)
    this.#picker.addEventListener('change', () => this.#look({ ...this.#view, rank: Number(this.#picker.value) }))
    this.#toolbar.append(
      button('−', 'Zoom out (s or −)', () => this.#zoom(1 / ZOOM)),
      button('+', 'Zoom in (w or +)', () => this.#zoom(ZOOM)),
      button('Whole run', 'Back to the full time (0)', () => this.showWholeRun()),
      this.#tableButton,
      element('label', 'jp-FPDT-rank', [this.#pickerWords, this.#picker]),
    )
    this.node.append(this.#header, this.#toolbar, this.#stage, this.#details)
    this.#describe()
    Object.defineProperty(this.node, 'fpdtState', { get: () => this.#state() })
  }

  get tableShown(): boolean {
    return this.#table !== null
  }

  /** Takes newer data of the same output. The window stays; one that showed the whole run shows the whole of the longer run. */
  setRun(run: Run): void {
    const wasWhole = this.#view.start_ns === this.#run.extent.start_ns && this.#view.end_ns === this.#run.extent.end_ns
    const pinned = this.#pinned?.kind === 'span' ? sameSpan(this.#run, run, this.#pinned.row) : null
    const rank = run.ranks.includes(this.#view.rank) ? this.#view.rank : wholeOf(run).rank
    this.#run = run
    this.#view = wasWhole ? { ...wholeOf(run), rank } : { ...shown(this.#view, run.extent, this.#view.start_ns, this.#view.end_ns), rank }
    this.#pinned = pinned
    const next = header(run)
    this.#header.replaceWith(next)
    this.#header = next
    this.#describe()
    this.#invalidate()
  }

  showWholeRun(): void {
    this.#look({ ...this.#run.extent, rank: this.#view.rank })
  }

  toggleTable(): void {
    if (this.#table) {
      this.#table.remove()
      this.#table = null
    } else {
      this.#table = opsTable(this.#run, this.#view)
      this.node.append(this.#table)
    }
    this.#tableButton.textContent = this.#table ? 'Hide table' : 'Show as table'
    this.#tableButton.setAttribute('aria-pressed', String(this.#table !== null))
  }

  override dispose(): void {
    if (this.isDisposed) return
    for (const end of this.#ends.splice(0)) end.dispose()
    cancelAnimationFrame(this.#frame)
    forget(this)
    super.dispose()
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message)
    if (this.#ends.length === 0) this.#start()
    this.#readTheme()
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message)
    this.#invalidate()
  }

  protected override onResize(message: Widget.ResizeMessage): void {
    super.onResize(message)
    this.#invalidate()
  }

  #start(): void {
    const sizes = new ResizeObserver(() => this.#invalidate())
    sizes.observe(this.#stage)
    this.#ends.push(
      { dispose: () => sizes.disconnect() },
      onThemeChange(() => this.#readTheme()),
      listen(this.#stage, this.#gestures()),
    )
    use(this)
  }

  #gestures(): Gestures {
    const length = (): number => this.#view.end_ns - this.#view.start_ns
    return {
      used: () => use(this),
      point: (pointer) => {
        this.#pointer = pointer
        this.#schedule()
      },
      click: ({ x, y }) => {
        const target = this.#layout && targetAt(this.#run, this.#view, this.#layout, x, y)
        this.#pin(target)
      },
      drag: (pixels) => {
        if (this.#layout) this.#look(panned(this.#view, this.#run.extent, (-pixels / this.#layout.plot.width) * length()))
      },
      zoom: (factor, x) => this.#zoom(factor, x),
      key: (key) => {
        const actions: Record<string, () => void> = {
          left: () => this.#look(panned(this.#view, this.#run.extent, -PAN * length())),
          right: () => this.#look(panned(this.#view, this.#run.extent, PAN * length())),
          in: () => this.#zoom(ZOOM, this.#pointer?.x),
          out: () => this.#zoom(1 / ZOOM, this.#pointer?.x),
          whole: () => this.showWholeRun(),
          next: () => this.#step(1),
          previous: () => this.#step(-1),
          unpin: () => this.#pin(null),
        }
        actions[key]()
      },
    }
  }

  /** Zooms about a pixel, or about the middle; false when the window cannot change, so that the page may scroll instead. */
  #zoom(factor: number, x?: number): boolean {
    const about = this.#layout && x !== undefined ? timeAt(this.#layout, this.#view, x) : (this.#view.start_ns + this.#view.end_ns) / 2
    const before = this.#view
    this.#look(zoomed(before, this.#run.extent, factor, Math.min(Math.max(about, before.start_ns), before.end_ns)))
    return this.#view.start_ns !== before.start_ns || this.#view.end_ns !== before.end_ns
  }

  #look(view: View): void {
    this.#view = view
    this.#invalidate()
  }

  #pin(target: Target | null): void {
    this.#pinned = target
    this.#schedule()
  }

  /** Pins the next or the previous op of the pinned op's lane, and brings it into view. */
  #step(by: 1 | -1): void {
    const { spans, lanes } = this.#run
    const row = this.#pinned?.kind === 'span' ? this.#pinned.row : -1
    const lane = (row < 0 ? undefined : lanes.find(({ rows, rank }) => rank === spans.rank[row] && rows.includes(row))) ?? lanes[0]
    if (!lane) return
    const at = row < 0 ? lane.rows.findIndex((candidate) => spans.start_ns[candidate] >= this.#view.start_ns) : lane.rows.indexOf(row) + by
    const next = lane.rows[Math.min(Math.max(at, 0), lane.rows.length - 1)]
    const [start, end] = [spans.start_ns[next], spans.start_ns[next] + spans.duration_ns[next]]
    if (start < this.#view.start_ns || end > this.#view.end_ns) {
      this.#look(panned(this.#view, this.#run.extent, (start + end) / 2 - (this.#view.start_ns + this.#view.end_ns) / 2))
    }
    this.#pin({ kind: 'span', row: next })
  }

  #readTheme(): void {
    this.#theme = pageTheme(this.node)
    this.#invalidate()
  }

  #invalidate(): void {
    this.#stale = true
    this.#schedule()
  }

  #schedule(): void {
    if (this.#frame || this.isDisposed) return
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0
      if (this.#stale) this.#drawPicture()
      this.#drawPointer()
    })
  }

  #drawPicture(): void {
    const width = Math.floor(this.#stage.clientWidth)
    // Not on screen: the resize observer calls again when it is.
    if (width === 0) return
    this.#stale = false
    const surface: Surface = { context: contextOf(this.#canvas), theme: this.#theme, labels: [] }
    this.#layout = layOut(surface, this.#run, this.#view, width)
    this.#pickerWords.data = this.#layout.hiddenRanks > 0 ? 'lanes and memory of ' : 'memory of '
    for (const canvas of [this.#canvas, this.#overlay]) fit(canvas, width, this.#layout.height)
    this.#picture = draw({ ...surface, context: contextOf(this.#canvas) }, this.#run, this.#view, this.#layout)
    this.#stage.dataset.fpdtTheme = this.#theme.name
    this.#stage.dataset.fpdtDrawn = String(Number(this.#stage.dataset.fpdtDrawn ?? 0) + 1)
    if (this.#table) {
      const next = opsTable(this.#run, this.#view)
      this.#table.replaceWith(next)
      this.#table = next
    }
  }

  #drawPointer(): void {
    if (!this.#layout) return
    const { plot, width, height } = this.#layout
    const pointer = this.#pointer
    const hovered = pointer && targetAt(this.#run, this.#view, this.#layout, pointer.x, pointer.y)
    const inPlot = pointer !== null && pointer.x >= plot.x && pointer.x <= plot.x + plot.width
    const context = contextOf(this.#overlay) as CanvasRenderingContext2D
    context.clearRect(0, 0, width, height)
    drawPointer(context, this.#theme, this.#run, this.#view, this.#layout, { x: inPlot ? pointer.x : null, targets: [this.#pinned, hovered] })
    const time_ns = inPlot ? timeAt(this.#layout, this.#view, pointer.x) : null
    const instant = time_ns === null ? '' : `At ${duration(time_ns)}: ${levelsAt(this.#layout, time_ns)}`
    this.#details.replaceChildren(...details(this.#run, this.#layout, hovered ?? this.#pinned, { instant, pinned: !hovered && this.#pinned !== null }))
  }

  #describe(): void {
    this.#stage.setAttribute('aria-label', summaryWords(this.#run))
    this.node.setAttribute('role', 'group')
    this.node.setAttribute('aria-label', this.#run.head.title)
    this.#picker.replaceChildren(...this.#run.ranks.map((rank) => element('option', '', `rank ${rank}`, { value: String(rank) })))
    this.#picker.value = String(this.#view.rank)
    ;(this.#picker.parentElement as HTMLElement).hidden = this.#run.ranks.length < 2
  }

  #state(): PanelState | null {
    if (!this.#layout || !this.#picture) return null
    const { width, height } = this.#layout
    return { theme: this.#theme, view: this.#view, extent: this.#run.extent, size: { width, height }, picture: this.#picture, pinned: this.#pinned }
  }
}

/** The whole run, with the memory of the rank that has most on the device. */
function wholeOf(run: Run): View {
  const fullest = run.stacks.reduce(
    (best, stack) => (best && (best.tier !== stack.tier || best.totals[best.peak] >= stack.totals[stack.peak]) ? best : stack),
    run.stacks[0],
  )
  return { ...run.extent, rank: fullest?.rank ?? run.ranks[0] ?? 0 }
}

/** The same op of the same step and rank in newer data. */
function sameSpan(before: Run, after: Run, row: number): Target | null {
  const old = before.spans
  const found = after.spans.op.findIndex((op, i) => op === old.op[row] && after.spans.rank[i] === old.rank[row] && after.spans.step[i] === old.step[row])
  return found < 0 ? null : { kind: 'span', row: found }
}

function button(text: string, words: string, click: () => void): HTMLButtonElement {
  const node = element('button', 'jp-FPDT-button', text, { type: 'button', title: words, 'aria-label': words })
  node.addEventListener('click', click)
  return node
}

function contextOf(canvas: HTMLCanvasElement): Context2D & CanvasRenderingContext2D {
  return canvas.getContext('2d') as CanvasRenderingContext2D
}

/**
 * Sharp on dense screens: more pixels than CSS pixels, and a transform that hides it. Clears the canvas.
 * A whole number of pixels, because edges that fall between two leave seams between columns.
 */
function fit(canvas: HTMLCanvasElement, width: number, height: number): void {
  const ratio = Math.ceil(window.devicePixelRatio || 1)
  canvas.width = Math.round(width * ratio)
  canvas.height = Math.round(height * ratio)
  canvas.style.width = `${width}px`
  canvas.style.height = `${height}px`
  contextOf(canvas).setTransform(ratio, 0, 0, ratio, 0, 0)
}
