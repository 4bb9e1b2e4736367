import { describe, expect, it } from 'vitest'
import { gpt } from '../../../../kernel/src/model/gpt.js'
import { llama } from '../../../../kernel/src/model/llama.js'
import { stepConfig } from '../../../../kernel/src/schedule/config.js'
import type { Op } from '../../../../kernel/src/schedule/ops.js'
import { printOp, valuesOf } from '../../../../kernel/src/schedule/print.js'
import { trainingStep } from '../../../../kernel/src/schedule/step.js'
import { SYSTEM_NAMES, under } from '../../../../kernel/src/schedule/systems.js'
import { opBrief } from '../../../../kernel/src/trace/ask/op-text.js'
import { openRun, type Run } from '../../../../kernel/src/trace/model/run.js'
import { NONE, PHASES } from '../../../../kernel/src/trace/schema.js'
import { phraseOf } from '../../../../kernel/src/trace/words/phrase.js'
import { valueWords } from '../../../../kernel/src/trace/words/values.js'
import { fixture } from '../fixture.js'

const models = [
  llama({ layers: 2, width: 16, heads: 2, headSize: 8, feedForward: 24, vocab: 64 }),
  gpt({ layers: 2, width: 16, heads: 2, vocab: 64, positions: 64 }),
]
const ops: readonly Op[] = models.flatMap((model) =>
  [
    ...SYSTEM_NAMES.map((name) => under(stepConfig({ model, sequence: 48, chunk: 16, ranks: 2 }), name)),
    stepConfig({ model, sequence: 48, chunk: 16, ranks: 1, keep: 'disk', states: 'disk' }),
    stepConfig({ model, sequence: 48, chunk: 16, ranks: 2, keep: 'host', hidden: 'f32', documents: true, batch: 2 }),
  ].flatMap((config) => [...trainingStep(config)]),
)
const run = openRun(fixture({ chunks: 4, layers: 2, steps: 1 }))
/** As if the listing were these lines, of which nobody knows the phase. */
const listed = (listing: readonly string[], system = run.head.system): Run => ({ ...run, head: { ...run.head, system }, listing }) as Run
const phrase = (line: string): string =>
  phraseOf(
    run,
    run.listing.findIndex((one) => one.trim().startsWith(line)),
  )

describe('an op as a phrase', () => {
  it('is there for every op of every system and model, and holds no notation', () => {
    const all = listed(ops.map(printOp))
    for (const [i, op] of ops.entries()) {
      const words = phraseOf(all, i)
      expect(words, printOp(op)).not.toMatch(/[[\]=@<>]|undefined|NaN|65535|^[\s,]|\s,|,\s*$|,,/)
      expect(words, printOp(op)).toMatch(/ /)
    }
  })

  it('names the layer and the chunks of the op', () => {
    for (let row = 0; row < run.spans.op.length; row++) {
      const words = phraseOf(run, run.spans.op[row])
      const of = (name: string): number[] => [...words.matchAll(new RegExp(`\\b${name} (\\d+)`, 'g'))].map(([, number]) => Number(number))
      const [q, kv, layer] = [run.spans.q[row], run.spans.kv[row], run.spans.layer[row]]
      for (const chunk of of('chunk')) expect([q, kv], words).toContain(chunk)
      // What one layer hands to the next is named by the next.
      if (!words.startsWith('hidden state') && !words.startsWith('gradient of the hidden state'))
        for (const each of of('layer')) if (layer !== NONE) expect(each, words).toBe(layer)
    }
  })

  it('reads as a sentence would', () => {
    expect(phrase('attend state[0,3] += q[0,3] k[0,1]')).toBe('query chunk 3 meets key/value chunk 1, layer 0, forward')
    expect(phrase('attendBackward dq[1,3] = dk[1,0]')).toMatch(/^query chunk 3 meets key\/value chunk 0, layer 1, backward$/)
    expect(phrase('fetch k[0,2]')).toBe('keys of chunk 2, layer 0, come back from the host')
    expect(phrase('offload lse[1,0]')).toBe('log-sum-exp of the softmax of chunk 0, layer 1, goes to the host')
    expect(phrase('allToAll qkv[0,1]')).toBe('queries, keys and values of chunk 1, layer 0, go from tokens to heads')
    expect(phrase('projectBackward dAct[1,1.0]')).toBe('gradient through the feed-forward, its second product, layer 1, chunk 1, part 0')
    expect(phrase('gather wPart[1]')).toBe('weights of layer 1 are gathered from all ranks')
    expect(phrase('project x[1,0].1')).toBe('feed-forward, its second product, layer 0, chunk 0, part 1')
    const again = run.spans.op.findIndex((op, row) => PHASES[run.spans.phase[row]] === 'recompute' && run.listing[op].trim().startsWith('norm n1'))
    expect(phraseOf(run, run.spans.op[again])).toMatch(/^norm before attention, layer \d, chunk \d, once more$/)
  })

  it('leaves a schedule of the reader its notation, and a line that is none of a step', () => {
    const line = 'attend state[0,3] += q[0,3] k[0,1] v[0,1] @compute'
    expect(phraseOf(listed([line], 'own'), 0)).toBe(opBrief(listed([line]), 0))
    for (const strange of [
      '',
      'attend',
      'constructor a',
      'fetch mine[3] @fetch',
      'project toString @compute',
      'norm a b c',
      'fetch constructor',
      'attend 1 2 3 4 5',
    ])
      expect(phraseOf(listed([strange]), 0), strange).toBe(opBrief(listed([strange]), 0))
    expect(phraseOf(run, 1e6)).toBe('op 1000000')
  })
})

describe('values in words', () => {
  it('know every value of every schedule', () => {
    for (const op of ops) for (const { name } of valuesOf(op)) expect(valueWords(name), name).toMatch(/\w/)
    expect([valueWords('v[2,5]'), valueWords('v[2]'), valueWords('toString'), valueWords('')]).toEqual(['values', 'second moments of AdamW', '', ''])
  })
})
