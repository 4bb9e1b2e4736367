/**
 * A saved model to train on with:
 *
 *   const { model, weights } = await load('SmolLM2-135M')
 *   const run = await device.train(model, { sequence: '8K', weights })
 *   await run.saveModel('SmolLM2-135M-long')
 */
import { inWords } from '../../display.js'
import { type LoadedModel, loadHuggingFace, type ReadGroup } from '../../files/huggingface.js'
import { parameterCount } from '../../model/parameters.js'
import { counted } from '../../trace/words/format.js'

export interface Loaded extends Omit<LoadedModel, 'values'> {
  /** For `device.train(model, { weights })`: read from the files group by group, when the run is made. */
  readonly weights: ReadGroup
}

/** Opens a model in Hugging Face layout. Throws FpdtError `checkpoint` when its files are not whole, `unsupported` naming what is not there. */
export async function load(dir: string): Promise<Loaded> {
  const { values, ...loaded } = await loadHuggingFace(dir)
  return inWords({ ...loaded, weights: values }, loadedInWords)
}

function loadedInWords(loaded: Loaded): string {
  const { model, dtype, notes } = loaded
  const sizes = `${counted(model.layers, 'layer')} of ${model.width}, ${counted(model.heads, 'head')}, ${counted(parameterCount(model), 'parameter')} in ${dtype}`
  return [`Loaded model, ${model.family}: ${sizes}`, ...notes.map((note) => `note: ${note}`), `{ ${Object.keys(loaded).join(', ')} }`].join('\n')
}
