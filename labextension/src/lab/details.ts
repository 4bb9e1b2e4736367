/** The lines below the picture: what is under the pointer, or what was clicked. Below, so that they never cover it. */
import { bytes, type Layout, levelWords, opWords, type Run, type Target } from 'fpdt/trace'
import { element } from './dom.js'

/** Buffers of a peak are listed by size; beyond these they are small. */
const MOST_BUFFERS = 8
const HELP =
  'Point at an op or at memory to read about it; click to keep it. Drag, a and d move; w and s zoom; 0 shows the whole run; n and p go from op to op.'

export function details(run: Run, layout: Layout, target: Target | null, state: { instant: string; pinned: boolean }): HTMLElement[] {
  const lines = target === null ? [state.instant || HELP] : target.kind === 'span' ? spanLines(run, target.row) : memoryLines(run, layout, target)
  if (target !== null && state.pinned) lines[lines.length - 1] += ' (kept; Esc lets go)'
  return lines.map((line, i) => element('div', target !== null && i === 0 ? 'jp-FPDT-subject' : '', line))
}

function spanLines(run: Run, row: number): string[] {
  const { op, place, cost } = opWords(run, row)
  return [op, place, cost]
}

function memoryLines(run: Run, layout: Layout, target: Target & { kind: 'memory' }): string[] {
  const chart = layout.charts[target.chart]
  if (!chart) return []
  const peak = run.head.peaks.find(({ tier }) => tier === chart.stack.tier)
  const largest = peak?.buffers.slice(0, MOST_BUFFERS).map(({ name, bytes: size }) => `${name} ${bytes(size)}`)
  if (peak && peak.buffers.length > MOST_BUFFERS) largest?.push(`and ${peak.buffers.length - MOST_BUFFERS} more`)
  const arena = run.head.tiers.find(({ tier }) => tier === chart.stack.tier)
  const within = arena ? ` alive in an arena of ${bytes(arena.predicted_bytes)}` : ''
  const buffers = largest?.join(', ')
  return [
    levelWords(chart.stack, target.level),
    ...(peak ? [`Peak ${bytes(peak.bytes)}${within}: ${peak.words}${buffers ? `. Alive then: ${buffers}` : ''}`] : []),
  ]
}
