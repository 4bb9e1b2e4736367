/** Units of a step: those a training is stepped by, and those a recorded run is read by. */
import { describe, expect, it } from 'vitest'
import { planTraining, type TrainOptions } from '../../../kernel/src/fpdt/plan/training-plan.js'
import { endOfPlace, endOfUnit } from '../../../kernel/src/fpdt/run/units.js'
import { llama } from '../../../kernel/src/model/llama.js'
import type { Plan } from '../../../kernel/src/plan/plan.js'
import { stepFrom } from '../../../kernel/src/trace/ask/lesson.js'
import { openRun } from '../../../kernel/src/trace/model/run.js'
import { KINDS, NONE, PHASES } from '../../../kernel/src/trace/schema.js'
import { type PlaceWanted, UNITS, type Unit } from '../../../kernel/src/trace/units.js'
import { fixture } from '../trace/fixture.js'

const model = llama({ layers: 1, width: 64, heads: 4, kvHeads: 2, feedForward: 128, vocab: 512 })
const planOf = (chunks: number, options: Partial<TrainOptions> = {}): Plan =>
  planTraining(model, { sequence: chunks * 512, chunk: 512, ranks: 2, hidden: 'bf16', feedForwardRows: 128, ...options }, { budgets: {}, threads: 2 }).plan

/** The last lines of the units of a step, one after the other. */
function endsOf(plan: Plan, unit: Unit): number[] {
  const ends: number[] = []
  for (let line = -1; line < plan.listing.length - 1; line = ends.at(-1) as number) ends.push(endOfUnit(plan, line, unit))
  return ends
}
function computeOf({ entries }: Plan): number[] {
  return [...entries.kind.keys()].filter((e) => entries.kind[e] === KINDS.indexOf('compute'))
}
/** Where an op is, as a reader would say it: `backward 0 q1 kv0`. */
function placeOf({ entries }: Plan, e: number, unit: Unit): string {
  const phase = PHASES[entries.phase[e] as number] as string
  const [layer, q, kv] = [entries.layer, entries.q, entries.kv].map((tag) => (tag[e] === NONE ? null : tag[e]))
  const words: unknown[] = [phase, layer]
  if (unit === 'chunk' && q !== null) words.push(`q${q}`)
  if (unit === 'chunk' && kv !== null && (q === null || phase === 'backward')) words.push(`kv${kv}`)
  return words.filter((word) => word !== null).join(' ')
}
/** The place of each unit; all places, where it goes through more than one. */
function placesOf(plan: Plan, unit: Unit): string[] {
  const { op } = plan.entries
  return endsOf(plan, unit).map((end, i, ends) => {
    const within = computeOf(plan).filter((e) => (op[e] as number) > (ends[i - 1] ?? -1) && (op[e] as number) <= end)
    return [...new Set(within.map((e) => placeOf(plan, e, unit)))].join(' and ')
  })
}
const short = planOf(2, { lookAhead: 0 })

describe('units of a step', () => {
  it('are, of one layer and two chunks in the order of the paper, its phases', () => {
    const again = ['recompute 0', 'backward 0']
    expect(placesOf(short, 'layer')).toEqual(['embedding', 'forward 0', 'loss', ...again, ...again, ...again, ...again, 'backward', 'optimizer'])
  })

  it('are query chunks in the forward, and in the backward the meetings of chunks too', () => {
    const pieces = placesOf(short, 'chunk')
    const from = pieces.lastIndexOf('backward 0 q1')
    expect(pieces.slice(0, 6)).toEqual(['embedding q0', 'embedding q1', 'forward 0 q0', 'forward 0 q1', 'loss q0', 'loss q1'])
    expect(pieces.slice(from)).toEqual([
      'backward 0 q1',
      'backward 0 q0 kv0',
      'backward 0 q1 kv0',
      'backward 0 kv0',
      'backward 0 q1 kv1',
      'backward 0 kv1',
      'backward q0',
      'backward q1',
      'optimizer',
    ])
  })

  it.each(['chunk', 'layer'] as const)('are as long as they can be: each %s is at one place, and the next at another', (unit) => {
    for (const plan of [short, planOf(5), planOf(4, { backwardOrder: 'q' }), planOf(3, { ranks: 1 })]) {
      const places = computeOf(plan).map((e) => placeOf(plan, e, unit))
      expect(placesOf(plan, unit)).toEqual(places.filter((place, i) => place !== places[i - 1]))
      expect(endsOf(plan, unit).at(-1)).toBe(plan.listing.length - 1)
    }
  })

  it('are one op that runs, and all of them', () => {
    expect(endsOf(short, 'op').slice(0, short.entries.length)).toEqual([...short.entries.op])
    expect(endsOf(short, 'step')).toEqual([short.listing.length - 1])
  })

  it.each(UNITS.filter((unit) => unit !== 'op'))('are the same where a run that was recorded is read: %s', (unit) => {
    for (const backwardOrder of ['kv', 'q'] as const) {
      const run = openRun(fixture({ model, steps: 1, chunks: 4, train: { backwardOrder } }))
      const plan = planOf(4, { backwardOrder })
      const read: number[] = []
      const lane = run.lanes.find(({ rank, stream }) => rank === 0 && stream === 'compute')
      for (let row = lane?.rows[0] ?? null; row !== null; row = stepFrom(run, row, unit, 1)) read.push(run.spans.op[row] as number)
      const lines = computeOf(plan).map((e) => plan.entries.op[e] as number)
      const begins = [-1, ...endsOf(plan, unit).slice(0, -1)].map((end) => lines.find((line) => line > end))
      expect(read).toEqual(begins)
    }
  })
})

describe('a place that is looked for', () => {
  const wordsAt = (place: PlaceWanted): string => short.words(endOfPlace(short, -1, place))

  it('is done with the last op that is computed there', () => {
    expect(wordsAt({ phase: 'backward', q: 1, kv: 0 })).toMatch(/^attendBackward .* q\[0,1\] k\[0,0\] /)
    expect(wordsAt({ layer: 0, phase: 'forward' })).toMatch(/^project x\[1,1\]\.1 /)
    expect(wordsAt({})).toMatch(/^adamW /)
  })

  it('is refused in words where it does not exist, is behind, or is no place', () => {
    expect(() => wordsAt({ phase: 'forward', q: 2 })).toThrow('there is no query chunk 2 in this step; query chunks are 0 and 1.')
    expect(() => endOfPlace(planOf(8), -1, { q: 99 })).toThrow('there is no query chunk 99 in this step; query chunks are 0 to 7.')
    expect(() => wordsAt({ layer: 1 })).toThrow('there is no layer 1 in this step; its only layer is 0.')
    expect(() => wordsAt({ phase: 'forward', q: 0, kv: 1 })).toThrow('nothing is computed at forward, query chunk 0, key/value chunk 1 in this step.')
    const line = endOfPlace(short, -1, { phase: 'forward' })
    expect(() => endOfPlace(short, line, { phase: 'forward' })).toThrow(
      `everything at forward is done already; the step stands at op ${line}: project x[1,1].1 `,
    )
    expect(() => endOfPlace(short, short.listing.length - 1, {})).toThrow('everything is done already; the step stands at op')
    expect(() => wordsAt({ phase: 'sideways' as 'forward' })).toThrow('phase "sideways" is not one of')
    expect(() => wordsAt({ chunk: 1 } as PlaceWanted)).toThrow('until({ chunk }) is not known; known are phase, layer, q, kv')
  })
})
