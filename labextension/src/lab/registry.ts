/** The runs drawn on this page. The renderer and the plugin are one container of modules, so they share this list. */
import type { RunPanel } from './panel.js'

/** In order of use, the last used at the end. */
const panels: RunPanel[] = []

export function use(panel: RunPanel): void {
  forget(panel)
  panels.push(panel)
}

export function forget(panel: RunPanel): void {
  const at = panels.indexOf(panel)
  if (at >= 0) panels.splice(at, 1)
}

export function lastUsed(): RunPanel | undefined {
  return panels.at(-1)
}

/** The panels of all runs on the page, the last used first. */
export function drawnRuns(): RunPanel[] {
  return [...panels].reverse()
}
