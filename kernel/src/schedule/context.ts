/** What every stretch of a step's schedule needs: its sizes, its values, where things wait, and what has been added to already. */
import { batchChunks, type StepConfig } from './config.js'
import type { StepValues } from './step-values.js'
import { type Store, storeOn } from './store.js'
import type { Value } from './values.js'

export interface Context {
  readonly config: StepConfig
  readonly b: StepValues
  /** Inputs of layers, from forward to backward. */
  readonly checkpoints: Store
  /** Chunks between uses within a phase. */
  readonly waiting: Store
  /** This rank's share of the compute weights. */
  readonly parameters: Store
  /** Optimizer states, and gradient partitions until the optimizer uses them. */
  readonly states: Store
  readonly gradients: Store
  /** Chunks of a batch: of all its sequences. */
  readonly chunks: number
  /** Number among the step's inputs of chunk i of this batch. */
  input(i: number): number
  /** Chunk i is the first, or the last, of its sequence. */
  firstOf(i: number): number
  isLast(i: number): boolean
  /** 1 when nothing has been added to an accumulator yet: the first contribution writes, so nothing is ever zeroed for it. */
  first(accumulator: Value): 0 | 1
  /** Something has been added to it. */
  begun(accumulator: Value): boolean
  /** An accumulator and its views begin anew. */
  restart(accumulator: Value): void
  /** The next batch of the step. */
  nextBatch(): void
}

/** One walk over a step has one context: it remembers what the walk has emitted. */
export function contextOf(config: StepConfig, b: StepValues): Context {
  const begun = new Set<string>()
  const chunks = batchChunks(config)
  let batch = 0
  return {
    config,
    b,
    checkpoints: storeOn(config.checkpoints),
    waiting: storeOn(config.offload),
    parameters: storeOn(config.parameters),
    states: storeOn(config.states),
    gradients: storeOn(config.states === 'device' ? 'device' : 'host'),
    chunks,
    input: (i) => batch * chunks + i,
    firstOf: (i) => i - (i % config.chunks),
    isLast: (i) => i % config.chunks === config.chunks - 1,
    first(accumulator) {
      if (begun.has(accumulator.name)) return 0
      begun.add(accumulator.name)
      return 1
    },
    begun: (accumulator) => begun.has(accumulator.name),
    restart(accumulator) {
      for (const name of begun) if (name === accumulator.name || name.startsWith(`${accumulator.name}.`)) begun.delete(name)
    },
    nextBatch() {
      batch++
    },
  }
}
