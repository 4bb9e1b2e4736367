/** A program is loaded exactly when it cannot race with itself: native/core/order.cc against every pair of operands and all paths of waits. */
import fc from 'fast-check'
import { afterAll, expect, it } from 'vitest'
import { collective, copy, device, type Entry, onDevice, overlap, program, streamOf, touches, withWaits, zero } from './programs.js'

afterAll(() => device().close())

const ARENA = 64
const bytes = fc.integer({ min: 0, max: 24 })
const at = fc.integer({ min: 0, max: ARENA - 48 })
const entry: fc.Arbitrary<Entry> = fc.oneof(
  fc.record({ at, bytes }).map(({ at, bytes }) => zero(at, bytes)),
  fc.record({ from: at, to: at, bytes }).map(({ from, to, bytes }) => copy('offload', from, to, bytes)),
  fc.record({ from: at, to: at, bytes }).map(({ from, to, bytes }) => copy('fetch', from, to, bytes)),
  fc.record({ from: at, to: at, bytes }).map(({ from, to, bytes }) => copy('spill', from, to, bytes)),
  fc.record({ from: at, to: at, bytes }).map(({ from, to, bytes }) => copy('load', from, to, bytes)),
  fc
    .record({ part: at, full: at, bytes: fc.integer({ min: 1, max: 8 }) })
    .map(({ part, full, bytes }) => collective('gather', [onDevice(part, bytes), onDevice(full, 2 * bytes)], [bytes])),
  at.map((at) => collective('allReduce', [onDevice(at, 8)], [1])),
)
/** Waits that suffice but for operands of one entry that overlap, less some of them, and some that nobody needs. */
const entries = fc
  .array(fc.record({ entry, kept: fc.integer({ min: 0, max: 9 }), extra: fc.option(fc.nat(100), { freq: 8 }) }), { minLength: 1, maxLength: 12 })
  .map((list) =>
    withWaits(list.map(({ entry }) => entry)).map((entry, i) => {
      const { kept, extra } = list[i] as (typeof list)[number]
      const waits = kept === 0 ? entry.waits.slice(1) : entry.waits
      return { ...entry, waits: extra === null || i === 0 ? waits : [...waits, extra % i] }
    }),
  )

/** The first entry that conflicts with itself or with an earlier one that need not have ended. */
function firstRace(entries: readonly Entry[]): number {
  const before = entries.map(() => new Set<number>())
  return entries.findIndex((entry, i) => {
    const direct = [...entry.waits, entries.findLastIndex((other, earlier) => earlier < i && streamOf(other) === streamOf(entry))]
    for (const earlier of direct.filter((earlier) => earlier >= 0)) for (const ended of [earlier, ...(before[earlier] as Set<number>)]) before[i]?.add(ended)
    const conflicts = (other: Entry): boolean =>
      touches(entry).some((a, m) =>
        touches(other).some(
          (b, n) => (other !== entry || m !== n) && (a.writes || b.writes) && a.place.bytes > 0 && b.place.bytes > 0 && overlap(a.place, b.place),
        ),
      )
    return entries.slice(0, i + 1).some((other, earlier) => !before[i]?.has(earlier) && conflicts(other))
  })
}

it('a program that can race is refused with the entry that can, and no other is', () => {
  const found = { refused: 0, loaded: 0 }
  fc.assert(
    fc.property(entries, (entries) => {
      const race = firstRace(entries)
      const load = (): void =>
        device()
          .load(program(2, { device: ARENA, host: ARENA, disk: ARENA }, entries))
          .close()
      if (race < 0) load()
      else expect(load).toThrow(expect.objectContaining({ code: 'program', message: expect.stringMatching(new RegExp(`^entry ${race} \\(.* overlaps `)) }))
      found[race < 0 ? 'loaded' : 'refused']++
    }),
    { numRuns: 1000 },
  )
  expect(found.refused).toBeGreaterThan(100)
  expect(found.loaded).toBeGreaterThan(100)
})
