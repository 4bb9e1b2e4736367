/**
 * Backward of attention, in either loop order. A *row* is a step of the outer loop, a *column* one of the inner:
 *
 *   kv   outer key/value chunks j ascending, inner query chunks i >= j (the paper's): q, dO, lse, delta and dq travel
 *   q    outer query chunks i descending, inner key/value chunks j <= i: k, v, dk and dv travel, which grouped heads make small
 *
 *   kv, j\i  0  1  2  3      q, i\j  0  1  2  3       Sums of a row grow along it; sums of a column grow down it and are final
 *        0   0  1  2  3          3   3  2  1  0       at the diagonal. So dq, dk and dv of a chunk are final together at the end
 *        1      6  5  4          2   4  5  6          of its row and stream out: rotary, all-to-all, projection and norm
 *        2         7  8          1   8  7             backward, while the next row begins.
 *        3            9          0   9
 *
 * What a row needs stays for the row; what a column needs travels, `prefetch` steps ahead. The inner loop turns round from row to
 * row, so that every second boundary meets the same column: it stays, and nothing travels.
 */

import { documentMask } from './attention-forward.js'
import type { Context } from './context.js'
import { at, compute, fetch, free, type Ops } from './emit.js'
import type { Place } from './ops.js'
import { exchangeGradients, projectQkvBackward } from './projection.js'
import type { Value } from './values.js'

interface Step {
  readonly row: number
  readonly column: number
  readonly firstOfRow: boolean
  readonly lastOfRow: boolean
  /** Of the first row of its sequence: sums of columns begin. */
  readonly firstRow: boolean
}

/** Every (row, column) of a sequence of `chunks` chunks from `from`, in order. */
function* stepsOf(order: 'kv' | 'q', from: number, chunks: number): Generator<Step, void, undefined> {
  for (let turn = 0; turn < chunks; turn++) {
    const row = order === 'kv' ? from + turn : from + chunks - 1 - turn
    const count = chunks - turn
    for (let t = 0; t < count; t++) {
      const away = turn % 2 === 0 ? t : count - 1 - t // from the diagonal, or towards it
      yield { row, column: order === 'kv' ? row + away : row - away, firstOfRow: t === 0, lastOfRow: t === count - 1, firstRow: turn === 0 }
    }
  }
}

/**
 * Roughly: dq, dk, dv of all chunks from dO and delta; then dWqkv, dnorm1 and dx[l,·]. Needs waiting, and ends there: q, k, v,
 * dO, lse, delta, dy of every chunk, and the layer's inputs x. Leaves dx[l,·] waiting.
 */
export function* attentionBackward(ctx: Context, l: number): Ops {
  const { config, b, waiting } = ctx
  const order = config.backwardOrder
  const query = (i: number): Value[] => [b.q(l, i), b.dO(l, i), b.lse(l, i), b.delta(l, i)]
  const key = (j: number): Value[] => [b.k(l, j), b.v(l, j)]
  const [rowInputs, columnInputs] = order === 'kv' ? [key, query] : [query, key]
  const columnSums = order === 'kv' ? (i: number) => [b.dq(l, i)] : (j: number) => [b.dk(l, j), b.dv(l, j)]

  const steps: Step[] = []
  for (let from = 0; from < ctx.chunks; from += config.chunks) steps.push(...stepsOf(order, from, config.chunks))
  const onDevice = new Set<number>() // columns whose inputs (and sums, once begun) are on the device
  const sumsWaiting = new Set<number>()
  let unfinished: number | undefined // a row whose exchange is under way

  for (let t = 0; t < Math.min(config.prefetch, steps.length); t++) yield* bring(steps[t] as Step)
  for (const [t, step] of steps.entries()) {
    const { row, column, firstOfRow, lastOfRow, firstRow } = step
    const ahead = steps[t + config.prefetch]
    if (ahead) yield* bring(ahead)
    const [i, j] = order === 'kv' ? [column, row] : [row, column]
    const operands = {
      dq: b.dq(l, i),
      dk: b.dk(l, j),
      dv: b.dv(l, j),
      q: b.q(l, i),
      k: b.k(l, j),
      v: b.v(l, j),
      dO: b.dO(l, i),
      lse: b.lse(l, i),
      delta: b.delta(l, i),
    }
    const [rowFlag, columnFlag] = [firstOfRow ? 1 : 0, firstRow ? 1 : 0]
    const flags = order === 'kv' ? { firstQ: columnFlag, firstKv: rowFlag } : { firstQ: rowFlag, firstKv: columnFlag }
    yield compute(at('backward', l, i, j), 'attendBackward', { ...operands, ...documentMask(ctx, i) }, flags)
    if (unfinished !== undefined) yield* finishRow(unfinished)
    unfinished = undefined
    yield* leave(t, step)
    if (!lastOfRow) continue
    yield* free(placeOf(step), 'device', ...rowInputs(row))
    if (order === 'q') yield* free(placeOf(step), 'device', ...masks(row))
    const final = at('backward', l, null, row)
    yield* ctx.checkpoints.take(final, b.x(l, row))
    yield* waiting.take(final, b.dy(l, row))
    yield* exchangeGradients(ctx, l, row)
    if (config.lookAhead && t < steps.length - 1) unfinished = row
    else yield* finishRow(row)
  }

  function placeOf({ row, column }: Step): Place {
    return order === 'kv' ? at('backward', l, column, row) : at('backward', l, row, column)
  }
  function masks(i: number): Value[] {
    return Object.values(documentMask(ctx, i))
  }
  function* fetchMasks(place: Place, i: number): Ops {
    for (const mask of masks(i)) yield fetch(place, mask)
  }

  /** What a step needs; the last use of a waiting value ends it there. */
  function* bring(step: Step): Ops {
    const { row, column, firstOfRow } = step
    const place = placeOf(step)
    if (firstOfRow) {
      yield* waiting.take(place, ...rowInputs(row))
      if (order === 'q') yield* fetchMasks(place, row)
    }
    if (!onDevice.has(column)) {
      yield* waiting.bring(place, ...columnInputs(column))
      if (order === 'kv') yield* fetchMasks(place, column)
      if (sumsWaiting.has(column)) yield* waiting.bring(place, ...columnSums(column))
      onDevice.add(column)
    }
    if (row !== column) return
    yield* waiting.forget(place, ...columnInputs(column))
    if (sumsWaiting.delete(column)) yield* waiting.forget(place, ...columnSums(column))
  }

  /** After a step: the column goes, unless a step already brought for needs it; its sums, once final, wait for the row to end. */
  function* leave(t: number, step: Step): Ops {
    const { row, column } = step
    const place = placeOf(step)
    for (let next = t + 1; next <= t + config.prefetch; next++) if (steps[next]?.column === column) return
    onDevice.delete(column)
    if (row === column) yield* free(place, 'device', ...columnInputs(column))
    else yield* waiting.release(place, ...columnInputs(column))
    if (order === 'kv') yield* free(place, 'device', ...masks(column))
    if (row === column) return
    yield* waiting.put(place, ...columnSums(column))
    sumsWaiting.add(column)
  }

  function* finishRow(j: number): Ops {
    yield* projectQkvBackward(ctx, l, j)
    yield* waiting.put(at('backward', l, null, j), b.dx(l, j))
  }
}
