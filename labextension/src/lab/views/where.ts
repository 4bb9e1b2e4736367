/** Where each chunk of each value of a layer is at the instant that all views show: device, host, disk, or on its way. */
import {
  cellWords,
  counted,
  drawWhere,
  drawWherePointer,
  layerAt,
  layersWithChunks,
  layOutWhere,
  NONE,
  nextChange,
  relatedTo,
  type Surface,
  stateAt,
  stateInWords,
  stepAt,
  type Target,
  valueWords,
  type Whereabouts,
  type WhereLayout,
  whereabouts,
  whereTargetAt,
} from 'fpdt/trace'
import { element } from '../dom.js'
import type { Changed, Session, Shown } from '../session.js'
import type { Listing } from '../table.js'
import { CanvasView } from './canvas-view.js'
import { LayerPicker } from './layer-picker.js'

interface Laid extends WhereLayout {
  readonly map: Whereabouts
}

export class WhereView extends CanvasView<Laid> {
  readonly name = 'where'
  protected override readonly redrawnBy: readonly (keyof Shown)[] = ['run', 'window', 'layer', 'cursor_ns', 'pointer_ns']
  readonly #layers: LayerPicker
  readonly #all = element('input', '', '', { type: 'checkbox' })
  readonly #now = element('div', 'jp-FPDT-now')

  constructor(session: Session) {
    super(session, 'map of chunks')
    const redraw = (): void => this.update(this.session.shown, new Set(['size']))
    this.#layers = new LayerPicker(session, 'as time goes', redraw)
    this.#all.addEventListener('input', redraw)
    this.node.prepend(
      element('div', 'jp-FPDT-controls', [
        this.#layers.node,
        element('label', '', [this.#all, document.createTextNode(' values that never leave the device, too')]),
      ]),
    )
    this.stage.after(this.#now)
    this.stage.addEventListener('pointermove', ({ offsetY }) => this.#nameRow(offsetY))
    this.node.classList.add('jp-FPDT-chunks')
  }

  override update(shown: Shown, changed: Changed): void {
    super.update(shown, changed)
    this.#layers.update(layersWithChunks(shown.run), this.#layer(shown))
    const lines = this.#nowInWords(shown)
    this.#now.replaceChildren(...lines.map((line, i) => element('div', i === 0 ? 'jp-FPDT-subject' : '', line)))
  }

  protected layOut(surface: Surface, shown: Shown, width: number): Laid {
    const map = this.#map(shown)
    return { ...layOutWhere(surface, map, this.#all.checked ? 'all' : 'travelling', width), map }
  }

  protected draw(surface: Surface, _: Shown, laid: Laid): void {
    drawWhere(surface, laid.map, this.session.instant_ns, laid)
  }

  protected drawPointer(surface: Surface, { run, hover, pinned }: Shown, laid: Laid): void {
    const buffers = [pinned, hover].flatMap((target) => (target ? relatedTo(run, target).buffers : []))
    drawWherePointer(surface, laid, new Set(buffers.map((buffer) => run.names[buffer])))
  }

  protected targetAt(_: Shown, laid: Laid, x: number, y: number): Target | null {
    return whereTargetAt(laid.map, this.session.instant_ns, laid, x, y)
  }

  protected summary(shown: Shown): string {
    const map = this.#map(shown)
    const instant_ns = this.session.instant_ns
    const states = map.rows.flatMap(({ cells }) => cells.map((cell) => stateAt(cell, instant_ns)))
    const on = map.tiers.map((tier, bit) => `${counted(states.filter((state) => state & (1 << bit)).length, 'chunk')} on ${tier}`)
    return `Where the chunks of ${nameOf(map)} are at ${this.session.instantWords()}, rank ${map.rank}: ${on.join(', ') || 'none are anywhere'}.`
  }

  protected inWords(): Listing {
    const { map, rows } = this.laid ?? {}
    if (!map || !rows) return { caption: 'No chunks', columns: ['value'], rows: [] }
    const instant_ns = this.session.instant_ns
    return {
      caption: `Where the chunks of ${nameOf(map)} are at ${this.session.instantWords()}, rank ${map.rank}`,
      columns: ['value', ...Array.from({ length: map.chunks }, (_, chunk) => `chunk ${chunk}`)],
      rows: rows.map(({ base, cells }) => [
        named(base),
        ...Array.from({ length: map.chunks }, (_, chunk) => (cells[chunk] ? stateInWords(stateAt(cells[chunk], instant_ns)) : '')),
      ]),
    }
  }

  #map(shown: Shown): Whereabouts {
    const { run, window } = shown
    return whereabouts(run, stepAt(run.spans, this.session.instant_ns)?.step ?? 0, window.rank, this.#layer(shown))
  }

  #layer({ run, window, layer }: Shown): number {
    if (!this.#layers.follows && layersWithChunks(run).includes(layer)) return layer
    return layerAt(run, window.rank, this.session.instant_ns)
  }

  /** The browser shows it where the pointer rests, on the name of a row too. */
  #nameRow(y: number): void {
    const { grid, rows } = this.laid ?? {}
    const row = grid && rows?.[Math.floor((y - grid.y) / grid.cellHeight)]
    this.stage.title = row ? named(row.base) : ''
  }

  #nowInWords({ run, hover }: Shown): string[] {
    const { map } = this.laid ?? {}
    const instant_ns = this.session.instant_ns
    if (!map) return []
    if (hover?.kind === 'buffer') {
      for (const row of map.rows) {
        for (const [chunk, cell] of row.cells.entries()) {
          if (!cell?.parts.some(({ name }) => name === run.names[hover.buffer])) continue
          const next = nextChange(cell, instant_ns)
          return [
            `${cellWords(row, chunk, instant_ns)} (${named(row.base)})`,
            next === null ? 'nothing changes it in this step any more' : `changes at ${this.session.instantWords(next)}`,
          ]
        }
      }
    }
    return [`${nameOf(map)}, step ${map.step}, rank ${map.rank}, at ${this.session.instantWords()}`]
  }
}

/** `lse: log-sum-exp of the softmax`. */
function named(base: string): string {
  // Of a chunk: `v` alone is not a second moment.
  const words = valueWords(`${base}[0,0]`)
  return words ? `${base}: ${words}` : base
}

function nameOf({ layer }: Whereabouts): string {
  return layer === NONE ? 'values outside layers' : `layer ${layer}`
}
