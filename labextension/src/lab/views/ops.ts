/** The ops in view as a table, with exact numbers. A click on a row keeps its op. */
import { byteRate, bytes, count, duration, flopRate, flops, KINDS, NONE, opLine, PHASES, type Run, STREAMS, type View, withoutStream } from 'fpdt/trace'
import { element } from '../dom.js'
import type { Changed, RunView, Session, Shown } from '../session.js'
import { type Listing, listing } from '../table.js'

/** More rows would make the page slow and would not be read. */
const MOST_ROWS = 300

const COLUMNS = ['op', 'rank', 'stream', 'step', 'phase', 'layer', 'q', 'kv', 'start', 'duration', 'bytes', 'rate', 'FLOP', 'FLOP/s']

export class OpsView implements RunView {
  readonly name = 'ops'
  readonly node = element('div', '', [])
  readonly #session: Session
  #spans: readonly number[] = []

  constructor(session: Session) {
    this.#session = session
    this.node.addEventListener('click', (event) => {
      const row = event.target instanceof Element ? event.target.closest('tbody tr') : null
      if (row) this.#session.change({ pinned: { kind: 'span', row: this.#spans[this.#rows().indexOf(row)] } })
    })
    this.node.addEventListener('pointerover', (event) => this.#point(event.target))
    this.node.addEventListener('pointerleave', () => this.#session.change({ hover: null }))
  }

  update(shown: Shown, changed: Changed): void {
    if (changed.has('run') || changed.has('window')) {
      const found = opsInView(shown.run, shown.window)
      this.#spans = found.slice(0, MOST_ROWS)
      const top = this.node.firstElementChild?.scrollTop ?? 0
      this.node.replaceChildren(listing(tableOf(shown.run, this.#spans, found.length)))
      if (this.node.firstElementChild) this.node.firstElementChild.scrollTop = top
    }
    const marked = [shown.hover, shown.pinned]
    for (const [i, row] of this.#rows().entries()) {
      const [hover, pinned] = marked.map((target) => target?.kind === 'span' && target.row === this.#spans[i])
      row.classList.toggle('jp-mod-hover', hover)
      if (pinned) row.setAttribute('aria-selected', 'true')
      else row.removeAttribute('aria-selected')
    }
  }

  dispose(): void {
    this.node.replaceChildren()
  }

  #rows(): Element[] {
    return [...this.node.querySelectorAll('tbody tr')]
  }

  #point(at: EventTarget | null): void {
    const row = at instanceof Element ? at.closest('tbody tr') : null
    this.#session.change({ hover: row ? { kind: 'span', row: this.#spans[this.#rows().indexOf(row)] } : null })
  }
}

function opsInView({ spans }: Run, window: View): number[] {
  const found: number[] = []
  for (let row = 0; row < spans.op.length; row++) {
    if (spans.start_ns[row] < window.end_ns && spans.start_ns[row] + spans.duration_ns[row] > window.start_ns) found.push(row)
  }
  return found.sort((a, b) => spans.start_ns[a] - spans.start_ns[b])
}

function tableOf(run: Run, rows: readonly number[], inView: number): Listing {
  return {
    caption:
      inView > rows.length ? `The first ${count(rows.length)} of ${count(inView)} ops in view; zoom in to list the others.` : `${count(inView)} ops in view.`,
    columns: COLUMNS,
    rows: rows.map((row) => cells(run, row)),
  }
}

function cells(run: Run, row: number): string[] {
  const { spans } = run
  const length = spans.duration_ns[row]
  const index = (value: number): string => (value === NONE ? '' : String(value))
  const moved = spans.bytes[row]
  const operations = spans.flops[row]
  const moves = KINDS[spans.kind[row]] !== 'compute' && length > 0
  return [
    withoutStream(opLine(run, spans.op[row])),
    String(spans.rank[row]),
    STREAMS[spans.stream[row]],
    String(spans.step[row]),
    PHASES[spans.phase[row]],
    index(spans.layer[row]),
    index(spans.q[row]),
    index(spans.kv[row]),
    duration(spans.start_ns[row]),
    duration(length),
    moved > 0 ? bytes(moved) : '',
    moved > 0 && moves ? byteRate(moved, length) : '',
    operations > 0 ? flops(operations) : '',
    operations > 0 && length > 0 ? flopRate(operations, length) : '',
  ]
}
