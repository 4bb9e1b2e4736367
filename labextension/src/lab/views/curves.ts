/** Curves over the steps of the run: loss, speed, MFU, hidden share of copies. A click on a step picks it, and the timeline shows it. */
import {
  CURVE_AXES,
  type CurveAxis,
  type CurvesLayout,
  count,
  counted,
  curvesOf,
  drawCurves,
  drawCurvesPointer,
  duration,
  layOutCurves,
  type Run,
  type Surface,
  stepAtPoint,
  type Target,
} from 'fpdt/trace'
import { showStep } from '../actions.js'
import { element } from '../dom.js'
import type { Changed, KeyWords, Session, Shown } from '../session.js'
import type { Listing } from '../table.js'
import { CanvasView } from './canvas-view.js'

/** More rows would not be read; of more steps each n-th is listed. */
const MOST_ROWS = 300
const SMOOTHED_FROM = 20 // steps
const FIRST_SMOOTHING = 0.6

export class CurvesView extends CanvasView<CurvesLayout> {
  readonly name = 'curves'
  readonly keys: readonly KeyWords[] = [
    { keys: ['ArrowLeft'], words: 'the step before' },
    { keys: ['ArrowRight'], words: 'the next step' },
    { keys: ['Home'], words: 'the first step' },
    { keys: ['End'], words: 'the last step' },
  ]
  protected override readonly redrawnBy: readonly (keyof Shown)[] = ['run']
  readonly #axis = element(
    'select',
    '',
    CURVE_AXES.map((axis) => element('option', '', axis, { value: axis })),
  )
  readonly #smoothing = element('input', '', '', { type: 'range', min: '0', max: '0.99', step: '0.01' })
  readonly #weight = element('output', '')
  readonly #formula = element('div', 'jp-FPDT-note')

  constructor(session: Session) {
    super(session, 'curves over steps')
    this.#smoothing.value = String(session.shown.run.head.steps.length < SMOOTHED_FROM ? 0 : FIRST_SMOOTHING)
    const controls = element('div', 'jp-FPDT-controls', [
      element('label', '', ['draw over: ', this.#axis].map(node)),
      element('label', '', ['smoothing: ', this.#smoothing, this.#weight].map(node)),
    ])
    this.node.prepend(controls)
    this.stage.after(this.#formula)
    for (const control of [this.#axis, this.#smoothing]) control.addEventListener('input', () => this.update(this.session.shown, new Set(['size'])))
    this.stage.addEventListener('click', () => {
      const { pinned } = this.session.shown
      if (pinned?.kind === 'step') showStep(this.session, pinned.step)
    })
  }

  override update(shown: Shown, changed: Changed): void {
    this.#weight.value = this.#smoothing.value
    if (changed.has('run')) this.#formula.textContent = shown.run.head.steps.findLast(({ mfu }) => mfu !== null)?.mfu_formula ?? ''
    super.update(shown, changed)
  }

  override key(event: KeyboardEvent): boolean {
    const { run, pinned } = this.session.shown
    const { steps } = run.head
    const at = steps.findIndex(({ step }) => step === stepOf(run, pinned))
    const last = steps.length - 1
    const places: Readonly<Record<string, number>> = { ArrowLeft: at < 0 ? last : at - 1, ArrowRight: at < 0 ? 0 : at + 1, Home: 0, End: last }
    const place = places[event.key]
    if (place === undefined) return false
    const step = steps[Math.min(Math.max(place, 0), last)]
    if (step) {
      this.session.change({ pinned: { kind: 'step', step: step.step } })
      showStep(this.session, step.step)
    }
    return true
  }

  protected layOut(surface: Surface, { run }: Shown, width: number): CurvesLayout {
    return layOutCurves(surface, run.head, this.#axis.value as CurveAxis, width)
  }

  protected draw(surface: Surface, { run }: Shown, layout: CurvesLayout): void {
    drawCurves(surface, run.head, layout, Number(this.#smoothing.value))
  }

  protected drawPointer(surface: Surface, { run, hover, pinned }: Shown, layout: CurvesLayout): void {
    drawCurvesPointer(surface, run.head, layout, Number(this.#smoothing.value), { hover: stepOf(run, hover), picked: stepOf(run, pinned) })
  }

  protected targetAt({ run }: Shown, layout: CurvesLayout, x: number, y: number): Target | null {
    const at = stepAtPoint(layout, x, y)
    return at === null ? null : { kind: 'step', step: run.head.steps[at].step }
  }

  protected summary({ run }: Shown): string {
    const { steps } = run.head
    if (steps.length === 0) return 'There is no step yet.'
    const told = curvesOf(run.head).map(({ title, values, words }) => {
      const known = values.filter((value) => !Number.isNaN(value))
      return known.length === 1 ? `${title} ${words(known[0])}` : `${title} from ${words(known[0])} to ${words(known[known.length - 1])}`
    })
    return `Curves over ${counted(steps.length, 'step')}: ${told.join('; ')}.`
  }

  protected inWords({ run }: Shown): Listing {
    const { steps } = run.head
    const curves = curvesOf(run.head)
    const stride = Math.ceil(steps.length / MOST_ROWS)
    // The last step is always there.
    const rows = steps.map((_, i) => i).filter((i) => (steps.length - 1 - i) % stride === 0)
    return {
      caption: stride > 1 ? `Every ${stride}th of ${count(steps.length)} steps` : counted(steps.length, 'step'),
      columns: ['step', 'tokens', 'time', ...curves.map(({ title }) => title)],
      rows: rows.map((i) => [
        String(steps[i].step),
        count(steps[i].tokens),
        duration(steps[i].duration_ns),
        ...curves.map(({ values, words }) => (Number.isNaN(values[i]) ? 'none' : words(values[i]))),
      ]),
    }
  }
}

/** The step that a target is of; null where it is of none. */
function stepOf({ head, spans }: Run, target: Target | null): number | null {
  if (target?.kind === 'step') return target.step
  if (target?.kind === 'span') return spans.step[target.row]
  if (target?.kind !== 'instant') return null
  return head.steps.find(({ start_ns, duration_ns }) => target.time_ns >= start_ns && target.time_ns <= start_ns + duration_ns)?.step ?? null
}

function node(part: string | Node): Node {
  return typeof part === 'string' ? document.createTextNode(part) : part
}
