import { describe, expect, it } from 'vitest'
import { facts, keptWords, openRun, opWords, placeWords, stateWords, summaryWords } from '../../../../kernel/src/trace/draw/index.js'
import { barWords } from '../../../../kernel/src/trace/draw/words.js'
import { fixture } from '../../../lab/fixture.js'

const run = openRun(fixture())
const plain = (text: string): string => text.replaceAll('\u202f', ' ')
const rowOf = (line: string): number => run.spans.op.indexOf(run.listing.indexOf(line))

describe('words', () => {
  it('of an op: the printed line, its place, its cost', () => {
    const row = rowOf('attend state[3] += q[3] k[1] v[1] @compute')
    const { op, place, cost } = opWords(run, row)
    expect(op).toBe('attend state[3] += q[3] k[1] v[1] @compute')
    expect(place).toBe('rank 0, compute · step 1 · forward of layer 0 · query chunk 3, key/value chunk 1')
    expect(plain(cost)).toMatch(/^starts at [\d.]+ ms · takes [\d.]+ [µm]s · 17\.0 GFLOP at [\d.]+ TFLOP\/s · touches 8\.00 MiB$/)
    expect(barWords(run, row)).toEqual(['attend state[3] += q[3] k[1] v[1]', 'attend q3 kv1', 'q3 kv1'])
  })

  it('of a copy: what it moves and how fast', () => {
    const { cost } = opWords(run, rowOf('offload k[0] v[0] @offload'))
    expect(plain(cost)).toMatch(/moves 4\.00 MiB at [\d.]+ GiB\/s$/)
  })

  it('of an op outside layers and chunks name neither', () => {
    expect(placeWords(run, rowOf('fetch moments[2] @fetch'))).toBe('rank 0, fetch · step 1 · optimizer of layer 2')
  })

  it('of the header hold the formula and the exact bytes', () => {
    const list = facts(run.head)
    expect(list.map(({ name }) => name)).toEqual(['loss, steps 1–2', 'speed', 'MFU', 'device memory, per rank', 'host memory, per rank'])
    expect(list[2].hint).toBe(run.head.steps[1].mfu_formula)
    expect(list[3].value).toMatch(/predicted = measured$/)
    expect(list[3].hint).toContain(`measured ${run.head.tiers[0].measured_bytes?.toLocaleString('en-US')} bytes`)
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
    expect(keptWords(run.head)).toBe('Shows 5,456 of 10,912 ops, those of steps 1, 2. The last two of four steps.')
    expect(keptWords({ ...run.head, kept: { ...run.head.kept, of: run.head.kept.spans } })).toBe('')
    expect(stateWords({ ...run.head, state: 'failed', message: 'loss is NaN at op 12' })).toBe('Failed. Loss is NaN at op 12.')
  })
})
