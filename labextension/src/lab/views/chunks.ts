/**
 * The chunk triangle of a layer in a phase: which query chunk met which key/value chunk, in what order, and where k and v came
 * from. It stands at the instant that all views show. Its own slider and keys go from meeting to meeting.
 */
import {
  counted,
  drawTriangle,
  drawTrianglePointer,
  duration,
  layOutTriangle,
  type MeetingPlace,
  meetingAt,
  meetingPlaces,
  meetingRows,
  meetingsOf,
  meetingWords,
  metBy,
  PHASES,
  type Phase,
  phaseWords,
  placeAt,
  relatedTo,
  type Surface,
  stepAt,
  type Target,
  type Triangle,
  type TriangleLayout,
  triangleOf,
  triangleTargetAt,
} from 'fpdt/trace'
import { button } from '../button.js'
import { element } from '../dom.js'
import type { Changed, KeyWords, Session, Shown } from '../session.js'
import type { Listing } from '../table.js'
import { CanvasView } from './canvas-view.js'
import { LayerPicker } from './layer-picker.js'

/** More rows would not be read. */
const MOST_ROWS = 300
/** A class sees a triangle filled in about this time, whatever its size; but no meeting is shorter or longer than these. */
const PLAY = { whole_ms: 15_000, shortest_ms: 40, longest_ms: 600, reduced_ms: 1_000 } as const

interface Laid {
  readonly height: number
  /** Null where no chunks meet. */
  readonly triangle: { readonly of: Triangle; readonly layout: TriangleLayout } | null
}

export class ChunksView extends CanvasView<Laid> {
  readonly name = 'chunks'
  readonly keys: readonly KeyWords[] = [
    { keys: [','], words: 'the meeting before' },
    { keys: ['.'], words: 'the next meeting' },
    { keys: ['Enter'], words: 'play the meetings, or stop' },
  ]
  protected override readonly redrawnBy: readonly (keyof Shown)[] = ['run', 'window', 'layer', 'phase', 'cursor_ns', 'pointer_ns']
  readonly #phase = element('select', '', [], { 'aria-label': 'Phase' })
  readonly #layers: LayerPicker
  readonly #slider = element('input', '', '', { type: 'range', min: '0', step: '1', 'aria-label': 'Meeting' })
  readonly #play = button('Play', 'Play the meetings one after the other (Enter)', () => this.#togglePlay())
  readonly #now = element('div', 'jp-FPDT-now')
  #timer = 0

  constructor(session: Session) {
    super(session, 'chunk triangle')
    this.#layers = new LayerPicker(session, 'as time goes', () => this.#choose())
    this.#phase.addEventListener('input', () => session.change({ phase: this.#phase.value as Phase }))
    this.#slider.addEventListener('input', () => {
      this.#stop()
      this.#goTo(Number(this.#slider.value))
    })
    // A meeting that is clicked is shown as it begins, in all views.
    this.stage.addEventListener('click', () => {
      const { pinned } = session.shown
      const { of } = this.laid?.triangle ?? {}
      const [meeting] = of && pinned?.kind === 'meeting' ? meetingsOf(of, pinned.q, pinned.kv) : []
      if (of && meeting !== undefined && Number.isFinite(of.start_ns[meeting])) session.change({ cursor_ns: of.start_ns[meeting] })
    })
    this.node.prepend(
      element('div', 'jp-FPDT-controls', [
        this.#layers.node,
        element('label', '', [document.createTextNode('phase: '), this.#phase]),
        button('◂', 'The meeting before (,)', () => this.#step(-1)),
        this.#play,
        button('▸', 'The next meeting (.)', () => this.#step(1)),
        this.#slider,
      ]),
    )
    this.stage.after(this.#now)
    this.node.classList.add('jp-FPDT-chunks')
  }

  override update(shown: Shown, changed: Changed): void {
    super.update(shown, changed)
    this.#tellControls(shown)
  }

  override key({ key }: KeyboardEvent): boolean {
    if (key === ',') this.#step(-1)
    else if (key === '.') this.#step(1)
    else if (key === 'Enter') this.#togglePlay()
    else return false
    return true
  }

  override dispose(): void {
    this.#stop()
    super.dispose()
  }

  protected layOut(surface: Surface, shown: Shown, width: number): Laid {
    const of = this.#triangle(shown)
    if (!of) return { height: 1, triangle: null }
    const layout = layOutTriangle(surface, of, width)
    return { height: layout.height, triangle: { of, layout } }
  }

  protected draw(surface: Surface, _: Shown, { triangle }: Laid): void {
    if (triangle) drawTriangle(surface, triangle.of, this.session.instant_ns, triangle.layout)
  }

  protected drawPointer(surface: Surface, { run, hover, pinned }: Shown, { triangle }: Laid): void {
    if (!triangle) return
    const { of, layout } = triangle
    const meetings = [pinned, hover].flatMap((target) => (target ? relatedTo(run, target).meetings : []))
    drawTrianglePointer(
      surface,
      of,
      layout,
      meetings.map((meeting) => ({ kind: 'meeting', rank: of.rank, ...meeting })),
    )
  }

  protected targetAt(_: Shown, { triangle }: Laid, x: number, y: number): Target | null {
    return triangle && triangleTargetAt(triangle.of, triangle.layout, x, y)
  }

  protected summary(shown: Shown): string {
    const triangle = this.#triangle(shown)
    if (!triangle) return NO_MEETINGS
    const met = metBy(triangle, this.session.instant_ns)
    return `Chunk triangle of ${phaseWords(triangle)}, step ${triangle.step}, rank ${triangle.rank}: ${met} of ${counted(triangle.op.length, 'meeting')} done at ${this.session.instantWords()}.`
  }

  protected inWords({ run }: Shown): Listing {
    const of = this.laid?.triangle?.of
    const columns = ['meeting', 'query chunk', 'key/value chunk', 'begins', 'takes', 'where what it reads came from']
    if (!of) return { caption: NO_MEETINGS, columns, rows: [] }
    const shown = Math.min(of.op.length, MOST_ROWS)
    const first = Math.min(Math.max(0, metBy(of, this.session.instant_ns) - shown / 2), of.op.length - shown)
    const rows = Array.from({ length: shown }, (_, i) => Math.floor(first) + i).map((meeting) => {
      const ran = Number.isFinite(of.start_ns[meeting])
      const [, ...ways] = meetingWords(run, of, of.q[meeting], of.kv[meeting])
      return [
        String(meeting + 1),
        String(of.q[meeting]),
        String(of.kv[meeting]),
        ran ? this.session.instantWords(of.start_ns[meeting]) : '',
        ran ? duration(of.end_ns[meeting] - of.start_ns[meeting]) : '',
        ways.join('; '),
      ]
    })
    const part = shown < of.op.length ? `, ${shown} of ${of.op.length} about the instant that is shown` : ''
    return { caption: `Meetings in ${phaseWords(of)}, step ${of.step}, rank ${of.rank}${part}`, columns, rows }
  }

  #triangle({ run, window }: Shown): Triangle | null {
    const step = stepAt(run.spans, this.session.instant_ns)
    const place = this.#place()
    return step && place && triangleOf(run, step.step, window.rank, place)
  }

  /** The one that was chosen, the nearest to it that there is, or the one of the instant. */
  #place(): MeetingPlace | null {
    const { run, window, layer, phase } = this.session.shown
    if (this.#layers.follows) return placeAt(run, window.rank, this.session.instant_ns)
    const places = meetingPlaces(run)
    return places.find((place) => place.layer === layer && place.phase === phase) ?? places.find((place) => place.layer === layer) ?? places[0] ?? null
  }

  /** A choice in the pickers begins with what is shown. */
  #choose(): void {
    const place = this.laid?.triangle?.of
    if (!this.#layers.follows && place) this.session.change({ phase: place.phase })
    this.update(this.session.shown, new Set(['size']))
  }

  #tellControls({ run, hover }: Shown): void {
    const of = this.laid?.triangle?.of
    const places = meetingPlaces(run)
    this.#layers.update([...new Set(places.map(({ layer }) => layer))], of?.layer ?? 0)
    const phases = PHASES.filter((phase) => places.some((place) => place.phase === phase && place.layer === of?.layer))
    if (phases.join() !== [...this.#phase.options].map(({ value }) => value).join())
      this.#phase.replaceChildren(...phases.map((phase) => element('option', '', phase, { value: phase })))
    this.#phase.value = of?.phase ?? ''
    this.#phase.disabled = this.#layers.follows
    this.#phase.title = this.#layers.follows ? 'Follows time; choose a layer to hold it' : ''
    const times = this.#times()
    const at = indexAt(times, this.session.instant_ns)
    this.#slider.max = String(times.length - 1)
    this.#slider.value = String(at)
    this.#slider.disabled = times.length < 2
    this.#slider.setAttribute('aria-valuetext', `${at} of ${counted(times.length - 1, 'meeting')}, ${this.session.instantWords()}`)
    const lines = of ? this.#nowInWords(run, of, hover) : [NO_MEETINGS]
    this.#now.replaceChildren(...lines.map((line, i) => element('div', i === 0 ? 'jp-FPDT-subject' : '', line)))
  }

  #nowInWords(run: Shown['run'], of: Triangle, hover: Target | null): string[] {
    if (hover?.kind === 'meeting' && hover.layer === of.layer && hover.phase === of.phase) return meetingWords(run, of, hover.q, hover.kv)
    const instant_ns = this.session.instant_ns
    const met = metBy(of, instant_ns)
    const running = meetingAt(of, instant_ns)
    const where = `${phaseWords(of)}, step ${of.step}, rank ${of.rank}`
    const done = `${met} of ${counted(of.op.length, 'meeting')} done`
    if (running < 0) return [`${where}: ${done}`]
    return [`${where}: ${done}, one under way`, ...meetingWords(run, of, of.q[running], of.kv[running]).map((line) => line.replace(' met ', ' meets '))]
  }

  /** When each meeting begins, and the end of the last: of the triangle, or where it follows time of the step. */
  #times(): number[] {
    const { run, window } = this.session.shown
    const of = this.laid?.triangle?.of
    if (!of) return [0]
    const { start_ns, duration_ns, step } = run.spans
    const rows = this.#layers.follows ? [...meetingRows(run, window.rank)].filter((row) => step[row] === of.step) : [...of.row].filter((row) => row >= 0)
    const last = rows.at(-1)
    return last === undefined ? [0] : [...rows.map((row) => start_ns[row]), start_ns[last] + duration_ns[last]]
  }

  #goTo(index: number): void {
    const times = this.#times()
    this.session.change({ cursor_ns: times[Math.min(Math.max(index, 0), times.length - 1)], pointer_ns: null })
  }

  #step(by: 1 | -1): void {
    this.#stop()
    this.#goTo(indexAt(this.#times(), this.session.instant_ns) + by)
  }

  #togglePlay(): void {
    if (this.#timer) {
      this.#stop()
      return
    }
    const times = this.#times()
    if (indexAt(times, this.session.instant_ns) >= times.length - 1) this.#goTo(0)
    const pace_ms = Math.min(PLAY.longest_ms, Math.max(PLAY.shortest_ms, PLAY.whole_ms / times.length))
    const wait_ms = matchMedia('(prefers-reduced-motion: reduce)').matches ? PLAY.reduced_ms : pace_ms
    const turn = (): void => {
      const now = this.#times()
      const next = indexAt(now, this.session.instant_ns) + 1
      if (next >= now.length) this.#stop()
      else {
        this.#goTo(next)
        this.#timer = window.setTimeout(turn, wait_ms)
      }
    }
    this.#timer = window.setTimeout(turn, wait_ms)
    this.#play.textContent = 'Stop'
    this.#play.setAttribute('aria-pressed', 'true')
  }

  #stop(): void {
    window.clearTimeout(this.#timer)
    this.#timer = 0
    this.#play.textContent = 'Play'
    this.#play.setAttribute('aria-pressed', 'false')
  }
}

const NO_MEETINGS = 'No chunks meet in this run: it has no op of attention.'

/** The last of the times that is not after an instant; 0 before the first. */
function indexAt(times: readonly number[], time_ns: number): number {
  return Math.max(
    0,
    times.findLastIndex((time) => time <= time_ns),
  )
}
