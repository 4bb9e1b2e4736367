import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FpdtError } from '../../../kernel/src/errors.js'
import { llama } from '../../../kernel/src/model/llama.js'
import { stepConfig } from '../../../kernel/src/schedule/config.js'
import { at, compute, free, gather, reduceScatter, toHeads, toTokens } from '../../../kernel/src/schedule/emit.js'
import { KERNEL_NAMES } from '../../../kernel/src/schedule/kernels.js'
import { parseListing, parseOp, printListing, printOp, printOps, shapesOf } from '../../../kernel/src/schedule/print.js'
import { trainingStep } from '../../../kernel/src/schedule/step.js'
import { type Dtype, rows, type Value } from '../../../kernel/src/schedule/values.js'
import { randomSchedule } from '../plan/random-schedule.js'

const value = (name: string, shape: number[] = [4, 2, 8], dtype: Dtype = 'f32'): Value => ({ name, dtype, shape, category: 'attention' })
const [q, k, v, state] = ['q[0,3]', 'k[0,1]', 'v[0,1]', 'state[0,3]'].map((name) => value(name))
const here = at('forward', 0, 3, 1)

describe('print', () => {
  it('writes one short line an op', () => {
    const [dq, dk, dv, dO, lse, delta] = ['dq[0,3]', 'dk[0,1]', 'dv[0,1]', 'dO[0,3]', 'lse[0,3]', 'delta[0,3]'].map((name) => value(name))
    const frequencies = value('frequencies', [4], 'f64')
    const backward = { dq, dk, dv, q, k, v, dO, lse, delta }
    const ops = [
      compute(here, 'attend', { state, q, k, v }, { first: 0 }),
      compute(here, 'attend', { state, q, k, v }, { first: 1 }),
      compute(here, 'attendBackward', backward, { firstQ: 0, firstKv: 1 }),
      compute(here, 'norm', { out: q, x: k, weight: v }, { eps: 1e-5 }),
      compute(here, 'rotary', { q, k, frequencies }, { magnitude: 1 }),
      toHeads(here, value('qkv[0,3]'), [q, k, v]),
      toTokens(here, [value('o[0,3]')], value('oLocal[0,3]')),
      gather(here, value('wPart[1]'), value('w[1]')),
      reduceScatter(here, value('dw[1]'), value('dwPart[1]'), true),
      reduceScatter(here, value('dw[1]'), value('dwPart[1]'), false),
      ...free(here, 'device', k),
    ]
    expect(ops.map(printOp)).toEqual([
      'attend state[0,3] += q[0,3] k[0,1] v[0,1] @compute',
      'attend state[0,3] = q[0,3] k[0,1] v[0,1] @compute',
      'attendBackward dk[0,1] dv[0,1] = dq[0,3] += q[0,3] k[0,1] v[0,1] dO[0,3] lse[0,3] delta[0,3] @compute',
      'norm q[0,3] = k[0,1] v[0,1] eps=1e-5 @compute',
      'rotary q[0,3] k[0,1] += frequencies magnitude=1 @compute',
      'allToAll qkv[0,3] -> q[0,3] k[0,1] v[0,1] @collective',
      'allToAll o[0,3] -> oLocal[0,3] toTokens @collective',
      'gather wPart[1] -> w[1] @collective',
      'reduceScatter dw[1] -> dwPart[1] @collective',
      'reduceScatter dw[1] +> dwPart[1] @collective',
      'free k[0,1]@device',
    ])
  })

  it('parses back to the op', () => {
    fc.assert(
      fc.property(randomSchedule(), ({ ops }) => {
        expect(parseListing(printListing(ops))).toEqual(ops)
      }),
    )
  })

  it('parses a whole training step back', () => {
    const model = llama({ layers: 2, width: 16, heads: 4, kvHeads: 2, headSize: 8, feedForward: 24, vocab: 50 })
    for (const ranks of [1, 2, 4]) {
      const ops = [...trainingStep(stepConfig({ model, sequence: 48, chunk: 16, ranks, keep: 'disk', states: 'host' }))]
      const text = printListing(ops)
      expect(parseListing(text)).toEqual(ops)
      expect(printListing(parseListing(text))).toBe(text)
    }
  })

  it('writes a heading where the place changes, and only there', () => {
    const fetches = [here, here, at('forward', 0, 3), at('loss')].map((place) => ({ kind: 'fetch', place, value: k }) as const)
    expect([...printOps(fetches)]).toEqual([
      '-- forward · layer 0 · q 3 · kv 1',
      'fetch k[0,1] @fetch',
      'fetch k[0,1] @fetch',
      '-- forward · layer 0 · q 3',
      'fetch k[0,1] @fetch',
      '-- loss',
      'fetch k[0,1] @fetch',
    ])
  })

  it('declares values, the whole before its views', () => {
    const x: Value = { name: 'x', dtype: 'bf16', shape: [4, 8], category: 'hidden', start: 12 }
    const zero = compute(at('forward'), 'zero', { out: rows(x, 'low', 1, 2) })
    expect(printListing([zero]).split('\n').slice(0, 2)).toEqual(['value x bf16 (4, 8) hidden start 12', 'value x.low bf16 (2, 8) hidden in x at 8'])
  })

  it.each(KERNEL_NAMES)('tells the forms of %s apart by how many operands stand on each side', (kernel) => {
    const counts = shapesOf(kernel).map(({ written, added, read }) => [written.length, added.length, read.length].join())
    expect(new Set(counts).size).toBe(counts.length)
  })

  it.each([
    ['attend state[0,3] += q[0,3] k[0,1] @compute', 'attend does not take'],
    ['attend state[0,3] += q[0,3] k[0,9] v[0,1] @compute', 'no value is named k[0,9]'],
    ['attend state[0,3] += q[0,3] k[0,1] v[0,1] @fetch', 'attend runs on @compute'],
    ['defragment k[0,1] @compute', 'defragment is no op'],
    ['free k[0,1]', 'free names a residency'],
    ['fetch k[0,1] v[0,1] @fetch', 'fetch takes one value'],
    ['gather k[0,1] @collective', 'lacks ->'],
    ['norm q[0,3] = k[0,1] v[0,1] eps=small @compute', 'small is not a number'],
  ])('refuses %s', (line, words) => {
    const values = new Map([q, k, v, state].map((known) => [known.name, known]))
    expect(() => parseOp(line, values)).toThrow(words)
    expect(() => parseOp(line, values)).toThrow(FpdtError)
  })

  it('names the line of a listing that it cannot read', () => {
    expect(() => parseListing('value k f32 (4) attention\n-- forward\nfetch q @fetch\n')).toThrow('line 3: no value is named q\n  fetch q @fetch')
    expect(() => parseListing('fetch q @fetch')).toThrow('before the first heading')
    expect(() => parseListing('value k f16 (4) attention')).toThrow('dtype f16')
  })
})
