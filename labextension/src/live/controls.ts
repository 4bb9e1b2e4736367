/**
 * What a reader can ask of a training that runs: pause, step, run until, stop; hold the view; look at values. What cannot be asked
 * now stays where it is and says why: on its own when it is pointed at, in the line below when it is pressed.
 */
import { type Control, count, PHASES, type PlaceWanted, panned, type RunStatus, UNITS, type Unit } from 'fpdt/trace'
import { button } from '../lab/button.js'
import { element } from '../lab/dom.js'
import { heat } from '../lab/heat.js'
import { Roving } from '../lab/roving.js'
import type { Session } from '../lab/session.js'
import type { Peeked } from './incoming.js'
import type { LiveLink } from './link.js'
import { LIMITS } from './live-run.js'
import { type Offered, offered } from './peekable.js'

/** Values of a buffer that are asked for. */
const MOST_VALUES = 16_384
const PLACE_KEPT = `The view is held at the place you look at: the newest ${LIMITS.steps} steps no longer have it. Follow goes on with them.`

export class Controls {
  readonly #pause = action('Pause training', () => this.#ask({ verb: isPaused(this.#link.status) ? 'resume' : 'pause' }))
  readonly #unit = choice(
    'Unit of a step',
    UNITS.map((unit) => [unit, unit]),
  )
  readonly #step = action('Step', () => this.#ask({ verb: 'step', unit: this.#unit.value as Unit }))
  readonly #until = action('Run until …', () => this.#toggleForm())
  readonly #stop = action('Stop training', () => this.#ask({ verb: 'stop' }))
  readonly #hold = action('Hold view', () => this.#toggleHold())
  readonly #badge = element('span', 'jp-FPDT-badge')
  readonly #buffer = choice('Value to look at', [])
  readonly #peek = action('Peek', () => void this.#look())
  readonly #state = element('div', 'jp-FPDT-live-state')
  readonly #result = element('div', 'jp-FPDT-live-result', '', { role: 'status', 'aria-live': 'polite' })
  readonly #phase = choice('Phase', [['', 'any phase'], ...PHASES.map((phase) => [phase, phase] as const)])
  readonly #place = { layer: numberField('layer'), q: numberField('q chunk'), kv: numberField('kv chunk') }
  readonly #form = element('form', 'jp-FPDT-until')
  readonly #values = element('div', 'jp-FPDT-values')
  readonly node = element('div', 'jp-FPDT-live')
  readonly #ends: { dispose(): void }[]
  readonly #roving: Roving
  #names = ''
  #wasPlaceKept = false
  #peeked: Peeked | null = null

  readonly #link: LiveLink
  readonly #session: Session

  constructor(
    link: LiveLink,
    session: Session,
    private readonly panel: HTMLElement,
  ) {
    this.#link = link
    this.#session = session
    const go = element('button', 'jp-FPDT-button', 'Run', { type: 'submit' })
    this.#form.append('Run until all is done at', this.#phase, ...Object.values(this.#place).map(({ node }) => node), go)
    this.#form.hidden = this.#buffer.hidden = true
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault()
      this.#ask({ verb: 'until', place: this.#wanted() })
    })
    this.#form.addEventListener('keydown', (event) => {
      event.stopPropagation()
      if (event.key === 'Escape') this.#toggleForm()
    })
    const toolbar = element(
      'div',
      'jp-FPDT-toolbar',
      [
        group('Training', [this.#pause, this.#step, this.#unit, this.#until, this.#stop]),
        group('Live view', [this.#hold, this.#badge]),
        group('Values', [this.#peek, this.#buffer]),
      ],
      { role: 'toolbar', 'aria-label': 'Control of the training' },
    )
    this.node.append(toolbar, this.#state, this.#form, this.#result, this.#values)
    this.#roving = new Roving(toolbar)
    this.#ends = [
      link.onChange(() => this.#update()),
      session.onChange((_, changed) => {
        if (changed.has('pinned')) this.#update()
        if (changed.has('theme')) this.#drawValues()
      }),
    ]
    this.#update()
  }

  dispose(): void {
    for (const end of this.#ends.splice(0)) end.dispose()
  }

  #update(): void {
    const { status, reason, behind, isPlaceKept, isBound, isForeign } = this.#link
    const { run, pinned } = this.#session.shown
    const isLive = isBound && reason === ''
    // A plan has nothing to control, nor has a run that ended and that no kernel knows; that a kernel is not understood must be seen. A run that has
    // begun shows what was predicted of it until its first ops are there: that it is lost must be seen, too.
    this.node.hidden = !isBound || (status === null && !isForeign && ['planned', 'done', 'stopped', 'failed'].includes(run.head.state))
    this.panel.classList.toggle('jp-mod-live', isLive)
    const stands = isPaused(status)
    const verbs: readonly [HTMLButtonElement, Control['verb']][] = [
      [this.#pause, stands ? 'resume' : 'pause'],
      [this.#step, 'step'],
      [this.#until, 'until'],
      [this.#stop, 'stop'],
    ]
    name(this.#pause, stands ? 'Resume training' : 'Pause training')
    for (const [node, verb] of verbs) allow(node, reason || (status?.can.includes(verb) ? '' : whyNot(verb, status)))
    name(this.#hold, behind === null ? 'Hold view' : 'Follow')
    allow(this.#hold, behind === null && !isLive ? reason : '')
    this.#badge.textContent = behind === null ? '' : `+${count(behind)} ops`
    this.#badge.title = isPlaceKept ? PLACE_KEPT : ''
    if (isPlaceKept && !this.#wasPlaceKept) this.#say(PLACE_KEPT)
    this.#wasPlaceKept = isPlaceKept
    const offers = offered(run, pinned, stands && status ? status.line : null)
    this.#offerValues(offers)
    allow(
      this.#peek,
      reason ||
        (!stands
          ? 'Values can be looked at while the training is paused.'
          : offers.length === 0
            ? 'Click an op or a buffer in the picture first.'
            : offers[0].isAlive
              ? ''
              : `${offers[0].name} does not exist where the training stands; pick what lies around its last op.`),
    )
    this.#state.textContent = reason || stateOf(status)
  }

  /** The values of what is picked: a buffer, or what an op writes and reads. */
  #offerValues(offers: readonly Offered[]): void {
    const names = offers.map(({ name, isAlive }) => (isAlive ? name : `${name} (not there now)`)).join('\n')
    if (names === this.#names) return
    this.#names = names
    const chosen = this.#buffer.value
    this.#buffer.replaceChildren(
      ...offers.map(({ name, isAlive }) =>
        element('option', '', isAlive ? name : `${name} (not there now)`, { value: name, ...(isAlive ? {} : { disabled: '' }) }),
      ),
    )
    if (offers.some(({ name, isAlive }) => isAlive && name === chosen)) this.#buffer.value = chosen
    this.#buffer.hidden = offers.length < 2
    this.#roving.settle()
  }

  #ask(what: Control): void {
    const begin = `Asked: ${what.verb}.`
    this.#say(begin)
    this.#link.control(what).then(
      (words) => this.#say(words),
      (error: Error) => this.#say(`Not done: ${error.message}`),
    )
  }

  async #look(): Promise<void> {
    const { pinned } = this.#session.shown
    const rank = pinned && 'rank' in pinned ? pinned.rank : pinned?.kind === 'span' ? this.#session.shown.run.spans.rank[pinned.row] : 0
    try {
      const peeked = await this.#link.peek(this.#buffer.value, rank, MOST_VALUES)
      this.#peeked = peeked
      this.#drawValues()
      this.#say(`${peeked.name} ${placeOf(peeked)}.`)
    } catch (error) {
      this.#say(`Not shown: ${(error as Error).message}`)
    }
  }

  #drawValues(): void {
    const peeked = this.#peeked
    this.#values.replaceChildren()
    if (!peeked) return
    const close = button('Close', 'Close the values', () => {
      this.#peeked = null
      this.#drawValues()
      this.#peek.focus()
    })
    const width = Math.max(320, Math.min(720, this.node.clientWidth - 80))
    this.#values.replaceChildren(heat(peeked.grid, { title: peeked.name, place: placeOf(peeked) }, this.#session.shown.theme, width), close)
  }

  #toggleHold(): void {
    const isHeld = this.#link.behind !== null
    this.#link.hold(!isHeld)
    if (!isHeld) return
    const { run, window, pinned } = this.#session.shown
    const isOfThen = pinned?.kind === 'span' || pinned?.kind === 'instant'
    // Whoever asks to follow lets go of the place, and wants the picture to move.
    this.#session.change({ window: panned(window, run.extent, run.extent.end_ns - window.end_ns), pinned: isOfThen ? null : pinned, follow: true })
  }

  #toggleForm(): void {
    this.#form.hidden = !this.#form.hidden
    this.#until.setAttribute('aria-expanded', String(!this.#form.hidden))
    if (this.#form.hidden) this.#until.focus()
    else this.#phase.focus()
  }

  #wanted(): PlaceWanted {
    const numbers = Object.entries(this.#place).flatMap(([key, { field }]) => (field.value === '' ? [] : [[key, Number(field.value)]]))
    const phase = PHASES.find((known) => known === this.#phase.value)
    return { ...(phase ? { phase } : {}), ...Object.fromEntries(numbers) }
  }

  #say(words: string): void {
    this.#result.textContent = words
  }
}

function placeOf({ tier, rank }: Peeked): string {
  return `on the ${tier} of rank ${rank}`
}

/** Between two steps it is not: who asks to pause then pauses the next. */
function isPaused(status: RunStatus | null): boolean {
  return status?.activity === 'paused' || status?.activity === 'held'
}

function stateOf(status: RunStatus | null): string {
  if (!status) return ''
  const place = status.line < 0 ? 'before its first op' : `after op ${status.line}: ${status.words}`
  const words: Record<RunStatus['activity'], string> = {
    running: `Step ${status.step} runs, ${place}`,
    paused: `Step ${status.step} is paused ${place}`,
    held: `A stepper holds step ${status.step} ${place}`,
    idle: status.step > 0 ? `Between steps: step ${status.step} is done.` : 'No step has begun.',
    closed: 'The run has ended.',
  }
  return words[status.activity]
}

function whyNot(verb: Control['verb'], status: RunStatus | null): string {
  switch (status?.activity) {
    case 'running':
      return verb === 'resume' ? 'The training runs already.' : 'This step cannot be halted now.'
    case 'paused':
      return verb === 'pause' ? 'The training is paused already.' : 'This step cannot go on from here.'
    case 'held':
      return 'A stepper holds the run: go on with it in a cell.'
    default:
      return 'The training is between steps: run a cell that takes the next one.'
  }
}

// ---- parts ---------------------------------------------------------------------------------------------------------

/** A button that stays in reach while it cannot be used: pressed, it tells why. */
function action(text: string, act: () => void): HTMLButtonElement {
  const node = button(text, text, () => {
    const { reason } = node.dataset
    if (!reason) act()
    else {
      const result = node.closest('.jp-FPDT-live')?.querySelector('.jp-FPDT-live-result')
      if (result) result.textContent = reason
    }
  })
  return node
}
function allow(node: HTMLButtonElement, reason: string): void {
  if (node.dataset.reason === reason) return
  node.dataset.reason = reason
  node.setAttribute('aria-disabled', String(reason !== ''))
  node.title = reason || (node.textContent ?? '')
}
function name(node: HTMLButtonElement, text: string): void {
  if (node.textContent === text) return
  node.textContent = text
  node.setAttribute('aria-label', text)
  node.removeAttribute('data-reason')
}
function choice(label: string, options: readonly (readonly [value: string, text: string])[]): HTMLSelectElement {
  return element(
    'select',
    'jp-FPDT-choice',
    options.map(([value, text]) => element('option', '', text, { value })),
    { 'aria-label': label },
  )
}
function numberField(label: string): { node: HTMLElement; field: HTMLInputElement } {
  const field = element('input', '', '', { type: 'number', min: '0', step: '1', placeholder: 'any' })
  return { node: element('label', '', [document.createTextNode(`${label} `), field]), field }
}
function group(label: string, children: HTMLElement[]): HTMLElement {
  return element('div', 'jp-FPDT-group', children, { role: 'group', 'aria-label': label })
}
