/** Two runs of one listing, op by op: which took longer, and which began elsewhere. */
import { stageWords } from '../words/names.js'
import type { Counted } from './compared-side.js'

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

/** Ops whose time differs, the largest difference first. */
export function opDifferences(a: Counted, b: Counted): OpDifference[] {
  const rowOfB = rowsByOp(b)
  const { duration_ns: timesA, op: ops } = a.side.run.spans
  const { duration_ns: timesB } = b.side.run.spans
  return a.rows
    .flatMap((rowA): OpDifference[] => {
      const op = ops[rowA]
      const rowB = rowOfB.get(op)
      if (rowB === undefined || timesA[rowA] === timesB[rowB]) return []
      return [{ op, rowA, rowB, a_ns: timesA[rowA], b_ns: timesB[rowB], words: stageWords(a.side.run, rowA) }]
    })
    .sort((x, y) => Math.abs(y.b_ns - y.a_ns) - Math.abs(x.b_ns - x.a_ns) || x.op - y.op)
}

/** Ops that began elsewhere in the order of starts, those that moved farthest first. Ops of one stream keep theirs. */
export function movedOps(a: Counted, b: Counted): MovedOp[] {
  const placesB = placesByStart(b)
  const rowOfA = rowsByOp(a)
  return [...placesByStart(a)]
    .flatMap(([op, placeA]): MovedOp[] => {
      const placeB = placesB.get(op)
      return placeB === undefined || placeB === placeA ? [] : [{ op, placeA, placeB, words: stageWords(a.side.run, rowOfA.get(op) as number) }]
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
