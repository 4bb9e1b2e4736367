/**
 * Below the views, so that it never covers them: a few lines about what is under the pointer, and, as long as something is kept, all
 * that the run has to say about it. The lines keep their height and the answers stay while the pointer moves, so the page stands still.
 */
import {
  bytes,
  CATEGORIES,
  CATEGORY_WORDS,
  duration,
  highestAt,
  levelsAt,
  levelWords,
  NONE,
  opWords,
  type Run,
  stackFor,
  stallOf,
  type Target,
  TIERS,
} from 'fpdt/trace'
import { askedBuffer, askedMeeting } from './asked/buffer.js'
import { askedInstant } from './asked/instant.js'
import { askedOp } from './asked/op.js'
import { element } from './dom.js'
import type { Changed, Session, Shown } from './session.js'

const HELP = 'Point at an op or at memory to read about it; click to ask more. Drag, a and d move; w and s zoom; 0 shows the whole run; ? lists all keys.'

export class Details {
  readonly node: HTMLElement
  readonly #session: Session
  readonly #lines = element('div', 'jp-FPDT-lines', [], { 'aria-live': 'polite' })
  readonly #asked = element('div', 'jp-FPDT-asked', [])

  constructor(session: Session) {
    this.#session = session
    this.node = element('div', 'jp-FPDT-details', [this.#lines, this.#asked])
  }

  update(shown: Shown, changed: Changed): void {
    this.#lines.replaceChildren(...linesOf(shown))
    if (changed.has('pinned') || changed.has('run') || changed.has('theme')) this.#asked.replaceChildren(...this.#answers(shown))
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
  const instant = pointer_ns ?? cursor_ns
  const atInstant = instant === null ? [] : [`At ${duration(instant)}: ${levelsAt(run, window.rank, instant)}`]
  const told = target ? about(run, target) : []
  const lines = told.length > 0 ? told : atInstant.length > 0 ? atInstant : [HELP]
  if (told.length > 0 && !hover) lines[lines.length - 1] += ' (kept; Esc lets go)'
  return lines.map((line, i) => element('div', told.length > 0 && i === 0 ? 'jp-FPDT-subject' : '', line))
}

/** A target in a few lines, the first of which names it. */
function about(run: Run, target: Target): string[] {
  switch (target.kind) {
    case 'span': {
      const { op, place, cost } = opWords(run, target.row)
      const stall = stallOf(run, target.row)
      return [op, place, cost, ...(stall ? [stall.words] : [])]
    }
    case 'instant': {
      const stack = stackFor(run, target.rank, target.tier)
      const peak = run.head.peaks.find(({ tier }) => tier === target.tier)
      if (!stack) return []
      return [
        levelWords(stack, highestAt(stack, target.time_ns)),
        ...(peak ? [`The peak is ${bytes(peak.bytes)}, first at ${duration(peak.time_ns)}: ${peak.words}`] : []),
      ]
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
