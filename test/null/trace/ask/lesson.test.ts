import { describe, expect, it } from 'vitest'
import { adamW } from '../../../../kernel/src/fpdt/plan/optimizer.js'
import { gpt } from '../../../../kernel/src/model/gpt.js'
import { algorithmOf, lineOf, orderOf } from '../../../../kernel/src/trace/ask/algorithm.js'
import { atOnce, computeAt, lessonWords, stepFrom } from '../../../../kernel/src/trace/ask/lesson.js'
import { openRun, type Run } from '../../../../kernel/src/trace/model/run.js'
import { KINDS, NONE, PHASES, STREAMS } from '../../../../kernel/src/trace/schema.js'
import type { Unit } from '../../../../kernel/src/trace/units.js'
import { type FixtureOptions, fixture } from '../fixture.js'

const plain = (text: string): string => text.replaceAll('\u202f', ' ')
const small: FixtureOptions = { chunks: 4, steps: 1 }
const run = openRun(fixture(small))
const rowOf = (of: Run, line: RegExp): number => {
  const op = of.listing.findIndex((text) => line.test(text))
  return [...of.spans.op].findIndex((other, row) => other === op && of.spans.rank[row] === 0)
}

/** Every system, and every policy that changes which ops there are. */
const RUNS: readonly [string, FixtureOptions][] = [
  ['fpdt', {}],
  ['fpdt, paper order of chunks', { train: { lookAhead: 0, prefetch: 1 } }],
  ['fpdt, no prefetch', { train: { prefetch: 0 } }],
  ['fpdt, query chunks outside', { train: { backwardOrder: 'q' } }],
  ['fpdt, key/value chunks outside', { train: { backwardOrder: 'kv' } }],
  ['fpdt, one rank', { ranks: 1 }],
  ['fpdt, one chunk', { chunks: 1 }],
  ['fpdt, disk', { train: { checkpoints: 'disk', keep: 'disk' } }],
  ['fpdt, kept on the host', { train: { keep: 'host' } }],
  ['fpdt, kept on the device', { train: { keep: 'device' } }],
  ['fpdt, weights and states on the host', { train: { parameters: 'host', optimizer: adamW({ tier: 'host' }) } }],
  ['fpdt, two batches and documents', { train: { accumulate: 2, batch: 2, documents: true } }],
  ['fpdt, states on disk', { train: { optimizer: adamW({ tier: 'disk' }) } }],
  ['fpdt, f32', { train: { dtype: 'f32', hidden: 'f32' } }],
  ['fpdt, wide hidden state', { train: { hidden: 'f32' } }],
  ['GPT-2', { model: gpt({ layers: 2, width: 128, heads: 4, vocab: 512, positions: 4096 }) }],
  ...(['ulysses', 'ulysses-checkpoint', 'ulysses-offload', 'fpdt-device'] as const).map((system): [string, FixtureOptions] => [system, { system }]),
]

describe('the line of an op', () => {
  it.each(RUNS)('is known for every op: %s', (_, options) => {
    const of = openRun(fixture({ ...small, ...options }))
    const lines = new Map(algorithmOf(of).flatMap(({ lines }) => lines.map((line) => [line.id, line])))
    const unknown = new Set<string>()
    const seen = new Set<number>()
    for (let row = 0; row < of.spans.op.length; row++) {
      const op = of.spans.op[row] as number
      if (seen.has(op)) continue
      seen.add(op)
      const { line, again } = lineOf(of, row)
      const words = lessonWords(of, row)
      // Of what the forward kept, nothing runs again but copies.
      const isTold = line !== null && lines.has(line) && (again === null || lines.has(again)) && !/undefined|\?|runs on|NaN/.test(words) && /\.$/.test(words)
      if (!isTold) unknown.add(`${PHASES[of.spans.phase[row] as number]}: ${of.listing[op]} -> ${line}: ${words}`)
      if (line && !lines.get(line)?.isUsed) unknown.add(`${line} is said not to be used`)
    }
    expect([...unknown].slice(0, 8)).toEqual([])
  })

  it('follows the loops of the schedule', () => {
    const ids = (line: RegExp): unknown => lineOf(run, rowOf(run, line))
    expect(ids(/^attend state\[1,2\] \+= q\[1,2\] k\[1,1\]/)).toEqual({ line: 'attend', again: null })
    expect(ids(/^fetch k\[0,0\]/)).toEqual({ line: 'kv', again: null })
    expect(ids(/^attendBackward dq\[1,1\] = dk/)).toEqual({ line: 'meet', again: null })
    expect(ids(/^normBackward dx\[1,0\]/)).toEqual({ line: 'qkv.back', again: null })
    const again = [...run.spans.op.keys()].find(
      (row) => PHASES[run.spans.phase[row] as number] === 'recompute' && /^attend /.test(run.listing[run.spans.op[row] as number] ?? ''),
    )
    expect(lineOf(run, again as number)).toEqual({ line: 'again', again: 'attend' })
  })

  it('knows the loop order of the backward, and shows that one', () => {
    for (const order of ['kv', 'q'] as const) {
      const of = openRun(fixture({ ...small, train: { backwardOrder: order } }))
      expect(orderOf(of)).toBe(order)
      const ids = algorithmOf(of).flatMap(({ lines }) => lines.map(({ id }) => id))
      expect(ids.includes(`${order}.outer`)).toBe(true)
      expect(ids.includes(order === 'kv' ? 'q.outer' : 'kv.outer')).toBe(false)
    }
  })

  it('is numbered from 1 without a gap, and lines without ops say so', () => {
    const numbers = algorithmOf(run).flatMap(({ lines }) => lines.map(({ number }) => number))
    expect(numbers).toEqual(numbers.map((_, i) => i + 1))
    const used = (options: FixtureOptions, id: string): boolean | undefined =>
      algorithmOf(openRun(fixture({ ...small, ...options })))
        .flatMap(({ lines }) => lines)
        .find((line) => line.id === id)?.isUsed
    expect(used({}, 'kv')).toBe(true)
    expect(used({ system: 'fpdt-device' }, 'kv')).toBe(false)
    expect(used({ system: 'ulysses' }, 'again')).toBe(false)
    expect(used({ ranks: 1 }, 'gather')).toBe(false)
  })

  it('is none for a schedule of the reader, and the sentence says so', () => {
    const tables = fixture(small)
    const own = openRun({ ...tables, head: { ...tables.head, system: 'own' } })
    expect(algorithmOf(own)).toEqual([])
    const row = rowOf(own, /^attend state\[0,2\] \+= q\[0,2\] k\[0,1\]/)
    expect(lineOf(own, row).line).toBeNull()
    expect(plain(lessonWords(own, row))).toBe(
      "Attend runs on compute, query chunk 2 and key/value chunk 1. The schedule is the reader's own, so this is no line of FPDT. It takes 557 µs.",
    )
  })

  it('is none for an op that no line names, and the sentence says so', () => {
    const tables = fixture(small)
    const row = rowOf(openRun(tables), /^attend /)
    const listing = tables.listing.with(tables.spans.op[row] as number, 'twirl z[0,1] @compute')
    const strange = openRun({ ...tables, listing })
    expect(lineOf(strange, row).line).toBeNull()
    expect(lessonWords(strange, row)).toMatch(/^Twirl runs on compute.* in the forward part\. It is no line of the algorithm\./)
  })
})

describe('an op in words', () => {
  it('names chunks, numbers, and what a copy lies under', () => {
    const told = (line: RegExp): string => plain(lessonWords(run, rowOf(run, line)))
    expect(told(/^attend state\[0,2\] \+= q\[0,2\] k\[0,1\]/)).toBe('Query chunk 2 attends to key/value chunk 1 (the 2nd of 3): 134 MFLOP in 557 µs.')
    expect(told(/^attend state\[0,2\] \+= q\[0,2\] k\[0,2\]/)).toMatch(/^Query chunk 2 attends to its own keys and values, a token to those up to itself: /)
    expect(told(/^allToAll qkv\[0,1\]/)).toMatch(
      /^q, k and v of chunk 1 go from tokens to heads over 2 ranks: each has all tokens of the chunk, of its share of the heads \(192 KiB in [\d.]+ µs\) while /,
    )
    expect(told(/^gather wPart\[1\]/)).toMatch(/^Every rank gathers the weights of layer 1 from all 2 ranks \(773 KiB in 178 µs\) while /)
  })

  it('tells which computation a copy lies under, at its middle', () => {
    let hidden = 0
    for (let row = 0; row < run.spans.op.length; row++) {
      if (KINDS[run.spans.kind[row] as number] !== 'fetch') continue
      const middle = (run.spans.start_ns[row] as number) + (run.spans.duration_ns[row] as number) / 2
      const under = atOnce(run, run.spans.rank[row] as number, middle).some(({ stream }) => stream === 'compute')
      expect(lessonWords(run, row).includes('compute stands still')).toBe(!under)
      hidden += Number(under)
    }
    expect(hidden).toBeGreaterThan(0)
  })
})

describe('from op to op', () => {
  const compute = (of: Run, rank: number): number[] => [...(of.lanes.find((lane) => lane.rank === rank && lane.stream === 'compute')?.rows ?? [])]
  const two = openRun(fixture({ ...small, chunks: 2, steps: 2 }))

  it('steps through every op of compute, forward and back', () => {
    const rows = compute(two, 1)
    for (const by of [1, -1] as const) {
      const walked = [by > 0 ? rows[0] : rows.at(-1)] as number[]
      for (let next = stepFrom(two, walked[0] as number, 'op', by); next !== null; next = stepFrom(two, next, 'op', by)) walked.push(next)
      expect(walked).toEqual(by > 0 ? rows : [...rows].reverse())
    }
  })

  it('steps to the beginning of the next chunk, layer and step, and to the beginning of the one before', () => {
    const { spans } = two
    const places = (unit: Unit): string[] => {
      const told: string[] = []
      for (let row: number | null = compute(two, 0)[0] as number; row !== null; row = stepFrom(two, row, unit, 1))
        told.push(`${spans.step[row]} ${PHASES[spans.phase[row] as number]} ${spans.layer[row] === NONE ? '-' : spans.layer[row]}`)
      return told
    }
    expect(places('step')).toEqual(['1 embedding -', '2 embedding -'])
    const layers = places('layer')
    expect(layers.slice(0, 3)).toEqual(['1 embedding -', '1 forward 0', '1 forward 1'])
    expect(new Set(layers).size).toBeGreaterThanOrEqual(14)
    const rows = compute(two, 0)
    const inForward = rows.find((row) => PHASES[spans.phase[row] as number] === 'forward' && spans.layer[row] === 1) as number
    const back = stepFrom(two, inForward, 'layer', -1) as number
    expect([PHASES[spans.phase[back] as number], spans.layer[back]]).toEqual(['forward', 0])
    expect(rows.indexOf(back)).toBe(rows.findIndex((row) => PHASES[spans.phase[row] as number] === 'forward'))
    expect(stepFrom(two, rows[0] as number, 'chunk', -1)).toBeNull()
    expect(stepFrom(two, rows.at(-1) as number, 'step', 1)).toBeNull()
  })

  it('finds what compute does at an instant, also between two ops', () => {
    const rows = compute(two, 0)
    for (const row of rows.slice(0, 40)) expect(computeAt(two, 0, two.spans.start_ns[row] as number)).toBe(row)
    expect(computeAt(two, 0, -1)).toBe(rows[0])
    expect(computeAt(two, 0, two.extent.end_ns)).toBe(rows.at(-1))
    expect(computeAt(two, 9, 0)).toBe(-1)
    for (const { stream, row } of atOnce(two, 0, 1e6)) expect(STREAMS[two.spans.stream[row] as number]).toBe(stream)
  })
})
