/** One output of a notebook. */
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces'
import { RunHost } from './run-host.js'

export class RunRenderer extends RunHost implements IRenderMime.IRenderer {
  constructor(readonly mimeType: string) {
    super()
  }

  renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    return this.showPayload(model.data[this.mimeType])
  }
}
