/**
 * Two steps beside each other: FPDT and Ulysses, chunks of 2 K and of 8 K, a prediction and what was measured. Each side is one
 * rank in one step. Whatever is a sum is given with its parts, and on either side the parts add up to it exactly:
 *
 *   duration     = compute by family + compute standing still by cause
 *   compute      = by phase and layer = by kernel
 *   copies       = under compute + not under compute
 *   peak         = bytes by category at that instant
 *
 * Two runs of one listing are compared op by op besides. Comparing in the other order gives the same rows with a and b exchanged.
 */

import type { Run } from '../model/run.js'
import { CATEGORIES, FAMILIES, IDLE_CAUSES, KINDS, NONE, PHASES, type RankAccount, STREAMS, type StepSummary, TIERS, type Tier } from '../schema.js'
import { CATEGORY_WORDS, placeWords } from '../words/run.js'
import { copyTime, hiddenShare } from './accounts.js'

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
export interface OpDifference {
  readonly op: number
  /** Rows of the span tables of a and b. */
  readonly rowA: number
  readonly rowB: number
  readonly a_ns: number
  readonly b_ns: number
  readonly words: string
}
/** An op that began in another place among the ops of its rank. */
export interface MovedOp {
  readonly op: number
  /** Its place by start, from 0. */
  readonly placeA: number
  readonly placeB: number
  readonly words: string
}
export interface Side {
  readonly run: Run
  /** What tells it from the other. */
  readonly name: string
  readonly rank: number
  readonly step: StepSummary
}
export interface Comparison {
  readonly a: Side
  readonly b: Side
  /** What to add to a time of b to draw it below a: the steps begin together. */
  readonly offset_ns: number
  readonly groups: readonly DifferenceGroup[]
  /** Whether both have the same ops, and `ops` and `moved` say more than nothing. */
  readonly sameOps: boolean
  /** Ops whose time differs, the largest difference first. */
  readonly ops: readonly OpDifference[]
  readonly moved: readonly MovedOp[]
  /** What limits the comparison, in sentences. */
  readonly notes: readonly string[]
}

export interface CompareOptions {
  /** Numbers of steps; the newest of which spans are kept where not given. */
  readonly stepA?: number
  readonly stepB?: number
  /** On both sides; a side that does not have it shows its first. */
  readonly rank?: number
}

/** Null where a side has no step yet. */
export function compareRuns(a: Run, b: Run, { stepA, stepB, rank = a.ranks[0] ?? 0 }: CompareOptions = {}): Comparison | null {
  const [stepOfA, stepOfB] = [stepOf(a, stepA), stepOf(b, stepB)]
  if (!stepOfA || !stepOfB) return null
  const [nameA, nameB] = sideNames(a, b, stepOfA, stepOfB)
  const left = count({ run: a, name: nameA, rank: rankOf(a, rank), step: stepOfA })
  const right = count({ run: b, name: nameB, rank: rankOf(b, rank), step: stepOfB })
  const sameOps = haveSameOps(a.listing, b.listing)
  return {
    a: left.side,
    b: right.side,
    offset_ns: stepOfA.start_ns - stepOfB.start_ns,
    groups: groupsOf(left, right),
    sameOps,
    ops: sameOps ? opDifferences(left, right) : [],
    moved: sameOps ? movedOps(left, right) : [],
    notes: [...noteOf(left), ...noteOf(right)],
  }
}

/** Lines of a run that was cut to fit a notebook may be empty. */
function haveSameOps(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((line, i) => line === b[i] || line === '' || b[i] === '')
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

/** The step of that number, or else the newest of which spans are there. */
function stepOf({ head }: Run, number: number | undefined): StepSummary | undefined {
  const newest = head.steps.findLast(({ step }) => head.kept.steps.includes(step)) ?? head.steps.at(-1)
  return head.steps.find(({ step }) => step === number) ?? newest
}

function rankOf({ ranks }: Run, rank: number): number {
  return ranks.includes(rank) ? rank : (ranks[0] ?? 0)
}

/** The first part of the titles that differs, or the first setting (`prefetch 1`, `prefetch 0`); of equal ones what else tells the runs apart. */
function sideNames(a: Run, b: Run, stepA: StepSummary, stepB: StepSummary): [string, string] {
  if (a.head.origin !== b.head.origin && a.head.title === b.head.title) return [a.head.origin, b.head.origin]
  const [partsA, partsB] = [a, b].map(({ head }) => head.title.split(' · '))
  const first = partsA.findIndex((part, i) => part !== partsB[i])
  if (first >= 0 && partsB[first] !== undefined) return [partsA[first], partsB[first]]
  if (a.head.title !== b.head.title) return [a.head.title, b.head.title]
  const [settingsA, settingsB] = [a, b].map(({ head }): Readonly<Record<string, string | number>> => head.sequence)
  const setting = Object.keys(settingsA).find((name) => settingsA[name] !== settingsB[name])
  if (setting) return [`${setting} ${settingsA[setting]}`, `${setting} ${settingsB[setting]}`]
  if (a.head.run_id !== b.head.run_id && a.head.created !== b.head.created) return [`run of ${when(a)}`, `run of ${when(b)}`]
  return stepA.step === stepB.step ? ['first', 'second'] : [`step ${stepA.step}`, `step ${stepB.step}`]
}

function when({ head }: Run): string {
  return String(head.created).replace('T', ' ').slice(0, 23)
}

// ---- what is counted of a side -------------------------------------------------------------------------------------

/** Keys of what is counted are numbers in the order of reading; each has its words. */
type Tally = Map<number, number>

interface Counted {
  readonly side: Side
  readonly account: RankAccount | undefined
  /** Rows of the span table. */
  readonly rows: readonly number[]
  readonly families: Tally
  readonly places: Tally
  readonly kernels: Map<string, number>
  readonly streams: Tally
  readonly moved: Tally
  readonly flops: Tally
  readonly compute_ns: number
  /** End of the last op of the step that the table has, on any rank: where the step ends, unless the table was cut. */
  readonly end_ns: number
}

const COMPUTE = STREAMS.indexOf('compute')
const AFTER_LAYERS = NONE // the key of what belongs to no layer

function count(side: Side): Counted {
  const { run, rank, step } = side
  const { spans } = run
  const rows: number[] = []
  const families: Tally = new Map()
  const places: Tally = new Map()
  const kernels = new Map<string, number>()
  const streams: Tally = new Map()
  const moved: Tally = new Map()
  const flops: Tally = new Map()
  let compute_ns = 0
  let end_ns = step.start_ns
  for (let row = 0; row < spans.op.length; row++) {
    if (spans.step[row] !== step.step) continue
    const length = spans.duration_ns[row]
    end_ns = Math.max(end_ns, spans.start_ns[row] + length)
    if (spans.rank[row] !== rank) continue
    rows.push(row)
    add(streams, spans.stream[row], length)
    if (spans.stream[row] !== COMPUTE) {
      add(moved, spans.kind[row], spans.bytes[row])
      continue
    }
    compute_ns += length
    add(families, run.families[row], length)
    add(places, spans.phase[row] * (AFTER_LAYERS + 1) + spans.layer[row], length)
    const kernel = run.head.codes.kernels[spans.kernel[row]]?.name ?? KINDS[spans.kind[row]]
    kernels.set(kernel, (kernels.get(kernel) ?? 0) + length)
    add(flops, spans.phase[row], spans.flops[row])
  }
  return { side, account: step.accounts?.find((one) => one.rank === rank), rows, families, places, kernels, streams, moved, flops, compute_ns, end_ns }
}

function add(tally: Tally, key: number, amount: number): void {
  tally.set(key, (tally.get(key) ?? 0) + amount)
}

function noteOf({ side, end_ns, rows }: Counted): string[] {
  const { name, step } = side
  if (rows.length === 0) return [`Of ${name} the ops of step ${step.step} are not in this picture: only its figures are compared.`]
  if (end_ns < step.start_ns + step.duration_ns)
    return [`Of ${name} only the beginning of step ${step.step} is in this picture: its ops, bytes and layers are those of the beginning.`]
  return []
}

// ---- groups --------------------------------------------------------------------------------------------------------

function groupsOf(a: Counted, b: Counted): DifferenceGroup[] {
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
    parts.push(...unlessNothing({ name: IDLE_WORDS[cause], unit: 'time', best: 'less', a: idle(a), b: idle(b) }))
  }
  const rest = ({ side, account, compute_ns }: Counted): number => (account ? 0 : side.step.duration_ns - compute_ns)
  parts.push(...unlessNothing({ name: 'idle, by no known cause', unit: 'time', best: 'less', a: rest(a), b: rest(b) }))
  const total: Difference = { name: 'duration', unit: 'time', best: 'less', a: a.side.step.duration_ns, b: b.side.step.duration_ns }
  return { title: 'Time of the compute stream', hint: `What it did and what it waited for, ${ranksInWords(a, b)}.`, total, parts }
}

const IDLE_WORDS = {
  fetch: 'idle: waits for a copy over the host link',
  collective: 'idle: waits for other ranks’ data',
  disk: 'idle: waits for the disk',
  memory: 'idle: waits for bytes that are still used',
  turn: 'idle: another rank computes on the same cores',
  nothing: 'idle: nothing to do',
} as const

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
  const words = (key: number): string => {
    const [phase, layer] = [PHASES[Math.floor(key / (AFTER_LAYERS + 1))], key % (AFTER_LAYERS + 1)]
    return layer === NONE ? phase : `${phase} of layer ${layer}`
  }
  const parts = tallied(a.places, b.places, 'time', 'less', words)
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

// ---- op by op ------------------------------------------------------------------------------------------------------

function opDifferences(a: Counted, b: Counted): OpDifference[] {
  const rowOfB = rowsByOp(b)
  const { duration_ns: timesA, op: ops } = a.side.run.spans
  const { duration_ns: timesB } = b.side.run.spans
  return a.rows
    .flatMap((rowA): OpDifference[] => {
      const op = ops[rowA]
      const rowB = rowOfB.get(op)
      if (rowB === undefined || timesA[rowA] === timesB[rowB]) return []
      return [{ op, rowA, rowB, a_ns: timesA[rowA], b_ns: timesB[rowB], words: opInWords(a, rowA) }]
    })
    .sort((x, y) => Math.abs(y.b_ns - y.a_ns) - Math.abs(x.b_ns - x.a_ns) || x.op - y.op)
}

/** Ops that began elsewhere in the order of starts, those that moved farthest first. Ops of one stream keep theirs. */
function movedOps(a: Counted, b: Counted): MovedOp[] {
  const placesB = placesByStart(b)
  const rowOfA = rowsByOp(a)
  return [...placesByStart(a)]
    .flatMap(([op, placeA]): MovedOp[] => {
      const placeB = placesB.get(op)
      return placeB === undefined || placeB === placeA ? [] : [{ op, placeA, placeB, words: opInWords(a, rowOfA.get(op) as number) }]
    })
    .sort((x, y) => Math.abs(y.placeB - y.placeA) - Math.abs(x.placeB - x.placeA) || x.op - y.op)
}

function placesByStart({ side, rows }: Counted): Map<number, number> {
  const { start_ns, op } = side.run.spans
  const sorted = [...rows].sort((x, y) => start_ns[x] - start_ns[y] || op[x] - op[y])
  return new Map(sorted.map((row, place) => [op[row], place]))
}

function rowsByOp({ side, rows }: Counted): Map<number, number> {
  return new Map(rows.map((row) => [side.run.spans.op[row], row]))
}

function opInWords({ side }: Counted, row: number): string {
  // Rank and step are those of the side.
  return placeWords(side.run, row).split(' · ').slice(2).join(' · ')
}
