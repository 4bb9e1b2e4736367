/** What a panel can ask of the page around it. The plugin fills it in; where the plugin is missing, panels draw all the same. */
import type { NotebookKernel } from '../live/notebook-kernel.js'
import type { RunPanel } from './panel.js'

export const page: {
  /** Opens the run of a panel in a tab of its own; null while that is not possible. */
  openInMainArea: ((panel: RunPanel) => void) | null
  /** The kernel side of the notebook that a panel's run is in; null where it is in none. */
  kernelOf: ((panel: RunPanel) => NotebookKernel | null) | null
} = { openInMainArea: null, kernelOf: null }
