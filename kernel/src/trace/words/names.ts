/** Names of what a run has: its categories, what compute waits for, and where in the algorithm an op stands. */
import type { Run } from '../model/run.js'
import { type IdleCause, NONE, PHASES, type Phase, STREAMS } from '../schema.js'

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

/** Why compute stands still. `brief` follows a time, `waits 812 µs for copies`; `name` labels a part of a step; `hint` is a sentence. */
export const IDLE_WORDS: Readonly<Record<IdleCause, { readonly brief: string; readonly name: string; readonly hint: string }>> = {
  fetch: { brief: 'for copies', name: 'waits for fetch', hint: 'Compute stands still until a value has come over the host link.' },
  collective: {
    brief: 'for other ranks',
    name: 'waits for collective',
    hint: "Compute stands still for other ranks' data, or for ranks that have not reached the collective.",
  },
  disk: { brief: 'for the disk', name: 'waits for disk', hint: 'Compute stands still until a value has come from disk, or has been written there.' },
  memory: {
    brief: 'for memory to be free',
    name: 'waits for memory',
    hint: 'Compute stands still because bytes of the arena are still used: with more memory it would not wait.',
  },
  turn: { brief: 'for its turn on the cores', name: 'waits for its turn', hint: 'Compute stands still because another rank computes on the same cores.' },
  nothing: {
    brief: 'with nothing to do',
    name: 'nothing to do',
    hint: 'Compute stands still and no op keeps it: before its first op, after its last, or slow to begin.',
  },
}

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
