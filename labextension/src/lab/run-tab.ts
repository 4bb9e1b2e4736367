/** A run in a tab of its own: the one that an output of an open notebook holds, kept in step with it. */
import type { Message } from '@lumino/messaging'
import { button } from './button.js'
import { type OpenNotebooks, samePayload } from './notebooks.js'
import { RunHost } from './run-host.js'

export interface RunPlace {
  readonly path: string
  readonly run_id: string
}

export class RunTab extends RunHost {
  readonly #notebooks: OpenNotebooks
  readonly #openNotebook: (path: string) => void
  #place: RunPlace
  #payload: unknown = null

  constructor(place: RunPlace, notebooks: OpenNotebooks, openNotebook: (path: string) => void) {
    super()
    this.addClass('jp-FPDT-tab')
    this.#place = place
    this.#notebooks = notebooks
    this.#openNotebook = openNotebook
    notebooks.changed.connect(this.#look, this)
    notebooks.renamed.connect(this.#rename, this)
    this.#look()
  }

  get place(): RunPlace {
    return this.#place
  }

  override dispose(): void {
    if (this.isDisposed) return
    this.#notebooks.changed.disconnect(this.#look, this)
    this.#notebooks.renamed.disconnect(this.#rename, this)
    super.dispose()
  }

  protected override onActivateRequest(message: Message): void {
    super.onActivateRequest(message)
    this.panel?.focus()
  }

  #look(): void {
    const { path, run_id } = this.#place
    const found = this.#notebooks.find(path, run_id)
    if (!found) {
      this.#sayGone()
      return
    }
    this.say(null)
    if (samePayload(found.payload, this.#payload)) return
    this.#payload = found.payload
    void this.showPayload(found.payload)
  }

  #sayGone(): void {
    const { path } = this.#place
    const isOpen = this.#notebooks.isOpen(path)
    const gone = isOpen ? `${path} has no output with this run.` : `${path}, which holds this run, is not open.`
    const drawn = this.#payload === null ? '' : ' It is drawn as it was last seen.'
    const open = button('Open notebook', `Open notebook ${path}`, () => this.#openNotebook(path))
    this.say(`${gone}${drawn} `, 'status', isOpen ? [] : [open])
  }

  #rename(_: OpenNotebooks, { from, to }: { readonly from: string; readonly to: string }): void {
    if (this.#place.path === from) this.#place = { ...this.#place, path: to }
  }
}
