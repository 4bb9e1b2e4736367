/**
 * The ops in view as a table, with exact numbers, in the order of any of them. The op of a row is a button that keeps it. Only the rows of
 * one page are built, so a run of any size can be looked through.
 */
import {
  byteRate,
  bytes,
  count,
  duration,
  flopRate,
  flops,
  instant,
  KINDS,
  NONE,
  OP_ORDERS,
  type OpOrder,
  opLine,
  opsIn,
  PHASES,
  phraseOf,
  type Run,
  STREAMS,
  type View,
  waitedOf,
  withoutStream,
} from 'fpdt/trace'
import { button } from '../button.js'
import { element } from '../dom.js'
import type { Changed, RunView, Session, Shown } from '../session.js'

/** More rows at once would make the page slow and would not be read. */
const PAGE = 300

const COLUMNS = ['op', 'rank', 'stream', 'step', 'phase', 'layer', 'q', 'kv', 'start', 'duration', 'waited', 'bytes', 'rate', 'FLOP', 'FLOP/s']

export class OpsView implements RunView {
  readonly name = 'ops'
  readonly node: HTMLElement
  readonly #session: Session
  readonly #heads = COLUMNS.map((name) => element('th', '', isOrder(name) ? [this.#sorter(name)] : name, { scope: 'col' }))
  readonly #caption = element('caption', '')
  readonly #body = element('tbody', '')
  readonly #box: HTMLElement
  readonly #previous = button(`Previous ${PAGE}`, `Previous ${PAGE} ops`, () => this.#turn(-PAGE))
  readonly #next = button(`Next ${PAGE}`, `Next ${PAGE} ops`, () => this.#turn(PAGE))
  readonly #pages = element('div', 'jp-FPDT-controls', [this.#previous, this.#next])
  #by: OpOrder = 'start'
  #isDescending = false
  #first = 0
  /** All in view. */
  #inView: Uint32Array = new Uint32Array(0)
  /** Those of the page. */
  #spans: Uint32Array = new Uint32Array(0)

  constructor(session: Session) {
    this.#session = session
    const table = element('table', '', [this.#caption, element('thead', '', [element('tr', '', this.#heads)]), this.#body])
    // What scrolls must be reachable by keys.
    this.#box = element('div', 'jp-FPDT-table jp-FPDT-ops', [table], { tabindex: '0', role: 'region', 'aria-label': 'Ops in view' })
    this.node = element('div', '', [this.#pages, this.#box])
    this.#body.addEventListener('click', ({ target }) => {
      const row = this.#spanAt(target)
      if (row !== null) session.change({ pinned: { kind: 'span', row } })
    })
    const point = ({ target }: Event): void => {
      const row = this.#spanAt(target)
      session.change({ hover: row === null ? null : { kind: 'span', row } })
    }
    const leave = (): void => session.change({ hover: null })
    this.#body.addEventListener('pointerover', point)
    this.#body.addEventListener('pointerleave', leave)
    this.#body.addEventListener('focusin', point)
    this.#body.addEventListener('focusout', leave)
  }

  update(shown: Shown, changed: Changed): void {
    if (changed.has('run') || changed.has('window')) {
      // A run that grows leaves the reader on the page.
      this.#list(changed.has('window') ? 0 : this.#first)
    }
    this.#mark(shown)
  }

  dispose(): void {
    this.node.replaceChildren()
  }

  #sorter(by: OpOrder): HTMLElement {
    const node = element('button', 'jp-FPDT-sort', by, { type: 'button', title: `Sort by ${by}` })
    node.addEventListener('click', () => {
      // The first click shows what is largest, or what was first.
      this.#isDescending = by === this.#by ? !this.#isDescending : by !== 'start'
      this.#by = by
      this.#box.scrollTop = 0
      this.#list(0)
      this.#mark(this.#session.shown)
    })
    return node
  }

  #turn(by: number): void {
    this.#box.scrollTop = 0
    this.#list(this.#first + by)
    this.#mark(this.#session.shown)
  }

  #list(first: number): void {
    const { run, window } = this.#session.shown
    this.#inView = opsIn(run, window, this.#by, this.#isDescending)
    const total = this.#inView.length
    this.#first = first < total ? Math.max(0, first) : 0
    this.#spans = this.#inView.slice(this.#first, this.#first + PAGE)
    this.#caption.textContent = captionOf(this.#first, this.#spans.length, total)
    this.#body.replaceChildren(...Array.from(this.#spans, (row) => rowOf(run, row, window)))
    this.#pages.hidden = total <= PAGE
    this.#previous.disabled = this.#first === 0
    this.#next.disabled = this.#first + PAGE >= total
    for (const [i, name] of COLUMNS.entries()) {
      if (name === this.#by) this.#heads[i].setAttribute('aria-sort', this.#isDescending ? 'descending' : 'ascending')
      else this.#heads[i].removeAttribute('aria-sort')
    }
  }

  #mark({ hover, pinned }: Shown): void {
    const at = (target: Shown['hover']): number => (target?.kind === 'span' ? target.row : -1)
    for (const [i, row] of [...this.#body.children].entries()) {
      row.classList.toggle('jp-mod-hover', at(hover) === this.#spans[i])
      if (at(pinned) === this.#spans[i]) row.setAttribute('aria-current', 'true')
      else row.removeAttribute('aria-current')
    }
  }

  #spanAt(node: EventTarget | null): number | null {
    const row = node instanceof Element ? node.closest('tr') : null
    return row ? this.#spans[[...this.#body.children].indexOf(row)] : null
  }
}

function isOrder(name: string): name is OpOrder {
  return (OP_ORDERS as readonly string[]).includes(name)
}

function captionOf(first: number, rows: number, total: number): string {
  return rows === total ? `${count(total)} ops in view.` : `${count(first + 1)} to ${count(first + rows)} of ${count(total)} ops in view.`
}

function rowOf(run: Run, row: number, window: View): HTMLElement {
  const op = run.spans.op[row]
  const name = element('button', 'jp-FPDT-link', withoutStream(opLine(run, op)), { type: 'button', title: phraseOf(run, op) })
  return element('tr', '', [element('td', '', [name]), ...cells(run, row, window).map((text) => element('td', '', text))])
}

function cells(run: Run, row: number, window: View): string[] {
  const { spans } = run
  const length = spans.duration_ns[row]
  const index = (value: number): string => (value === NONE ? '' : String(value))
  const waited = waitedOf(run, row)
  const moved = spans.bytes[row]
  const operations = spans.flops[row]
  const moves = KINDS[spans.kind[row]] !== 'compute' && length > 0
  return [
    String(spans.rank[row]),
    STREAMS[spans.stream[row]],
    String(spans.step[row]),
    PHASES[spans.phase[row]],
    index(spans.layer[row]),
    index(spans.q[row]),
    index(spans.kv[row]),
    instant(spans.start_ns[row], window.end_ns - window.start_ns),
    duration(length),
    waited > 0 ? duration(waited) : '',
    moved > 0 ? bytes(moved) : '',
    moved > 0 && moves ? byteRate(moved, length) : '',
    operations > 0 ? flops(operations) : '',
    operations > 0 && length > 0 ? flopRate(operations, length) : '',
  ]
}
