/** What two sides are compared by: groups of figures whose parts add up to a total on either side. */
import { CATEGORIES, FAMILIES, IDLE_CAUSES, KINDS, PHASES, type RankAccount, STREAMS, type StepSummary, TIERS, type Tier } from '../schema.js'
import { CATEGORY_WORDS, IDLE_WORDS, phaseWords } from '../words/names.js'
import { copyTime, hiddenShare } from './accounts.js'
import { type Counted, placeOf, type Side, type Tally } from './compared-side.js'

export type Unit = 'time' | 'bytes' | 'share' | 'rate' | 'count' | 'flops'
/** A figure of both sides; null where a side does not know it. */
export interface Difference {
  readonly name: string
  readonly unit: Unit
  /** Which is better; `neither`: it is a matter of the question. */
  readonly best: 'less' | 'more' | 'neither'
  readonly a: number | null
  readonly b: number | null
}
export interface DifferenceGroup {
  readonly title: string
  /** What is counted, in a sentence. */
  readonly hint: string
  /** What the parts add up to, on either side; null where they are figures of their own. */
  readonly total: Difference | null
  readonly parts: readonly Difference[]
}

/** b less a; null where one is not known. */
export function differenceOf({ a, b }: Difference): number | null {
  return a === null || b === null ? null : b - a
}

export function betterOf(difference: Difference): 'a' | 'b' | 'equal' | 'neither' {
  const by = differenceOf(difference)
  if (by === 0) return 'equal'
  if (by === null || difference.best === 'neither') return 'neither'
  return by < 0 === (difference.best === 'less') ? 'b' : 'a'
}

/** In the order of reading; groups of nothing are left out. */
export function groupsOf(a: Counted, b: Counted): DifferenceGroup[] {
  return [
    speed(a, b),
    times(a, b),
    overlap(a, b),
    moves(a, b),
    ...TIERS.flatMap((tier) => peak(tier, a, b)),
    arenas(a, b),
    streams(a, b),
    byPlace(a, b),
    byKernel(a, b),
    work(a, b),
  ].filter(({ parts }) => parts.length > 0)
}

function speed(left: Counted, right: Counted): DifferenceGroup {
  const [a, b] = [left.side.step, right.side.step]
  const parts: Difference[] = [{ name: 'duration', unit: 'time', best: 'less', a: a.duration_ns, b: b.duration_ns }]
  if (a.tokens > 0 || b.tokens > 0) {
    parts.push({ name: 'tokens', unit: 'count', best: 'neither', a: a.tokens, b: b.tokens })
    const each = ({ tokens, duration_ns }: StepSummary): number | null => (tokens > 0 ? (1000 * duration_ns) / tokens : null)
    // Of steps of different length only this is fair.
    if (a.tokens !== b.tokens) parts.push({ name: 'time of 1000 tokens', unit: 'time', best: 'less', a: each(a), b: each(b) })
    const rate = ({ tokens, tokens_per_second }: StepSummary): number | null => (tokens > 0 ? tokens_per_second : null)
    parts.push({ name: 'tokens a second', unit: 'rate', best: 'more', a: rate(a), b: rate(b) })
  }
  if (a.mfu !== null || b.mfu !== null) parts.push({ name: 'MFU', unit: 'share', best: 'more', a: a.mfu, b: b.mfu })
  const hiddenOf = ({ account }: Counted): number | null => hiddenShare(account ? [account] : [])
  const hidden: Difference = { name: 'hidden share of copies', unit: 'share', best: 'more', a: hiddenOf(left), b: hiddenOf(right) }
  if (hidden.a !== null || hidden.b !== null) parts.push(hidden)
  return { title: 'Speed', hint: `Of the whole step, all ranks; the hidden share is that of ${ranksInWords(left, right)}.`, total: null, parts }
}

/** Busy by family, idle by cause: the duration. */
function times(a: Counted, b: Counted): DifferenceGroup {
  const parts = tallied(a.families, b.families, 'time', 'less', (family) => `compute: ${FAMILIES[family]}`)
  const missing = ({ account, compute_ns }: Counted): number => (account ? account.busy_ns.compute - compute_ns : 0)
  parts.push(...unlessNothing({ name: 'compute: ops that are not in this picture', unit: 'time', best: 'less', a: missing(a), b: missing(b) }))
  for (const cause of IDLE_CAUSES) {
    const idle = ({ account }: Counted): number => account?.idle_ns[cause] ?? 0
    parts.push(...unlessNothing({ name: `idle: ${IDLE_WORDS[cause].name}`, unit: 'time', best: 'less', a: idle(a), b: idle(b) }))
  }
  const rest = ({ side, account, compute_ns }: Counted): number => (account ? 0 : side.step.duration_ns - compute_ns)
  parts.push(...unlessNothing({ name: 'idle, by no known cause', unit: 'time', best: 'less', a: rest(a), b: rest(b) }))
  const total: Difference = { name: 'duration', unit: 'time', best: 'less', a: a.side.step.duration_ns, b: b.side.step.duration_ns }
  return { title: 'Time of the compute stream', hint: `What it did and what it waited for, ${ranksInWords(a, b)}.`, total, parts }
}

/** Copies between tiers, under compute or not. */
function overlap(a: Counted, b: Counted): DifferenceGroup {
  const [copiedA, copiedB] = [copied(a), copied(b)]
  const beside = (one: Counted): number | null => (one.account ? copyTime(one.account) - one.account.hidden_copy_ns : null)
  const parts: Difference[] = [
    { name: 'under compute', unit: 'time', best: 'neither', a: a.account?.hidden_copy_ns ?? null, b: b.account?.hidden_copy_ns ?? null },
    { name: 'not under compute', unit: 'time', best: 'less', a: beside(a), b: beside(b) },
  ]
  return {
    title: 'Copies',
    hint: `Between device, host and disk, while compute ran and while it did not, ${ranksInWords(a, b)}.`,
    total: { name: 'time of copies', unit: 'time', best: 'less', a: copiedA, b: copiedB },
    parts: copiedA || copiedB ? parts : [],
  }
}

function copied({ account }: Counted): number | null {
  return account ? copyTime(account) : null
}

function moves(a: Counted, b: Counted): DifferenceGroup {
  const parts = tallied(a.moved, b.moved, 'bytes', 'less', (kind) => MOVE_WORDS[KINDS[kind]])
  return { title: 'Bytes moved', hint: `Between tiers and between ranks, ${ranksInWords(a, b)}.`, total: sumOf('bytes moved', 'bytes', 'less', parts), parts }
}
const MOVE_WORDS = {
  compute: 'computed',
  allToAll: 'all-to-all',
  gather: 'gather',
  reduceScatter: 'reduce-scatter',
  allReduce: 'all-reduce',
  offload: 'offload to host',
  fetch: 'fetch to device',
  load: 'load from disk',
  spill: 'spill to disk',
  free: 'free',
} as const

/** What was alive when most was. */
function peak(tier: Tier, a: Counted, b: Counted): DifferenceGroup[] {
  const [highest, other] = [a, b].map(({ side }) => peakOf(side, tier))
  if (highest.bytes === 0 && other.bytes === 0) return []
  const parts = tallied(highest.made, other.made, 'bytes', 'less', (category) => CATEGORY_WORDS[CATEGORIES[category] ?? 'earlier'])
  const total: Difference = { name: 'peak', unit: 'bytes', best: 'less', a: highest.bytes, b: other.bytes }
  return [{ title: `Peak of ${tier} memory`, hint: `Most bytes alive at once in the step, ${ranksInWords(a, b)}, and what they were.`, total, parts }]
}

function peakOf({ run: { memory }, rank, step }: Side, tier: Tier): { bytes: number; made: Tally } {
  const code = TIERS.indexOf(tier)
  const standing = new Float64Array(CATEGORIES.length)
  let highest: { bytes: number; made: Tally } = { bytes: 0, made: new Map() }
  let total = 0
  let begun = false
  const consider = (): void => {
    if (total <= highest.bytes) return
    const known = standing.reduce((sum, bytes) => sum + bytes, 0)
    const made = [...standing, total - known].map((bytes, category): [number, number] => [category, bytes])
    highest = { bytes: total, made: new Map(made.filter(([, bytes]) => bytes !== 0)) }
  }
  for (let row = 0; row < memory.op.length && memory.step[row] <= step.step; row++) {
    if (memory.tier[row] !== code || memory.rank[row] !== rank) continue
    // What stands when the step begins may be the most there is.
    if (memory.step[row] === step.step && !begun) consider()
    begun ||= memory.step[row] === step.step
    standing[memory.category[row]] += memory.delta_bytes[row]
    total = memory.total_bytes[row]
    if (begun) consider()
  }
  // Or all there is, on a tier that the step leaves alone.
  if (!begun) consider()
  return highest
}

/** Arenas: what was planned, and the highest byte that was touched. */
function arenas(a: Counted, b: Counted): DifferenceGroup {
  const parts = TIERS.flatMap((tier): Difference[] => {
    const bytes = ({ side: { run } }: Counted): number | null => {
      const row = run.head.tiers.find((one) => one.tier === tier)
      return row ? (row.measured_bytes ?? row.predicted_bytes) : null
    }
    const row: Difference = { name: `${tier} arena`, unit: 'bytes', best: 'less', a: bytes(a), b: bytes(b) }
    return row.a === null && row.b === null ? [] : [row]
  })
  return {
    title: 'Arenas',
    hint: 'Bytes of a rank: measured is the highest byte touched, predicted the plan. Of one plan the two are equal.',
    total: null,
    parts,
  }
}

function streams(a: Counted, b: Counted): DifferenceGroup {
  const busy = (one: Counted): Tally =>
    one.account ? new Map(STREAMS.map((stream, code) => [code, (one.account as RankAccount).busy_ns[stream]])) : one.streams
  const parts = tallied(busy(a), busy(b), 'time', 'less', (code) => STREAMS[code])
  return { title: 'Busy time of streams', hint: `Streams run beside each other, ${ranksInWords(a, b)}.`, total: null, parts }
}

function byPlace(a: Counted, b: Counted): DifferenceGroup {
  const parts = tallied(a.places, b.places, 'time', 'less', (key) => phaseWords(placeOf(key)))
  return { title: 'Compute by phase and layer', hint: 'Time of compute ops.', total: computed(a, b), parts }
}

function byKernel(a: Counted, b: Counted): DifferenceGroup {
  const names = [...new Set([...a.kernels.keys(), ...b.kernels.keys()])].sort()
  const parts = names.map((name): Difference => ({ name, unit: 'time', best: 'less', a: a.kernels.get(name) ?? 0, b: b.kernels.get(name) ?? 0 }))
  return { title: 'Compute by kernel', hint: 'Time of compute ops.', total: computed(a, b), parts }
}

function work(a: Counted, b: Counted): DifferenceGroup {
  const parts = tallied(a.flops, b.flops, 'flops', 'less', (phase) => PHASES[phase])
  return {
    title: 'Operations by phase',
    hint: 'Floating-point operations of compute ops, those done again included.',
    total: sumOf('operations', 'flops', 'less', parts),
    parts,
  }
}

function computed(a: Counted, b: Counted): Difference {
  return { name: 'compute', unit: 'time', best: 'less', a: a.compute_ns, b: b.compute_ns }
}

/** A row for each key that either side has, in the order of keys; rows of nothing are left out. */
function tallied(a: Tally, b: Tally, unit: Unit, best: Difference['best'], words: (key: number) => string): Difference[] {
  const keys = [...new Set([...a.keys(), ...b.keys()])].sort((x, y) => x - y)
  return keys.flatMap((key) => unlessNothing({ name: words(key), unit, best, a: a.get(key) ?? 0, b: b.get(key) ?? 0 }))
}
function unlessNothing(row: Difference): Difference[] {
  return row.a || row.b ? [row] : []
}
function sumOf(name: string, unit: Unit, best: Difference['best'], parts: readonly Difference[]): Difference {
  const sum = (side: 'a' | 'b'): number => parts.reduce((total, part) => total + (part[side] as number), 0)
  return { name, unit, best, a: sum('a'), b: sum('b') }
}
function ranksInWords(a: Counted, b: Counted): string {
  return a.side.rank === b.side.rank ? `rank ${a.side.rank}` : `rank ${a.side.rank} and rank ${b.side.rank}`
}
