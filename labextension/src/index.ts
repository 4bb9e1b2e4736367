/** The plugin: commands, a tab for a run, settings, status bar. Drawing itself needs no plugin (`mime.ts`). */
import { ILabShell, ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application'
import { ICommandPalette } from '@jupyterlab/apputils'
import { ISettingRegistry } from '@jupyterlab/settingregistry'
import { IStatusBar } from '@jupyterlab/statusbar'
import { addCommands } from './lab/commands.js'
import { files } from './lab/file-viewer.js'
import { OpenNotebooks } from './lab/notebooks.js'
import { followSettings } from './lab/settings.js'
import { onLive, standingOf } from './lab/status.js'
import { StatusItem } from './lab/status-item.js'
import { RunTabs } from './lab/tabs.js'
import { live } from './live/plugin.js'

const ID = '@fpdt/labextension:plugin'

const plugin: JupyterFrontEndPlugin<void> = {
  id: ID,
  description: 'Commands, tabs, settings and a status item for drawn FPDT runs.',
  autoStart: true,
  optional: [ICommandPalette, ILabShell, ILayoutRestorer, ISettingRegistry, IStatusBar],
  activate: (
    app: JupyterFrontEnd,
    palette: ICommandPalette | null,
    labShell: ILabShell | null,
    restorer: ILayoutRestorer | null,
    registry: ISettingRegistry | null,
    statusBar: IStatusBar | null,
  ) => {
    const notebooks = new OpenNotebooks()
    app.docRegistry.addWidgetExtension('Notebook', notebooks)
    const tabs = new RunTabs(app, notebooks, labShell ? 'main' : 'down')
    addCommands(app, tabs, notebooks, palette)
    if (restorer) tabs.restoreWith(restorer)
    if (registry) void followSettings(registry, ID)
    if (statusBar) addStatus(statusBar, notebooks, tabs)
  },
}

function addStatus(statusBar: IStatusBar, notebooks: OpenNotebooks, tabs: RunTabs): void {
  const item = new StatusItem(({ path, run_id }) => void tabs.open({ path, run_id }))
  const tell = (): void => {
    const path = tabs.currentNotebook
    void item.tell(path === null ? null : standingOf(path, notebooks.runs))
  }
  notebooks.changed.connect(tell)
  tabs.currentChanged.connect(tell)
  onLive(tell)
  statusBar.registerStatusItem(ID, { item, align: 'middle', rank: 900, isActive: () => item.standing !== null, activeStateChanged: item.shownChanged })
}

export default [plugin, live, files]
