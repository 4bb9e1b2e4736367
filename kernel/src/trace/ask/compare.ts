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
import type { StepSummary } from '../schema.js'
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
