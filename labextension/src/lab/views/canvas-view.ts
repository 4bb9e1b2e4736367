/**
 * A view that is drawn on two canvases lying on each other. The lower one holds the picture and is drawn when what it shows changes;
 * the upper one holds what moves with the pointer. A subclass says how high the picture is, draws both, and tells what lies at a
 * point; this class sees to dense screens, size, theme, pointer, focus, and to words for those who do not see it.
 *
 * A subclass draws in units. A unit is a CSS pixel, or more in presentation mode.
 */
import type { Context2D, Surface, Target } from 'fpdt/trace'
import { element } from '../dom.js'
import { listen, type Point } from '../gestures.js'
import type { Changed, RunView, Session, Shown, ViewName } from '../session.js'
import { type Listing, listing } from '../table.js'

/** What the picture of most views depends on. */
const PICTURE: readonly (keyof Shown)[] = ['run', 'other', 'steps', 'predicted', 'window', 'layer', 'phase']

export abstract class CanvasView<Laid extends { readonly height: number }> implements RunView {
  abstract readonly name: ViewName
  readonly node: HTMLElement
  readonly stage: HTMLElement
  protected readonly session: Session
  /** Keys of the session whose change needs a new picture; a change of others draws the pointer alone. */
  protected readonly redrawnBy: readonly (keyof Shown)[] = PICTURE
  readonly #canvas = element('canvas', 'jp-FPDT-picture', [])
  readonly #overlay = element('canvas', 'jp-FPDT-pointer', [])
  readonly #words = element('details', 'jp-FPDT-words', [element('summary', '', 'In words')])
  readonly #ended = new AbortController()
  #laid: Laid | null = null

  constructor(session: Session, roleDescription: string) {
    this.session = session
    this.stage = element('div', 'jp-FPDT-stage', [this.#canvas, this.#overlay], {
      tabindex: '0',
      role: 'application',
      'aria-roledescription': roleDescription,
    })
    this.node = element('div', 'jp-FPDT-canvas-view', [this.stage, this.#words])
    listen(this.stage, this.#gestures(), this.#ended.signal)
    this.#words.addEventListener('toggle', () => this.#tell(), { signal: this.#ended.signal })
  }

  /** Where everything lies, `width` units wide. The surface is there to measure text. */
  protected abstract layOut(surface: Surface, shown: Shown, width: number): Laid
  protected abstract draw(surface: Surface, shown: Shown, laid: Laid): void
  /** What lies over the picture: cursor, outlines. The canvas is clear. */
  protected abstract drawPointer(surface: Surface, shown: Shown, laid: Laid): void
  /** What lies at a point, in units. */
  protected abstract targetAt(shown: Shown, laid: Laid, x: number, y: number): Target | null
  /** The instant at a point, for views with an axis of time. */
  protected timeAt?(shown: Shown, laid: Laid, x: number, y: number): number | null
  /** Moves the window by units to the right. */
  protected drag?(shown: Shown, laid: Laid, units: number): void
  /** Zooms the window about a point; answers whether it could. */
  protected zoom?(shown: Shown, laid: Laid, factor: number, x: number): boolean
  /** The picture in a sentence or a few. */
  protected abstract summary(shown: Shown): string
  /** The picture as a table. Made when the reader asks for it. */
  protected abstract inWords(shown: Shown): Listing
  key?(event: KeyboardEvent): boolean

  protected get laid(): Laid | null {
    return this.#laid
  }

  update(shown: Shown, changed: Changed): void {
    const isStale = changed.has('size') || changed.has('theme') || changed.has('scale') || this.redrawnBy.some((key) => changed.has(key))
    if (isStale || !this.#laid) this.#drawPicture(shown)
    this.#drawPointer(shown)
    if (isStale) this.#tell()
  }

  dispose(): void {
    this.#ended.abort()
    // A browser gives the memory of a canvas back when it is collected, which may be late.
    for (const canvas of [this.#canvas, this.#overlay]) canvas.width = canvas.height = 0
  }

  #drawPicture(shown: Shown): void {
    const { theme, scale } = shown
    const width = Math.floor(this.stage.clientWidth / scale)
    // Not on screen: a change of size calls again when it is.
    if (width === 0) return
    const laid = this.layOut({ context: contextOf(this.#canvas), theme, labels: [] }, shown, width)
    this.#laid = laid
    for (const canvas of [this.#canvas, this.#overlay]) fit(canvas, width, laid.height, scale)
    this.draw({ context: contextOf(this.#canvas), theme, labels: [] }, shown, laid)
    this.stage.setAttribute('aria-label', this.summary(shown))
    this.stage.dataset.fpdtTheme = theme.name
    this.stage.dataset.fpdtDrawn = String(Number(this.stage.dataset.fpdtDrawn ?? 0) + 1)
  }

  #drawPointer(shown: Shown): void {
    if (!this.#laid) return
    const context = contextOf(this.#overlay)
    context.clearRect(0, 0, this.#overlay.width, this.#overlay.height)
    this.drawPointer({ context, theme: shown.theme, labels: [] }, shown, this.#laid)
  }

  #tell(): void {
    if (!this.#words.open) return
    const told = listing(this.inWords(this.session.shown))
    const before = this.#words.querySelector('.jp-FPDT-table')
    if (before) before.replaceWith(told)
    else this.#words.append(told)
  }

  #gestures(): Parameters<typeof listen>[1] {
    const { session } = this
    /** Calls back with the point in units, where there is a picture. */
    const at = <Result>(point: Point, use: (shown: Shown, laid: Laid, x: number, y: number) => Result): Result | null => {
      const { shown } = session
      return this.#laid && use(shown, this.#laid, point.x / shown.scale, point.y / shown.scale)
    }
    return {
      point: (point) => {
        const hover = point && at(point, (...place) => this.targetAt(...place))
        const pointer_ns = point && at(point, (...place) => this.timeAt?.(...place) ?? null)
        session.change({ hover, pointer_ns })
      },
      click: (point) => {
        const pinned = at(point, (...place) => this.targetAt(...place))
        const cursor_ns = at(point, (...place) => this.timeAt?.(...place) ?? null)
        // An instant of memory is that of the height which was hit, not that of the pixel.
        const instant = pinned?.kind === 'instant' ? pinned.time_ns : cursor_ns
        session.change(pinned?.kind === 'span' || instant === null ? { pinned } : { pinned, cursor_ns: instant })
      },
      drag: (pixels) => at({ x: pixels, y: 0 }, (shown, laid, units) => this.drag?.(shown, laid, units)),
      zoom: (factor, point) => at(point, (shown, laid, x) => this.zoom?.(shown, laid, factor, x)) ?? false,
    }
  }
}

function contextOf(canvas: HTMLCanvasElement): Context2D & CanvasRenderingContext2D {
  return canvas.getContext('2d') as Context2D & CanvasRenderingContext2D
}

/**
 * Sharp on dense screens: more pixels than units, and a transform that hides it. Clears the canvas.
 * A whole number of pixels per unit, because edges that fall between two leave seams between columns.
 */
function fit(canvas: HTMLCanvasElement, width: number, height: number, scale: number): void {
  const ratio = Math.ceil((window.devicePixelRatio || 1) * scale)
  canvas.width = Math.round(width * ratio)
  canvas.height = Math.round(height * ratio)
  canvas.style.width = `${width * scale}px`
  canvas.style.height = `${height * scale}px`
  contextOf(canvas).setTransform(ratio, 0, 0, ratio, 0, 0)
}
