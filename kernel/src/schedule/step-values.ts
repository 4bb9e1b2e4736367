/**
 * The named values of a training step, and how large each is. Names are the paper's symbols with layer and chunk: `q[l,i]`.
 *
 *   before the all-to-all, c local tokens and all heads:   x n1 qkv oLocal y n2 gateUp act   dx dy dqkv dOLocal
 *   after it, C tokens and this rank's share of the heads: q k v state o lse                 dO delta dq dk dv dqT dkT dvT
 *
 * T is the compute dtype. `state` is opaque (running sums and their reference exponent); lse is a natural log.
 */
import { type Group, type Layout, parameterLayout } from '../model/parameters.js'
import type { Category } from '../trace/schema.js'
import { localChunk, type StepConfig } from './config.js'
import { type Dtype, type Value, view } from './values.js'

/** Values of one parameter group: whole tensors for compute, this rank's partition for the optimizer. */
export interface GroupValues {
  readonly group: Group
  /** Weights in T, all of them; views by part name. At P = 1 the partition is the whole: nothing is gathered. */
  readonly weights: Value
  readonly weightsPart: Value
  /** Gradients in f32. At P = 1 likewise. */
  readonly gradient: Value
  readonly gradientPart: Value
  /** f32 master weights; the same value as `weightsPart` when T is f32. */
  readonly master: Value
  readonly m: Value
  readonly v: Value
  /** A part of the weights, by name: `weight('qkv')`. */
  weight(part: string): Value
  /** The same part of the gradient. */
  dweight(part: string): Value
}

export type StepValues = ReturnType<typeof stepValues>

/**
 * Every value of a training step, each made once, when it is first asked for. `config` gives all sizes.
 * Roughly: `stepValues(config).q(l, i)` is q of layer l, chunk i: (C, h/P, D) in T, with the position of its first row.
 */
export function stepValues(config: StepConfig) {
  const { model, ranks, dtype: T } = config
  const c = localChunk(config)
  const C = config.chunk
  const { width: d, headSize: D, feedForward: f, vocabulary: V } = model
  const [h, g] = [model.heads, model.kvHeads]
  const [hp, gp] = [h / ranks, g / ranks]
  const layout: Layout = parameterLayout(model, ranks)

  // One object a name, so that values can be compared and kept in maps by identity or by name alike.
  const known = new Map<string, Value>()
  const value = (name: string, dtype: Dtype, shape: readonly number[], category: Category, start?: number): Value => {
    return once(known, name, () => (start === undefined ? { name, dtype, shape, category } : { name, dtype, shape, category, start }))
  }
  const local =
    (symbol: string, shape: readonly number[], category: Category, dtype: Dtype = T) =>
    (l: number, i: number): Value =>
      value(`${symbol}[${l},${i}]`, dtype, [c, ...shape], category)
  const global =
    (symbol: string, shape: readonly number[], dtype: Dtype = T) =>
    (l: number, i: number): Value =>
      value(`${symbol}[${l},${i}]`, dtype, [C, ...shape], 'attention', i * C)
  const perHead =
    (symbol: string) =>
    (l: number, i: number): Value =>
      value(`${symbol}[${l},${i}]`, 'f32', [hp, C], 'attention')
  const part =
    (symbol: string, columns: number, category: Category, dtype: Dtype = T) =>
    (l: number, i: number, s: number, rows: number): Value =>
      value(`${symbol}[${l},${i}.${s}]`, dtype, [rows, columns], category)

  const groupValues = (group: Group, suffix: string): GroupValues => {
    const whole = (symbol: string, dtype: Dtype, category: Category): Value => value(`${symbol}${suffix}`, dtype, [group.padded], category)
    const partition = (symbol: string, dtype: Dtype, category: Category): Value => value(`${symbol}${suffix}`, dtype, [group.padded / ranks], category)
    const weights = whole('w', T, 'parameters')
    const gradient = whole('dw', 'f32', 'gradients')
    const weightsPart = ranks === 1 ? weights : partition('wPart', T, 'parameters')
    const views = new Map<string, Value>()
    const viewOf = (of: Value, name: string): Value => {
      const key = `${of.name}.${name}`
      const entry = name === PAD ? { shape: [group.padded - group.count], offset: group.count } : group.parts.find((p) => p.name === name)
      if (!entry) throw new Error(`group ${group.name} has no part ${name}`)
      return once(views, key, () => view(of, name, entry.shape, entry.offset))
    }
    return {
      group,
      weights,
      weightsPart,
      gradient,
      gradientPart: ranks === 1 ? gradient : partition('dwPart', 'f32', 'gradients'),
      master: T === 'f32' ? weightsPart : partition('master', 'f32', 'optimizer'),
      m: partition('m', 'f32', 'optimizer'),
      v: partition('v', 'f32', 'optimizer'),
      weight: (name) => viewOf(weights, name),
      dweight: (name) => viewOf(gradient, name),
    }
  }

  const embedding = groupValues(layout.embedding, '[embedding]')
  const layers = layout.layers.map((group, l) => groupValues(group, `[${l}]`))
  const head = groupValues(layout.head, '[head]')

  return {
    layout,
    /** Every value made so far, by name. */
    known: known as ReadonlyMap<string, Value>,
    embedding,
    layer: (l: number): GroupValues => layers[l] as GroupValues,
    head,
    /** All parameter groups, in order. */
    groups: [embedding, ...layers, head] as readonly GroupValues[],

    // Inputs, on the host before the step: c local tokens of chunk i. A label of -1 is ignored.
    tokens: (i: number): Value => value(`tokens[${i}]`, 'i32', [c], 'input'),
    labels: (i: number): Value => value(`labels[${i}]`, 'i32', [c], 'input'),

    // Before the all-to-all: local tokens.
    x: local('x', [d], 'hidden'), // hidden state entering layer l; x[L,i] enters the head
    n1: local('n1', [d], 'hidden'),
    qkv: local('qkv', [h + 2 * g, D], 'attention'),
    oLocal: local('oLocal', [h, D], 'attention'),
    y: local('y', [d], 'hidden'), // after the attention's residual
    dx: local('dx', [d], 'hidden'),
    dn1: local('dn1', [d], 'hidden'),
    dqkv: local('dqkv', [h + 2 * g, D], 'attention'),
    dOLocal: local('dOLocal', [h, D], 'attention'),
    dy: local('dy', [d], 'hidden'),

    // After the all-to-all: C tokens from position i C, this rank's heads.
    q: global('q', [hp, D]),
    k: global('k', [gp, D]),
    v: global('v', [gp, D]),
    state: global('state', [hp, D + 2], 'f32'),
    o: global('o', [hp, D]),
    lse: perHead('lse'),
    dO: global('dO', [hp, D]),
    delta: perHead('delta'),
    dq: global('dq', [hp, D], 'f32'),
    dk: global('dk', [gp, D], 'f32'),
    dv: global('dv', [gp, D], 'f32'),
    dqT: global('dqT', [hp, D]),
    dkT: global('dkT', [gp, D]),
    dvT: global('dvT', [gp, D]),

    // Rows of a part s of the feed-forward layer.
    n2: part('n2', d, 'feedForward'),
    gateUp: part('gateUp', 2 * f, 'feedForward'),
    act: part('act', f, 'feedForward'),
    dAct: part('dAct', f, 'feedForward'),
    dGateUp: part('dGateUp', 2 * f, 'feedForward'),
    dn2: part('dn2', d, 'feedForward'),

    // Rows of a part s of the loss head.
    nHead: (i: number, s: number, rows: number): Value => value(`nHead[${i}.${s}]`, T, [rows, d], 'loss'),
    logits: (i: number, s: number, rows: number): Value => value(`logits[${i}.${s}]`, 'f32', [rows, V], 'loss'),
    dnHead: (i: number, s: number, rows: number): Value => value(`dnHead[${i}.${s}]`, T, [rows, d], 'loss'),
    loss: value('loss', 'f64', [1], 'loss'),

    // Optimizer scalars.
    gradientNorm: value('gradientNorm', 'f64', [1], 'optimizer'), // squared
    clipScale: value('clipScale', 'f32', [1], 'optimizer'),
  }
}

/** Name of the view of a gradient's padding: zeroed once, so that it adds nothing to the norm. */
export const PAD = 'pad'

/** The value of a key, made when it is asked for the first time. */
function once<Key, Made>(map: Map<Key, Made>, key: Key, make: () => Made): Made {
  const there = map.get(key)
  if (there !== undefined) return there
  const made = make()
  map.set(key, made)
  return made
}
