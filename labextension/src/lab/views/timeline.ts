/** The timeline: a lane per rank and stream, and memory below, over one axis of time. */
import {
  bytes,
  draw,
  drawPointer,
  type Layout,
  layOut,
  type Picture,
  percent,
  predictedRun,
  type Surface,
  summaryWords,
  type Target,
  targetAt,
} from 'fpdt/trace'
import type { Session, Shown } from '../session.js'
import type { Listing } from '../table.js'
import { TimeView } from './time-view.js'

export class TimelineView extends TimeView<Layout> {
  readonly name = 'timeline'
  #picture: Picture | null = null

  constructor(session: Session) {
    super(session, 'timeline')
  }

  /** What was drawn last, for tests. */
  get drawn(): { picture: Picture; size: { width: number; height: number } } | null {
    return this.laid && this.#picture && { picture: this.#picture, size: { width: this.laid.width, height: this.laid.height } }
  }

  protected layOut(surface: Surface, shown: Shown, width: number): Layout {
    const { run, window, predicted } = shown
    return layOut(surface, run, window, width, { predicted: predicted && predictedRun(run) !== null, left: this.left(surface, shown) })
  }

  protected draw(surface: Surface, { run, window, predicted }: Shown, layout: Layout): void {
    this.#picture = draw(surface, run, window, layout, predicted ? predictedRun(run) : null)
  }

  protected drawPointer({ context, theme }: Surface, shown: Shown, layout: Layout): void {
    const { run, window, pointer_ns, cursor_ns, hover, pinned, stalls } = shown
    drawPointer(context, theme, run, window, layout, { pointer_ns, cursor_ns, targets: [pinned, hover].filter((target) => target !== null), stalls })
  }

  protected targetAt({ run, window }: Shown, layout: Layout, x: number, y: number): Target | null {
    return targetAt(run, window, layout, x, y)
  }

  protected summary({ run }: Shown): string {
    return summaryWords(run)
  }

  protected inWords({ window }: Shown): Listing {
    const { lanes = [], charts = [] } = this.#picture ?? {}
    return {
      caption: `Lanes and memory from ${this.session.instantWords(window.start_ns)} to ${this.session.instantWords(window.end_ns)}`,
      columns: ['what', 'rank', 'ops', 'busy, or highest'],
      rows: [
        ...lanes.map(({ stream, rank, spans, busy }) => [stream, String(rank), String(spans), percent(busy)]),
        ...charts.map(({ tier, rank, peak }) => [`${tier} memory`, String(rank), '', peak ? bytes(peak.bytes) : 'highest outside this window']),
      ],
    }
  }
}
