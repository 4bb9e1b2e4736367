/**
 * The named values of a training step, and how large each is. Names are the paper's symbols with layer and chunk: `q[l,i]`.
 *
 *   before the all-to-all, c local tokens and all heads:   x n1 qkv oLocal y n2 gateUp act   dx dy dqkv dOLocal   (up for gateUp with GELU)
 *   after it, C tokens and this rank's share of the heads: q k v state o lse                 dO delta dq dk dv dqT dkT dvT
 *
 * T is the compute dtype. x, y, dx and dy, the hidden state and its gradient, are in H, which is T or f32; where it is not T, dxT and dyT
 * are what of them enters a product. `state` is opaque (running sums and their reference exponent); lse is a natural log.
 */
import { type Group, type Layout, parameterLayout } from '../model/parameters.js'
import type { Category } from '../trace/schema.js'
import { localChunk, parts, type StepConfig } from './config.js'
import { type Dtype, type Value, view } from './values.js'

/** Elements of optimizer state that come to the device at a time where states live elsewhere: three f32 of each, 12 MiB, twice. */
const SLICE = 2 ** 20

/** A stretch of a rank's partition that AdamW updates in one op. */
export interface StateSlice {
  /** First element in the partition. */
  readonly offset: number
  readonly count: number
  readonly master: Value
  readonly m: Value
  readonly v: Value
  /** The same stretch of the weights and of the gradient's partition. */
  readonly weight: Value
  readonly gradient: Value
}

/** Values of one parameter group: whole tensors for compute, this rank's partition for the optimizer. */
export interface GroupValues {
  readonly group: Group
  /** Weights in T, all of them; views by part name. At P = 1 the partition is the whole: nothing is gathered. */
  readonly weights: Value
  readonly weightsPart: Value
  /** Gradients in f32. At P = 1 likewise. */
  readonly gradient: Value
  readonly gradientPart: Value
  /** Optimizer states; one slice of all where they live on the device. `master` is of the weights themselves when T is f32. */
  readonly slices: readonly StateSlice[]
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
  const { model, ranks, dtype: T, hidden: H } = config
  const c = localChunk(config)
  const C = config.chunk
  const { width: d, headSize: D, feedForward: f, vocabulary: V } = model
  const [h, g] = [model.heads, model.kvHeads]
  const [hp, gp] = [h / ranks, Math.max(1, g / ranks)] // fewer key/value heads than ranks: each is on several
  const u = config.chunks
  const layout: Layout = parameterLayout(model, ranks)
  const swiglu = model.activation === 'swiglu'

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
      value(`${symbol}[${l},${i}]`, dtype, [C, ...shape], 'attention', (i % u) * C)
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
    const gradientPart = ranks === 1 ? gradient : partition('dwPart', 'f32', 'gradients')
    const held = group.padded / ranks
    const slices = parts(held, config.states === 'device' ? held : SLICE).map(([offset, count], s, all): StateSlice => {
      const whole = all.length === 1
      const state = (symbol: string): Value => value(`${symbol}${suffix}${whole ? '' : `.s${s}`}`, 'f32', [count], 'optimizer')
      const stretch = (of: Value): Value => (whole ? of : view(of, `s${s}`, [count], offset))
      const weight = stretch(weightsPart)
      return { offset, count, master: T === 'f32' ? weight : state('master'), m: state('m'), v: state('v'), weight, gradient: stretch(gradientPart) }
    })
    return {
      group,
      weights,
      weightsPart,
      gradient,
      gradientPart,
      slices,
      weight: (name) => viewOf(weights, name),
      dweight: (name) => viewOf(gradient, name),
    }
  }

  const embedding = groupValues(layout.embedding, '[embedding]')
  const layers = layout.layers.map((group, l) => groupValues(group, `[${l}]`))
  const head = groupValues(layout.head, '[head]')
  const positionTable = layout.positions ? groupValues(layout.positions, '[positions]') : undefined

  return {
    layout,
    /** Every value made so far, by name. */
    known: known as ReadonlyMap<string, Value>,
    embedding,
    /** Where positions are learned. */
    positionTable,
    layer: (l: number): GroupValues => layers[l] as GroupValues,
    head,
    /** All parameter groups, in order. */
    groups: [embedding, ...(positionTable ? [positionTable] : []), ...layers, head] as readonly GroupValues[],

    // Inputs, on the host before the step, of chunk n of all its batches: c local tokens; the first position of each row's document of C.
    tokens: (n: number): Value => value(`tokens[${n}]`, 'i32', [c], 'input'),
    labels: (n: number): Value => value(`labels[${n}]`, 'i32', [c], 'input'), // -1 is ignored
    positions: (n: number): Value => value(`positions[${n}]`, 'i32', [c], 'input'), // of learned positions
    starts: (n: number): Value => value(`starts[${n}]`, 'i32', [C], 'input'), // of packed documents

    /** Radians a position of each pair of a head, on the device from the beginning. */
    frequencies: value('frequencies', 'f64', [D / 2], 'parameters'),

    // Before the all-to-all: local tokens.
    x: local('x', [d], 'hidden', H), // hidden state entering layer l; x[L,i] enters the head
    n1: local('n1', [d], 'hidden'),
    qkv: local('qkv', [h + 2 * g, D], 'attention'),
    oLocal: local('oLocal', [h, D], 'attention'),
    y: local('y', [d], 'hidden', H), // after the attention's residual
    dx: local('dx', [d], 'hidden', H),
    dn1: local('dn1', [d], 'hidden'),
    dqkv: local('dqkv', [h + 2 * g, D], 'attention'),
    dOLocal: local('dOLocal', [h, D], 'attention'),
    dy: local('dy', [d], 'hidden', H),
    /** dy rounded, where H is not T. */
    dyT: H === T ? undefined : local('dyT', [d], 'hidden'),

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
    inner: swiglu ? part('gateUp', 2 * f, 'feedForward') : part('up', f, 'feedForward'),
    act: part('act', f, 'feedForward'),
    dAct: part('dAct', f, 'feedForward'),
    dInner: swiglu ? part('dGateUp', 2 * f, 'feedForward') : part('dUp', f, 'feedForward'),
    dn2: part('dn2', d, 'feedForward'),
    /** A part of dx rounded, where H is not T. */
    dxT: H === T ? undefined : part('dxT', d, 'feedForward'),

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
