import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FpdtError } from '../../../kernel/src/errors.js'
import { check, checked } from '../../../kernel/src/schedule/check.js'
import { allReduce, at, compute, fetch, free, gather, offload, reduceScatter, toHeads, toTokens } from '../../../kernel/src/schedule/emit.js'
import type { Op } from '../../../kernel/src/schedule/ops.js'
import type { Standing } from '../../../kernel/src/schedule/standing.js'
import { type Dtype, rows, type Value, view } from '../../../kernel/src/schedule/values.js'
import { randomSchedule } from '../plan/random-schedule.js'

const value = (name: string, shape: number[], dtype: Dtype = 'f32'): Value => ({ name, dtype, shape, category: 'hidden' })
const here = at('forward', 0, 0)
const [x, y, z, w] = [value('x', [4, 8]), value('y', [4, 8]), value('z', [4, 8]), value('w', [8])]
const norm = (out: Value, from: Value): Op => compute(here, 'norm', { out, x: from, weight: w }, { eps: 1e-5 })
const end = (...values: Value[]): Op[] => [...free(here, 'device', ...values)]
const endOnHost = (...values: Value[]): Op[] => [...free(here, 'host', ...values)]
const initial: Standing[] = [
  { value: w, tier: 'device', written: true },
  { value: x, tier: 'device', written: true, persistent: false },
]

describe('check', () => {
  it('passes valid schedules, and passes their ops on unchanged', () => {
    fc.assert(
      fc.property(randomSchedule(), ({ ops, initial: there, ranks }) => {
        expect([...checked(ops, there, ranks)]).toEqual(ops)
        check(ops, there)
      }),
    )
  })

  it('finds every op that is left out of a chain', () => {
    const chain = [norm(y, x), offload(here, y), norm(z, y), ...end(x, y, z), ...endOnHost(y)]
    check(chain, initial)
    for (let i = 0; i < chain.length; i++) expect(() => check(chain.toSpliced(i, 1), initial), `without op ${i}`).toThrow(FpdtError)
  })

  it('marks the bad op among its neighbours', () => {
    expect(refusal([norm(y, x), ...end(x), norm(z, x), ...end(y, z)])).toBe(
      [
        'op 2: x@device is read after it was freed at op 1',
        '     0  norm y = x w eps=1e-5 @compute',
        '     1  free x@device',
        '     2  norm z = x w eps=1e-5 @compute   <-- here',
        '     3  free y@device',
        '     4  free z@device',
      ].join('\n'),
    )
  })

  const cases: [what: string, words: string, ops: Op[]][] = [
    ['reading what nothing wrote', 'y@device is read before it is written', [norm(z, y)]],
    ['reading on the tier where it is not', 'x@host is read before it is written; it is on the device tier', [fetch(here, x)]],
    [
      'reading the half that nothing wrote',
      'is read before it is written (bytes 64 .. 128)',
      [norm(rows(y, 'low', 0, 2), rows(x, 'low', 0, 2)), norm(rows(z, 'low', 0, 2), rows(y, 'high', 2, 2))],
    ],
    ['a stale copy', 'x@host is stale', [offload(here, x), compute(here, 'zero', { out: x }), fetch(here, x)]],
    ['a copy of which a part is stale', 'x@host is stale', [offload(here, x), compute(here, 'zero', { out: rows(x, 'low', 0, 1) }), fetch(here, x)]],
    ['freeing what was never there', 'z@device is freed but was never there', end(z)],
    ['freeing twice', 'x@device is freed again; it was freed at op 0', end(x, x)],
    ['freeing what stands between steps', 'w@device stands between steps', end(w)],
    ['freeing a view', 'x.low is a view', end(rows(x, 'low', 0, 1))],
    ['moving a view', 'x.low is a view: offload moves whole values', [offload(here, rows(x, 'low', 0, 1))]],
    ['an operand in place of another', 'written by one operand while another names the same bytes', [norm(x, x)]],
    ['rows that do not match', 'norm takes 32 elements as out, and y has 40', [norm(value('y', [5, 8]), x)]],
    ['a dtype that does not fit', 'norm takes the compute dtype (y is bf16) as weight, and w is f32', [norm(value('y', [4, 8], 'bf16'), x)]],
    ['a dtype that no kernel computes in', 'norm takes the compute dtype (y is i32) as out, and y is i32', [norm(value('y', [4, 8], 'i32'), x)]],
    [
      'a hidden state narrower than the compute dtype',
      'norm computes in f32 (y), and h, which is the compute dtype or f32, is bf16',
      [compute(here, 'zero', { out: value('h', [4, 8], 'bf16') }), norm(y, value('h', [4, 8], 'bf16'))],
    ],
    [
      'a hidden state of two dtypes',
      'project takes the dtype of the hidden state (y is f32) as residual, and r is bf16',
      [compute(here, 'project', { out: y, a: value('a', [4, 3], 'bf16'), weight: value('m', [8, 3], 'bf16'), residual: value('r', [4, 8], 'bf16') })],
    ],
    ['a missing operand', 'norm lacks its operand weight', [compute(here, 'norm', { out: y, x }, { eps: 1 })]],
    ['an unknown operand', 'norm has no operand bias', [compute(here, 'norm', { out: y, x, weight: w, bias: w }, { eps: 1 })]],
    ['a missing flag', 'norm lacks its flag eps', [compute(here, 'norm', { out: y, x, weight: w })]],
    ['an unknown flag', 'norm has no flag epsilon', [compute(here, 'norm', { out: y, x, weight: w }, { eps: 1, epsilon: 1 })]],
    ['a name for two values', 'x names two values', [norm(y, { ...x, shape: [8, 4] })]],
    ['a view beyond its whole', 'which has 32', [compute(here, 'zero', { out: view(x, 'tail', [9], 24) })]],
    ['a name that would not print', 'is no name of a value', [norm(value('y @z', [4, 8]), x)]],
    ['heads that do not divide', 'which 2 key/value heads do not divide', [attend(3, 2)]],
    ['an all-to-all of other sizes', 'no number of ranks matches the collective', [toHeads(here, value('l', [4, 4, 8]), [value('p', [6, 2, 8])])]],
    [
      'collectives of different rank counts',
      'the collective matches 4 ranks, and there are 2',
      [gather(here, w, value('full', [16])), gather(here, w, value('fuller', [32]))],
    ],
    ['heads lost in an all-to-all', 'and its parts over 2 ranks have 8', [toTokens(here, [value('p', [8, 4, 8])], value('l', [4, 4, 8]))]],
    [
      'a reduction of the wrong dtype',
      'reduceScatter sums f32, and full is bf16',
      [reduceScatter(here, value('full', [8], 'bf16'), value('part', [4], 'bf16'), true)],
    ],
    ['a sum over ranks of the wrong dtype', 'allReduce sums f64', [allReduce(here, x)]],
  ]
  it.each(cases)('refuses %s', (_, words, ops) => {
    expect(refusal(ops)).toContain(words)
  })

  it('refuses what is never freed, and standing residencies left stale', () => {
    expect(refusal([])).toBe('after the last op: x@device is never freed (made at before the first op)')
    expect(refusal([norm(y, x), ...end(x)])).toContain('y@device is never freed (made at op 0: norm y = x w eps=1e-5 @compute)')
    const onHost: Standing[] = [{ value: x, tier: 'host', written: true }, ...initial.slice(0, 1)]
    expect(refusal([fetch(here, x), compute(here, 'zero', { out: x }), ...end(x)], onHost)).toContain('x@host stands for the next step but is stale')
    check([fetch(here, x), compute(here, 'zero', { out: x }), offload(here, x), ...end(x)], onHost)
  })

  it('closes the generator it reads when a mistake ends it', () => {
    let closed = false
    function* ops(): Generator<Op> {
      try {
        yield norm(z, y)
        yield* end(z)
      } finally {
        closed = true
      }
    }
    expect(() => check(ops(), initial)).toThrow(FpdtError)
    expect(closed).toBe(true)
  })
})

function attend(heads: number, kvHeads: number): Op {
  const [q, k, v, state] = [value('q', [4, heads, 8]), value('k', [4, kvHeads, 8]), value('v', [4, kvHeads, 8]), value('state', [4, heads, 10])]
  return compute(here, 'attend', { state, q, k, v }, { first: 1 })
}

function refusal(ops: readonly Op[], there = initial): string {
  try {
    check(ops, there)
  } catch (error) {
    if (error instanceof FpdtError && error.code === 'schedule') return error.message
    throw error
  }
  return 'nothing was refused'
}
