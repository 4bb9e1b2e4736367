/** What makes a panel live: the link to its kernel, and below its toolbar the row of controls. */
import type { Run, RunTables } from 'fpdt/trace'
import type { RunPanel } from '../lab/panel.js'
import { Controls } from './controls.js'
import { LiveLink } from './link.js'
import type { NotebookKernel } from './notebook-kernel.js'

export class LiveRow {
  readonly #link: LiveLink
  readonly #controls: Controls

  constructor(panel: RunPanel, saved: RunTables, run: Run) {
    this.#link = new LiveLink(panel, saved, () => run)
    this.#controls = new Controls(this.#link, panel.session, panel.node)
    panel.toolbar.node.after(this.#controls.node)
  }

  bind(notebook: NotebookKernel | null): void {
    this.#link.bind(notebook)
  }

  /** Newer data of the saved output. */
  take(saved: RunTables, run: Run): void {
    this.#link.take(saved, () => run)
  }

  dispose(): void {
    this.#controls.dispose()
    this.#link.dispose()
  }
}
