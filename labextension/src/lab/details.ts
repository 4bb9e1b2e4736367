/**
 * Below the views: two lines about what is under the pointer, which stay in sight while the views scroll, and, as long as something is
 * kept, all that the run has to say about it, which scrolls. The lines keep their height and the answers stay while the pointer moves,
 * so the page stands still.
 */
import {
  bytes,
  CATEGORIES,
  CATEGORY_WORDS,
  duration,
  highestAt,
  instant,
  levelsAt,
  levelWords,
  NONE,
  opWords,
  peakWords,
  type Run,
  stackFor,
  stallOf,
  type Target,
  TIERS,
  type View,
} from 'fpdt/trace'
import { askedBuffer, askedMeeting } from './asked/buffer.js'
import { askedInstant } from './asked/instant.js'
import { askedOp } from './asked/op.js'
import { element } from './dom.js'
import type { Session, Shown } from './session.js'

const HELP = 'Point at an op or at memory to read about it; click to ask more. Drag, a and d move; w and s zoom; 0 shows the whole run; ? lists all keys.'

export class Details {
  readonly node: HTMLElement
  /** Stands after `node`, not in it: what is in sight stays small, however much there is to say. */
  readonly answers = element('div', 'jp-FPDT-asked', [])
  readonly #session: Session
  readonly #lines = element('div', 'jp-FPDT-lines', [], { 'aria-live': 'polite' })
  /** What the answers are about. */
  #told: Pick<Shown, 'run' | 'pinned' | 'theme'> | null = null

  constructor(session: Session) {
    this.#session = session
    this.node = element('div', 'jp-FPDT-details', [this.#lines])
  }

  /** When the lines or the answers can be seen: the reader of the ones may follow a name to the others. */
  update(shown: Shown): void {
    this.#lines.replaceChildren(...linesOf(shown))
    const { run, pinned, theme } = shown
    if (run === this.#told?.run && pinned === this.#told.pinned && theme === this.#told.theme) return
    this.#told = { run, pinned, theme }
    this.answers.replaceChildren(...this.#answers(shown))
  }

  #answers({ run, pinned, theme }: Shown): HTMLElement[] {
    switch (pinned?.kind) {
      case 'span':
        return askedOp(this.#session, run, pinned)
      case 'instant':
        return askedInstant(this.#session, run, theme, pinned)
      case 'buffer':
        return askedBuffer(this.#session, run, pinned)
      case 'meeting':
        return askedMeeting(this.#session, run, pinned)
      default:
        return []
    }
  }
}

function linesOf({ run, window, hover, pinned, pointer_ns, cursor_ns }: Shown): HTMLElement[] {
  const target = hover ?? pinned
  const time_ns = pointer_ns ?? cursor_ns
  const atInstant = time_ns === null ? [] : [`At ${instant(time_ns, window.end_ns - window.start_ns)}: ${levelsAt(run, window.rank, time_ns)}`]
  const told = target ? about(run, target, window) : []
  const lines = told.length > 0 ? told : atInstant.length > 0 ? atInstant : [HELP]
  if (told.length > 0 && !hover) lines[1] = ['kept, Esc lets go', ...lines.slice(1)].join(' · ')
  return lines.map((line, i) => element('div', told.length > 0 && i === 0 ? 'jp-FPDT-subject' : '', line))
}

/** A target in two lines, the first of which names it. */
function about(run: Run, target: Target, window: View): string[] {
  switch (target.kind) {
    case 'span': {
      const { phrase, op, place, cost } = opWords(run, target.row, window)
      const stall = stallOf(run, target.row)
      // A phrase that is the notation itself says it once.
      return [phrase, [...(op.startsWith(phrase) ? [] : [op]), place, cost, ...(stall ? [stall.words] : [])].join(' · ')]
    }
    case 'instant': {
      const stack = stackFor(run, target.rank, target.tier)
      if (!stack) return []
      const level = highestAt(stack, target.time_ns)
      return [`At ${instant(target.time_ns, window.end_ns - window.start_ns)}: ${levelWords(stack, level)}`, ...againstPeak(run, target, stack.totals[level])]
    }
    case 'buffer': {
      const { names, buffers } = run
      const { buffer, rank } = target
      const category = CATEGORY_WORDS[CATEGORIES[buffers.category[buffer]]]
      return [`${names[buffer]} on the ${TIERS[buffers.tier[buffer]]} of rank ${rank}`, `${bytes(buffers.size_bytes[buffer])} for ${category}`]
    }
    case 'meeting': {
      const { q, kv, phase, layer, rank } = target
      return [`query chunk ${q} meets key/value chunk ${kv}`, `rank ${rank} · ${layer === NONE ? phase : `${phase} of layer ${layer}`}`]
    }
    case 'step': {
      const step = run.head.steps.find((candidate) => candidate.step === target.step)
      return [`step ${target.step}`, ...(step ? [`${duration(step.duration_ns)}, from ${duration(step.start_ns)}`] : [])]
    }
  }
}

/** How far the instant is from the peak of its tier, which may have been reached in a step that is not in the picture. */
function againstPeak(run: Run, { tier, time_ns }: Target & { kind: 'instant' }, level_bytes: number): string[] {
  const { peaks, steps } = run.head
  const peak = peaks.find((one) => one.tier === tier)
  if (!peak) return []
  const step = steps.find(({ start_ns, duration_ns }) => peak.time_ns >= start_ns && peak.time_ns <= start_ns + duration_ns)
  const first = `first reached ${step ? `in step ${step.step}, ` : ''}at ${duration(peak.time_ns)}: ${peakWords(run, peak)}`
  if (level_bytes < peak.bytes) return [`${bytes(peak.bytes - level_bytes)} below the peak of ${bytes(peak.bytes)}, ${first}`]
  return [peak.time_ns === time_ns ? `This is the peak: ${peakWords(run, peak)}` : `This is the peak again, ${first}`]
}
