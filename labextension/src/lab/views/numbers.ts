/**
 * Where the time of a step went, for every rank: a bar of the step whose parts add up to its wall time, the sum that proves it, what
 * each stream was busy with, and the longest waits of compute.
 */
import {
  accountsOf,
  duration,
  hiddenShare,
  IDLE_CAUSES,
  IDLE_WORDS,
  type IdleCause,
  inkFor,
  percent,
  type RankAccount,
  type Run,
  STREAMS,
  type StepSummary,
  stallsByCause,
  type Theme,
  timesOf,
} from 'fpdt/trace'
import { type Cell, opLink, sentence, table } from '../asked/parts.js'
import { element } from '../dom.js'
import type { Changed, RunView, Session, Shown } from '../session.js'

const MOST_STALLS = 4
/** A part of a bar that is narrower than this holds no words. */
const LEAST_SHARE = 0.08

const EXPOSED = "Exposed copies: time in which compute waits for a copy (for its data, or for bytes it holds), not the copy's own time."
const HIDDEN =
  "Hidden share: part of the copies' own time (fetch, offload, load, spill) that lies under compute, of the same rank, or of any where ranks share the cores."

export class NumbersView implements RunView {
  readonly name = 'numbers'
  readonly node = element('div', 'jp-FPDT-numbers', [])
  readonly #session: Session
  #step = -1

  constructor(session: Session) {
    this.#session = session
  }

  update(shown: Shown, changed: Changed): void {
    const step = stepShown(shown)
    const isOther = step?.step !== this.#step || (['run', 'theme', 'stalls'] as const).some((key) => changed.has(key))
    if (!isOther) return
    this.#step = step?.step ?? -1
    if (!step) {
      this.node.replaceChildren(sentence('No step has ended yet.'))
      return
    }
    const accounts = accountsFor(shown.run, step)
    this.node.replaceChildren(
      this.#chooser(shown, step),
      ...(accounts.length > 0 ? numbers(step, accounts, shown.theme) : [sentence('The ops of this step were not kept, and nobody counted its time.')]),
      ...this.#stalls(shown, step),
    )
  }

  dispose(): void {
    this.node.replaceChildren()
  }

  #chooser({ run, window }: Shown, { step }: StepSummary): HTMLElement {
    const options = run.head.steps.map((one) => element('option', '', `step ${one.step}, ${duration(one.duration_ns)}`, { value: String(one.step) }))
    const chooser = element('select', '', options, { 'aria-label': 'Step whose time is told' })
    chooser.value = String(step)
    chooser.addEventListener('change', () => {
      const chosen = run.head.steps.find((one) => one.step === Number(chooser.value))
      if (chosen) this.#session.change({ window: { rank: window.rank, start_ns: chosen.start_ns, end_ns: chosen.start_ns + Math.max(1, chosen.duration_ns) } })
    })
    return element('label', 'jp-FPDT-rank', [document.createTextNode('time of '), chooser])
  }

  #stalls({ run, stalls }: Shown, { step }: StepSummary): HTMLElement[] {
    const longest = stallsByCause(run, step, MOST_STALLS)
    if (longest.length === 0) return [sentence('Compute never waited between the ops of this step that were kept.')]
    const arrows = element('input', '', [], { type: 'checkbox' })
    arrows.checked = stalls
    arrows.addEventListener('change', () => this.#session.change({ stalls: arrows.checked }))
    const rows = longest.map(({ row, waited_ns, cause, words }): Cell[] => [
      opLink(this.#session, run, row),
      String(run.spans.rank[row]),
      duration(waited_ns),
      cause === 'compute' ? 'waits for compute' : IDLE_WORDS[cause].name,
      words,
    ])
    return [
      element('div', 'jp-FPDT-table', [table(`The longest waits of compute, ${MOST_STALLS} of each cause`, ['op', 'rank ', 'waited ', 'cause', 'why'], rows)], {
        tabindex: '0',
        role: 'region',
        'aria-label': 'The longest waits of compute',
      }),
      element('label', 'jp-FPDT-rank', [arrows, document.createTextNode(' arrows in the timeline to what the longest waits in view waited for')]),
    ]
  }
}

/** The step that fills most of the window; of equals the last. */
function stepShown({ run, window }: Shown): StepSummary | undefined {
  const inView = ({ start_ns, duration_ns }: StepSummary): number => Math.min(start_ns + duration_ns, window.end_ns) - Math.max(start_ns, window.start_ns)
  return run.head.steps.reduce<StepSummary | undefined>((best, step) => (best && inView(best) > inView(step) ? best : step), undefined)
}

/** Those of the head; counted here where it has none. */
function accountsFor(run: Run, step: StepSummary): readonly RankAccount[] {
  if (step.accounts.length > 0) return step.accounts
  return run.spans.step.includes(step.step) ? accountsOf(run, step, run.head.device?.backend ?? '') : []
}

function numbers(step: StepSummary, accounts: readonly RankAccount[], theme: Theme): HTMLElement[] {
  const { exposedCopy_ns, exposedCollective_ns, hiddenCopyShare } = timesOf({ ...step, accounts: [...accounts] })
  const compute_ns = accounts.reduce((sum, { busy_ns }) => sum + busy_ns.compute, 0) / accounts.length
  const share = (time_ns: number): string => `${duration(time_ns)}, ${percent(step.duration_ns > 0 ? time_ns / step.duration_ns : 0)} of the step`
  const figures: [string, string, string][] = [
    ['compute, a rank', share(compute_ns), 'Time in which the compute stream ran an op, mean over ranks.'],
    ['exposed copies, a rank', share(exposedCopy_ns), `${EXPOSED} Mean over ranks.`],
    ['waits for collectives, a rank', share(exposedCollective_ns), `${IDLE_WORDS.collective.hint} Mean over ranks.`],
    ['hidden share of copies', shareOrNone(hiddenCopyShare), HIDDEN],
  ]
  return [
    element(
      'dl',
      'jp-FPDT-facts',
      figures.map(([name, value, hint]) => element('div', '', [element('dt', '', name), element('dd', '', value)], { title: hint })),
    ),
    ...accounts.map((account) => rankBar(step, account, theme)),
    meanings(accounts, theme),
    sentence(EXPOSED),
    sentence(HIDDEN),
    element('div', 'jp-FPDT-table', [busyTable(accounts)], { tabindex: '0', role: 'region', 'aria-label': 'Busy time of each stream' }),
  ]
}

interface Part {
  readonly name: string
  readonly hint: string
  readonly time_ns: number
  readonly colour: string
}

/** The step of one rank from end to end, and the sum that shows that nothing is missing. */
function rankBar(step: StepSummary, account: RankAccount, theme: Theme): HTMLElement {
  const parts = partsOf(account, theme).filter(({ time_ns }) => time_ns > 0)
  const total = parts.reduce((sum, { time_ns }) => sum + time_ns, 0)
  const bar = element(
    'div',
    'jp-FPDT-wall',
    parts.map(({ name, hint, time_ns, colour }) => {
      const share = time_ns / Math.max(1, total)
      const words = `${name} ${duration(time_ns)}, ${percent(share)}`
      const node = element('span', '', share < LEAST_SHARE ? '' : `${name} ${percent(share)}`, { title: `${words}. ${hint}` })
      node.style.flexGrow = String(share)
      paint(node, colour, name)
      return node
    }),
    { role: 'img', 'aria-label': `Rank ${account.rank}: ${parts.map(({ name, time_ns }) => `${name} ${duration(time_ns)}`).join(', ')}` },
  )
  return element('div', 'jp-FPDT-account', [element('strong', '', `rank ${account.rank}`), bar, sentence(proof(parts, total, step.duration_ns))])
}

function partsOf({ busy_ns, idle_ns }: RankAccount, { families, categories }: Theme): Part[] {
  const colours: Readonly<Record<IdleCause, string>> = {
    fetch: families.fetch,
    collective: families.collective,
    disk: families.disk,
    memory: families.offload,
    turn: families.elementwise,
    nothing: categories.earlier,
  }
  return [
    { name: 'compute', hint: 'The compute stream ran an op.', time_ns: busy_ns.compute, colour: families.attention },
    ...IDLE_CAUSES.map((cause) => ({ ...IDLE_WORDS[cause], time_ns: idle_ns[cause], colour: colours[cause] })),
  ]
}

/** What the colours of the bars mean. Small parts hold no words, and causes need a sentence. */
function meanings(accounts: readonly RankAccount[], theme: Theme): HTMLElement {
  const parts = accounts.map((account) => partsOf(account, theme))
  const met = parts[0].filter((_, i) => parts.some((ofRank) => ofRank[i].time_ns > 0))
  return element(
    'dl',
    'jp-FPDT-causes',
    met.flatMap(({ name, hint, colour }) => {
      const patch = element('span', 'jp-FPDT-patch', '', { 'aria-hidden': 'true' })
      paint(patch, colour, name)
      return [element('dt', '', [patch, document.createTextNode(name)]), element('dd', '', hint)]
    }),
  )
}

/** Nothing to do is hatched: no other grey is. */
function paint(node: HTMLElement, colour: string, name: string): void {
  node.style.backgroundColor = colour
  node.style.color = inkFor(colour)
  node.classList.toggle('jp-mod-hatched', name === IDLE_WORDS.nothing.name)
}

/** Whole nanoseconds, written as milliseconds with all of their digits. */
function proof(parts: readonly Part[], total: number, wall_ns: number): string {
  const exact = (time_ns: number): string => (time_ns / 1e6).toFixed(6)
  const sum = `${parts.map(({ name, time_ns }) => `${exact(time_ns)} ${name}`).join(' + ')} = ${exact(total)} ms`
  return total === wall_ns ? `${sum}, the step's wall time, to the nanosecond.` : `${sum}, which is not the step's wall time of ${exact(wall_ns)} ms.`
}

function shareOrNone(share: number | null): string {
  return share === null ? 'no copies' : percent(share)
}

function busyTable(accounts: readonly RankAccount[]): HTMLElement {
  const used = STREAMS.filter((stream) => accounts.some(({ busy_ns }) => busy_ns[stream] > 0))
  const shown = table(
    'Time in which each stream ran an op, and what of the copies could be seen',
    ['rank ', ...used.map((stream) => `${stream} `), 'exposed copies ', 'hidden share '],
    accounts.map((account) => [
      String(account.rank),
      ...used.map((stream) => duration(account.busy_ns[stream])),
      duration(account.exposed_copy_ns),
      shareOrNone(hiddenShare([account])),
    ]),
  )
  const [exposed, hidden] = [...shown.querySelectorAll('th')].slice(-2)
  exposed.title = EXPOSED
  hidden.title = HIDDEN
  return shown
}
