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
import type { RunHead, StepSummary } from '../schema.js'
import { type DifferenceGroup, groupsOf } from './compared-groups.js'
import { type MovedOp, movedOps, type OpDifference, opDifferences } from './compared-ops.js'
import { countSide, noteOf, type Side } from './compared-side.js'

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
  const left = countSide({ run: a, name: nameA, rank: rankOf(a, rank), step: stepOfA })
  const right = countSide({ run: b, name: nameB, rank: rankOf(b, rank), step: stepOfB })
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

/** The step of that number, or else the newest of which spans are there. */
function stepOf({ head }: Run, number: number | undefined): StepSummary | undefined {
  const newest = head.steps.findLast(({ step }) => head.kept.steps.includes(step)) ?? head.steps.at(-1)
  return head.steps.find(({ step }) => step === number) ?? newest
}

function rankOf({ ranks }: Run, rank: number): number {
  return ranks.includes(rank) ? rank : (ranks[0] ?? 0)
}

/** What tells the sides apart; a prediction beside another run says so. */
function sideNames(a: Run, b: Run, stepA: StepSummary, stepB: StepSummary): [string, string] {
  const isForetold = a.head.origin !== b.head.origin
  if (isForetold && a.head.title === b.head.title && settingThatDiffers(a.head, b.head) === null) return [a.head.origin, b.head.origin]
  const [nameA, nameB] = namesOf(a, b, stepA, stepB)
  const named = (name: string, { head }: Run): string => (head.origin === 'predicted' ? `${name} (predicted)` : name)
  return [named(nameA, a), named(nameB, b)]
}

/** The first part of the titles that differs, or the first setting (`prefetch 1`, `prefetch 0`); of equal ones what else tells the runs apart. */
function namesOf(a: Run, b: Run, stepA: StepSummary, stepB: StepSummary): [string, string] {
  const [partsA, partsB] = [a, b].map(({ head }) => head.title.split(' · '))
  const first = partsA.findIndex((part, i) => part !== partsB[i])
  if (first >= 0 && partsB[first] !== undefined) return [partsA[first], partsB[first]]
  if (a.head.title !== b.head.title) return [a.head.title, b.head.title]
  const setting = settingThatDiffers(a.head, b.head)
  if (setting) return [settingWords(a.head, setting), settingWords(b.head, setting)]
  if (a.head.run_id !== b.head.run_id && a.head.created !== b.head.created) return [`run of ${when(a)}`, `run of ${when(b)}`]
  return stepA.step === stepB.step ? ['first', 'second'] : [`step ${stepA.step}`, `step ${stepB.step}`]
}

/**
 * Names of other runs beside `run`, to choose from: the title, what of its settings is not that of `run` (`prefetch 2`), and that it
 * is a prediction. Where two would read the same they say all their settings that differ between them, or else when they were made.
 */
export function choiceNames(run: Run, others: readonly Run[]): string[] {
  const base = others.map(({ head }) => head.title)
  return others.map((other, i) => {
    const alike = [run, ...others.filter((_, j) => base[j] === base[i])].filter(({ head }) => head.title === other.head.title)
    const differing = SETTINGS.filter((setting) => alike.some(({ head }) => settingOf(head, setting) !== settingOf(other.head, setting)))
    const settings = differing.map((setting) => settingWords(other.head, setting))
    const isTold = alike.every((one) => one === other || differing.some((setting) => settingOf(one.head, setting) !== settingOf(other.head, setting)))
    const foretold = other.head.origin === 'predicted' ? ['predicted'] : []
    const marks = [...settings, ...foretold, ...(isTold ? [] : [when(other)])]
    return marks.length > 0 ? `${base[i]} (${marks.join(', ')})` : base[i]
  })
}

/** What a title may leave out. */
const SETTINGS = ['system', 'ranks', 'chunk', 'chunks', 'tokens', 'prefetch', 'lookAhead', 'dtype'] as const
type Setting = (typeof SETTINGS)[number]

function settingThatDiffers(a: RunHead, b: RunHead): Setting | null {
  return SETTINGS.find((setting) => settingOf(a, setting) !== settingOf(b, setting)) ?? null
}

function settingOf({ system, sequence }: RunHead, setting: Setting): string | number {
  return setting === 'system' ? system : sequence[setting]
}

/** `prefetch 2`, `2 ranks`, `chunks of 512 tokens`. */
function settingWords(head: RunHead, setting: Setting): string {
  const value = settingOf(head, setting)
  switch (setting) {
    case 'ranks':
    case 'chunks':
    case 'tokens':
      return `${value} ${value === 1 ? setting.slice(0, -1) : setting}`
    case 'chunk':
      return `chunks of ${value} tokens`
    case 'lookAhead':
      return `look-ahead ${value}`
    case 'prefetch':
      return `prefetch ${value}`
    case 'system':
    case 'dtype':
      return String(value)
    default:
      return setting satisfies never
  }
}

function when({ head }: Run): string {
  return String(head.created).replace('T', ' ').slice(0, 23)
}
