/** The item of the status bar: step, speed, device peak and state of the run that matters most; a click opens it. */

import { type ISignal, Signal } from '@lumino/signaling'
import { Widget } from '@lumino/widgets'
import { element } from './dom.js'
import type { Standing } from './status.js'

/** Written with the same functions as in the panel; loaded when there is a run to tell of. */
type Words = Pick<typeof import('fpdt/trace'), 'bytes' | 'count'>

export class StatusItem extends Widget {
  readonly #button: HTMLButtonElement
  #standing: Standing | null = null
  #words: Words | null = null
  readonly #shownChanged = new Signal<this, void>(this)

  constructor(open: (standing: Standing) => void) {
    super()
    this.addClass('jp-FPDT-status')
    this.#button = element('button', '', '', { type: 'button' })
    this.#button.addEventListener('click', () => this.#standing && open(this.#standing))
    this.node.append(this.#button)
  }

  /** Whether there is anything to tell. */
  get shownChanged(): ISignal<this, void> {
    return this.#shownChanged
  }

  get standing(): Standing | null {
    return this.#standing
  }

  async tell(standing: Standing | null): Promise<void> {
    this.#standing = standing
    if (standing) this.#words ??= await import('fpdt/trace')
    // A later call may have come first.
    if (this.#standing !== standing || this.isDisposed) return
    this.#shownChanged.emit()
    if (!standing || !this.#words) return
    const { bytes, count } = this.#words
    const parts = [
      `FPDT ${standing.state}`,
      ...(standing.step === null ? [] : [`step ${standing.step}`]),
      ...(standing.tokens_per_second === null ? [] : [`${count(standing.tokens_per_second)} tokens/s`]),
      ...(standing.device_bytes === null ? [] : [`device peak ${bytes(standing.device_bytes)}`]),
    ]
    this.#button.textContent = parts.join(' · ')
    this.#button.title = `${standing.title}. Click to open it in a tab.`
  }
}
