/** An output that is drawn again as what it shows goes on: at once, or, when steps follow each other quickly, a little later and once for all of them. */
import { type DisplayHost, displayHost, type MimeBundle } from '../../display.js'

/** Least time between two drawings while steps follow each other. */
const UPDATE_MS = 2000
/** What is over sooner shows its end alone: to draw takes about a tenth of a second, of cores that compute. */
const BEGIN_MS = 250

/**
 * Each cell that trains shows it once, and so does a cell that is run again, whose former output is gone: the controls are where the
 * training is. Front ends keep all outputs of one display id alike.
 */
export class NotebookPicture {
  #isShown = false
  /** Owners of the outputs that show it. */
  readonly #shownIn = new WeakSet<object>()
  #drawn_ms = 0
  #next: NodeJS.Timeout | undefined
  #ended = false
  #drawing: Promise<void> = Promise.resolve()

  constructor(
    private readonly displayId: string,
    private readonly bundle: () => Promise<MimeBundle>,
  ) {}

  /** Draws again, with all that is known now, wherever it is shown; here, if it is not. Nothing where there is no notebook, or a terminal that shows words alone. */
  async draw(): Promise<void> {
    await this.#draw(this.#isShown)
  }
  /** Work has begun in a cell that does not show it: draws it there soon, so that a page can follow it. Says whether it will. */
  begin(): boolean {
    const host = displayHost()
    if (!host || host.wordsOnly || this.#ended || this.#shownIn.has(ownerOf(host))) return false
    clearTimeout(this.#next)
    this.#next = setTimeout(() => {
      void this.#drawHere()
      this.#drawn_ms = 0 // what it comes to is drawn at once
    }, BEGIN_MS)
    this.#next.unref()
    return true
  }
  /** Draws again what has been drawn. */
  async redraw(): Promise<void> {
    if (this.#isShown) await this.draw()
  }
  /** Draws, now or soon; in a cell that does not show it, now. `soon`: not now in any case, so that an error does not wait for a picture. */
  async follow(soon = false): Promise<void> {
    const host = displayHost()
    if (!host || host.wordsOnly || this.#ended) return
    clearTimeout(this.#next)
    const rest_ms = this.#shownIn.has(ownerOf(host)) ? this.#drawn_ms + UPDATE_MS - Date.now() : 0
    if (rest_ms <= 0 && !soon) return this.#drawHere()
    this.#next = setTimeout(() => void this.#drawHere(), Math.max(rest_ms, 0))
    this.#next.unref()
  }
  /** The notebook shows it as the last value of a cell: later drawings reach that output. */
  shownAsValue(): void {
    const host = displayHost()
    if (host) this.#shows(host)
  }
  /** Draws what is waiting to be drawn; nothing follows. */
  async end(): Promise<void> {
    this.#ended = true
    clearTimeout(this.#next)
    await this.redraw()
  }

  async #drawHere(): Promise<void> {
    const host = displayHost()
    if (host) await this.#draw(this.#shownIn.has(ownerOf(host)))
  }
  async #draw(update: boolean): Promise<void> {
    clearTimeout(this.#next)
    const host = displayHost()
    if (!host || host.wordsOnly) return
    if (!update) this.#shows(host)
    this.#drawn_ms = Date.now()
    // One after the other: an update that came before what it updates would be lost.
    const bundle = this.#drawing.then(() => this.bundle())
    const drawn = bundle.then((ready) => host.display(ready, { displayId: this.displayId, update }))
    this.#drawing = drawn.catch(() => {})
    await drawn
  }
  #shows(host: DisplayHost): void {
    this.#isShown = true
    this.#shownIn.add(ownerOf(host))
  }
}

/** Of the output that displays go to from here. */
function ownerOf(host: DisplayHost): object {
  return host.owner?.() ?? host
}
