/**
 * One transformer layer over all chunks of a batch, forward and backward. Nothing here is as long as the sequence: chunks of
 * the hidden state wait where the policy says, and the device sees one or two at a time.
 *
 * A chunk passes through stages. With look-ahead 1 they interleave, so that both of a chunk's all-to-alls hide:
 *
 *   lookAhead 0   front 0 | attend 0 | tail 0 | front 1 | attend 1 | tail 1 | front 2 ...         (the paper's order)
 *   lookAhead 1   front 0 | front 1 | attend 0 | front 2 | attend 1, tail 0 after its first | front 3 | attend 2 ...
 */
import type { Phase, Tier } from '../trace/schema.js'
import { attentionBackward } from './attention-backward.js'
import { attendChunk, prefetchKv } from './attention-forward.js'
import type { Context } from './context.js'
import { at, compute, free, nothing, type Ops, toTokens } from './emit.js'
import { feedForward, feedForwardBackward } from './feed-forward.js'
import { projectOut, projectOutBackward, projectQkv } from './projection.js'
import { storeOn, transfer } from './store.js'

/**
 * Forward of layer l: x[l,·] waiting becomes x[l+1,·] waiting. x[l,·] stays: it is the checkpoint of the backward; so does
 * what `keep` names. `exchanged` is emitted after the first all-to-all (the next layer's gather).
 */
export function* layerForward(ctx: Context, l: number, exchanged: Ops): Ops {
  const { b, waiting, checkpoints, chunks } = ctx
  const { keep } = ctx.config
  const all = keep === 'all'
  const kept = keptTier(ctx)
  yield* pipeline(ctx, 'forward', l, {
    input: (i) => bringInput(ctx, 'forward', l, i),
    *front(i) {
      yield* projectQkv(ctx, 'forward', l, i, i === 0 ? exchanged : nothing())
      if (waits(i)) yield* waiting.save(at('forward', l, i), b.k(l, i), b.v(l, i))
    },
    *attend(i, afterFirst) {
      const place = at('forward', l, i)
      const [q, k, v, lse, o] = [b.q(l, i), b.k(l, i), b.v(l, i), b.lse(l, i), b.o(l, i)]
      yield* attendChunk(ctx, 'forward', l, i, afterFirst)
      if (kept) yield* storeOn(kept).put(place, q, lse)
      else yield* free(place, 'device', q, lse)
      if (waits(i)) yield* waiting.release(place, k, v)
      else yield* free(place, 'device', k, v) // the last chunk of a sequence has no later reader
      yield toTokens(place, [o], b.oLocal(l, i))
      if (kept) yield* storeOn(kept).put(place, o)
      else yield* free(place, 'device', o)
    },
    *tail(i) {
      const place = at('forward', l, i)
      yield* projectOut(ctx, 'forward', l, i)
      yield* checkpoints.release(place, b.x(l, i))
      if (!all) yield* free(place, 'device', b.oLocal(l, i))
      yield* feedForward(ctx, 'forward', l, i, all)
      if (!all) yield* free(place, 'device', b.y(l, i))
      yield* checkpoints.put(place, b.x(l + 1, i))
    },
    close: nothing,
  })
  for (let j = 0; j < chunks; j++) {
    const place = at('forward', l, null, j)
    if (kept) yield* transfer(place, waiting.tier, kept, b.k(l, j), b.v(l, j))
    else if (waits(j)) yield* waiting.end(place, b.k(l, j), b.v(l, j))
  }

  /** Whether k and v of a chunk are needed after its own attention. */
  function waits(i: number): boolean {
    return kept !== undefined || !ctx.isLast(i)
  }
}

/**
 * Backward of layer l: dx[l+1,·] waiting becomes dx[l,·] waiting; x[l,·] ends. Pass A goes through the chunks as the forward
 * did, computes again what was not kept, and ends with dO and delta of every chunk; pass B is the attention's backward.
 */
export function* layerBackward(ctx: Context, l: number, exchanged: Ops): Ops {
  yield* pipeline(ctx, 'recompute', l, keptTier(ctx) ? keptStages(ctx, l, exchanged) : recomputedStages(ctx, l, exchanged))
  yield* attentionBackward(ctx, l)
}

function recomputedStages(ctx: Context, l: number, exchanged: Ops): Stages {
  const { b, waiting } = ctx
  return {
    input: (i) => bringInput(ctx, 'recompute', l, i),
    *front(i) {
      yield* projectQkv(ctx, 'recompute', l, i, i === 0 ? exchanged : nothing())
      yield* waiting.save(at('recompute', l, i), b.k(l, i), b.v(l, i), b.q(l, i))
    },
    *attend(i, afterFirst) {
      const place = at('recompute', l, i)
      yield* waiting.take(at('backward', l, i), b.dx(l + 1, i)) // for the tail
      yield* attendChunk(ctx, 'recompute', l, i, afterFirst)
      yield* waiting.release(place, b.q(l, i), b.k(l, i), b.v(l, i))
      yield* waiting.put(place, b.lse(l, i))
      yield toTokens(place, [b.o(l, i)], b.oLocal(l, i)) // o stays: delta needs it
    },
    *tail(i) {
      yield* projectOut(ctx, 'recompute', l, i)
      yield* ctx.checkpoints.release(at('backward', l, i), b.x(l, i))
      yield* backThroughFeedForward(ctx, l, i, false)
    },
    close: (i) => deltaOf(ctx, l, i),
  }
}

/** With q, k, v, o and lse kept, attention is not computed again; with everything kept, nothing is. */
function keptStages(ctx: Context, l: number, exchanged: Ops): Stages {
  const { b, waiting } = ctx
  const all = ctx.config.keep === 'all'
  const kept = keptTier(ctx) as Tier
  return {
    input: (i) => (all ? nothing() : bringInput(ctx, 'recompute', l, i)),
    *front(i) {
      yield* storeOn(kept).take(at('recompute', l, i), b.o(l, i))
      yield* waiting.take(at('backward', l, i), b.dx(l + 1, i))
      if (!all) yield toTokens(at('recompute', l, i), [b.o(l, i)], b.oLocal(l, i))
      if (i === 0) yield* exchanged
    },
    *attend(i, afterFirst) {
      yield* transfer(at('recompute', l, i), kept, waiting.tier, b.q(l, i), b.k(l, i), b.v(l, i), b.lse(l, i))
      yield* afterFirst
    },
    *tail(i) {
      if (!all) {
        yield* projectOut(ctx, 'recompute', l, i)
        yield* ctx.checkpoints.release(at('backward', l, i), b.x(l, i))
      }
      yield* backThroughFeedForward(ctx, l, i, all)
    },
    close: (i) => deltaOf(ctx, l, i),
  }
}

/** Roughly: dy from dx[l+1,i]; then dO[l,i]. */
function* backThroughFeedForward(ctx: Context, l: number, i: number, kept: boolean): Ops {
  const { b } = ctx
  const place = at('backward', l, i)
  yield* feedForwardBackward(ctx, l, i, kept)
  yield* free(place, 'device', b.y(l, i), b.dx(l + 1, i))
  yield* projectOutBackward(ctx, l, i)
  yield* ctx.waiting.put(place, b.dy(l, i))
}

function* deltaOf({ b, waiting }: Context, l: number, i: number): Ops {
  const place = at('backward', l, i)
  yield compute(place, 'delta', { delta: b.delta(l, i), dO: b.dO(l, i), o: b.o(l, i) })
  yield* free(place, 'device', b.o(l, i))
  yield* waiting.put(place, b.dO(l, i), b.delta(l, i))
}

/** Where q, k, v, o and lse of the forward wait for the backward; undefined: they are computed again. */
function keptTier({ config }: Context): Tier | undefined {
  return config.keep === 'recompute' ? undefined : config.keep === 'all' ? 'device' : config.keep
}

interface Stages {
  /** x of the chunk comes to the device, a chunk before its front. */
  readonly input: (i: number) => Ops
  /** x of the chunk to q, k, v. */
  readonly front: (i: number) => Ops
  /** q, k, v to the exchanged attention output; emits `afterFirst` after its first attend. */
  readonly attend: (i: number, afterFirst: Ops) => Ops
  /** The rest, that needs the exchanged output. */
  readonly tail: (i: number) => Ops
  /** What needs an exchange of the tail. */
  readonly close: (i: number) => Ops
}

function* pipeline(ctx: Context, phase: Phase, l: number, stages: Stages): Ops {
  const { chunks } = ctx
  const { lookAhead } = ctx.config
  // With attention kept there is none to prefetch for.
  const attends = phase === 'forward' || keptTier(ctx) === undefined
  yield* stages.input(0)
  if (chunks > 1) yield* stages.input(1)
  if (lookAhead) yield* stages.front(0)
  for (let i = 0; i < chunks; i++) {
    if (attends) yield* prefetchKv(ctx, phase, l, i)
    if (!lookAhead) {
      if (i > 0 && i + 1 < chunks) yield* stages.input(i + 1)
      yield* stages.front(i)
      yield* stages.attend(i, nothing())
      yield* stages.tail(i)
      yield* stages.close(i)
      continue
    }
    if (i + 1 < chunks) yield* stages.front(i + 1)
    yield* stages.attend(i, meanwhile(i))
    if (i > 0) yield* stages.close(i - 1)
  }
  if (!lookAhead) return
  yield* stages.tail(chunks - 1)
  yield* stages.close(chunks - 1)

  /** The tail first: with one chunk of x more beside it, the peak would be that much higher. */
  function* meanwhile(i: number): Ops {
    if (i > 0) yield* stages.tail(i - 1)
    if (i + 2 < chunks) yield* stages.input(i + 2)
  }
}

/** The hidden state of chunk i. */
function bringInput({ b, checkpoints }: Context, phase: Phase, l: number, i: number): Ops {
  return checkpoints.bring(at(phase, l, i), b.x(l, i))
}
