/** The theme of the page: JupyterLab's colours, read from its CSS variables, and word of their change. */
import { type Theme, themeFor } from 'fpdt/trace'

export function pageTheme(node: HTMLElement): Theme {
  return themeFor({
    background: resolved(node, '--jp-layout-color0', '#ffffff'),
    text: resolved(node, '--jp-ui-font-color0', '#000000'),
    mutedText: resolved(node, '--jp-ui-font-color2', '#616161'),
    font: getComputedStyle(node).fontFamily || 'sans-serif',
  })
}

/**
 * Calls back after the page's theme has changed, until disposed. A renderer gets no theme manager, and JupyterLab names a new theme on
 * the page before its style sheet is there; so a hair of an element watches the colours themselves: when they change, its transition ends.
 */
export function onThemeChange(node: HTMLElement, callback: () => void): { dispose(): void } {
  const probe = document.createElement('span')
  probe.className = 'jp-FPDT-theme-probe'
  probe.setAttribute('aria-hidden', 'true')
  probe.addEventListener('transitionend', callback)
  node.append(probe)
  return {
    dispose: () => {
      probe.removeEventListener('transitionend', callback)
      probe.remove()
    },
  }
}

/** A variable as `rgb(…)`: the variable itself may say it in any of CSS' ways, a computed colour says it in one. */
function resolved(node: HTMLElement, variable: string, otherwise: string): string {
  const probe = document.createElement('span')
  probe.style.color = `var(${variable}, ${otherwise})`
  probe.style.display = 'none'
  node.append(probe)
  const colour = getComputedStyle(probe).color
  probe.remove()
  return colour
}
