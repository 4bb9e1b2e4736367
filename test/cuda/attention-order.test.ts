/**
 * attendBackward on tensor cores adds to dq from several blocks, one after the other: a block waits at a counter in global memory for the key tiles before its
 * own. With several blocks at a time it does wait, and which block is where differs from seed to seed; the bits of dq must not. Then the order is broken in the
 * PTX that ships, one instruction at a time, and each time something must tell, in one run: blocks take turns that the seed draws, and no thread's speed matters.
 */
import './emulated.js'
import { beforeEach, describe, expect, it } from 'vitest'
import { attention, attentionBackward, rowSums } from '../backend/reference/attention.js'
import { numbers, poison, random, UNIT } from '../backend/reference/tensor.js'
import { emulator, type Plant } from './emulated.js'

process.env.FPDT_TEST_BACKEND = 'cuda'
const { bits, expectWithin, run } = await import('../backend/reference/run.js')

/** Key tiles of 128: four whole ones and one of 8 keys. All rows see all of the first tiles, and some of the last two. */
const sizesOf = (headSize: number) => ({ rows: 520, columns: 520, heads: 2, kvHeads: 1, headSize, qStart: 0, kvStart: 0 })
const SEEDS = [0, 1, 2, 3]

function caseOf(sizes: ReturnType<typeof sizesOf>) {
  const { rows, columns, heads, kvHeads, headSize } = sizes
  const [q, dO] = [1, 4].map((seed) => random(seed, rows * heads * headSize, 'bf16')) as [Uint16Array, Uint16Array]
  const [k, v] = [2, 3].map((seed) => random(seed, columns * kvHeads * headSize, 'bf16')) as [Uint16Array, Uint16Array]
  const [exactQ, exactK, exactV, exactDO] = [q, k, v, dO].map(numbers) as [Float64Array, Float64Array, Float64Array, Float64Array]
  const reference = attention(sizes, exactQ, exactK, exactV)
  const [lse, delta] = [Float32Array.from(reference.lse), Float32Array.from(rowSums(sizes, exactDO, reference.o))]
  const expected = attentionBackward(sizes, exactQ, exactK, exactV, exactDO, numbers(lse), numbers(delta))
  const operands = { dq: poison(q.length, 'f32'), dk: poison(k.length, 'f32'), dv: poison(v.length, 'f32'), q, k, v, dO, lse, delta }
  // As in test/backend/attention.test.ts: p or ds are off by their scores' rounding and their own, sums by a rounding a term.
  const relative = (8 * reference.scoreMagnitude + 16) * UNIT.f32 + 3e-6 + UNIT.bf16
  const terms = { dq: columns, dk: (rows * heads) / kvHeads, dv: (rows * heads) / kvHeads }
  return {
    back: (residentBlocks: number, seed: number) => {
      emulator.configure({ seed, resident_blocks: residentBlocks })
      return run('attendBackward', { ...sizes, bf16: 1, firstQ: 1, firstKv: 1 }, operands)
    },
    expectRight: (found: typeof operands): void => {
      for (const role of ['dq', 'dk', 'dv'] as const)
        expectWithin(
          role,
          numbers(found[role]),
          expected[role],
          (i) => 2 ** -110 + (relative + (terms[role] + 16) * UNIT.f32) * (expected[`${role}Magnitude`][i] as number),
        )
    },
  }
}

beforeEach(() => {
  emulator.reset()
  emulator.configure({ seed: 0, policy: null, driver: 13000, devices: 1, checks: ['order', 'race', 'initialised'], resident_blocks: 1 })
})

describe.each([64, 128])('the sum over key tiles, heads of %i', (headSize) => {
  const { back, expectRight } = caseOf(sizesOf(headSize))

  it('has the same bits with one block at a time and with four, in any order, without a race', { timeout: 240_000 }, () => {
    const alone = back(1, 0)
    expectRight(alone)
    for (const seed of SEEDS) {
      const together = back(4, seed)
      for (const role of ['dq', 'dk', 'dv'] as const) expect(bits(together[role]).equals(bits(alone[role])), `${role}, seed ${seed}`).toBe(true)
    }
    const { faults, unordered, launches } = emulator.report()
    expect({ faults, unordered }).toEqual({ faults: [], unordered: [] })
    expect(
      Object.entries(launches)
        .filter(([name]) => name.includes('attend_backward_kernel'))
        .map(([, count]) => count),
    ).toEqual([1 + SEEDS.length])
  })
})

type Change = Omit<Extract<Plant, { ptx: string }>, 'ptx'>
const KERNEL = 'attend_backward_kernelILi64ELi128ELi64'
/** Every match in turn: what is replaced matches no longer, and the first that does is the next. */
const each = (times: number, change: Change): Change[] => Array.from({ length: times }, () => change)

/**
 * Atomics never race, whatever order they come in. A load, an addition and a store do, and may take their place here, where nobody else adds meanwhile: so the
 * race check judges the order itself. A plain step and a careful one add 16 values of a thread.
 */
const added = each(32, {
  find: 'atom\\.global\\.add\\.f32\\s+(%f\\d+), (\\[%rd\\d+\\]), (%f\\d+);',
  replace: 'ld.global.f32 $1, $2; add.f32 $1, $1, $3; st.global.f32 $2, $1;',
})
const RACE = /^race: global-memory race .*no release and acquire order the blocks/
/** One block after the other is enough to see what orders nothing. That a block does not wait shows where others are under way: alone, it comes in its turn. */
const ALONE = { residentBlocks: 1, seed: 0 }
/** A seed that draws turns: where blocks go on by turns, as with seed 0, they come to dq in their order by themselves. */
const TOGETHER = { residentBlocks: 4, seed: 1 }
interface Broken {
  readonly what: string
  readonly changes: readonly Change[]
  readonly fault: RegExp
  readonly residentBlocks: number
  readonly seed: number
}
const broken: readonly Broken[] = [
  {
    what: 'a block does not wait for its turn',
    changes: [...added, ...each(2, { find: 'vote\\.sync\\.all\\.pred\\s+(%p\\d+), %p\\d+, (%r\\d+);', replace: 'setp.eq.s32 $1, $2, $2;' })],
    fault: RACE,
    ...TOGETHER,
  },
  {
    what: 'a relaxed load sees that it is its turn',
    changes: [...added, ...each(2, { find: 'ld\\.acquire\\.gpu', replace: 'ld.relaxed.gpu' })],
    fault: RACE,
    ...ALONE,
  },
  {
    // Five tell what a block of documents skips, three what it added.
    what: 'a relaxed store tells that a tile is added',
    changes: [...added, ...each(8, { find: 'st\\.release\\.gpu', replace: 'st.relaxed.gpu' })],
    fault: RACE,
    ...ALONE,
  },
  // Behind the barriers that are left out other warps may still be adding when a thread tells that the block has. Those in the loop also guard the tiles.
  {
    what: 'the barrier before a plain step tells is missing',
    changes: [{ find: 'bar\\.sync \\s*0;', replace: '', nth: 5 }],
    fault: /^(race|uninitialised): /,
    ...ALONE,
  },
  {
    what: 'the barrier before a careful step tells is missing',
    changes: [{ find: 'bar\\.sync \\s*0;', replace: '', nth: 7 }],
    fault: /^(race|uninitialised): /,
    ...ALONE,
  },
  {
    what: 'the barrier before the last tile is told is missing',
    changes: [...added, { find: 'bar\\.sync \\s*0;', replace: '', nth: 9 }],
    fault: RACE,
    ...ALONE,
  },
]

describe('the order of blocks', () => {
  const { back, expectRight } = caseOf(sizesOf(64))
  const plant = (changes: readonly Change[]): void => emulator.plant(...changes.map((change) => ({ ptx: KERNEL, ...change })))
  const expectPlanted = (changes: readonly Change[]): void => expect(emulator.report().plants.map(({ applied }) => applied)).toEqual(changes.map(() => 1))

  it('lets them add without atomics', { timeout: 240_000 }, () => {
    plant(added)
    for (const seed of SEEDS) expectRight(back(4, seed))
    expectPlanted(added)
    expect(emulator.report().faults).toEqual([])
  })
  it('is what makes the bits of atomics the same', { timeout: 240_000 }, () => {
    const alone = back(1, 0)
    const changes = broken[0]!.changes.slice(added.length)
    plant(changes)
    expect(bits(back(TOGETHER.residentBlocks, TOGETHER.seed).dq).equals(bits(alone.dq))).toBe(false)
    expectPlanted(changes)
  })
  for (const { what, changes, fault, residentBlocks, seed } of broken)
    it(`is missed where ${what}`, { timeout: 240_000 }, () => {
      plant(changes)
      expect(() => back(residentBlocks, seed)).toThrow(/launch failure/)
      expectPlanted(changes)
      expect(emulator.report().faults).toEqual([expect.stringMatching(fault)])
    })
})
