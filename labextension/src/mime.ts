/**
 * The renderer of saved runs. It needs nothing but the bytes of the output: no kernel, no network, no token of JupyterLab,
 * so it also works when the plugin of `index.ts` could not start. What draws is loaded with the first run on the page.
 */
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces'
import { RUN_MIME } from './lab/mime-type.js'
import { RunRenderer } from './lab/renderer.js'

const extension: IRenderMime.IExtension = {
  id: '@fpdt/labextension:run-renderer',
  // The outputs hold a PNG too, for viewers without this extension. JupyterLab takes the lowest rank; image/png has 90.
  rank: 0,
  dataType: 'json',
  rendererFactory: {
    // Data becomes pixels and text nodes, never markup: outputs that nobody has run here yet may be shown.
    safe: true,
    mimeTypes: [RUN_MIME],
    createRenderer: (options) => new RunRenderer(options.mimeType),
  },
}

export default extension
