/**
 * The oracle of safety: looks at what ops touch and at when they ran, never at waits. Two ops of one rank conflict when they
 * touch the same bytes of an arena and one of them writes; then the earlier in the list must have ended before the later starts.
 * A collective touches the bytes of every rank for as long as any rank is in it.
 */
import { WRITES } from '../../../kernel/src/plan/entries.js'
import type { Plan } from '../../../kernel/src/plan/plan.js'
import { STREAMS } from '../../../kernel/src/trace/schema.js'
import type { Spans } from '../../../kernel/src/trace/spans.js'

export type Pair = readonly [earlier: number, later: number]

/** Pairs of entries that conflict, by bytes of the arenas. Quadratic on purpose: nothing clever to be wrong. */
export function conflicts({ entries, residencies }: Plan): Pair[] {
  const touches = Array.from({ length: entries.length }, (_, e) =>
    Array.from({ length: entries.operandStart[e + 1] - entries.operandStart[e] }, (_, k) => {
      const o = entries.operandStart[e] + k
      const residency = residencies[entries.operandResidency[o]]
      if (!residency) return null
      const { tier, offset } = residency
      return { tier, from: offset + entries.operandFrom[o], to: offset + entries.operandTo[o], access: entries.operandAccess[o] }
    }).filter((touch) => touch !== null),
  )
  const clash = (e: number, f: number): boolean =>
    touches[e].some((a) => touches[f].some((b) => ((a.access | b.access) & WRITES) !== 0 && a.tier === b.tier && a.from < b.to && b.from < a.to))
  const pairs: Pair[] = []
  for (let later = 0; later < entries.length; later++) for (let earlier = 0; earlier < later; earlier++) if (clash(earlier, later)) pairs.push([earlier, later])
  return pairs
}

/** A conflicting pair that ran in the wrong order or at once, in words; null when the run was safe. */
export function hazard(plan: Plan, pairs: readonly Pair[], spans: Spans): string | null {
  const { entries, ranks } = plan
  const row = Array.from({ length: ranks }, () => new Map<number, number>())
  for (let i = 0; i < spans.entry.length; i++) row[spans.rank[i]].set(spans.entry[i], i)
  const time = (rank: number, entry: number, column: Float64Array): number => column[row[rank].get(entry) as number]
  const all = Array.from({ length: ranks }, (_, rank) => rank)
  const collective = (entry: number): boolean => STREAMS[entries.stream[entry]] === 'collective'
  const end = (rank: number, entry: number): number =>
    collective(entry) ? Math.max(...all.map((r) => time(r, entry, spans.end_ns))) : time(rank, entry, spans.end_ns)
  const start = (rank: number, entry: number): number =>
    collective(entry) ? Math.min(...all.map((r) => time(r, entry, spans.start_ns))) : time(rank, entry, spans.start_ns)
  for (const rank of all) {
    for (const [earlier, later] of pairs) {
      if (end(rank, earlier) > start(rank, later))
        return `rank ${rank}: ${plan.words(entries.op[later])} began before ${plan.words(entries.op[earlier])} had ended`
    }
  }
  return null
}

/** Durations by a seed: mostly short, some long, different on every rank. */
export function randomDurations(seed: number): (entry: number, rank: number) => number {
  return (entry, rank) => {
    let h = (seed ^ Math.imul(entry + 1, 0x9e3779b1) ^ Math.imul(rank + 1, 0x85ebca6b)) >>> 0
    h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d) >>> 0
    h = Math.imul(h ^ (h >>> 12), 0x297a2d39) >>> 0
    h = (h ^ (h >>> 15)) >>> 0
    return h % 7 === 0 ? 1000 + (h % 1000) : 1 + (h % 20)
  }
}
