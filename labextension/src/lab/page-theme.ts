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

/** Calls back after the page's theme has changed, until disposed. A renderer gets no theme manager, so the page is watched. */
export function onThemeChange(callback: () => void): { dispose(): void } {
  const observer = new MutationObserver(callback)
  observer.observe(document.body, { attributes: true, attributeFilter: ['data-jp-theme-name', 'data-jp-theme-light'] })
  return { dispose: () => observer.disconnect() }
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
