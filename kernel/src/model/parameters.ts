/**
 * Parameters: which matrices a model has, and how they lie in memory.
 *
 * Parameters are flat *groups*: the embedding table, learned positions, one group a layer, and the head. A group is padded so that every rank
 * holds an equal, aligned partition (ZeRO-3); rank r's partition is elements r n/P .. (r + 1) n/P. Norm weights
 * and biases lie first in a group, because weight decay leaves a leading stretch alone and everything after it not.
 */
import type { ModelConfig } from './config.js'

export interface Part {
  /** Name inside the group: `qkv`. */
  readonly name: string
  readonly shape: readonly number[]
  /** In elements of the group. */
  readonly offset: number
}
export interface Group {
  /** `embedding`, `positions`, `layer 3` or `head`. */
  readonly name: string
  readonly parts: readonly Part[]
  /** Elements with padding: a multiple of 64 P. */
  readonly padded: number
  /** Elements without padding. */
  readonly count: number
  /** Leading elements that are not decayed (norm weights, biases). */
  readonly undecayed: number
}
export interface Layout {
  readonly embedding: Group
  /** Learned positions: a group of their own, because a tied head adds to the embedding's gradient and not to theirs. */
  readonly positions?: Group
  readonly layers: readonly Group[]
  readonly head: Group
}

/** Partitions begin at a multiple of 64 elements: a cache line of f32, two of bf16. */
const ALIGNMENT = 64

type Shapes = readonly (readonly [name: string, shape: readonly number[]])[]

/** Groups of a model for P ranks, with shapes (outputs, inputs) for matrices. Parts that a model lacks are not there. */
export function parameterLayout(model: ModelConfig, ranks: number): Layout {
  const { width: d, heads: h, kvHeads: g, headSize: D, feedForward: f, vocabulary: V, activation, bias, positions } = model
  const qkv = (h + 2 * g) * D
  const [inner, innerWidth] = activation === 'swiglu' ? (['gateUp', 2 * f] as const) : (['up', f] as const)
  const norm = (name: string): Shapes => [[name, [d]], ...(model.norm === 'layer' ? ([[`${name}Bias`, [d]]] as const) : [])]
  const when = (there: boolean, shapes: Shapes): Shapes => (there ? shapes : [])
  const layer: Shapes = [
    ...norm('norm1'),
    ...norm('norm2'),
    ...when(bias.attention, [
      ['qkvBias', [qkv]],
      ['outBias', [d]],
    ]),
    ...when(bias.feedForward, [
      [`${inner}Bias`, [innerWidth]],
      ['downBias', [d]],
    ]),
    ['qkv', [qkv, d]],
    ['out', [d, h * D]],
    [inner, [innerWidth, d]],
    ['down', [d, f]],
  ]
  return {
    embedding: group('embedding', ranks, [['table', [V, d]]]),
    ...(positions.kind === 'learned' ? { positions: group('positions', ranks, [['table', [positions.length, d]]]) } : {}),
    layers: Array.from({ length: model.layers }, (_, l) => group(`layer ${l}`, ranks, layer)),
    head: group('head', ranks, [...norm('norm'), ...when(!model.tied, [['matrix', [V, d]]])]),
  }
}

export function groupsOf(layout: Layout): Group[] {
  return [layout.embedding, ...(layout.positions ? [layout.positions] : []), ...layout.layers, layout.head]
}

/** Parameters of a model, pads not counted. */
export function parameterCount(model: ModelConfig): number {
  return groupsOf(parameterLayout(model, 1)).reduce((sum, { count }) => sum + count, 0)
}

function group(name: string, ranks: number, shapes: Shapes): Group {
  const parts: Part[] = []
  let offset = 0
  let undecayed = 0
  for (const [partName, shape] of shapes) {
    parts.push({ name: partName, shape, offset })
    offset += shape.reduce((product, extent) => product * extent, 1)
    if (shape.length === 1) undecayed = offset
  }
  const unit = ALIGNMENT * ranks
  return { name, parts, count: offset, padded: Math.ceil(offset / unit) * unit, undecayed }
}
