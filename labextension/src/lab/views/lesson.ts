/**
 * The algorithm beside the picture: which of its lines the op under the cursor is, what it does in a sentence, and what the other
 * streams do meanwhile. Steps from op to op of what was recorded, so it needs no kernel.
 */
import {
  type AlgorithmPart,
  algorithmOf,
  atOnce,
  computeAt,
  doing,
  lessonWords,
  lineOf,
  opLine,
  placeWords,
  type Run,
  STREAMS,
  stepFrom,
  UNITS,
  type Unit,
} from 'fpdt/trace'
import { showTarget } from '../actions.js'
import { button } from '../button.js'
import { element } from '../dom.js'
import type { Changed, KeyWords, RunView, Session, Shown } from '../session.js'

/** Between two ops while it plays. */
const PLAY_MS = 700
/** Of a schedule of the reader's own: lines of its listing above and below the op. */
const AROUND = 12

export class LessonView implements RunView {
  readonly name = 'lesson'
  readonly node: HTMLElement
  readonly keys: readonly KeyWords[] = [
    { keys: ['ArrowLeft', 'ArrowRight'], words: 'go to the previous or the next op of compute; with Shift, chunk' },
    { keys: ['PageUp', 'PageDown'], words: 'go to the previous or the next layer' },
    { keys: ['y'], words: 'play or stop' },
  ]
  readonly #session: Session
  readonly #lines = element('div', 'jp-FPDT-algorithm', [], { tabindex: '0', role: 'region', 'aria-label': 'Lines of the algorithm' })
  readonly #told = element('div', 'jp-FPDT-told', [], { 'aria-live': 'polite' })
  readonly #play: HTMLButtonElement
  #parts: readonly AlgorithmPart[] = []
  #byId = new Map<string, HTMLElement>()
  #playing: ReturnType<typeof setInterval> | null = null

  constructor(session: Session) {
    this.#session = session
    this.#play = button('Play', 'Play: goes from op to op by itself (y)', () => this.#togglePlay())
    const steps = UNITS.map((unit) =>
      element(
        'div',
        'jp-FPDT-group',
        [button('‹', `‹ Previous ${unit}`, () => this.#step(unit, -1)), element('span', '', unit), button('›', `› Next ${unit}`, () => this.#step(unit, 1))],
        { role: 'group', 'aria-label': `By ${unit}` },
      ),
    )
    this.node = element('div', 'jp-FPDT-lesson', [
      element('div', 'jp-FPDT-steps', [...steps, this.#play], { role: 'toolbar', 'aria-label': 'Stepper' }),
      element('div', 'jp-FPDT-lesson-columns', [this.#lines, this.#told]),
    ])
  }

  update(shown: Shown, changed: Changed): void {
    if (changed.has('run')) this.#list(algorithmOf(shown.run))
    if (['run', 'hover', 'pinned', 'pointer_ns', 'cursor_ns', 'window'].some((key) => changed.has(key as keyof Shown))) this.#tell(shown)
  }

  key(event: KeyboardEvent): boolean {
    const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -1, PageDown: 1 }[event.key] as 1 | -1 | undefined
    if (by) this.#step(event.key.startsWith('Page') ? 'layer' : event.shiftKey ? 'chunk' : 'op', by)
    else if (event.key === 'y') this.#togglePlay()
    else return false
    return true
  }

  dispose(): void {
    this.#stop()
    this.node.replaceChildren()
  }

  // ---- the lines ---------------------------------------------------------------------------------------------------

  #list(parts: readonly AlgorithmPart[]): void {
    if (parts.length > 0 && JSON.stringify(parts) === JSON.stringify(this.#parts)) return
    this.#parts = parts
    this.#byId = new Map()
    this.#lines.replaceChildren(
      ...parts.flatMap(({ title, lines }) => [
        element('strong', '', title),
        element(
          'ol',
          '',
          lines.map(({ id, number, indent, text, isUsed }) => {
            const line = element('li', isUsed ? '' : 'jp-mod-unused', [element('span', '', typeset(text)), element('small', '')], { value: String(number) })
            line.style.setProperty('--jp-FPDT-indent', String(indent))
            if (!isUsed) line.title = 'No op of this run is this line'
            this.#byId.set(id, line)
            return line
          }),
        ),
      ]),
    )
  }

  /** Of a schedule of the reader's own, the lines are its listing. */
  #listOwn(run: Run, row: number): void {
    const op = run.spans.op[row]
    const from = Math.max(0, op - AROUND)
    const lines = run.listing.slice(from, op + AROUND + 1)
    this.#lines.replaceChildren(
      element('strong', '', 'The schedule'),
      element(
        'ol',
        '',
        lines.map((line, i) => element('li', '', line, { value: String(from + i), ...(from + i === op ? { 'aria-current': 'step' } : {}) })),
      ),
    )
  }

  // ---- the op ------------------------------------------------------------------------------------------------------

  /** The op the lesson is at: pointed at, kept, or what compute does at the instant that is shown. */
  #row({ run, hover, pinned, pointer_ns, cursor_ns, window }: Shown): number {
    if (hover?.kind === 'span') return hover.row
    const instant_ns = pointer_ns ?? (pinned?.kind === 'span' ? null : cursor_ns)
    if (instant_ns === null && pinned?.kind === 'span') return pinned.row
    return computeAt(run, window.rank, instant_ns ?? window.start_ns)
  }

  #tell(shown: Shown): void {
    const { run } = shown
    const row = this.#row(shown)
    if (row < 0) {
      this.#told.replaceChildren('This run has no op of compute on the rank that is shown.')
      return
    }
    if (this.#parts.length === 0) this.#listOwn(run, row)
    const middle_ns = run.spans.start_ns[row] + run.spans.duration_ns[row] / 2
    const rank = run.spans.rank[row]
    const running = atOnce(run, rank, middle_ns).filter((other) => other.row !== row)
    this.#mark(run, row, running)
    const { line, again } = lineOf(run, row)
    const numbers = [line, again].flatMap((id) => this.#parts.flatMap(({ lines }) => lines).find((known) => known.id === id)?.number ?? [])
    this.#told.replaceChildren(
      element('div', 'jp-FPDT-subject', opLine(run, run.spans.op[row])),
      element('div', '', placeWords(run, row)),
      element('p', '', [
        ...(numbers.length > 0 ? [element('strong', '', `Line ${numbers[0]}${numbers[1] ? `, doing line ${numbers[1]} again` : ''}. `)] : []),
        document.createTextNode(lessonWords(run, row)),
      ]),
      element('div', '', 'At the same time on this rank:'),
      element(
        'dl',
        'jp-FPDT-meanwhile',
        streamsOf(run, rank, row).flatMap((stream) => {
          const other = running.find((at) => at.stream === stream)
          return [element('dt', '', stream), element('dd', other ? '' : 'jp-mod-idle', other ? doing(run, other.row) : 'stands still')]
        }),
      ),
    )
  }

  #mark(run: Run, row: number, running: readonly { stream: string; row: number }[]): void {
    const { line, again } = lineOf(run, row)
    const meanwhile = new Map<string, string[]>()
    for (const other of running) {
      const id = lineOf(run, other.row).line
      if (id) meanwhile.set(id, [...(meanwhile.get(id) ?? []), other.stream])
    }
    for (const [id, node] of this.#byId) {
      if (id === line) node.setAttribute('aria-current', 'step')
      else node.removeAttribute('aria-current')
      node.classList.toggle('jp-mod-again', id === again)
      node.classList.toggle('jp-mod-meanwhile', meanwhile.has(id))
      const words = [...(id === again ? ['again'] : []), ...(meanwhile.get(id) ?? [])].join(', ')
      if (node.lastElementChild && node.lastElementChild.textContent !== words) node.lastElementChild.textContent = words
    }
    const current = this.#lines.querySelector<HTMLElement>('[aria-current]')
    if (!current) return
    // Its own box scrolls; the page stays where the reader has it. What comes next is below, so the line stays in the upper half.
    const { scrollTop, clientHeight } = this.#lines
    const at = (current.offsetTop - scrollTop) / clientHeight
    if (at < 0.05 || at > 0.5) this.#lines.scrollTop = current.offsetTop - 0.25 * clientHeight
  }

  // ---- stepping ----------------------------------------------------------------------------------------------------

  /** False at the end of the run. */
  #step(unit: Unit, by: 1 | -1): boolean {
    const { shown } = this.#session
    const { run } = shown
    const at = this.#row({ ...shown, hover: null, pointer_ns: null })
    if (at < 0) return false
    const from = STREAMS[run.spans.stream[at]] === 'compute' ? at : computeAt(run, run.spans.rank[at], run.spans.start_ns[at])
    // Nothing is kept yet: the first step is to the op that is shown.
    const isKept = shown.pinned?.kind === 'span' || shown.cursor_ns !== null
    const row = isKept ? stepFrom(run, from, unit, by) : from
    if (row === null) return false
    showTarget(this.#session, { kind: 'span', row })
    this.#session.change({ cursor_ns: run.spans.start_ns[row] + run.spans.duration_ns[row] / 2, hover: null, pointer_ns: null })
    return true
  }

  #togglePlay(): void {
    if (this.#playing !== null) this.#stop()
    else if (window.matchMedia('(prefers-reduced-motion: reduce)').matches) {
      // A picture that moves by itself is what this reader does not want: one op a press.
      this.#step('op', 1)
    } else {
      this.#playing = setInterval(() => this.#step('op', 1) || this.#stop(), PLAY_MS)
      this.#play.textContent = 'Stop'
      this.#play.setAttribute('aria-label', 'Stop: stays at this op (y)')
    }
  }

  #stop(): void {
    if (this.#playing === null) return
    clearInterval(this.#playing)
    this.#playing = null
    this.#play.textContent = 'Play'
    this.#play.setAttribute('aria-label', 'Play: goes from op to op by itself (y)')
  }
}

/** `x_i` with its index set lower. */
function typeset(text: string): Node[] {
  return text.split(/_([A-Za-z]+)/).map((part, i) => (i % 2 === 1 ? element('sub', '', part) : document.createTextNode(part)))
}

/** The other streams that the rank has in this run. */
function streamsOf(run: Run, rank: number, row: number): string[] {
  const own = STREAMS[run.spans.stream[row]]
  return run.lanes.filter((lane) => lane.rank === rank && lane.stream !== own).map(({ stream }) => stream)
}
