/**
 * Another run below this one on the same axis of time, both from the beginning of a step, and tables of what differs. An op that
 * both runs have is marked in both when it is pointed at in one.
 */
import {
  amount,
  betterOf,
  betterWords,
  type Comparison,
  choiceNames,
  type Difference,
  type DifferenceGroup,
  differenceWords,
  draw,
  drawPointer,
  duration,
  headlines,
  type Layout,
  layOut,
  opLine,
  opWords,
  type Run,
  type Surface,
  spanOf,
  summaryWords,
  type Target,
  targetAt,
  type View,
  withoutStream,
} from 'fpdt/trace'
import { button } from '../button.js'
import { type Comparable, comparables, compareWith, comparisonOf, showSteps } from '../comparing.js'
import { element } from '../dom.js'
import type { Changed, Session, Shown } from '../session.js'
import { type Listing, listing } from '../table.js'
import { TimeView } from './time-view.js'

/** Ops that are listed; beyond these the differences are small. */
const MOST_OPS = 12
const HELP = 'Choose a run: what was predicted of this one, another step of it, or another run on this page.'

export class CompareView extends TimeView<Layout> {
  readonly name = 'compare'
  readonly #choice = element('select', 'jp-FPDT-choice')
  readonly #steps = { a: element('select', ''), b: element('select', '') }
  readonly #ofSteps: HTMLElement
  readonly #stop: HTMLElement
  readonly #title = element('div', 'jp-FPDT-other-title')
  readonly #pointed = element('div', 'jp-FPDT-note jp-FPDT-other-op')
  readonly #tables = element('div', 'jp-FPDT-differences')
  #offered: readonly Comparable[] = []
  #compared: Comparison | null = null
  /** Span of the other run under the pointer. */
  #row = -1
  /** Where newer data of the other run come from. */
  #source: { dispose(): void } | null = null

  constructor(session: Session) {
    super(session, 'timeline of the other run')
    this.#ofSteps = element('span', 'jp-FPDT-of-steps', [
      element('label', '', [document.createTextNode('step '), this.#steps.a]),
      element('label', '', [document.createTextNode('with its step '), this.#steps.b]),
    ])
    this.#stop = button('Stop comparing', 'Stop comparing: show this run alone', () => this.#compareWith(-1))
    const choose = element('label', '', [document.createTextNode('compare with '), this.#choice])
    this.node.prepend(element('div', 'jp-FPDT-controls', [choose, this.#ofSteps, this.#stop]), this.#title)
    this.stage.after(this.#pointed)
    this.node.append(this.#tables)
    this.stage.addEventListener('pointerleave', () => {
      this.#row = -1
    })
    // Runs come and go on the page, and nobody tells.
    for (const event of ['focus', 'pointerdown']) this.#choice.addEventListener(event, () => this.#offer())
    this.#choice.addEventListener('change', () => this.#compareWith(this.#choice.selectedIndex - 1))
    for (const side of ['a', 'b'] as const) {
      this.#steps[side].addEventListener('change', () => {
        this.session.change({ steps: { ...this.session.shown.steps, [side]: Number(this.#steps[side].value) } })
        showSteps(this.session)
      })
    }
  }

  override update(shown: Shown, changed: Changed): void {
    const comparison = comparisonOf(shown)
    for (const node of [this.stage, this.#pointed, this.#ofSteps, this.#stop, this.#title]) node.hidden = !comparison
    if (['run', 'other', 'steps', 'window'].some((key) => changed.has(key as keyof Shown))) {
      this.#offer()
      if (comparison) this.#offerSteps(shown, comparison)
      this.#title.textContent = comparison ? `${titleOf(comparison.b.run)}, from the beginning of its step ${comparison.b.step.step}` : ''
      if (this.#compared !== comparison || !comparison) this.#tell(comparison)
    }
    super.update(shown, changed)
  }

  override dispose(): void {
    this.#source?.dispose()
    this.#tables.replaceChildren()
    super.dispose()
  }

  protected layOut(surface: Surface, shown: Shown, width: number): Layout {
    return layOut(surface, shown.other ?? shown.run, this.#window(shown), width, { left: this.left(surface, shown) })
  }

  protected draw(surface: Surface, shown: Shown, layout: Layout): void {
    if (shown.other) draw(surface, shown.other, this.#window(shown), layout)
  }

  protected drawPointer({ context, theme }: Surface, shown: Shown, layout: Layout): void {
    const { run, other, pointer_ns, cursor_ns, hover, pinned } = shown
    const comparison = comparisonOf(shown)
    if (!other || !comparison) return
    const there = (time_ns: number | null): number | null => (time_ns === null ? null : time_ns - comparison.offset_ns)
    const targets = [hover, pinned].flatMap((target): Target[] => {
      if (target?.kind !== 'span') return []
      const row = sameOp(run, target.row, other, comparison.b.step.step, comparison.sameOps)
      return row < 0 ? [] : [{ kind: 'span', row }]
    })
    if (this.#row >= 0 && pointer_ns !== null) targets.push({ kind: 'span', row: this.#row })
    drawPointer(context, theme, other, this.#window(shown), layout, { pointer_ns: there(pointer_ns), cursor_ns: there(cursor_ns), targets })
    const row = targets.at(-1)
    this.#pointed.textContent = row?.kind === 'span' ? Object.values(opWords(other, row.row)).join(' · ') : ''
  }

  /** In the terms of this run: an op of the other is the same op here, where there is one. */
  protected targetAt(shown: Shown, layout: Layout, x: number, y: number): Target | null {
    const { run, other } = shown
    const comparison = comparisonOf(shown)
    if (!other || !comparison) return null
    const target = targetAt(other, this.#window(shown), layout, x, y)
    this.#row = target?.kind === 'span' ? target.row : -1
    if (this.#row < 0) return null
    const row = sameOp(other, this.#row, run, comparison.a.step.step, comparison.sameOps)
    return row < 0 ? null : { kind: 'span', row }
  }

  protected summary({ other }: Shown): string {
    return other ? summaryWords(other) : HELP
  }

  protected inWords(shown: Shown): Listing {
    const comparison = comparisonOf(shown)
    const said = comparison ? [...headlines(comparison), ...comparison.notes] : [HELP]
    return { caption: 'What differs', columns: ['sentence'], rows: said.map((sentence) => [sentence]) }
  }

  #window(shown: Shown): View {
    const { window, other } = shown
    const comparison = comparisonOf(shown)
    const offset_ns = comparison?.offset_ns ?? 0
    const rank = comparison?.b.rank ?? other?.ranks[0] ?? 0
    return { start_ns: window.start_ns - offset_ns, end_ns: window.end_ns - offset_ns, rank }
  }

  #compareWith(index: number): void {
    const chosen = this.#offered[index]
    this.#source?.dispose()
    this.#source = null
    this.#row = -1
    compareWith(this.session, chosen?.run ?? null)
    const theirs = chosen?.from?.session
    if (theirs) {
      this.#source = theirs.onChange((shown, changed) => {
        if (changed.has('run')) this.session.change({ other: shown.run })
      })
    }
  }

  #offer(): void {
    const { other } = this.session.shown
    const isOther = ({ run }: Comparable): boolean =>
      other !== null && (run === other || (run.head.run_id === other.head.run_id && run.head.origin === other.head.origin))
    const found = comparables(this.session)
    // One that was chosen by a command need not be drawn on the page.
    this.#offered = other && !found.some(isOther) ? [...found, { words: choiceNames(this.session.shown.run, [other])[0], run: other, from: null }] : found
    const words = ['nothing', ...this.#offered.map((one) => one.words)]
    const before = [...this.#choice.options].map(({ text }) => text)
    if (words.length !== before.length || words.some((text, i) => text !== before[i]))
      this.#choice.replaceChildren(...words.map((text) => element('option', '', text)))
    this.#choice.selectedIndex = this.#offered.findIndex(isOther) + 1
  }

  #offerSteps({ run, other }: Shown, { a, b }: Comparison): void {
    for (const [side, from, step] of [
      ['a', run, a.step.step],
      ['b', other, b.step.step],
    ] as const) {
      const steps = from?.head.kept.steps ?? []
      this.#steps[side].replaceChildren(...steps.map((number) => element('option', '', String(number), { value: String(number) })))
      this.#steps[side].value = String(step)
    }
    this.#ofSteps.hidden = [run, other].every((one) => (one?.head.kept.steps.length ?? 0) < 2)
  }

  #tell(comparison: Comparison | null): void {
    this.#compared = comparison
    if (!comparison) {
      this.#tables.replaceChildren(element('div', 'jp-FPDT-note', HELP))
      return
    }
    const said = [...headlines(comparison), ...comparison.notes]
    this.#tables.replaceChildren(
      element(
        'ul',
        'jp-FPDT-said',
        said.map((sentence) => element('li', '', sentence)),
      ),
      ...comparison.groups.map((group) => differences(comparison, group)),
      ...opTables(comparison).map((table) => listing(table)),
    )
  }
}

function titleOf({ head }: Run): string {
  return head.origin === 'predicted' ? `${head.title} (predicted)` : head.title
}

/** The span of the same op and rank in another run of the same ops; -1 where there is none. */
function sameOp(from: Run, row: number, to: Run, step: number, sameOps: boolean): number {
  if (!sameOps) return -1
  const { op, rank } = from.spans
  return spanOf(to, step, rank[row], op[row])
}

function differences(comparison: Comparison, { title, hint, total, parts }: DifferenceGroup): HTMLElement {
  const rowOf = (difference: Difference, isTotal: boolean): HTMLElement => {
    const better = betterOf(difference)
    const cells = [
      amount(difference.unit, difference.a),
      amount(difference.unit, difference.b),
      differenceWords(difference),
      betterWords(difference, comparison),
    ]
    const name = element('th', '', difference.name, { scope: 'row' })
    const rest = cells.map((text, i) => element('td', (i === 0 && better === 'a') || (i === 1 && better === 'b') ? 'jp-mod-better' : '', text))
    return element('tr', isTotal ? 'jp-mod-total' : '', [name, ...rest])
  }
  const head = ['', comparison.a.name, comparison.b.name, 'difference', 'better'].map((text) => element('th', '', text, { scope: 'col' }))
  const table = element('table', '', [
    element('caption', '', [element('strong', '', title), document.createTextNode(` ${hint}`)]),
    element('thead', '', [element('tr', '', head)]),
    element('tbody', '', [...parts.map((part) => rowOf(part, false)), ...(total ? [rowOf(total, true)] : [])]),
  ])
  return element('div', 'jp-FPDT-table jp-mod-figures', [table], { tabindex: '0', role: 'region', 'aria-label': title })
}

function opTables({ a, b, ops, moved, sameOps }: Comparison): Listing[] {
  if (!sameOps) return []
  const op = (number: number): string => withoutStream(opLine(a.run, number))
  const slower = ops.slice(0, MOST_OPS).map(({ op: number, words, a_ns, b_ns }) => {
    const difference: Difference = { name: '', unit: 'time', best: 'less', a: a_ns, b: b_ns }
    return [op(number), words, duration(a_ns), duration(b_ns), differenceWords(difference)]
  })
  const places = moved.slice(0, MOST_OPS).map(({ op: number, words, placeA, placeB }) => [op(number), words, String(placeA), String(placeB)])
  return [
    { caption: `Ops whose time differs most, of ${ops.length}`, columns: ['op', 'where', a.name, b.name, 'difference'], rows: slower },
    {
      caption: `Ops that began in another order, of ${moved.length}: their place among the ops of the rank`,
      columns: ['op', 'where', a.name, b.name],
      rows: places,
    },
  ].filter(({ rows }) => rows.length > 0)
}
