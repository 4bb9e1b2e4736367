/** One side of a comparison, counted: time, bytes and operations of one rank in one step. */
import type { Run } from '../model/run.js'
import { KINDS, NONE, PHASES, type Phase, type RankAccount, STREAMS, type StepSummary } from '../schema.js'

export interface Side {
  readonly run: Run
  /** What tells it from the other. */
  readonly name: string
  readonly rank: number
  readonly step: StepSummary
}
/** Keys of what is counted are numbers in the order of reading; each has its words. */
export type Tally = Map<number, number>

/** What one rank did in one step, by whatever it is compared by. */
export interface Counted {
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

export function countSide(side: Side): Counted {
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
    add(places, placeKey(spans.phase[row], spans.layer[row]), length)
    const kernel = run.head.codes.kernels[spans.kernel[row]]?.name ?? KINDS[spans.kind[row]]
    kernels.set(kernel, (kernels.get(kernel) ?? 0) + length)
    add(flops, spans.phase[row], spans.flops[row])
  }
  return { side, account: step.accounts?.find((one) => one.rank === rank), rows, families, places, kernels, streams, moved, flops, compute_ns, end_ns }
}

function add(tally: Tally, key: number, amount: number): void {
  tally.set(key, (tally.get(key) ?? 0) + amount)
}

/** What of a side is not in the picture, in a sentence; none where all is. */
export function noteOf({ side, end_ns, rows }: Counted): string[] {
  const { name, step } = side
  if (rows.length === 0) return [`Of ${name} the ops of step ${step.step} are not in this picture: only its figures are compared.`]
  if (end_ns < step.start_ns + step.duration_ns)
    return [`Of ${name} only the beginning of step ${step.step} is in this picture: its ops, bytes and layers are those of the beginning.`]
  return []
}

function placeKey(phase: number, layer: number): number {
  return phase * (NONE + 1) + layer
}
/** Of a key of `places`. */
export function placeOf(key: number): { readonly phase: Phase; readonly layer: number } {
  return { phase: PHASES[Math.floor(key / (NONE + 1))], layer: key % (NONE + 1) }
}
