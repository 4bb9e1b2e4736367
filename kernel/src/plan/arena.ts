/**
 * Offsets in an arena: every residency of a tier gets its bytes for its life, and no two alive at once share one.
 *
 * Residencies that stand between steps lie at the bottom, in order. The others are placed twice and the smaller extent is
 * taken: once in op order from a best-fit free list, as an allocator at run time would do, and once largest first into the
 * lowest gap, which the whole list known beforehand permits. The extent is exact: it ends with the last byte used.
 */
import type { Tier } from '../trace/schema.js'
import type { Unplaced } from './lifetimes.js'
import { firstIndex } from './search.js'

/**
 * Every offset is a multiple of this. In memory a cache line and more, and what cuBLASLt wants; on disk a block of direct
 * I/O, so that a value's copies go past the page cache (`native/cpu/disk.h`).
 */
export const ALIGNMENT: Readonly<Record<Tier, number>> = { device: 256, host: 256, disk: 4096 }
/** Overlapping lives that the second placement looks at before it is given up: it is quadratic where all live at once. */
const MAX_PAIRS = 4_000_000

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
  const inOrder = placeInOrder(passing, aligned)
  const bySize = placeBySize(passing, aligned)
  const offsets = bySize && extentOf(passing, bySize) < extentOf(passing, inOrder) ? bySize : inOrder
  passing.forEach((residency, i) => {
    residency.offset = base + offsets[i]
  })
  return residencies.reduce((extent, { offset, bytes }) => Math.max(extent, offset + bytes), 0)
}

/** As at run time: at each birth, what has died before gives its bytes back, then the smallest hole that fits is taken. */
function placeInOrder(residencies: readonly Unplaced[], aligned: Rounding): Float64Array {
  const offsets = new Float64Array(residencies.length)
  const byDeath = Array.from(residencies, (_, i) => i).sort((a, b) => residencies[a].death - residencies[b].death)
  const holes = new FreeList()
  let dead = 0
  for (const [i, { birth, bytes }] of residencies.entries()) {
    for (; dead < byDeath.length && residencies[byDeath[dead]].death <= birth; dead++) {
      holes.release(offsets[byDeath[dead]], aligned(residencies[byDeath[dead]].bytes))
    }
    offsets[i] = holes.take(aligned(bytes))
  }
  return offsets
}

/** Largest first, each into the lowest gap among those already placed that live with it. Null when too many live together. */
function placeBySize(residencies: readonly Unplaced[], aligned: Rounding): Float64Array | null {
  const neighbours = overlaps(residencies)
  if (!neighbours) return null
  const offsets = new Float64Array(residencies.length)
  const placed = new Uint8Array(residencies.length)
  const order = Array.from(residencies, (_, i) => i).sort((a, b) => residencies[b].bytes - residencies[a].bytes || a - b)
  for (const i of order) {
    const taken = neighbours[i].filter((j) => placed[j]).sort((a, b) => offsets[a] - offsets[b])
    let offset = 0
    for (const j of taken) {
      if (offset + residencies[i].bytes <= offsets[j]) break
      offset = Math.max(offset, offsets[j] + aligned(residencies[j].bytes))
    }
    offsets[i] = offset
    placed[i] = 1
  }
  return offsets
}

/** For each residency those that live with it, or null beyond MAX_PAIRS. */
function overlaps(residencies: readonly Unplaced[]): number[][] | null {
  const neighbours: number[][] = residencies.map(() => [])
  let alive: number[] = []
  let pairs = 0
  for (const [i, { birth }] of residencies.entries()) {
    alive = alive.filter((j) => residencies[j].death > birth)
    pairs += alive.length
    if (pairs > MAX_PAIRS) return null
    for (const j of alive) {
      neighbours[i].push(j)
      neighbours[j].push(i)
    }
    alive.push(i)
  }
  return neighbours
}

/** Holes below the end, by place and by size; neighbours coalesce. Both lists are sorted and searched by halves. */
class FreeList {
  private readonly starts: number[] = []
  private readonly sizes: number[] = []
  /** (size, start) of the same holes, smallest first. */
  private readonly bySize: [size: number, start: number][] = []
  private end = 0

  take(bytes: number): number {
    const fit = this.rank(bytes, -1)
    if (fit < this.bySize.length) {
      const [size, start] = this.bySize[fit]
      this.remove(this.indexAt(start))
      if (size > bytes) this.insert(start + bytes, size - bytes)
      return start
    }
    // Nothing fits: grow, beginning in the last hole when it touches the end.
    const last = this.starts.length - 1
    const start = last >= 0 && this.starts[last] + this.sizes[last] === this.end ? this.starts[last] : this.end
    if (start < this.end) this.remove(last)
    this.end = start + bytes
    return start
  }

  release(start: number, bytes: number): void {
    const next = this.indexAt(start)
    let [from, to] = [start, start + bytes]
    if (this.starts[next] === to) {
      to += this.sizes[next]
      this.remove(next)
    }
    if (next > 0 && this.starts[next - 1] + this.sizes[next - 1] === from) {
      from = this.starts[next - 1]
      this.remove(next - 1)
    }
    this.insert(from, to - from)
  }

  private insert(start: number, size: number): void {
    const index = this.indexAt(start)
    this.starts.splice(index, 0, start)
    this.sizes.splice(index, 0, size)
    this.bySize.splice(this.rank(size, start), 0, [size, start])
  }
  private remove(index: number): void {
    this.bySize.splice(this.rank(this.sizes[index], this.starts[index]), 1)
    this.starts.splice(index, 1)
    this.sizes.splice(index, 1)
  }
  /** First hole at or after `start`. */
  private indexAt(start: number): number {
    return firstIndex(this.starts.length, (i) => this.starts[i] >= start)
  }
  /** First place in `bySize` at or after (size, start). */
  private rank(size: number, start: number): number {
    return firstIndex(this.bySize.length, (i) => this.bySize[i][0] > size || (this.bySize[i][0] === size && this.bySize[i][1] >= start))
  }
}

function extentOf(residencies: readonly Unplaced[], offsets: Float64Array): number {
  return residencies.reduce((extent, { bytes }, i) => Math.max(extent, offsets[i] + bytes), 0)
}
