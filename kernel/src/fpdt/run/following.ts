/** An output that is drawn again as what it shows goes on: at once, or, when steps follow each other quickly, a little later and once for all of them. */
import { displayHost, type MimeBundle } from '../../display.js'

/** Least time between two drawings while steps follow each other. */
const UPDATE_MS = 2000

export class Following {
  #shown = false
  #drawn_ms = 0
  #next: NodeJS.Timeout | undefined
  #ended = false

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
    host.display(await this.bundle(), { displayId: this.displayId, update })
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
