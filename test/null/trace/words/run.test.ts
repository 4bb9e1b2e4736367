import { describe, expect, it } from 'vitest'
import { openRun } from '../../../../kernel/src/trace/model/run.js'
import { keepNewest } from '../../../../kernel/src/trace/saved.js'
import { placeWords } from '../../../../kernel/src/trace/words/names.js'
import { barWords, facts, keptWords, opWords, stateWords, summaryWords } from '../../../../kernel/src/trace/words/run.js'
import { fixture } from '../fixture.js'

const tables = fixture()
const run = openRun(tables)
const plain = (text: string): string => text.replaceAll('\u202f', ' ')
const rowOf = (line: string): number => run.spans.op.indexOf(run.listing.indexOf(line))

describe('words', () => {
  it('of an op: the printed line, its place, its cost', () => {
    const line = 'attend state[0,3] += q[0,3] k[0,1] v[0,1] @compute'
    const row = rowOf(line)
    const { op, place, cost } = opWords(run, row)
    expect(op).toBe(line)
    expect(place).toBe('rank 0, compute · step 1 · forward of layer 0 · query chunk 3, key/value chunk 1')
    expect(plain(cost)).toMatch(/^starts at [\d.]+ ms · takes [\d.]+ [µm]s · 134 MFLOP at [\d.]+ GFLOP\/s · touches 656 KiB$/)
    expect(barWords(run, row)).toEqual(['attend state[0,3] += q[0,3] k[0,1] v[0,1]', 'attend q3 kv1', 'q3 kv1'])
  })

  it('of a copy: what it moves and how fast', () => {
    const { cost } = opWords(run, rowOf('offload k[0,0] @offload'))
    expect(plain(cost)).toMatch(/moves 128 KiB at 2\.6\d GiB\/s$/)
  })

  it('of an op outside layers and chunks name neither', () => {
    expect(placeWords(run, rowOf('allReduce gradientNorm @collective'))).toBe('rank 0, collective · step 1 · optimizer')
  })

  it('of the header hold the formula and the exact bytes', () => {
    const list = facts(run.head)
    expect(list.map(({ name }) => name)).toEqual(['loss, steps 1–2', 'speed', 'MFU', 'device memory, per rank', 'host memory, per rank'])
    expect(list[2].hint).toBe(run.head.steps[1].mfu_formula)
    expect(list[3].value).toMatch(/predicted = measured$/)
    const exact = run.head.tiers[0].measured_bytes?.toLocaleString('en-US')
    for (const words of [`planned ${exact} bytes`, `allocated: ${exact} bytes`, `highest byte touched ${exact}`, 'budget: 33,554,432 bytes', 'what was alive'])
      expect(list[3].hint).toContain(words)
  })

  it('never call unequal figures equal', () => {
    const head = structuredClone(run.head)
    head.tiers[0].measured_bytes = head.tiers[0].predicted_bytes + 1
    expect(facts(head)[3].value).not.toContain('=')
  })

  it('of a prediction name no loss and no measurement', () => {
    const predicted = openRun(fixture({ origin: 'predicted', steps: 1 }))
    const words = summaryWords(predicted)
    expect(words).toMatch(/^Predicted run\./)
    expect(words).not.toMatch(/loss, step|measured/i)
  })

  it('say what is kept, and nothing when that is all', () => {
    const half = tables.spans.op.length / 2
    expect(keptWords(keepNewest(tables, half).head)).toBe(
      "Shows 4,042 of 8,084 ops, those of step 2. The newest step of 2: a saved run holds at most 4042 spans, and run.trace('step.arrow') writes all of them to a file.",
    )
    expect(keptWords(keepNewest(tables, half - 1).head)).toMatch(
      /^Shows 4,0\d\d of 8,084 ops, those of step 2\. The beginning of step 2, which alone has 4042 spans/,
    )
    expect(keptWords(keepNewest(tables).head)).toBe('')
    expect(stateWords({ ...run.head, state: 'failed', message: 'loss is NaN at op 12' })).toBe('Failed. Loss is NaN at op 12.')
    expect(stateWords({ ...run.head, state: 'stopped', message: 'stopped during step 3' })).toBe('Stopped during step 3.')
    expect(stateWords({ ...run.head, state: 'stopped', message: '' })).toBe('Stopped.')
  })
})
