/**
 * Bytes that a step moves over each link: between device and host, host and disk, and ranks. Counted op by op where that is quick. The
 * ops of a longer step grow with the square of its chunks, and so do these bytes: three short walks foretell them, exactly.
 */
import type { StepConfig } from '../../schedule/config.js'
import { bytesMoved, streamOf } from '../../schedule/ops.js'
import { trainingStep } from '../../schedule/step.js'
import type { Stream } from '../../trace/schema.js'
import { aboutOps } from './training-plan.js'

/** Bytes of a rank. */
export type LinkTotals = Readonly<Record<Exclude<Stream, 'compute'>, number>>
const LINKS = ['fetch', 'offload', 'load', 'spill', 'collective'] as const

/** Ops that are counted one by one: a second. */
const COUNTED_OPS = 500_000
/** Chunks of the shortest of three walks, beyond those fetched ahead: the ends of a pipeline are then apart from each other. */
const ENOUGH = 4

export function linksOfStep(config: StepConfig, mostOps = COUNTED_OPS): LinkTotals {
  const of = config.chunks
  // The backward's inner loop turns round from row to row: even and odd numbers of chunks follow squares of their own.
  const first = ENOUGH + config.prefetch + ((of - ENOUGH - config.prefetch) & 1)
  if (of <= first + 4 || aboutOps(config) <= mostOps) return walk(config)
  const [a, b, c] = [0, 2, 4].map((more) => walk({ ...config, chunks: first + more, tokens: (first + more) * config.chunk })) as [
    LinkTotals,
    LinkTotals,
    LinkTotals,
  ]
  const n = (of - first) / 2
  const square = (link: (typeof LINKS)[number]): number => a[link] + n * (b[link] - a[link]) + ((n * (n - 1)) / 2) * (c[link] - 2 * b[link] + a[link])
  return { fetch: square('fetch'), offload: square('offload'), load: square('load'), spill: square('spill'), collective: square('collective') }
}

function walk(config: StepConfig): LinkTotals {
  const totals = { fetch: 0, offload: 0, load: 0, spill: 0, collective: 0 }
  for (const op of trainingStep(config)) {
    const link = LINKS.find((candidate) => candidate === streamOf(op))
    if (link) totals[link] += bytesMoved(op, config.ranks)
  }
  return totals
}
