/**
 * A saved model to train on with:
 *
 *   const { model, weights } = await load('SmolLM2-135M')
 *   const run = await device.train(model, { sequence: '8K', weights })
 *   await run.saveModel('SmolLM2-135M-long')
 */
import { type LoadedModel, loadHuggingFace, type ReadGroup } from '../../files/huggingface.js'

export interface Loaded extends Omit<LoadedModel, 'values'> {
  /** For `device.train(model, { weights })`: read from the files group by group, when the run is made. */
  readonly weights: ReadGroup
}

/** Opens a model in Hugging Face layout. Throws FpdtError `checkpoint` when its files are not whole, `unsupported` naming what is not there. */
export async function load(dir: string): Promise<Loaded> {
  const { values, ...loaded } = await loadHuggingFace(dir)
  return { ...loaded, weights: values }
}
