/** The commands. They act on the run that was used last. */
import type { JupyterFrontEnd } from '@jupyterlab/application'
import { type ICommandPalette, InputDialog } from '@jupyterlab/apputils'
import { EXPORT_KINDS, EXPORTS } from './export-kinds.js'
import type { NotebookRun, OpenNotebooks } from './notebooks.js'
import type { RunPanel } from './panel.js'
import { lastUsed } from './registry.js'
import { OPEN, placeOf, type RunTabs } from './tabs.js'
import { VIEWS, type ViewName } from './view-names.js'

/** Words of the palette, which is there before any view is loaded. */
const VIEW_WORDS: Readonly<Record<ViewName, string>> = {
  timeline: 'Timeline and Memory',
  slots: 'Slots of the Arena',
  chunks: 'Chunk Triangle',
  where: 'Where Chunks Are',
  lesson: 'Words of the Algorithm',
  numbers: 'Numbers',
  curves: 'Curves over Steps',
  compare: 'Comparison',
  ops: 'Ops as Table',
}

export function addCommands(app: JupyterFrontEnd, tabs: RunTabs, notebooks: OpenNotebooks, palette: ICommandPalette | null): void {
  const add = (id: string, label: string, caption: string, act: (panel: RunPanel) => unknown, more: Partial<Options> = {}): void => {
    const isEnabled = (): boolean => lastUsed() !== undefined
    const execute = (): unknown => {
      const panel = lastUsed()
      return panel && act(panel)
    }
    app.commands.addCommand(id, { label, caption: `${caption} (the FPDT run that was used last)`, isEnabled, execute, ...more })
    palette?.addItem({ command: id, category: 'FPDT' })
  }
  add('fpdt:show-whole-run', 'Show Whole Run', 'Zooms out to the full time', (panel) => panel.showWholeRun())
  for (const view of VIEWS) {
    add(`fpdt:toggle-${view}`, `Show ${VIEW_WORDS[view]}`, 'Opens or closes this view', (panel) => panel.toggleView(view), {
      isToggled: () => lastUsed()?.session.shown.views.has(view) ?? false,
      isVisible: () => lastUsed()?.offers(view) ?? true,
    })
  }
  add('fpdt:toggle-presentation', 'Present Run', 'Larger type, one view at a time, arrow keys go from op to op', (panel) => panel.togglePresentation(), {
    isToggled: () => lastUsed()?.session.shown.presentation ?? false,
  })
  add('fpdt:toggle-keys', 'List Keys', 'Lists the keys of a run and what they do', (panel) => panel.toggleKeys())
  add('fpdt:open-in-tab', 'Open Run in Tab', 'Opens the run beside its notebook', (panel) => {
    const place = placeOf(panel)
    return place && tabs.open(place)
  })
  for (const kind of EXPORT_KINDS) {
    add(`fpdt:export-${kind}`, `Save Run as ${EXPORTS[kind]}`, 'Downloads it', async (panel) => (await import('./exporting.js')).exportRun(panel.session, kind))
  }
  add('fpdt:compare', 'Compare Run with…', 'Chooses a second run of an open notebook to compare with', (panel) => compare(panel, notebooks), {
    isEnabled: () => othersOf(lastUsed(), notebooks).length > 0,
  })
  app.commands.addCommand(OPEN, {
    label: 'Open Run',
    execute: ({ path, run_id }) => {
      if (typeof path !== 'string' || typeof run_id !== 'string') throw new Error(`${OPEN} takes { path, run_id }, the place of a saved run`)
      return tabs.open({ path, run_id })
    },
  })
}

type Options = Parameters<JupyterFrontEnd['commands']['addCommand']>[1]

function othersOf(panel: RunPanel | undefined, notebooks: OpenNotebooks): readonly NotebookRun[] {
  return panel ? notebooks.runs.filter(({ run_id }) => run_id !== panel.session.shown.run.head.run_id) : []
}

async function compare(panel: RunPanel, notebooks: OpenNotebooks): Promise<void> {
  const others = othersOf(panel, notebooks)
  const items = others.map(({ head, path }, i) => `${i + 1}. ${head.title ?? 'a run'} · ${path}`)
  const { value } = await InputDialog.getItem({ title: 'Compare with which run?', items })
  const chosen = others[items.indexOf(value ?? '')]
  if (!chosen) return
  const [{ decodeSavedRun, openRun }, { compareWith }] = await Promise.all([import('fpdt/trace'), import('./comparing.js')])
  const other = openRun(await decodeSavedRun(chosen.payload))
  if (!panel.isDisposed) compareWith(panel.session, other)
}
