import { describe, expect, it } from 'vitest'
import { gpt } from '../../../../kernel/src/model/gpt.js'
import { llama } from '../../../../kernel/src/model/llama.js'
import { stepConfig } from '../../../../kernel/src/schedule/config.js'
import { type Op, presentOperands, streamOf } from '../../../../kernel/src/schedule/ops.js'
import { printOp, valuesOf } from '../../../../kernel/src/schedule/print.js'
import { trainingStep } from '../../../../kernel/src/schedule/step.js'
import { SYSTEM_NAMES, under } from '../../../../kernel/src/schedule/systems.js'
import { isToTokens, opBrief, operandsOf, opLine, subjectOf, verbOf, withoutStream } from '../../../../kernel/src/trace/ask/op-text.js'
import { stateName, stemOf, valueName } from '../../../../kernel/src/trace/ask/value-name.js'
import { NONE } from '../../../../kernel/src/trace/schema.js'

const models = [
  llama({ layers: 1, width: 16, heads: 2, headSize: 8, feedForward: 24, vocab: 64 }),
  gpt({ layers: 1, width: 16, heads: 2, vocab: 64, positions: 64 }),
]
const configs = models.flatMap((model) => [
  ...SYSTEM_NAMES.map((name) => under(stepConfig({ model, sequence: 48, chunk: 16, ranks: 2 }), name)),
  stepConfig({ model, sequence: 48, chunk: 16, ranks: 1, keep: 'disk', states: 'disk' }),
])
const ops: readonly Op[] = configs.flatMap((config) => [...trainingStep(config)])
const lineOf = (op: Op): Parameters<typeof opLine>[0] => ({ listing: [printOp(op)] }) as unknown as Parameters<typeof opLine>[0]

describe('lines of real schedules', () => {
  it('give back verb, values and stream of every op', () => {
    for (const op of ops) {
      const text = printOp(op)
      expect(verbOf(text)).toBe(op.kind === 'compute' ? op.kernel : op.kind)
      expect([...operandsOf(text)].sort(), text).toEqual(
        valuesOf(op)
          .map(({ name }) => name)
          .sort(),
      )
      if (op.kind !== 'free') expect(`${withoutStream(text)} @${streamOf(op)}`).toBe(text)
      expect(isToTokens(text)).toBe(op.kind === 'allToAll' && op.direction === 'toTokens')
    }
  })

  it('name first what is written', () => {
    for (const op of ops) {
      const subject = subjectOf(printOp(op))
      const written = op.kind === 'compute' ? presentOperands(op).filter(({ spec }) => spec.access !== 'read') : []
      if (op.kind === 'compute') expect(written.map(({ value }) => value.name)).toContain(subject)
      else expect(valuesOf(op).map(({ name }) => name)).toContain(subject)
    }
  })

  it('are brief without stream and numbers, and lose no value', () => {
    for (const op of ops) {
      const text = opBrief(lineOf(op), 0)
      expect(text).not.toMatch(/ @|\w=/)
      expect(operandsOf(text)).toEqual(operandsOf(printOp(op)))
    }
    expect(opLine(lineOf(ops[0]), 7)).toBe('op 7')
    expect(subjectOf('')).toBe('')
  })
})

describe('names', () => {
  it('tell a chunk from a state of weights', () => {
    expect(valueName('n2[2,5.1]')).toEqual({ base: 'n2', layer: 2, chunk: 5, part: 1 })
    expect(valueName('tokens[5]')).toEqual({ base: 'tokens', layer: NONE, chunk: 5, part: -1 })
    expect(stateName('v[2,5]')).toBeNull()
    expect(stateName('v[2]')).toEqual({ state: 'v', group: '2', tensor: '' })
    expect(stateName('dw[0].qkv')).toEqual({ state: 'dw', group: '0', tensor: 'qkv' })
    expect(stateName('master[embedding].s1')).toEqual({ state: 'master', group: 'embedding', tensor: '' })
    expect(['dw[0].qkv', 'x[1,0].loss0', 'm[0].s1', 'k[0,2]'].map(stemOf)).toEqual(['dw.qkv', 'x', 'm', 'k'])
  })

  it('know every state of weights that a schedule has', () => {
    const kept = new Set(ops.flatMap((op) => valuesOf(op).filter(({ category }) => category === 'optimizer' && op.kind !== 'compute')))
    expect(kept.size).toBeGreaterThan(0)
    for (const { name } of kept) if (name.includes('[')) expect(stateName(name), name).not.toBeNull()
  })
})
