/**
 * Valid schedules from a seed: creates, reads, updates, views, copies over all tiers, collectives and
 * frees, with few values alive at once, so that arenas are reused all the time. The same seed gives the same schedule.
 */
import fc from 'fast-check'
import { at, compute } from '../../../kernel/src/schedule/emit.js'
import type { Kernel } from '../../../kernel/src/schedule/kernels.js'
import type { Op, Place } from '../../../kernel/src/schedule/ops.js'
import type { Standing } from '../../../kernel/src/schedule/standing.js'
import { rows, type Value } from '../../../kernel/src/schedule/values.js'
import { CATEGORIES, PHASES, type Tier } from '../../../kernel/src/trace/schema.js'

export interface RandomSchedule {
  readonly ops: readonly Op[]
  readonly initial: readonly Standing[]
  readonly ranks: number
}

const WIDTH = 16
const ROWS = [2, 4, 8, 12, 40]
const HEADS = 2 // of one rank
const MOST_ALIVE = 7

/** Bytes of scratch, some of them 0, by the rows that a kernel takes. */
export function workspace(kernel: Kernel, parameters: readonly number[]): number {
  return kernel === 'project' ? 300 * parameters[0] : kernel === 'norm' ? 0 : 100
}

/** Schedules of up to `most` actions; a failing one shrinks to its beginning. */
export function randomSchedule(most = 200): fc.Arbitrary<RandomSchedule> {
  const ranks = fc.integer({ min: 1, max: 3 })
  const actions = fc.noBias(fc.integer({ min: 1, max: most })) // fast-check's liking for small numbers would leave arenas without pressure
  const seed = fc.noShrink(fc.nat())
  return fc.tuple(ranks, actions, seed).map(([P, count, start]) => interpret(P, count, start))
}

/** Where a value is, and on which of those tiers its bytes are current. */
interface Live {
  readonly value: Value
  readonly on: Map<Tier, boolean>
}

function interpret(ranks: number, count: number, seed: number): RandomSchedule {
  const named = (name: string, shape: number[], dtype: Value['dtype'] = 'f32'): Value => ({
    name,
    dtype,
    shape,
    category: CATEGORIES[name.length % CATEGORIES.length],
  })
  const norm = named('w[norm]', [WIDTH])
  const weight = named('w[square]', [WIDTH, WIDTH])
  const dweight = named('dw[square]', [WIDTH, WIDTH])
  const part = named('wPart[flat]', [64])
  const sum = named('sum', [1], 'f64')
  const standing = [norm, weight, dweight, part, sum]
  const initial: Standing[] = standing.map((value) => ({ value, tier: 'device', written: true }))

  const ops: Op[] = []
  const live: Live[] = []
  let made = 0
  let state = seed
  /** 0 .. n - 1 (mulberry32). */
  const pick = (n: number): number => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % n
  }
  const oneOf = <T>(items: readonly T[]): T | undefined => items[pick(Math.max(1, items.length))]
  const place = (): Place => at(PHASES[pick(PHASES.length)], pick(4) === 0 ? null : pick(3), pick(3) === 0 ? null : pick(5), pick(3) === 0 ? null : pick(5))
  const create = (shape: number[], start?: number): Value => {
    const value = start === undefined ? named(`t[${made++}]`, shape) : { ...named(`t[${made++}]`, shape), start }
    live.push({ value, on: new Map([['device', true]]) })
    return value
  }
  const written = (value: Value): void => {
    for (const { value: other, on } of live) if (other === value) for (const tier of on.keys()) on.set(tier, tier === 'device')
  }
  const readable = (tier: Tier, dimensions: number): Live[] => live.filter(({ value, on }) => on.get(tier) && value.shape.length === dimensions)
  const run = (kernel: Kernel, operands: Record<string, Value>, flags = {}): void => {
    ops.push(compute(place(), kernel, operands, flags))
  }
  const copy = (kind: 'offload' | 'fetch' | 'spill' | 'load', from: Tier, to: Tier): void => {
    const item = oneOf(live.filter(({ on }) => on.get(from)))
    if (!item) return
    ops.push({ kind, place: place(), value: item.value })
    item.on.set(to, true)
  }
  const free = (item: Live, tier: Tier): void => {
    ops.push({ kind: 'free', place: place(), value: item.value, tier })
    item.on.delete(tier)
    if (item.on.size === 0) live.splice(live.indexOf(item), 1)
  }
  const tall = (): number[] => [ROWS[pick(ROWS.length)], WIDTH]

  const actions: (() => void)[] = [
    () => run('zero', { out: create(tall()) }),
    () => {
      const x = oneOf(readable('device', 2))?.value
      if (x) run('norm', { out: create([...x.shape]), x, weight: norm }, { eps: 1e-5 })
    },
    () => {
      const [a, residual] = [oneOf(readable('device', 2))?.value, oneOf(readable('device', 2))?.value]
      if (a && residual) run('project', { out: create([...a.shape]), a, weight, ...(residual.shape[0] === a.shape[0] ? { residual } : {}) })
    },
    () => {
      const [dout, a] = [oneOf(readable('device', 2))?.value, oneOf(readable('device', 2))?.value]
      if (dout && a && dout.shape[0] === a.shape[0]) run('weightGradient', { dweight, dout, a }, { first: pick(2) })
    },
    () => {
      const gradient = oneOf(readable('device', 2))?.value
      if (gradient) run('squaredNorm', { sum, gradient }, { first: pick(2) })
    },
    () => {
      // Part of a value is written, and another part read.
      const x = oneOf(readable('device', 2))?.value
      if (!x || x.shape[0] % 2 !== 0) return
      const half = x.shape[0] / 2
      run('zero', { out: rows(x, 'low', 0, half) })
      written(x)
      run('norm', { out: create([half, WIDTH]), x: rows(x, 'high', half, half), weight: norm }, { eps: 1e-6 })
    },
    () => {
      const x = oneOf(readable('device', 2))?.value
      if (!x || x.shape[0] % 2 !== 0) return
      run('norm', { out: rows(x, 'low', 0, x.shape[0] / 2), x: rows(x, 'high', x.shape[0] / 2, x.shape[0] / 2), weight: norm }, { eps: 0.5 })
      written(x)
    },
    () => copy('offload', 'device', 'host'),
    () => copy('offload', 'device', 'host'),
    () => copy('fetch', 'host', 'device'),
    () => copy('fetch', 'host', 'device'),
    () => copy('spill', 'host', 'disk'),
    () => copy('load', 'disk', 'host'),
    () => {
      const c = ROWS[pick(ROWS.length)]
      const local = create([c, 2 * HEADS * ranks, 8])
      run('zero', { out: local })
      const parts = [create([c * ranks, HEADS, 8], 0), create([c * ranks, HEADS, 8], c)]
      ops.push({ kind: 'allToAll', place: place(), direction: 'toHeads', local, parts })
    },
    () => {
      const x = oneOf(readable('device', 3).filter(({ value }) => value.start !== undefined))?.value
      if (x) ops.push({ kind: 'allToAll', place: place(), direction: 'toTokens', parts: [x], local: create([x.shape[0] / ranks, HEADS * ranks, 8]) })
    },
    () => {
      const full = create([64 * ranks])
      ops.push({ kind: 'gather', place: place(), part, full })
    },
    () => {
      const full = oneOf(readable('device', 1))?.value
      if (full) ops.push({ kind: 'reduceScatter', place: place(), full, part, first: pick(2) === 1 })
    },
    () => void ops.push({ kind: 'allReduce', place: place(), value: sum }),
  ]

  for (let i = 0; i < count; i++) {
    actions[pick(actions.length)]()
    while (live.length > MOST_ALIVE || (live.length > 0 && pick(4) === 0)) {
      const item = live[pick(live.length)]
      free(item, [...item.on.keys()][pick(item.on.size)])
    }
  }
  while (live.length > 0) free(live[0], live[0].on.keys().next().value as Tier)
  return { ops, initial, ranks }
}
