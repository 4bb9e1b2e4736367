/**
 * One transformer layer over all chunks of the sequence, forward and backward. Nothing here is as long as the sequence:
 * chunks of the hidden state wait on the host, and the device sees one or two at a time.
 *
 * A chunk passes through stages. With look-ahead 1 they interleave, so that both of a chunk's all-to-alls hide:
 *
 *   lookAhead 0   front 0 | attend 0 | tail 0 | front 1 | attend 1 | tail 1 | front 2 ...         (the paper's order)
 *   lookAhead 1   front 0 | front 1 | attend 0 | front 2 | attend 1, tail 0 after its first | front 3 | attend 2 ...
 */
import type { Phase } from '../trace/schema.js'
import { attentionBackward } from './attention-backward.js'
import { attendChunk, prefetchKv } from './attention-forward.js'
import type { StepConfig } from './config.js'
import { at, compute, fetch, free, moveToDevice, moveToHost, nothing, type Ops, offload, toTokens } from './emit.js'
import { feedForward, feedForwardBackward } from './feed-forward.js'
import { projectOut, projectOutBackward, projectQkv } from './projection.js'
import type { StepValues } from './step-values.js'

/**
 * Forward of layer l: x[l,·] on the host becomes x[l+1,·] on the host. x[l,·] stays there: it is the checkpoint from which
 * the backward computes everything again. `exchanged` is emitted after the first all-to-all (the next layer's gather).
 */
export function* layerForward(config: StepConfig, b: StepValues, l: number, exchanged: Ops): Ops {
  const u = config.chunks
  yield* pipeline(config, b, 'forward', l, {
    *front(i) {
      yield* takeInput(config, b, 'forward', l, i)
      yield* projectQkv(config, b, 'forward', l, i, i === 0 ? exchanged : nothing())
      if (i < u - 1) for (const value of [b.k(l, i), b.v(l, i)]) yield offload(at('forward', l, i), value) // the last chunk's have no later reader
    },
    *attend(i, afterFirst) {
      const place = at('forward', l, i)
      yield* attendChunk(config, b, 'forward', l, i, afterFirst)
      yield* free(place, 'device', b.q(l, i), b.k(l, i), b.v(l, i), b.lse(l, i))
      yield toTokens(place, [b.o(l, i)], b.oLocal(l, i))
      yield* free(place, 'device', b.o(l, i))
    },
    *tail(i) {
      const place = at('forward', l, i)
      yield* projectOut(b, 'forward', l, i)
      yield* free(place, 'device', b.x(l, i), b.oLocal(l, i))
      yield* feedForward(config, b, 'forward', l, i)
      yield* free(place, 'device', b.y(l, i))
      yield* moveToHost(place, b.x(l + 1, i))
    },
    close: nothing,
  })
  for (let j = 0; j < u - 1; j++) yield* free(at('forward', l), 'host', b.k(l, j), b.v(l, j))
}

/**
 * Backward of layer l: dx[l+1,·] on the host becomes dx[l,·] on the host; x[l,·] ends there. Pass A goes through the chunks
 * as the forward did, computes it again, and ends with dO and delta of every chunk; pass B is the attention's backward.
 */
export function* layerBackward(config: StepConfig, b: StepValues, l: number, exchanged: Ops): Ops {
  yield* pipeline(config, b, 'recompute', l, {
    *front(i) {
      yield* takeInput(config, b, 'recompute', l, i)
      yield* projectQkv(config, b, 'recompute', l, i, i === 0 ? exchanged : nothing())
      for (const value of [b.k(l, i), b.v(l, i), b.q(l, i)]) yield offload(at('recompute', l, i), value)
    },
    *attend(i, afterFirst) {
      const place = at('recompute', l, i)
      yield* moveToDevice(at('backward', l, i), b.dx(l + 1, i)) // for the tail
      yield* attendChunk(config, b, 'recompute', l, i, afterFirst)
      yield* free(place, 'device', b.q(l, i), b.k(l, i), b.v(l, i))
      yield* moveToHost(place, b.lse(l, i))
      yield toTokens(place, [b.o(l, i)], b.oLocal(l, i)) // o stays: delta needs it
    },
    *tail(i) {
      const place = at('backward', l, i)
      yield* projectOut(b, 'recompute', l, i)
      yield* free(place, 'device', b.x(l, i))
      yield* feedForwardBackward(config, b, l, i)
      yield* free(place, 'device', b.y(l, i), b.dx(l + 1, i))
      yield* projectOutBackward(b, l, i)
      yield* moveToHost(place, b.dy(l, i))
    },
    *close(i) {
      const place = at('backward', l, i)
      yield compute(place, 'delta', { delta: b.delta(l, i), dO: b.dO(l, i), o: b.o(l, i) })
      yield* free(place, 'device', b.o(l, i))
      yield* moveToHost(place, b.dO(l, i), b.delta(l, i))
    },
  })
  yield* attentionBackward(config, b, l)
}

interface Stages {
  /** x of the chunk to q, k, v. */
  readonly front: (i: number) => Ops
  /** q, k, v to the exchanged attention output; emits `afterFirst` after its first attend. */
  readonly attend: (i: number, afterFirst: Ops) => Ops
  /** The rest, that needs the exchanged output. */
  readonly tail: (i: number) => Ops
  /** What needs an exchange of the tail. */
  readonly close: (i: number) => Ops
}

function* pipeline(config: StepConfig, b: StepValues, phase: Phase, l: number, stages: Stages): Ops {
  const u = config.chunks
  if (config.lookAhead) yield* stages.front(0)
  for (let i = 0; i < u; i++) {
    yield* prefetchKv(config, b, phase, l, i)
    if (!config.lookAhead) {
      yield* stages.front(i)
      yield* stages.attend(i, nothing())
      yield* stages.tail(i)
      yield* stages.close(i)
      continue
    }
    if (i + 1 < u) yield* stages.front(i + 1)
    yield* stages.attend(i, i > 0 ? stages.tail(i - 1) : nothing())
    if (i > 0) yield* stages.close(i - 1)
  }
  if (!config.lookAhead) return
  yield* stages.tail(u - 1)
  yield* stages.close(u - 1)
}

/** The hidden state of chunk i, fetched one chunk ahead. */
function* takeInput(config: StepConfig, b: StepValues, phase: Phase, l: number, i: number): Ops {
  if (i === 0) yield fetch(at(phase, l, 0), b.x(l, 0))
  if (i + 1 < config.chunks) yield fetch(at(phase, l, i + 1), b.x(l, i + 1))
}
