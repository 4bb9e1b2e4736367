/**
 * Generated training steps: every part a model can have, odd sizes of everything (chunks and parts that do not divide, grouped and
 * replicated heads, 1 to 4 ranks), every policy. Which of them a step is, is decided by draws that do not depend on each other.
 */
import fc from 'fast-check'
import type { ModelConfig, Positions } from '../../../kernel/src/model/config.js'
import { type StepConfig, type StepOptions, stepConfig } from '../../../kernel/src/schedule/config.js'

interface Most {
  readonly layers: number
  readonly chunks: number
  /** Rows of a rank in a chunk. */
  readonly local: number
}
export interface AnySizes {
  readonly model: ModelConfig
  /** Of the hidden state where dtype is bf16. */
  readonly hidden: 'bf16' | 'f32'
  /** dtype and hidden are left open. */
  readonly options: Omit<StepOptions, 'model' | 'dtype' | 'hidden'> & {
    readonly chunk: number
    readonly ranks: number
    readonly batch: number
    readonly accumulate: number
  }
}

const upTo = (n: number): fc.Arbitrary<number> => fc.integer({ min: 1, max: n })

/** Any heads that `ranks` can share: several key/value heads a rank, one a rank, or one for several ranks. */
const anyHeads = (ranks: number): fc.Arbitrary<Pick<ModelConfig, 'heads' | 'kvHeads' | 'headSize'>> =>
  fc
    .record({
      kvHeads: fc.constantFrom(...[1, 2, 3, 4, 8].filter((kvHeads) => kvHeads % ranks === 0 || ranks % kvHeads === 0)),
      group: fc.constantFrom(1, 2, 3),
      // Large heads are rare: an oracle of plain loops takes its time over them.
      headSize: fc.oneof({ weight: 12, arbitrary: fc.constantFrom(8, 16, 24, 40, 64) }, { weight: 1, arbitrary: fc.constantFrom(56, 128, 256) }),
    })
    .map(({ kvHeads, group, headSize }) => {
      const heads = Math.max(kvHeads, ranks) * group
      return headSize > 64 && heads > 4 ? { kvHeads, heads, headSize: 32 } : { kvHeads, heads, headSize }
    })

/** Scalings that change something within a few dozen positions. */
const anyPositions = (length: number): fc.Arbitrary<Positions> =>
  fc.oneof(
    fc.record({ kind: fc.constant('rotary' as const), theta: fc.constantFrom(100, 10_000, 500_000) }),
    fc.record({
      kind: fc.constant('rotary' as const),
      theta: fc.constantFrom(500, 10_000),
      scaling: fc.oneof(
        fc.record({ kind: fc.constant('linear' as const), factor: fc.constantFrom(2, 3.5) }),
        fc.record({
          kind: fc.constant('llama3' as const),
          factor: fc.constantFrom(4, 8),
          lowFrequency: fc.constant(1),
          highFrequency: fc.constantFrom(2, 4),
          original: fc.constantFrom(16, 64),
        }),
        fc.record({
          kind: fc.constant('yarn' as const),
          factor: fc.constantFrom(2, 8),
          betaFast: fc.constantFrom(8, 32),
          betaSlow: fc.constant(1),
          original: fc.constantFrom(64, 256),
          magnitude: fc.constantFrom(1, 0.1 * Math.log(8) + 1),
        }),
      ),
    }),
    fc.integer({ min: 0, max: 7 }).map((spare) => ({ kind: 'learned' as const, length: length + spare })),
  )

const anyParts = fc.record({
  // Only a name, and a layout in a file.
  family: fc.constantFrom('llama' as const, 'gpt2' as const),
  norm: fc.constantFrom('rms' as const, 'layer' as const),
  normEps: fc.constantFrom(1e-5, 1e-6),
  activation: fc.constantFrom('swiglu' as const, 'gelu' as const),
  bias: fc.record({ attention: fc.boolean(), feedForward: fc.boolean() }),
  tied: fc.boolean(),
})

/** Keeping everything on the device leaves nothing to choose about where chunks and checkpoints wait. */
const anyPolicy = fc.oneof(
  {
    weight: 7,
    arbitrary: fc.record({
      offload: fc.constantFrom('host' as const, 'host' as const, 'device' as const),
      checkpoints: fc.constantFrom('device' as const, 'host' as const, 'disk' as const),
      keep: fc.constantFrom('recompute' as const, 'recompute' as const, 'device' as const, 'host' as const, 'disk' as const),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ offload: 'device' as const, checkpoints: 'device' as const, keep: 'all' as const }) },
)

/** A model and the options of a step of it. */
export function anySizes(most: Most): fc.Arbitrary<AnySizes> {
  return fc
    .record({ ranks: upTo(4), local: upTo(most.local), chunks: upTo(most.chunks), missing: fc.integer({ min: 0, max: 5 }) })
    .chain(({ ranks, local, chunks, missing }) => {
      const chunk = local * ranks
      const sequence = Math.max(2, chunk * (chunks - 1) + 1, chunk * chunks - missing)
      return fc
        .record({
          sizes: fc.record({
            layers: upTo(most.layers),
            width: fc.constantFrom(12, 20, 32),
            feedForward: fc.integer({ min: 5, max: 40 }),
            vocabulary: fc.integer({ min: 7, max: 60 }),
          }),
          heads: anyHeads(ranks),
          positions: anyPositions(sequence),
          parts: anyParts,
          hidden: fc.constantFrom('bf16' as const, 'f32' as const),
          policy: anyPolicy,
          rows: fc.record({ feedForwardRows: upTo(local), lossRows: upTo(local) }),
          rest: fc.record({
            batch: fc.constantFrom(1, 1, 2, 3),
            accumulate: fc.constantFrom(1, 1, 2, 3),
            documents: fc.boolean(),
            lookAhead: fc.constantFrom(0 as const, 1 as const),
            prefetch: fc.integer({ min: 0, max: 3 }),
            backwardOrder: fc.constantFrom('kv' as const, 'q' as const),
            parameters: fc.constantFrom('device' as const, 'host' as const),
            states: fc.constantFrom('device' as const, 'host' as const, 'disk' as const),
          }),
        })
        .map(({ sizes, heads, positions, parts, hidden, policy, rows, rest }) => ({
          model: { ...sizes, ...heads, positions, ...parts },
          hidden,
          options: { sequence, chunk, ranks, ...rows, ...rest, ...policy },
        }))
    })
}

/** Small enough to plan hundreds of them. */
export const anyConfig: fc.Arbitrary<StepConfig> = fc
  .tuple(anySizes({ layers: 3, chunks: 6, local: 9 }), fc.constantFrom('bf16' as const, 'f32' as const))
  .map(([{ model, hidden, options }, dtype]) => stepConfig({ model, dtype, ...(dtype === 'bf16' ? { hidden } : {}), ...options }))
