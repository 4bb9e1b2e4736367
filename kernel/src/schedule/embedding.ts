/** The embedding table, chunk by chunk: tokens become x[0,i]; dx[0,i] is scattered back at the end. Learned positions are a second table. */

import type { Context } from './context.js'
import { at, compute, fetch, free, type Ops } from './emit.js'
import type { Operands } from './kernels.js'
import type { Place } from './ops.js'
import type { GroupValues } from './step-values.js'
import type { Value } from './values.js'
import { beginGradient, finishGradient, gatherWeights, releaseWeights } from './weights.js'

/** A table, and for a chunk of the step's inputs the rows to take from it. */
interface Lookup {
  readonly table: GroupValues
  readonly rows: (n: number) => Value
}
function lookupsOf({ b }: Context): Lookup[] {
  return [{ table: b.embedding, rows: b.tokens }, ...(b.positionTable ? [{ table: b.positionTable, rows: b.positions }] : [])]
}

/** Roughly: x[0,i] = table[tokens[i]] + positionTable[positions[i]] for every chunk. `gathering`: emitted after the table's gather, for what comes next. */
export function* embeddingForward(ctx: Context, gathering: Ops): Ops {
  const { b } = ctx
  for (const { table } of lookupsOf(ctx)) yield* gatherWeights(ctx, at('embedding'), table)
  yield* gathering
  yield* fetchInputs(ctx, at('embedding', null, 0), 0)
  for (let i = 0; i < ctx.chunks; i++) {
    const place = at('embedding', null, i)
    const n = ctx.input(i)
    if (i + 1 < ctx.chunks) yield* fetchInputs(ctx, at('embedding', null, i + 1), i + 1)
    const learned: Operands = b.positionTable ? { positions: b.positions(n), positionTable: b.positionTable.weight('table') } : {}
    yield compute(place, 'embed', { x: b.x(0, i), tokens: b.tokens(n), table: b.embedding.weight('table'), ...learned })
    yield* freeInputs(ctx, place, i)
    yield* ctx.checkpoints.put(place, b.x(0, i))
  }
  for (const { table } of lookupsOf(ctx)) yield* releaseWeights(ctx, at('embedding'), table)
}

/** Roughly: dtable[tokens[i]] += dx[0,i], and positions likewise. With a tied head the head's share of dtable is there already. */
export function* embeddingBackward(ctx: Context): Ops {
  const { b } = ctx
  const lookups = lookupsOf(ctx)
  for (const { table } of lookups) yield* beginGradient(ctx, at('backward'), table)
  for (let i = 0; i < ctx.chunks; i++) {
    const place = at('backward', null, i)
    const dx = b.dx(0, i)
    yield* fetchInputs(ctx, place, i)
    yield* ctx.waiting.take(place, dx)
    for (const { table, rows } of lookups) {
      const dtable = table.dweight('table')
      yield compute(place, 'embedBackward', { dtable, dx, tokens: rows(ctx.input(i)) }, { first: ctx.first(dtable) })
    }
    yield* free(place, 'device', dx)
    yield* freeInputs(ctx, place, i)
  }
  for (const { table } of lookups) yield* finishGradient(ctx, at('backward'), table)
}

/** Inputs stand on the host throughout: their device copies come and go. */
function* fetchInputs(ctx: Context, place: Place, i: number): Ops {
  for (const { rows } of lookupsOf(ctx)) yield fetch(place, rows(ctx.input(i)))
}
function* freeInputs(ctx: Context, place: Place, i: number): Ops {
  for (const { rows } of lookupsOf(ctx)) yield* free(place, 'device', rows(ctx.input(i)))
}
