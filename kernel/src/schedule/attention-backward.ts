/**
 * Backward of attention: outer loop over key/value chunks j, inner over query chunks i >= j (the paper's order).
 *
 *   j\i  0  1  2  3        dk[j], dv[j] grow along a row and are final at its end;
 *    0   0  1  2  3        dq[i] grows down a column and is final at the diagonal (i, i), the first step of row i.
 *    1      4  5  6        So the triple (dq[j], dk[j], dv[j]) is final together at the end of row j and streams out:
 *    2         7  8        rotary, all-to-all, projection and norm backward, while row j+1 begins.
 *    3            9
 *
 * k[j], v[j] stay for a row. q, dO, lse, delta and the f32 dq of chunk i travel for every step, `prefetch` steps ahead.
 * Where two rows meet on one query chunk ((u-2, u-1) and (u-1, u-1)) it stays: nothing travels.
 */

import type { StepConfig } from './config.js'
import { at, compute, fetch, free, moveToDevice, type Ops, offload } from './emit.js'
import { exchangeGradients, projectQkvBackward } from './projection.js'
import type { StepValues } from './step-values.js'

interface Step {
  readonly j: number
  readonly i: number
}

/**
 * Roughly: dq, dk, dv of all chunks from dO and delta; then dWqkv, dnorm1 and dx[l,·]. Needs on the host, and ends there:
 * q, k, v, dO, lse, delta, x, dy of every chunk. Leaves dx[l,·] on the host.
 */
export function* attentionBackward(config: StepConfig, b: StepValues, l: number): Ops {
  const u = config.chunks
  const steps: Step[] = []
  for (let j = 0; j < u; j++) for (let i = j; i < u; i++) steps.push({ j, i })
  const onDevice = new Set<number>() // query chunks whose q, dO, lse, delta (and dq, once begun) are on the device
  const dqOnHost = new Set<number>()

  for (let t = 0; t < Math.min(config.prefetch, steps.length); t++) yield* bring(steps[t] as Step)
  for (const [t, step] of steps.entries()) {
    const { j, i } = step
    const ahead = steps[t + config.prefetch]
    if (ahead) yield* bring(ahead)
    const place = at('backward', l, i, j)
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
    yield compute(place, 'attendBackward', operands, { firstQ: j === 0 ? 1 : 0, firstKv: i === j ? 1 : 0 })
    if (i === j && j > 0 && config.lookAhead) yield* finishRow(j - 1)
    yield* leave(t, step)
    if (i === u - 1) {
      yield* free(place, 'device', b.k(l, j), b.v(l, j))
      yield* moveToDevice(at('backward', l, null, j), b.x(l, j), b.dy(l, j))
      yield* exchangeGradients(config, b, l, j)
      if (!config.lookAhead || j === u - 1) yield* finishRow(j)
    }
  }

  /** What a step needs, from the host; the last use of a value there ends it. */
  function* bring({ j, i }: Step): Ops {
    const place = at('backward', l, i, j)
    if (i === j) yield* moveToDevice(place, b.k(l, j), b.v(l, j))
    const travelling = [b.q(l, i), b.dO(l, i), b.lse(l, i), b.delta(l, i)]
    if (!onDevice.has(i)) {
      for (const value of travelling) yield fetch(place, value)
      if (dqOnHost.has(i)) yield fetch(place, b.dq(l, i))
      onDevice.add(i)
    }
    if (i === j) {
      yield* free(place, 'host', ...travelling)
      if (dqOnHost.delete(i)) yield* free(place, 'host', b.dq(l, i))
    }
  }

  /** After a step: the query chunk goes, unless a step already brought for needs it; a final dq waits for its row to end. */
  function* leave(t: number, { j, i }: Step): Ops {
    const place = at('backward', l, i, j)
    const travelling = [b.q(l, i), b.dO(l, i), b.lse(l, i), b.delta(l, i)]
    for (let next = t + 1; next <= t + config.prefetch; next++) if (steps[next]?.i === i) return
    onDevice.delete(i)
    yield* free(place, 'device', ...travelling)
    if (i === j) return
    yield offload(place, b.dq(l, i))
    dqOnHost.add(i)
    yield* free(place, 'device', b.dq(l, i))
  }

  function* finishRow(j: number): Ops {
    yield* projectQkvBackward(config, b, l, j)
    const place = at('backward', l, null, j)
    yield offload(place, b.dx(l, j))
    yield* free(place, 'device', b.dx(l, j))
  }
}
