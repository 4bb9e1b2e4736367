import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { llama } from '../../../kernel/src/model/llama.js'
import { stepConfig } from '../../../kernel/src/schedule/config.js'
import { printOp, printPlace } from '../../../kernel/src/schedule/print.js'
import { trainingStep } from '../../../kernel/src/schedule/step.js'

/** The layer of a step with one layer, two chunks and two ranks in the paper's order, as it is printed; frees left out. */
function workedExample(): string {
  const model = llama({ layers: 1, width: 64, heads: 4, kvHeads: 2, feedForward: 128, vocab: 512 })
  const config = stepConfig({ model, sequence: 32, chunk: 16, ranks: 2, lookAhead: 0, feedForwardRows: 8, lossRows: 8, hidden: 'bf16' })
  const lines: string[] = []
  let heading = ''
  for (const op of trainingStep(config)) {
    if (op.kind === 'free' || op.place.layer === null || op.place.phase === 'embedding' || op.place.phase === 'loss') continue
    const place = printPlace({ ...op.place, kv: null, q: op.place.q })
    if (place !== heading) lines.push(`-- ${place}`)
    heading = place
    lines.push(printOp(op))
  }
  return lines.join('\n')
}

describe('ARCHITECTURE.md', () => {
  it('shows the ops that the schedule really yields', () => {
    const text = readFileSync(new URL('../../../ARCHITECTURE.md', import.meta.url), 'utf8')
    const shown = /<!-- worked example -->\n```\n([\s\S]*?)\n```/.exec(text)?.[1]
    expect(shown).toBe(workedExample())
  })
})
