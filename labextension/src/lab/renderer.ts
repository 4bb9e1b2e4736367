/** One output: decodes the payload and shows the panel, or says in words why it cannot. */
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces'
import { PanelLayout, Widget } from '@lumino/widgets'
import type { RunPanel } from './panel.js'

export class RunRenderer extends Widget implements IRenderMime.IRenderer {
  #panel: RunPanel | null = null
  #turn = 0

  constructor(readonly mimeType: string) {
    super()
    this.addClass('jp-FPDT-output')
    this.layout = new PanelLayout()
  }

  /** Called for the first payload and for every update; the panel stays, so zoom and selection do too. */
  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    // Decoding takes its time: of two payloads that come fast, the later one must win.
    const turn = ++this.#turn
    const isCurrent = (): boolean => turn === this.#turn && !this.isDisposed
    try {
      const [{ decodeSavedRun, openRun }, { RunPanel }] = await Promise.all([import('fpdt/trace'), import('./panel.js')])
      const run = openRun(await decodeSavedRun(model.data[this.mimeType]))
      if (!isCurrent()) return
      this.#clearReason()
      if (this.#panel) {
        this.#panel.session.setRun(run)
      } else {
        this.#panel = new RunPanel(run)
        ;(this.layout as PanelLayout).addWidget(this.#panel)
      }
    } catch (error) {
      if (isCurrent()) this.#showReason(error)
    }
  }

  #showReason(error: unknown): void {
    this.#panel?.dispose()
    this.#panel = null
    this.#clearReason()
    const reason = document.createElement('div')
    reason.className = 'jp-FPDT-reason'
    reason.setAttribute('role', 'alert')
    const words = error instanceof Error ? error.message : String(error)
    reason.textContent = `An FPDT run should be drawn here, but ${words.slice(0, 500)}`
    this.node.append(reason)
  }

  #clearReason(): void {
    this.node.querySelector('.jp-FPDT-reason')?.remove()
  }
}
