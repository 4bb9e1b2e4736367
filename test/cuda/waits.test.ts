/** A wait that the executor leaves out of a stream is reported in every run that leaves it out: what orders two ops depends on no thread's speed. */
import './emulated.js'
import { openDevice } from '@fpdt/native'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  collective,
  copy,
  type Entry,
  isCollective,
  onDevice,
  overlap,
  type Place,
  program,
  STEP,
  streamOf,
  touches,
  withWaits,
  zero,
} from '../backend/programs.js'
import { emulator } from './emulated.js'

const BYTES = 2 ** 22 // enough that work takes longer than a thread takes to look whether it is done

/**
 * What comes before what when a program runs, from its text alone. An entry of a rank is three points of its stream: what it waits for is done; its work; what
 * others of it is done. A collective waits for its peers before its work, and after it.
 */
function orderOf(entries: readonly Entry[], ranks: number) {
  const point = (rank: number, entry: number, at: 0 | 1 | 2) => (rank * entries.length + entry) * 3 + at
  const fixed: (readonly [number, number])[] = []
  const waits: (readonly [number, number])[] = []
  const works: { point: number; touched: { rank: number; place: Place; writes: boolean }[] }[] = []
  for (let rank = 0; rank < ranks; rank++)
    entries.forEach((entry, i) => {
      fixed.push([point(rank, i, 0), point(rank, i, 1)], [point(rank, i, 1), point(rank, i, 2)])
      const before = entries.findLastIndex((other, j) => j < i && streamOf(other) === streamOf(entry))
      if (before >= 0) fixed.push([point(rank, before, 2), point(rank, i, 0)])
      for (const wait of entry.waits) waits.push([point(rank, wait, 2), point(rank, i, 0)])
      const peers = isCollective(entry.name) ? Array.from({ length: ranks }, (_, peer) => peer).filter((peer) => peer !== rank) : []
      for (const peer of peers) waits.push([point(peer, i, 0), point(rank, i, 1)], [point(peer, i, 1), point(rank, i, 2)])
      const own = touches(entry).map((touched) => ({ ...touched, rank }))
      const read = own.filter(({ writes }) => !writes).flatMap((touched) => peers.map((peer) => ({ ...touched, rank: peer })))
      works.push({ point: point(rank, i, 1), touched: [...own, ...read] })
    })
  const conflicts = works.flatMap((a, i) =>
    works
      .slice(i + 1)
      .filter((b) => a.touched.some((x) => b.touched.some((y) => x.rank === y.rank && (x.writes || y.writes) && overlap(x.place, y.place))))
      .map((b) => [a.point, b.point] as const),
  )
  /** Whether all ops that touch the same bytes are ordered without one of the waits. */
  const isOrdered = (without?: readonly [number, number]): boolean => {
    const next = new Map<number, number[]>()
    for (const edge of [...fixed, ...waits]) if (edge !== without) next.set(edge[0], [...(next.get(edge[0]) ?? []), edge[1]])
    const after = (from: number, seen = new Set<number>()): Set<number> => {
      for (const to of next.get(from) ?? []) if (!seen.has(to)) after(to, seen.add(to))
      return seen
    }
    const reached = new Map(works.map((work) => [work.point, after(work.point)]))
    return conflicts.every(([a, b]) => reached.get(a)?.has(b) || reached.get(b)?.has(a))
  }
  return { waits, isOrdered }
}

/** Without the waits that others imply. */
function reduced(entries: readonly Entry[]): Entry[] {
  const left = [...entries]
  left.forEach((entry, i) => {
    for (const wait of entry.waits) {
      const fewer = { ...entry, waits: (left[i] as Entry).waits.filter((other) => other !== wait) }
      if (orderOf(left.with(i, fewer), 1).isOrdered()) left[i] = fewer
    }
  })
  return left
}

interface Case {
  readonly entries: readonly Entry[]
  readonly ranks: number
  readonly device: number
  readonly host: number
}
async function run({ entries, ranks, device, host }: Case, seed: number, nth: number) {
  emulator.reset()
  emulator.configure({ seed, policy: null, devices: 1 })
  if (nth) emulator.plant({ call: 'cudaStreamWaitEvent', nth, what: 'drop' })
  const cuda = openDevice({ backend: 'cuda', devices: [0] })
  try {
    const executor = cuda.load(program(ranks, { device, host }, entries))
    await executor.run(undefined, STEP)
    const { unordered, plants } = emulator.report()
    executor.close()
    return { unordered, used: plants[0]?.used === true }
  } finally {
    cuda.close()
  }
}
/** Leaves out each wait that the executor asks for; how many it did. Work that was done when its follower was issued is not waited for, so their number varies. */
async function expectReported(tried: Case, seed: number): Promise<number> {
  const { waits, isOrdered } = orderOf(tried.entries, tried.ranks)
  expect(isOrdered()).toBe(true)
  for (const wait of waits) expect(isOrdered(wait), 'each wait is needed').toBe(false)
  expect(await run(tried, seed, 0)).toEqual({ unordered: [], used: false })
  for (let nth = 1; ; nth++) {
    const { unordered, used } = await run(tried, seed, nth)
    if (!used) return nth - 1
    expect(unordered.length, `seed ${seed}, wait ${nth}`).toBeGreaterThan(0)
  }
}

describe('a wait that is left out is reported', () => {
  it('of a chain, where each entry needs the one before it, on another stream', { timeout: 240_000 }, async () => {
    const chain = Array.from({ length: 4 }, (_, i) => [zero(0, BYTES), copy('offload', 0, BYTES * i, BYTES), copy('fetch', BYTES * i, 0, BYTES)])
    const entries = chain.flat().map((entry, i) => ({ ...entry, waits: i ? [i - 1] : [] }))
    let dropped = 0
    for (let seed = 0; seed < 8; seed++) dropped += await expectReported({ entries, ranks: 1, device: BYTES, host: 4 * BYTES }, seed)
    expect(dropped).toBeGreaterThan(16)
  })

  it('of two ranks that read each other’s memory, where they wait for each other too', { timeout: 240_000 }, async () => {
    const part = onDevice(0, BYTES / 4)
    const rounds = Array.from({ length: 3 }, () => [zero(part.offset, part.bytes), collective('gather', [part, onDevice(BYTES, BYTES / 2)], [part.bytes])])
    const entries = withWaits([...rounds.flat(), zero(part.offset, part.bytes)])
    let dropped = 0
    for (let seed = 0; seed < 4; seed++) dropped += await expectReported({ entries, ranks: 2, device: 2 * BYTES, host: 0 }, seed)
    expect(dropped).toBeGreaterThan(16)
  })

  it('of any program', { timeout: 240_000 }, async () => {
    const size = BYTES / 8
    const slot = fc.nat({ max: 2 }).map((i) => i * size)
    const entry = fc.oneof(
      slot.map((at) => zero(at, size)),
      fc.tuple(slot, slot).map(([from, to]) => copy('offload', from, to, size)),
      fc.tuple(slot, slot).map(([from, to]) => copy('fetch', from, to, size)),
    )
    const programs = fc.sample(fc.array(entry, { minLength: 8, maxLength: 12 }), { numRuns: 8, seed: 1 })
    let dropped = 0
    for (const [seed, entries] of programs.entries())
      dropped += await expectReported({ entries: reduced(withWaits(entries)), ranks: 1, device: 3 * size, host: 3 * size }, seed)
    expect(dropped).toBeGreaterThan(8)
  })
})
