/** A step in words: the same figures wherever it is told. */
import { expect, it } from 'vitest'
import { sayStep } from '../../../kernel/src/cli/report.js'
import type { Terminal } from '../../../kernel/src/cli/terminal.js'
import { runInWords } from '../../../kernel/src/fpdt/run/show.js'
import { stepInWords, summaryInWords } from '../../../kernel/src/fpdt/run/words.js'
import { IDLE_CAUSES, type RankAccount, type RunHead, STREAMS, type StepSummary } from '../../../kernel/src/trace/schema.js'

const plain = (text: string): string => text.replaceAll('\u202f', ' ')
const account: RankAccount = {
  rank: 0,
  busy_ns: { ...(Object.fromEntries(STREAMS.map((stream) => [stream, 0])) as RankAccount['busy_ns']), compute: 60e6 },
  idle_ns: { ...(Object.fromEntries(IDLE_CAUSES.map((cause) => [cause, 0])) as RankAccount['idle_ns']), fetch: 24.7e6, nothing: 3e6 },
  hidden_copy_ns: 0,
  exposed_copy_ns: 24.7e6,
}
const step: StepSummary = {
  step: 3,
  start_ns: 0,
  duration_ns: 87.7e6,
  loss: 5.25541,
  tokens: 256,
  tokens_per_second: 2919.6,
  model_flops: 1,
  mfu: 0.003,
  mfu_formula: '',
  gradient_norm: 3.7,
  accounts: [account],
}

it('has its figures in a cell, in the text of a run and on a terminal', () => {
  const words = 'step 3: loss 5.2554, gradient norm 3.70, 256 tokens in 87.7 ms, 2,920 tokens/s, MFU 0.3 %'
  expect(plain(stepInWords(step))).toBe(words)
  const head = { title: 'a run', state: 'done', tiers: [], steps: [step], message: '' } as unknown as RunHead
  expect(plain(runInWords(head))).toBe(`a run · done\n${words}`)
  const said: string[] = []
  const terminal = { inPlace: false, say: (line: string) => said.push(line) } as unknown as Terminal
  sayStep(terminal, step, 5.5, 10, '48 s')
  sayStep(terminal, { ...step, mfu: null }, undefined, 10, '')
  expect(said.map(plain)).toEqual([
    'step 3 of 10: loss 5.2554, evaluation 5.5000, 2,920 tokens/s, MFU 0.3 %, 48 s left',
    'step 3 of 10: loss 5.2554, 2,920 tokens/s',
  ])
})

it('leaves out what it has not, and says that a loss is not finite', () => {
  const words = stepInWords({ ...step, loss: null, gradient_norm: null, mfu: null })
  expect(plain(words)).toBe('step 3: loss not finite, 256 tokens in 87.7 ms, 2,920 tokens/s')
})

it('tells what compute waited for, also where it was nothing', () => {
  expect(plain(summaryInWords(step))).toContain('rank 0: compute 60.0 ms; waits 24.7 ms for copies, 3.00 ms with nothing to do\n')
})
