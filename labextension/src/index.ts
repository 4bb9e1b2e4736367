/** The plugin: commands for the run that was used last. Drawing itself needs no plugin (`mime.ts`). */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application'
import { ICommandPalette } from '@jupyterlab/apputils'
import { lastUsed } from './lab/registry.js'

export const CommandIDs = {
  wholeRun: 'fpdt:show-whole-run',
  table: 'fpdt:toggle-table',
} as const

const commands: JupyterFrontEndPlugin<void> = {
  id: '@fpdt/labextension:commands',
  description: 'Commands for drawn FPDT runs.',
  autoStart: true,
  optional: [ICommandPalette],
  activate: (app: JupyterFrontEnd, palette: ICommandPalette | null) => {
    const isEnabled = (): boolean => lastUsed() !== undefined
    app.commands.addCommand(CommandIDs.wholeRun, {
      label: 'Show Whole Run',
      caption: 'Zoom the FPDT run that was used last out to its full time',
      isEnabled,
      execute: () => lastUsed()?.showWholeRun(),
    })
    app.commands.addCommand(CommandIDs.table, {
      label: 'Show Ops as Table',
      caption: 'List the ops in view of the FPDT run that was used last',
      isEnabled,
      isToggled: () => lastUsed()?.session.shown.views.has('ops') ?? false,
      execute: () => lastUsed()?.toggleView('ops'),
    })
    for (const command of Object.values(CommandIDs)) palette?.addItem({ command, category: 'FPDT' })
  },
}

export default [commands]
