/** Places of the device's arena over time, below the timeline and on its axis: while one slot is used, the next is filled. */
import {
  bytes,
  counted,
  drawSlots,
  drawSlotsPointer,
  layOut,
  layOutSlots,
  relatedTo,
  type SlotsLayout,
  type Surface,
  slotsOf,
  slotTargetAt,
  slotWords,
  type Target,
} from 'fpdt/trace'
import { element } from '../dom.js'
import type { Session, Shown } from '../session.js'
import type { Listing } from '../table.js'
import { TimeView } from './time-view.js'

export class SlotsView extends TimeView<SlotsLayout> {
  readonly name = 'slots'
  protected override readonly redrawnBy: readonly (keyof Shown)[] = ['run', 'other', 'window']
  readonly #made = element('input', '', '', { type: 'checkbox' })

  constructor(session: Session) {
    super(session, 'slots over time')
    this.#made.addEventListener('input', () => this.update(this.session.shown, new Set(['size'])))
    this.node.prepend(
      element('div', 'jp-FPDT-controls', [element('label', '', [this.#made, document.createTextNode(' chunks that are made on the device, too')])]),
    )
  }

  protected layOut(surface: Surface, shown: Shown, width: number): SlotsLayout {
    const { run, window } = shown
    return layOutSlots(surface, this.#slots(shown), window, width, layOut(surface, run, window, width, { left: this.left(surface, shown) }).plot)
  }

  protected draw(surface: Surface, { run, window }: Shown, layout: SlotsLayout): void {
    drawSlots(surface, run, window, layout)
  }

  protected drawPointer(surface: Surface, { run, window, hover, pinned, pointer_ns, cursor_ns }: Shown, layout: SlotsLayout): void {
    const buffers = [pinned, hover].flatMap((target) => (target ? relatedTo(run, target).buffers : []))
    const instants_ns = [cursor_ns, pointer_ns].filter((time_ns) => time_ns !== null)
    drawSlotsPointer(surface, window, layout, instants_ns, new Set(buffers))
  }

  protected targetAt({ window }: Shown, layout: SlotsLayout, x: number, y: number): Target | null {
    return slotTargetAt(layout, window.rank, window, x, y)
  }

  protected summary(shown: Shown): string {
    const slots = this.#slots(shown)
    const { start_ns, end_ns, rank } = shown.window
    return `${counted(slots.length, 'slot')} of the device's arena of rank ${rank} that chunks of attention take by turns, from ${this.session.instantWords(start_ns)} to ${this.session.instantWords(end_ns)}.`
  }

  protected inWords({ run, window }: Shown): Listing {
    const { rows = [] } = this.laid ?? {}
    const instant_ns = this.session.instant_ns
    return {
      caption: `Slots of rank ${window.rank} with most turns from ${this.session.instantWords(window.start_ns)} to ${this.session.instantWords(window.end_ns)}, at ${this.session.instantWords()}`,
      columns: ['slot', 'first byte', 'size', 'chunks in the window', 'at the instant'],
      rows: rows.map(({ slot, letter }) => [
        letter,
        String(slot.offset_bytes),
        bytes(slot.size_bytes),
        String(slot.start_ns.reduce((count, start, life) => count + Number(start < window.end_ns && slot.end_ns[life] > window.start_ns), 0)),
        slotWords(run, slot, letter, instant_ns),
      ]),
    }
  }

  #slots({ run, window }: Shown): ReturnType<typeof slotsOf> {
    return slotsOf(run, window.rank, this.#made.checked ? 'attention' : 'fetched')
  }
}
