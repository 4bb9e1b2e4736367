/** A place for one run: decodes a payload and shows its panel, or says in words why it cannot. */
import type { Message } from '@lumino/messaging'
import { PanelLayout, Widget } from '@lumino/widgets'
import type { RunTables } from 'fpdt/trace'
import type { LiveRow } from '../live/row.js'
import { page } from './page.js'
import type { RunPanel } from './panel.js'

export class RunHost extends Widget {
  #panel: RunPanel | null = null
  #live: LiveRow | null = null
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
  showPayload(payload: unknown): Promise<void> {
    return this.showTables(async () => (await import('fpdt/trace')).decodeSavedRun(payload))
  }

  /** The same for tables from wherever they come; what `read` throws is said in words. */
  protected async showTables(read: () => Promise<RunTables>): Promise<void> {
    // Decoding takes its time: of two payloads that come fast, the later one must win.
    const turn = ++this.#turn
    const isCurrent = (): boolean => turn === this.#turn && !this.isDisposed
    try {
      const [{ openRun }, { RunPanel }, { LiveRow }] = await Promise.all([import('fpdt/trace'), import('./panel.js'), import('../live/row.js')])
      const tables = await read()
      if (!isCurrent()) return
      const run = openRun(tables)
      this.say(null)
      if (this.#panel) {
        this.#live?.take(tables, run)
      } else {
        this.#panel = new RunPanel(run)
        this.#live = new LiveRow(this.#panel, tables, run)
        ;(this.layout as PanelLayout).addWidget(this.#panel)
        this.#bind()
      }
    } catch (error) {
      if (!isCurrent()) return
      this.#live?.dispose()
      this.#panel?.dispose()
      this.#live = this.#panel = null
      const words = error instanceof Error ? error.message : String(error)
      this.say(`An FPDT run should be drawn here, but ${words.slice(0, 500)}`, 'alert')
    }
  }

  override dispose(): void {
    if (this.isDisposed) return
    this.#live?.dispose()
    super.dispose()
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message)
    this.#bind()
  }

  /** To the kernel of the notebook that it stands in. */
  #bind(): void {
    if (this.isAttached && this.#panel) this.#live?.bind(page.kernelOf?.(this.#panel) ?? null)
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
