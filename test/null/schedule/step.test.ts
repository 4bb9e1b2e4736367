import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { llama } from '../../../kernel/src/model/llama.js'
import { plan } from '../../../kernel/src/plan/plan.js'
import { paddedTokens, type StepConfig, type StepOptions, stepConfig } from '../../../kernel/src/schedule/config.js'
import { accesses, flopsOf, type Op } from '../../../kernel/src/schedule/ops.js'
import { printOp, valuesOf } from '../../../kernel/src/schedule/print.js'
import { standing, trainingStep } from '../../../kernel/src/schedule/step.js'
import { stepValues } from '../../../kernel/src/schedule/step-values.js'
import { under } from '../../../kernel/src/schedule/systems.js'
import { bytesOf } from '../../../kernel/src/schedule/values.js'
import { anyConfig } from './arbitrary.js'
import { aStepIsCorrect, aStepIsCorrectUnderEverySystem } from './laws.js'

const small = llama({ layers: 2, width: 16, heads: 4, kvHeads: 2, headSize: 8, feedForward: 24, vocab: 50 })
const initial = (config: StepConfig) => {
  const b = stepValues(config)
  return { b, initial: standing(config, b).map((standing) => ({ ...standing, persistent: true as const })) }
}
/** `k[0,3]` -> `k`. */
const symbol = (name: string): string => name.replace(/\[.*$/, '')
const planned = (config: StepConfig) => {
  const { b, initial: there } = initial(config)
  return plan(trainingStep(config, b), { ranks: config.ranks, initial: there, workspace: () => 0 })
}

describe('step', () => {
  it('is a correct schedule for any sizes: read after written, freed once, collectives matched', () => fc.assert(aStepIsCorrect, { numRuns: 100 }))

  it('is one under every system', () => fc.assert(aStepIsCorrectUnderEverySystem, { numRuns: 100 }))

  it('puts nothing on the device that grows with the sequence', () => {
    const largest = (config: StepConfig): Map<string, number> => {
      const bytes = new Map<string, number>()
      for (const op of trainingStep(config)) {
        for (const { value, tier } of accesses(op)) {
          if (tier === 'device') bytes.set(symbol(value.name), Math.max(bytes.get(symbol(value.name)) ?? 0, bytesOf(value)))
        }
      }
      return bytes
    }
    fc.assert(
      fc.property(
        anyConfig.filter((config) => config.chunks >= 2),
        (config) => {
          const twice = { ...config, tokens: paddedTokens(config) * 2, chunks: config.chunks * 2 }
          expect(largest(twice)).toEqual(largest(config))
        },
      ),
    )
  })

  it('needs the same device bytes for 8 chunks as for 64: the peak is a function of the chunk', () => {
    const at = (chunks: number) => planned(stepConfig({ model: small, sequence: chunks * 8, chunk: 8, ranks: 2 }))
    const [eight, many] = [at(8), at(64)]
    expect(many.arenaBytes.device).toBe(eight.arenaBytes.device)
    expect(many.peaks.device.bytes).toBe(eight.peaks.device.bytes)
    expect(many.arenaBytes.host).toBeGreaterThan(7 * eight.arenaBytes.host)
  })

  it('does the same useful work chunked and un-chunked', () => {
    // Recomputation aside, attention flops are those of the causal square whatever the chunk.
    const flops = (ops: Iterable<Op>, kernel: string): number =>
      [...ops].filter((op) => op.kind === 'compute' && op.kernel === kernel && op.place.phase !== 'recompute').reduce((sum, op) => sum + flopsOf(op), 0)
    const config = stepConfig({ model: small, sequence: 48, chunk: 8, ranks: 2 })
    const whole = under(config, 'ulysses')
    for (const kernel of ['attend', 'attendBackward', 'crossEntropy', 'weightGradient']) {
      const chunked = flops(trainingStep(config), kernel)
      expect(chunked).toBeGreaterThan(0)
      expect(chunked).toBe(flops(trainingStep(whole), kernel))
    }
  })

  it('fetches the next key/value chunk before it attends the one in use, and frees each after its attend', () => {
    const config = stepConfig({ model: small, sequence: 32, chunk: 8, ranks: 2, lookAhead: 0 })
    const inner = [...trainingStep(config)]
      .filter((op) => op.place.phase === 'forward' && op.place.layer === 0 && op.place.q === 3 && op.place.kv !== null)
      .map(printOp)
    expect(inner).toEqual([
      'fetch k[0,0] @fetch',
      'fetch v[0,0] @fetch',
      'fetch k[0,1] @fetch',
      'fetch v[0,1] @fetch',
      'attend state[0,3] = q[0,3] k[0,0] v[0,0] @compute',
      'free k[0,0]@device',
      'free v[0,0]@device',
      'fetch k[0,2] @fetch',
      'fetch v[0,2] @fetch',
      'attend state[0,3] += q[0,3] k[0,1] v[0,1] @compute',
      'free k[0,1]@device',
      'free v[0,1]@device',
      'attend state[0,3] += q[0,3] k[0,2] v[0,2] @compute',
      'free k[0,2]@device',
      'free v[0,2]@device',
      'attend state[0,3] += q[0,3] k[0,3] v[0,3] @compute',
      'finish o[0,3] lse[0,3] = state[0,3] @compute',
      'free state[0,3]@device',
    ])
  })

  it.each(['kv', 'q'] as const)('makes dq, dk and dv of a chunk final together, with outer %s chunks', (backwardOrder) => {
    const config = stepConfig({ model: small, sequence: 40, chunk: 8, ranks: 1, backwardOrder })
    const steps = [...trainingStep(config)].filter(
      (op) =>
        op.place.phase === 'backward' && op.place.layer === 1 && op.kind === 'compute' && (op.kernel === 'attendBackward' || op.kernel === 'rotaryBackward'),
    )
    const words = steps.map((op) => (op.kind === 'compute' && op.kernel === 'attendBackward' ? `${op.place.q}:${op.place.kv}` : `final ${op.place.kv}`))
    // The inner loop turns round from row to row, so that every second boundary meets the same chunk.
    expect(words.join(' ')).toBe(
      backwardOrder === 'kv'
        ? '0:0 1:0 2:0 3:0 4:0 final 0 4:1 3:1 2:1 1:1 final 1 2:2 3:2 4:2 final 2 4:3 3:3 final 3 4:4 final 4'
        : '4:4 4:3 4:2 4:1 4:0 final 4 3:0 3:1 3:2 3:3 final 3 2:2 2:1 2:0 final 2 1:0 1:1 final 1 0:0 final 0',
    )
  })

  it('rounds an f32 gradient of the hidden state once where it enters products of bf16, and nowhere else', () => {
    const rounded = (dtypes: Pick<StepOptions, 'dtype' | 'hidden'>): string[] =>
      [...trainingStep(stepConfig({ model: small, sequence: 8, chunk: 8, feedForwardRows: 4, ...dtypes }))]
        .filter((op) => op.place.layer === 1 && op.place.phase === 'backward' && valuesOf(op).some(({ name }) => /^d[xy]T/.test(name)))
        .map(printOp)
    expect(rounded({ hidden: 'f32' })).toEqual([
      ...['0', '1'].flatMap((s) => [
        `round dxT[2,0.${s}] = dx[2,0].${s} @compute`,
        `weightGradient dw[1].down ${s === '0' ? '=' : '+='} dxT[2,0.${s}] act[1,0.${s}] @compute`,
        `projectBackward dAct[1,0.${s}] = dxT[2,0.${s}] w[1].down @compute`,
        `free dxT[2,0.${s}]@device`,
      ]),
      'round dyT[1,0] = dy[1,0] @compute',
      'weightGradient dw[1].out = dyT[1,0] oLocal[1,0] @compute',
      'projectBackward dOLocal[1,0] = dyT[1,0] w[1].out @compute',
      'free dyT[1,0]@device',
    ])
    expect(rounded({ hidden: 'bf16' })).toEqual([])
    expect(rounded({ dtype: 'f32' })).toEqual([])
  })

  it('writes with the first contribution to a gradient and adds with the others, over batches and parts', () => {
    fc.assert(
      fc.property(anyConfig, (config) => {
        const written = new Map<string, number>()
        for (const op of trainingStep(config)) {
          if (config.ranks > 1 && op.kind === 'free' && symbol(op.value.name) === 'dw')
            for (const name of [...written.keys()]) if (name.startsWith(`${op.value.name}.`)) written.delete(name)
          if (op.kind !== 'compute' || !('first' in op.flags)) continue
          const sum = op.operands.dweight ?? op.operands.dtable ?? op.operands.dbias ?? op.operands.loss
          if (!sum || op.kernel === 'clip') continue
          const first = written.has(sum.name) ? 0 : 1
          if (op.flags.first !== first) expect(op.flags.first, printOp(op)).toBe(first) // thousands of ops are printed only where it is not so
          written.set(sum.name, 1)
        }
      }),
    )
  })

  it('emits the projection of the next chunk before the attention of this one with look-ahead, after it without', () => {
    const order = (lookAhead: 0 | 1): string[] => {
      const config = stepConfig({ model: small, sequence: 24, chunk: 8, ranks: 2, lookAhead })
      return [...trainingStep(config)]
        .filter((op) => op.place.phase === 'forward' && op.place.layer === 0 && (op.kind === 'allToAll' || (op.kind === 'compute' && op.kernel === 'finish')))
        .map((op) => (op.kind === 'allToAll' ? `${op.direction} ${op.place.q}` : `finish ${op.place.q}`))
    }
    expect(order(0)).toEqual(['toHeads 0', 'finish 0', 'toTokens 0', 'toHeads 1', 'finish 1', 'toTokens 1', 'toHeads 2', 'finish 2', 'toTokens 2'])
    expect(order(1)).toEqual(['toHeads 0', 'toHeads 1', 'finish 0', 'toTokens 0', 'toHeads 2', 'finish 1', 'toTokens 1', 'finish 2', 'toTokens 2'])
  })

  it('gathers a layer while the one before it computes', () => {
    const config = stepConfig({ model: small, sequence: 24, chunk: 8, ranks: 2 })
    const lines = [...trainingStep(config)].map(printOp)
    const gather = lines.indexOf('gather wPart[1] -> w[1] @collective')
    expect(gather).toBeGreaterThan(lines.indexOf('allToAll qkv[0,0] -> q[0,0] k[0,0] v[0,0] @collective'))
    expect(gather).toBeLessThan(lines.indexOf('finish o[0,0] lse[0,0] = state[0,0] @compute'))
  })
})
