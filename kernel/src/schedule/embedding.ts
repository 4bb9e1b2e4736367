/** The embedding table, chunk by chunk: tokens become x[0,i] on the host; dx[0,i] is scattered back at the end. */

import type { StepConfig } from './config.js'
import { at, compute, fetch, free, moveToDevice, moveToHost, type Ops } from './emit.js'
import type { StepValues } from './step-values.js'
import { gatherWeights, reduceGradient, releaseWeights } from './weights.js'

/** Roughly: x[0,i] = table[tokens[i]] for every chunk. `gathering`: emitted after the table's gather, for what comes next. */
export function* embeddingForward(config: StepConfig, b: StepValues, gathering: Ops): Ops {
  yield* gatherWeights(config, at('embedding'), b.embedding)
  yield* gathering
  yield fetch(at('embedding', null, 0), b.tokens(0))
  for (let i = 0; i < config.chunks; i++) {
    const place = at('embedding', null, i)
    if (i + 1 < config.chunks) yield fetch(at('embedding', null, i + 1), b.tokens(i + 1))
    yield compute(place, 'embed', { x: b.x(0, i), tokens: b.tokens(i), table: b.embedding.weight('table') })
    yield* free(place, 'device', b.tokens(i))
    yield* moveToHost(place, b.x(0, i))
  }
  yield* releaseWeights(config, at('embedding'), b.embedding)
}

/** Roughly: dtable[tokens[i]] += dx[0,i]. With a tied head the head's share of dtable is there already. */
export function* embeddingBackward(config: StepConfig, b: StepValues): Ops {
  const headWasFirst = config.model.tied
  for (let i = 0; i < config.chunks; i++) {
    const place = at('backward', null, i)
    yield fetch(place, b.tokens(i))
    yield* moveToDevice(place, b.dx(0, i))
    const first = i === 0 && !(headWasFirst && config.ranks === 1) ? 1 : 0
    yield compute(place, 'embedBackward', { dtable: b.embedding.dweight('table'), dx: b.dx(0, i), tokens: b.tokens(i) }, { first })
    yield* free(place, 'device', b.dx(0, i), b.tokens(i))
  }
  yield* reduceGradient(config, at('backward'), b.embedding, !headWasFirst)
}
