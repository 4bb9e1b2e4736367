/** The plugin of live runs: knows the kernel of every open notebook, for the panels that stand in it and for the status bar. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application'
import type { DocumentRegistry } from '@jupyterlab/docregistry'
import { DisposableDelegate } from '@lumino/disposable'
import { runsOf } from '../lab/notebooks.js'
import { page } from '../lab/page.js'
import { setLive } from '../lab/status.js'
import { placeOf } from '../lab/tabs.js'
import { kernelOfRun, type NotebookContext, NotebookKernel } from './notebook-kernel.js'

export const live: JupyterFrontEndPlugin<void> = {
  id: '@fpdt/labextension:live',
  description: 'Follows FPDT runs while they train, and asks them to pause, step and stop.',
  autoStart: true,
  activate: (app: JupyterFrontEnd) => {
    const kernels = new Map<DocumentRegistry.Context, NotebookKernel>()
    app.docRegistry.addWidgetExtension('Notebook', {
      createNew: (_, context) => {
        // A notebook may have several widgets, and has one kernel.
        if (kernels.has(context)) return new DisposableDelegate(() => {})
        const kernel = new NotebookKernel(context as unknown as NotebookContext, (path, runs) => setLive(path, runs ? [...runs.statuses.values()] : []))
        kernels.set(context, kernel)
        // While its connection to the kernel is still there to say so.
        context.sessionContext.disposed.connect(() => {
          kernels.delete(context)
          kernel.dispose()
        })
        return new DisposableDelegate(() => {})
      },
    })
    page.kernelOf = (panel) => {
      const place = placeOf(panel)
      const { run_id } = panel.session.shown.run.head
      // An output may have a view of its own beside its notebook, which knows no path.
      const isOf = (context: DocumentRegistry.Context): boolean => (place ? context.path === place.path : runsOf(context).some((run) => run.run_id === run_id))
      const holders = [...kernels].filter(([context]) => isOf(context)).map(([, kernel]) => kernel)
      return kernelOfRun(run_id, holders)
    }
    // A page that is left says so: a kernel need not find out.
    window.addEventListener('pagehide', () => {
      for (const kernel of kernels.values()) kernel.dispose()
    })
  },
}
