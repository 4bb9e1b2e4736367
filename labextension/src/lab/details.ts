/** The lines below the views: what is under the pointer, or what was clicked. Below, so that they never cover it. */
import { bytes, duration, levelAt, levelsAt, levelWords, opWords, type Run, stackFor, type Target } from 'fpdt/trace'
import { element } from './dom.js'
import type { Shown } from './session.js'

/** Buffers of a peak are listed by size; beyond these they are small. */
const MOST_BUFFERS = 8
const HELP = 'Point at an op or at memory to read about it; click to keep it. Drag, a and d move; w and s zoom; 0 shows the whole run; ? lists all keys.'

export function details({ run, window, hover, pinned, pointer_ns, cursor_ns }: Shown): HTMLElement[] {
  const target = hover ?? pinned
  const instant = pointer_ns ?? cursor_ns
  const atInstant = instant === null ? [] : [`At ${duration(instant)}: ${levelsAt(run, window.rank, instant)}`]
  const told = target ? lines(run, target) : []
  const shown = told.length > 0 ? told : atInstant.length > 0 ? atInstant : [HELP]
  if (told.length > 0 && !hover) shown[shown.length - 1] += ' (kept; Esc lets go)'
  return shown.map((line, i) => element('div', told.length > 0 && i === 0 ? 'jp-FPDT-subject' : '', line))
}

function lines(run: Run, target: Target): string[] {
  if (target.kind === 'span') {
    const { op, place, cost } = opWords(run, target.row)
    return [op, place, cost]
  }
  return target.kind === 'instant' ? instantLines(run, target) : []
}

function instantLines(run: Run, { tier, rank, time_ns }: Target & { kind: 'instant' }): string[] {
  const stack = stackFor(run, rank, tier)
  if (!stack) return []
  const peak = run.head.peaks.find((candidate) => candidate.tier === tier)
  const largest = peak?.buffers.slice(0, MOST_BUFFERS).map(({ name, bytes: size }) => `${name} ${bytes(size)}`)
  if (peak && peak.buffers.length > MOST_BUFFERS) largest?.push(`and ${peak.buffers.length - MOST_BUFFERS} more`)
  const arena = run.head.tiers.find((candidate) => candidate.tier === tier)
  const within = arena ? ` alive in an arena of ${bytes(arena.predicted_bytes)}` : ''
  const buffers = largest?.join(', ')
  return [
    levelWords(stack, levelAt(stack, time_ns)),
    ...(peak ? [`Peak ${bytes(peak.bytes)}${within}: ${peak.words}${buffers ? `. Alive then: ${buffers}` : ''}`] : []),
  ]
}
