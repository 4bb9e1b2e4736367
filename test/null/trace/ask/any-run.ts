/** Runs of generated training steps, and the ops that they are runs of: any system, loop order, prefetch, batch, loss of time. */
import fc from 'fast-check'
import { stepOf, type TrainOptions } from '../../../../kernel/src/fpdt/plan/training-plan.js'
import type { ModelConfig } from '../../../../kernel/src/model/config.js'
import { llama } from '../../../../kernel/src/model/llama.js'
import type { Op } from '../../../../kernel/src/schedule/ops.js'
import { trainingStep } from '../../../../kernel/src/schedule/step.js'
import { SYSTEM_NAMES, SYSTEMS, type SystemName } from '../../../../kernel/src/schedule/systems.js'
import { memoryOf } from '../../../../kernel/src/trace/memory.js'
import { openRun, type Run } from '../../../../kernel/src/trace/model/run.js'
import { fixture } from '../fixture.js'

export interface RunOptions {
  readonly ranks: number
  readonly layers: number
  readonly chunks: number
  readonly system: SystemName
  readonly train: Partial<TrainOptions>
}

const TOKENS = 128

export const anyOptions: fc.Arbitrary<RunOptions> = fc
  .record({
    ranks: fc.constantFrom(1, 2),
    layers: fc.constantFrom(1, 2),
    chunks: fc.integer({ min: 1, max: 4 }),
    system: fc.constantFrom(...SYSTEM_NAMES),
    backwardOrder: fc.constantFrom('kv' as const, 'q' as const),
    prefetch: fc.constantFrom(0, 1, 2),
    lookAhead: fc.constantFrom(0 as const, 1 as const),
    batch: fc.constantFrom(1, 1, 2),
    accumulate: fc.constantFrom(1, 1, 2),
    documents: fc.boolean(),
    keep: fc.constantFrom(undefined, undefined, 'host' as const, 'disk' as const),
  })
  .map(({ ranks, layers, chunks, system, keep, backwardOrder, prefetch, lookAhead, batch, accumulate, documents }) => {
    const chunked = SYSTEMS[system].chunked ? { chunk: TOKENS, feedForwardRows: TOKENS / ranks / 2, backwardOrder, prefetch, lookAhead } : {}
    const kept = keep && system === 'fpdt' ? { keep } : {}
    return { ranks, layers, chunks, system, train: { sequence: chunks * TOKENS, batch, accumulate, documents, ...chunked, ...kept } }
  })

/** Grouped heads: two query heads a key/value head. */
export function modelOf({ layers }: RunOptions): ModelConfig {
  return llama({ layers, width: 64, heads: 4, kvHeads: 2, headSize: 16, feedForward: 96, vocab: 128 })
}

export function anyRun(options: RunOptions, steps = 1): Run {
  const { ranks, layers, chunks, system, train } = options
  return openRun(fixture({ ranks, layers, chunks, system, steps, model: modelOf(options), train }))
}

export function trainOf({ chunks, ranks, system, train }: RunOptions): TrainOptions {
  return { sequence: chunks * TOKENS, ranks, hidden: 'bf16', system, ...train }
}

/** The ops of its step; op i is line i of the listing. */
export function opsOf(options: RunOptions): Op[] {
  return [...trainingStep(stepOf(modelOf(options), trainOf(options)))]
}

/** Time from one op to the next where they run one after the other. */
export const SLOT_NS = 10

/** The same run with its ops one after the other: op i from 10 i to 10 i + 8, on every rank. */
export function oneAfterTheOther(run: Run): Run {
  const spans = {
    ...run.spans,
    start_ns: Float64Array.from(run.spans.op, (op) => SLOT_NS * op),
    duration_ns: new Float64Array(run.spans.op.length).fill(SLOT_NS - 2),
  }
  return openRun({ ...run, head: { ...run.head, steps: [], peaks: [] }, spans, memory: memoryOf(run, spans) })
}
