/** Names of what a run has: its categories, and where in the algorithm an op stands. */
import type { Run } from '../model/run.js'
import { NONE, PHASES, type Phase, STREAMS } from '../schema.js'

export const CATEGORY_WORDS = {
  parameters: 'parameters',
  gradients: 'gradients',
  optimizer: 'optimizer',
  hidden: 'hidden state',
  attention: 'attention',
  feedForward: 'feed-forward',
  loss: 'loss',
  input: 'input',
  workspace: 'workspace',
  earlier: 'held from before',
} as const

/** `rank 0, compute · step 1 · backward of layer 2 · query chunk 3, key/value chunk 1`. */
export function placeWords(run: Run, row: number): string {
  const { spans } = run
  return `rank ${spans.rank[row]}, ${STREAMS[spans.stream[row]]} · step ${spans.step[row]} · ${stageWords(run, row)}`
}

/** `backward of layer 2 · query chunk 3, key/value chunk 1`. */
export function stageWords(run: Run, row: number): string {
  const chunks = chunkWords(run, row).join(', ')
  const stage = phaseWords({ phase: PHASES[run.spans.phase[row]], layer: run.spans.layer[row] })
  return chunks === '' ? stage : `${stage} · ${chunks}`
}

/** `backward of layer 2`; `loss`, which has no layer. */
export function phaseWords({ phase, layer }: { readonly phase: Phase; readonly layer: number }): string {
  return layer === NONE ? phase : `${phase} of layer ${layer}`
}

/** `query chunk 3`, `key/value chunk 1`: those that the op has. */
export function chunkWords({ spans: { q, kv } }: Run, row: number): string[] {
  return [...(q[row] === NONE ? [] : [`query chunk ${q[row]}`]), ...(kv[row] === NONE ? [] : [`key/value chunk ${kv[row]}`])]
}
