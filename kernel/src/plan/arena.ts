/**
 * Offsets in an arena: every residency of a tier gets its bytes for its life, and no two alive at once share one.
 *
 * Residencies that stand between steps lie at the bottom, in order. Of the others the whole list is known beforehand, so they
 * are placed largest first, each into the lowest gap that is free for all its life. Where that takes more bytes than are ever
 * alive at once, those of the peak are placed first instead, and the smaller arena is taken: one of the two is the live peak for
 * most schedules, and within a few percent of it for the rest. The extent is exact: it ends with the last byte used.
 */

import { firstIndex } from '../search.js'
import type { Tier } from '../trace/schema.js'
import type { Unplaced } from './lifetimes.js'
/**
 * Every offset is a multiple of this. In memory a cache line and more, and what cuBLASLt wants; on disk a block of direct
 * I/O, so that a value's copies go past the page cache (`native/host/disk.h`).
 */
export const ALIGNMENT: Readonly<Record<Tier, number>> = { device: 256, host: 256, disk: 4096 }
/** Up to the next multiple of a tier's alignment. */
type Rounding = (bytes: number) => number

/** Sets `offset` of each residency (all of one tier, in order of birth); returns the bytes of the arena. `alignment`: one of ALIGNMENT. */
export function layOut(residencies: readonly Unplaced[], alignment: number): number {
  const aligned = (bytes: number): number => Math.ceil(bytes / alignment) * alignment
  let base = 0
  for (const residency of residencies) {
    if (!residency.persistent) continue
    residency.offset = base
    base = aligned(base + residency.bytes)
  }
  const passing = residencies.filter((residency) => !residency.persistent && residency.bytes > 0)
  const offsets = place(passing, aligned)
  passing.forEach((residency, i) => {
    residency.offset = base + offsets[i]
  })
  return residencies.reduce((extent, { offset, bytes }) => Math.max(extent, offset + bytes), 0)
}

/** Offsets from 0 of residencies in order of birth. */
function place(residencies: readonly Unplaced[], aligned: Rounding): Float64Array {
  const sizes = Float64Array.from(residencies, ({ bytes }) => aligned(bytes))
  const peak = livePeak(residencies, sizes)
  const extentOf = (offsets: Float64Array): number => offsets.reduce((extent, offset, i) => Math.max(extent, offset + sizes[i]), 0)
  const byIndex = Array.from(residencies.keys())
  const bySize = placeInTurn(
    residencies,
    sizes,
    byIndex.sort((a, b) => sizes[b] - sizes[a] || a - b),
  )
  if (extentOf(bySize) === peak.bytes) return bySize
  const ofPeak = (i: number): number => (residencies[i].birth <= peak.line && residencies[i].death > peak.line ? 1 : 0)
  const peakFirst = placeInTurn(
    residencies,
    sizes,
    byIndex.sort((a, b) => ofPeak(b) - ofPeak(a) || sizes[b] - sizes[a] || a - b),
  )
  return extentOf(peakFirst) < extentOf(bySize) ? peakFirst : bySize
}

/** The most bytes alive at once, alignment counted, and the line at which they are. */
function livePeak(residencies: readonly Unplaced[], sizes: Float64Array): { bytes: number; line: number } {
  const byDeath = Array.from(residencies.keys()).sort((a, b) => residencies[a].death - residencies[b].death)
  let [live, bytes, line, dead] = [0, 0, -1, 0]
  for (const [i, { birth }] of residencies.entries()) {
    for (; dead < byDeath.length && residencies[byDeath[dead]].death <= birth; dead++) live -= sizes[byDeath[dead]]
    live += sizes[i]
    if (live > bytes) [bytes, line] = [live, birth]
  }
  return { bytes, line }
}

/** A stretch of bytes that residencies have one after the other: their lives, in order. */
interface Track {
  readonly from: number
  readonly to: number
  readonly births: number[]
  readonly deaths: number[]
  /** No life before this one ends after the birth that was asked for last. */
  next: number
}

/** In the given order, each into the lowest gap that nothing placed before it uses during its life. */
function placeInTurn(residencies: readonly Unplaced[], sizes: Float64Array, order: readonly number[]): Float64Array {
  const offsets = new Float64Array(residencies.length)
  const tracks: Track[] = [] // by place
  let before = Number.POSITIVE_INFINITY
  for (const i of order) {
    const { birth, death } = residencies[i]
    if (birth < before) for (const track of tracks) track.next = 0
    before = birth
    let offset = 0
    for (const track of tracks) {
      if (track.to <= offset || !isTaken(track, birth, death)) continue
      if (offset + sizes[i] <= track.from) break
      offset = track.to
    }
    offsets[i] = offset
    add(tracks, offset, offset + sizes[i], birth, death)
  }
  return offsets
}

/** Whether a track is in use at any time of a life. Births are asked for in ascending order, or `next` is set back. */
function isTaken(track: Track, birth: number, death: number): boolean {
  const { births, deaths } = track
  while (track.next < deaths.length && deaths[track.next] <= birth) track.next++
  return track.next < births.length && births[track.next] < death
}

function add(tracks: Track[], from: number, to: number, birth: number, death: number): void {
  const t = firstIndex(tracks.length, (k) => tracks[k].from > from || (tracks[k].from === from && tracks[k].to >= to))
  if (tracks[t]?.from !== from || tracks[t].to !== to) tracks.splice(t, 0, { from, to, births: [], deaths: [], next: 0 })
  const { births, deaths } = tracks[t]
  const at = firstIndex(births.length, (k) => births[k] > birth)
  births.splice(at, 0, birth)
  deaths.splice(at, 0, death)
}
