/** Which layer a view of chunks shows: one that is chosen, or the one that is worked on at the instant. */
import { NONE } from 'fpdt/trace'
import { element } from '../dom.js'
import type { Session } from '../session.js'

const FOLLOWS = 'follows'

export class LayerPicker {
  readonly node: HTMLElement
  readonly #select = element('select', '', [], { 'aria-label': 'Layer' })
  readonly #follows: string
  #layers: readonly number[] = []

  /** `follows`: the words of the choice to go with time, which is the first. */
  constructor(session: Session, follows: string, changed: () => void) {
    this.#follows = follows
    this.node = element('label', '', [document.createTextNode('layer: '), this.#select])
    this.#select.append(element('option', '', follows, { value: FOLLOWS }))
    this.#select.addEventListener('input', () => {
      if (!this.follows) session.change({ layer: Number(this.#select.value) })
      changed()
    })
  }

  get follows(): boolean {
    return this.#select.value === FOLLOWS
  }

  /** Offers these layers; `shown` is named where the choice goes with time. */
  update(layers: readonly number[], shown: number): void {
    if (layers.join() !== this.#layers.join()) {
      const chosen = this.#select.value
      this.#layers = layers
      const choices = layers.map((layer) => element('option', '', layer === NONE ? 'outside layers' : String(layer), { value: String(layer) }))
      this.#select.replaceChildren(element('option', '', this.#follows, { value: FOLLOWS }), ...choices)
      this.#select.value = layers.includes(Number(chosen)) ? chosen : FOLLOWS
    }
    const [first] = this.#select.options
    const name = shown === NONE ? '' : `: ${shown}`
    first.textContent = `${this.#follows}${this.follows ? name : ''}`
  }
}
