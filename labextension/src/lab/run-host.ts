/** A place for one run: decodes a payload and shows its panel, or says in words why it cannot. */
import { PanelLayout, Widget } from '@lumino/widgets'
import type { RunPanel } from './panel.js'

export class RunHost extends Widget {
  #panel: RunPanel | null = null
  #notice: HTMLElement | null = null
  #turn = 0

  constructor() {
    super()
    this.addClass('jp-FPDT-output')
    this.layout = new PanelLayout()
  }

  get panel(): RunPanel | null {
    return this.#panel
  }

  /** Called for the first payload and for every update; the panel stays, so zoom and selection do too. */
  async showPayload(payload: unknown): Promise<void> {
    // Decoding takes its time: of two payloads that come fast, the later one must win.
    const turn = ++this.#turn
    const isCurrent = (): boolean => turn === this.#turn && !this.isDisposed
    try {
      const [{ decodeSavedRun, openRun }, { RunPanel }] = await Promise.all([import('fpdt/trace'), import('./panel.js')])
      const tables = await decodeSavedRun(payload)
      if (!isCurrent()) return
      const run = openRun(tables)
      this.say(null)
      if (this.#panel) {
        this.#panel.setRun(() => run)
      } else {
        this.#panel = new RunPanel(run)
        ;(this.layout as PanelLayout).addWidget(this.#panel)
      }
    } catch (error) {
      if (!isCurrent()) return
      this.#panel?.dispose()
      this.#panel = null
      const words = error instanceof Error ? error.message : String(error)
      this.say(`An FPDT run should be drawn here, but ${words.slice(0, 500)}`, 'alert')
    }
  }

  /** Words above the run, or in its place; null takes them away. */
  say(words: string | null, role: 'alert' | 'status' = 'status', more: readonly HTMLElement[] = []): void {
    this.#notice?.remove()
    this.#notice = null
    if (words === null) return
    this.#notice = document.createElement('div')
    this.#notice.className = 'jp-FPDT-reason'
    this.#notice.setAttribute('role', role)
    this.#notice.append(words, ...more)
    this.node.prepend(this.#notice)
  }
}
