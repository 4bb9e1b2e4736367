/**
 * The ladder of attention: each lesson, as nvcc compiles it to PTX, runs on the emulator and must give what f64 gives, without a race; its figures in the README are
 * made anew. `npx vitest run test/cuda/ladder.test.ts -u` writes them.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { attention } from '../backend/reference/attention.js'
import { expectWithin } from '../backend/reference/run.js'
import { numbers, random, UNIT } from '../backend/reference/tensor.js'
import { type CheckOptions, Module, type Report } from './emulator/index.js'
import { machineCode, ptxOf } from './figures/compile.js'
import { plainLoop, resources, tensorLoops } from './figures/parse.js'
import { requireToolkit, root } from './figures/toolkit.js'
import { faultOf } from './fixtures/ptx.js'

const LESSONS = ['1_naive', '2_online_softmax', '3_tiled', '4_tensor_core'] as const
type Lesson = (typeof LESSONS)[number]
const folder = join(root, 'native/ladder/attention')
const source = (lesson: Lesson): string => join(folder, `${lesson}.cu`)
const toolkit = requireToolkit()
/** Rows of a block, in every lesson. */
const ROWS = 64

interface Case {
  readonly rows: number
  readonly columns: number
  readonly heads: number
  readonly headSize: number
  readonly qStart: number
  readonly kvStart: number
  readonly seed: number
}
const cases = fc.record({
  rows: fc.integer({ min: 1, max: 140 }),
  columns: fc.integer({ min: 2, max: 140 }),
  heads: fc.integer({ min: 1, max: 2 }),
  headSize: fc.integer({ min: 1, max: 128 }),
  qStart: fc.integer({ min: 0, max: 150 }),
  kvStart: fc.integer({ min: 0, max: 150 }),
  seed: fc.integer({ min: 0, max: 1000 }),
})
const CASES: readonly Case[] = [
  { rows: 1, columns: 2, heads: 1, headSize: 1, qStart: 1, kvStart: 0, seed: 1 },
  { rows: 65, columns: 100, heads: 2, headSize: 37, qStart: 50, kvStart: 10, seed: 2 },
  { rows: 64, columns: 64, heads: 1, headSize: 64, qStart: 0, kvStart: 0, seed: 3 },
  { rows: 130, columns: 70, heads: 1, headSize: 128, qStart: 20, kvStart: 0, seed: 4 },
  // Rows that see nothing of the chunk.
  { rows: 70, columns: 33, heads: 1, headSize: 66, qStart: 0, kvStart: 40, seed: 5 },
]

const inputs = ({ rows, columns, heads, headSize, seed }: Case) => ({
  q: random(seed, rows * heads * headSize, 'bf16', 2) as Uint16Array,
  k: random(seed + 1, columns * heads * headSize, 'bf16', 2) as Uint16Array,
  v: random(seed + 2, columns * heads * headSize, 'bf16') as Uint16Array,
})
interface State {
  readonly acc: Float32Array
  readonly max: Float32Array
  readonly sum: Float32Array
}

/** The state after the keys before `cut` and those from there on, as two chunks; what the checks counted in the last. */
function attend(module: Module, c: Case, cut: number, checks: CheckOptions, seed = 0, mostInstructions?: number): State & { report: Report } {
  const { rows, columns, heads, headSize, qStart, kvStart } = c
  const { q, k, v } = inputs(c)
  const [acc, max, sum] = [q.length, rows * heads, rows * heads].map((count) => new Float32Array(count).fill(Number.NaN)) as [
    Float32Array,
    Float32Array,
    Float32Array,
  ]
  let report: Report = { banks: [], sectors: [] }
  for (const [from, to] of [
    [0, cut],
    [cut, columns],
  ] as const) {
    if (from === to) continue
    const offset = from * heads * headSize * 2
    const integers = [rows, to - from, heads, headSize, qStart, kvStart + from, from === 0 ? 1 : 0].map((s32) => ({ s32 }))
    report = module.launch('attend', {
      grid: [Math.ceil(rows / ROWS), heads, 1],
      block: module.kernels[0]!.mostThreads,
      args: [...integers, { memory: q, writable: false }, { memory: k, offset, writable: false }, { memory: v, offset, writable: false }, ...state(from > 0)],
      seed,
      checks,
      ...(mostInstructions === undefined ? {} : { mostInstructions }),
    })
  }
  return { acc, max, sum, report }

  function state(written: boolean) {
    return [acc, max, sum].map((memory) => ({ memory, written }))
  }
}

/** As the bounds of test/backend/attention.test.ts: p is rounded to bf16 in lesson 4, and sums of D and of all keys are f32. */
function expectAttention(lesson: Lesson, c: Case, { acc, max, sum }: State): void {
  const { q, k, v } = inputs(c)
  const expected = attention({ ...c, kvHeads: c.heads }, numbers(q), numbers(k), numbers(v))
  const p = (c.headSize * expected.scoreMagnitude + 16 + c.columns) * UNIT.f32
  const rounding = lesson === '4_tensor_core' ? UNIT.bf16 : 0
  const statistic = (i: number): number => (Math.floor(i / c.headSize) % c.heads) * c.rows + Math.floor(i / c.headSize / c.heads)
  const unseen = (i: number): boolean => expected.lse[i] === -Infinity
  const lse = Float64Array.from(sum, (total, i) => (unseen(i) && total === 0 ? 0 : (max[i] as number) * Math.LN2 + Math.log(total)))
  expectWithin(
    'lse',
    lse,
    expected.lse.map((x, i) => (unseen(i) ? 0 : x)),
    () => p,
  )
  const o = Float64Array.from(acc, (x, i) => (unseen(statistic(i)) ? x : x / (sum[statistic(i)] as number)))
  expectWithin('o', o, expected.o, (i) => (2 * p + rounding) * (expected.oMagnitude[i] as number))
}

const CHECKS: CheckOptions = { races: true, initialised: true }

describe.each(LESSONS)('lesson %s', (lesson) => {
  let module: Promise<Module> | undefined
  const compiled = (): Promise<Module> => {
    module ??= ptxOf(toolkit, source(lesson)).then((ptx) => new Module(ptx))
    return module
  }

  it.each(CASES)('gives what f64 gives, without a race: $rows rows, $columns keys, D = $headSize', { timeout: 120_000 }, async (c) => {
    for (const seed of [0, 1]) expectAttention(lesson, c, attend(await compiled(), c, Math.floor(c.columns / 2), CHECKS, seed))
  })
  it('takes any sizes', { timeout: 240_000 }, async () => {
    const module = await compiled()
    fc.assert(
      fc.property(cases, fc.double({ min: 0, max: 1, noNaN: true }), (c, at) =>
        expectAttention(lesson, c, attend(module, c, Math.ceil(at * (c.columns - 1)), CHECKS)),
      ),
      { numRuns: 5 },
    )
  })
})

describe('the checks that lessons pass', () => {
  it.each(['3_tiled', '4_tensor_core'] as const)('find each barrier of %s that is left out', { timeout: 240_000 }, async (lesson) => {
    const ptx = await ptxOf(toolkit, source(lesson))
    const barriers = [...ptx.matchAll(/^\s*(bar\.sync|barrier\.sync)\b.*$/gm)]
    expect(barriers.length).toBeGreaterThanOrEqual(2)
    for (const { 0: line, index } of barriers) {
      const without = new Module(`${ptx.slice(0, index)}${' '.repeat(line.length)}${ptx.slice(index + line.length)}`)
      // Lesson 4 has code for D up to 64 and up to 128, for multiples of 8 and others.
      const faults = [64, 37, 128, 100].map(
        (headSize) => faultOf(() => attend(without, { rows: 64, columns: 128, heads: 1, headSize, qStart: 128, kvStart: 0, seed: 1 }, 64, CHECKS)).kind,
      )
      expect(faults, line).toContainEqual(expect.stringMatching(/^(race|uninitialised)$/))
    }
  })
})

describe('the table of figures', () => {
  const measured: Case = { rows: ROWS, columns: 256, heads: 1, headSize: 64, qStart: 255, kvStart: 0, seed: 1 }
  const scores = measured.rows * measured.columns

  /** Instructions that the block executes, of all its warps: the least limit that it does not meet. */
  function instructionsOf(module: Module): number {
    const enough = (limit: number): boolean => faultOf(() => attend(module, measured, 0, {}, 0, limit)).kind === 'none'
    let [low, high] = [0, 1024]
    while (!enough(high)) [low, high] = [high, 2 * high]
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2)
      if (enough(middle)) high = middle
      else low = middle
    }
    return high
  }

  it('is as the README says', { timeout: 300_000 }, async ({ skip }) => {
    const path = join(folder, 'README.md')
    const readme = readFileSync(path, 'utf8')
    const written = /nvcc ([\d.]+)/.exec(readme)?.[1]
    if (process.env.CI && written !== toolkit.version) skip(`it is of nvcc ${written}`)
    const rows: string[] = []
    for (const lesson of LESSONS) {
      const { cubin } = await machineCode(toolkit, source(lesson), 80)
      const [usage, elf, sass] = (await Promise.all(['-res-usage', '-elf', '-sass'].map((what) => toolkit.run('cuobjdump', what, cubin)))) as [
        string,
        string,
        string,
      ]
      const [kernel] = resources(usage, elf)
      expect(kernel!.stack).toBe(0)
      const loops = tensorLoops(sass).get('attend') ?? []
      // Of lesson 4's loops, those for D up to 64 have fewer products; the shorter one copies 16 bytes at a time.
      const loop = plainLoop(loops.filter(({ tensor }) => tensor === Math.min(...loops.map((x) => x.tensor))))
      const module = new Module(await ptxOf(toolkit, source(lesson)))
      const { report } = attend(module, measured, 0, { sectors: true, banks: true })
      const sum = (sites: readonly { readonly taken: number }[]): number => sites.reduce((total, { taken }) => total + taken, 0)
      for (const { taken, fewest, line } of report.banks) expect(taken, `bank conflicts in line ${line} of the PTX of ${lesson}`).toBe(fewest)
      const perScore = (x: number, digits: number): string => (x / scores).toFixed(digits)
      const share = loop ? `${((100 * loop.tensor) / loop.instructions).toFixed(1)} %` : '0'
      const cells = [kernel!.threads, kernel!.registers, kernel!.shared, perScore(sum(report.sectors), 3), perScore(32 * instructionsOf(module), 1), share]
      rows.push(`| \`${lesson}.cu\` | ${cells.join(' | ')} |`)
    }
    const heading =
      '| lesson | threads | registers | shared memory, bytes | sectors a score | thread instructions a score | tensor-core share |\n|---|---|---|---|---|---|---|'
    const table = `${heading}\n${rows.join('\n')}\n\nRegisters, shared memory and share as nvcc ${toolkit.version} has them.`
    await expect(readme.replace(/(?<=<!-- figures -->\n)[\s\S]*(?=<!-- \/figures -->)/, `${table}\n`)).toMatchFileSnapshot(path)
  })
})
