/** An output that is drawn again as what it shows goes on: at once, or, when steps follow each other quickly, a little later and once for all of them. */
import { displayHost, type MimeBundle } from '../../display.js'

/** Least time between two drawings while steps follow each other. */
const UPDATE_MS = 2000
/** What is over sooner shows its end alone: to draw takes about a tenth of a second, of cores that compute. */
const BEGIN_MS = 250

export class NotebookPicture {
  #shown = false
  #drawn_ms = 0
  #next: NodeJS.Timeout | undefined
  #ended = false
  #drawing: Promise<void> = Promise.resolve()

  constructor(
    private readonly displayId: string,
    private readonly bundle: () => Promise<MimeBundle>,
  ) {}

  /** Draws with all that is known now. Nothing where there is no notebook, or a terminal that shows words alone. */
  async draw(): Promise<void> {
    clearTimeout(this.#next)
    const host = displayHost()
    if (!host || host.wordsOnly) return
    const update = this.#shown
    this.#shown = true
    this.#drawn_ms = Date.now()
    // One after the other: an update that came before what it updates would be lost.
    const bundle = this.#drawing.then(() => this.bundle())
    const drawn = bundle.then((ready) => host.display(ready, { displayId: this.displayId, update }))
    this.#drawing = drawn.catch(() => {})
    await drawn
  }
  /** Work has begun: draws it soon if nothing has been drawn yet, so that a page can follow it. Says whether it will. */
  begin(): boolean {
    const host = displayHost()
    if (!host || host.wordsOnly || this.#ended || this.#shown) return false
    clearTimeout(this.#next)
    this.#next = setTimeout(() => {
      void this.draw()
      this.#drawn_ms = 0 // what it comes to is drawn at once
    }, BEGIN_MS)
    this.#next.unref()
    return true
  }
  /** Draws again what has been drawn. */
  async redraw(): Promise<void> {
    if (this.#shown) await this.draw()
  }
  /** Draws, now or soon. `soon`: not now in any case, so that an error does not wait for a picture. */
  async follow(soon = false): Promise<void> {
    const host = displayHost()
    if (!host || host.wordsOnly || this.#ended) return
    clearTimeout(this.#next)
    const rest_ms = this.#drawn_ms + UPDATE_MS - Date.now()
    if (rest_ms <= 0 && !soon) return this.draw()
    this.#next = setTimeout(() => void this.draw(), Math.max(rest_ms, 0))
    this.#next.unref()
  }
  /** The notebook shows it as the last value of a cell: later drawings reach that output. */
  shownAsValue(): void {
    this.#shown = displayHost() !== undefined
  }
  /** Draws what is waiting to be drawn; nothing follows. */
  async end(): Promise<void> {
    this.#ended = true
    clearTimeout(this.#next)
    await this.redraw()
  }
}
