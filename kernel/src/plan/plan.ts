/**
 * The plan of a step: where every residency lies, what every op waits for, and what that takes, known before a byte is
 * touched. The simulator and the native executor run the same plan, so predicted bytes are the bytes allocated.
 *
 *   ops -> residencies and entries -> offsets -> waits -> Plan -> (lower) Program
 */
import { FpdtError } from '../errors.js'
import { checked } from '../schedule/check.js'
import type { Op } from '../schedule/ops.js'
import { printOp, printPlace } from '../schedule/print.js'
import type { Standing } from '../schedule/standing.js'
import { firstIndex } from '../search.js'
import { NONE, PHASES, STREAMS, type Stream, TIERS, type Tier } from '../trace/schema.js'
import { bytes as inBytes, largestInWords } from '../trace/words/format.js'
import { ALIGNMENT, layOut } from './arena.js'
import { type Entries, EntryRecorder, type WorkspaceBytes } from './entries.js'
import { Lifetimes, type Residency } from './lifetimes.js'
import { type Peak, peakOf } from './peak.js'
import { type Waits, waitsOf } from './waits.js'

export type { Peak, Residency, WorkspaceBytes }

export interface PlanOptions {
  readonly ranks: number
  /** What stands before the first op. */
  readonly initial: Iterable<Standing>
  readonly workspace: WorkspaceBytes
  /** Bytes a rank may take of each tier; a tier that is not named is not limited. */
  readonly budgets?: Partial<Record<Tier, number>>
}

export interface Plan {
  readonly ranks: number
  /** Line i is the printed form of op i. */
  readonly listing: readonly string[]
  readonly entries: Entries
  /** In order of birth. */
  readonly residencies: readonly Residency[]
  readonly waits: Waits
  /** Bytes of each tier's arena, per rank: exactly what is allocated. */
  readonly arenaBytes: Readonly<Record<Tier, number>>
  readonly peaks: Readonly<Record<Tier, Peak>>
  /** Useful floating-point operations of a step on one rank, and bytes by stream (for compute: of operands). */
  readonly totals: { readonly flops: number; readonly bytes: Readonly<Record<Stream, number>> }
  /** The residency of a value that is alive after the op at `line`; by default after the last op. Undefined when there is none. */
  find(name: string, tier: Tier, line?: number): Residency | undefined
  /** Its first byte in the tier's arena. Throws FpdtError `not_resident`, naming where the value is. */
  offsetOf(name: string, tier: Tier, line?: number): number
  /** An op in words: `attend state[0,3] += ... (forward · layer 0 · q 3 · kv 1)`. Line -1: before the first op. */
  words(line: number): string
}

/** Plans a step. Throws FpdtError `schedule` (see `check`), `out_of_memory` when a tier's arena is larger than its budget. */
export function plan(ops: Iterable<Op>, options: PlanOptions): Plan {
  const { ranks, workspace } = options
  const initial = [...options.initial]
  const lifetimes = new Lifetimes(initial)
  const recorder = new EntryRecorder(ranks, lifetimes, workspace)
  const listing: string[] = []
  for (const op of checked(ops, initial, ranks)) {
    recorder.add(op, listing.length)
    listing.push(printOp(op))
  }
  const entries = recorder.entries()
  const residencies = lifetimes.close(listing.length)
  const byTier = new Map(TIERS.map((tier) => [tier, residencies.filter((residency) => residency.tier === tier)]))
  const arenaBytes = perTier((tier) => layOut(byTier.get(tier) as typeof residencies, ALIGNMENT[tier]))
  const peaks = perTier((tier) => peakOf(tier, byTier.get(tier) as Residency[]))
  const words = (line: number): string => wordsOf(listing, entries, line)
  for (const tier of TIERS) refuseBeyond(options.budgets?.[tier], arenaBytes[tier], peaks[tier], words)

  const byName = new Map<string, Residency[]>()
  for (const residency of residencies) {
    if (!residency.value) continue
    const same = byName.get(residency.name)
    if (same) same.push(residency)
    else byName.set(residency.name, [residency])
  }
  const find = (name: string, tier: Tier, line = listing.length - 1): Residency | undefined =>
    byName.get(name)?.find((residency) => residency.tier === tier && residency.birth <= line && residency.death > line)
  const offsetOf = (name: string, tier: Tier, line = listing.length - 1): number => {
    const found = find(name, tier, line)
    if (found) return found.offset
    const elsewhere = TIERS.filter((other) => find(name, other, line))
    const known = byName.has(name) ? (elsewhere.length ? `it is on the ${elsewhere.join(' and ')} tier` : 'it is on no tier then') : 'no value has that name'
    throw new FpdtError('not_resident', `${name} is not on the ${tier} tier after op ${line}: ${known}`)
  }
  return { ranks, listing, entries, residencies, waits: waitsOf(entries, residencies), arenaBytes, peaks, totals: totalsOf(entries), find, offsetOf, words }
}

function perTier<T>(of: (tier: Tier) => T): Record<Tier, T> {
  return { device: of('device'), host: of('host'), disk: of('disk') }
}

function totalsOf(entries: Entries): Plan['totals'] {
  const bytes = Object.fromEntries(STREAMS.map((stream) => [stream, 0])) as Record<Stream, number>
  for (let e = 0; e < entries.length; e++) bytes[STREAMS[entries.stream[e]]] += entries.bytes[e]
  return { flops: entries.flops.reduce((sum, flops) => sum + flops, 0), bytes }
}

function wordsOf(listing: readonly string[], entries: Entries, line: number): string {
  if (line < 0) return 'before the first op'
  const e = firstIndex(entries.length, (i) => entries.op[i] >= line)
  if (entries.op[e] !== line) return listing[line] // a free: entries hold what runs
  const [layer, q, kv] = [entries.layer[e], entries.q[e], entries.kv[e]].map((chunk) => (chunk === NONE ? null : chunk))
  return `${listing[line]} (${printPlace({ phase: PHASES[entries.phase[e]], layer, q, kv })})`
}

function refuseBeyond(budget: number | undefined, needed: number, peak: Peak, words: (line: number) => string): void {
  if (budget === undefined || needed <= budget) return
  const where = `most is alive (${inBytes(peak.bytes)}) at op ${peak.line}, ${words(peak.line)}`
  throw new FpdtError(
    'out_of_memory',
    `the ${peak.tier} tier needs ${needed} bytes (${inBytes(needed)}) a rank and is given ${budget} (${inBytes(budget)}): ${where}; the largest there: ${largestInWords(peak.residencies)}`,
  )
}
