/**
 * The ways of values between tiers, as ops that ran: a fetch, the computation that first reads what it brought, the one that
 * last touches it, and the offload that takes it away. From the table of uses alone.
 *
 *   uses of k[0,1]@device:  fetch  attend  attend  attend  offload      ->  fetch > attend > attend > offload
 */
import { groupOf, lookupOf, spanOf } from '../ask/lookup.js'
import type { Run } from '../model/run.js'
import { KINDS } from '../schema.js'

export interface Journey {
  /** Row of the buffer table. */
  readonly buffer: number
  /** Rows of the span table of one step and rank, in the order of their starts; at least two, a copy among them. */
  readonly rows: readonly number[]
}

const COPY_KINDS: readonly string[] = ['offload', 'fetch', 'load', 'spill'] satisfies (typeof KINDS)[number][]

export function* journeys(run: Run): Generator<Journey, void, undefined> {
  const { spans, uses, names, ranks } = run
  const isCopy = (row: number | undefined): boolean => row !== undefined && COPY_KINDS.includes(KINDS[spans.kind[row]])
  const middle = (row: number): number => spans.start_ns[row] + Math.floor(spans.duration_ns[row] / 2)
  const steps = [...new Set(spans.step)]
  for (let buffer = 0; buffer < names.length; buffer++) {
    const users = new Set([...groupOf(lookupOf(run).usesOfBuffer, buffer)].map((use) => uses.op[use]))
    for (const step of steps)
      for (const rank of ranks) {
        const ran = [...users].map((op) => spanOf(run, step, rank, op)).filter((row) => row >= 0)
        const rows = ran.filter((row, i) => isCopy(row) || isCopy(ran[i - 1]) || isCopy(ran[i + 1]))
        // A payload of anybody's may say that an offload ran before what it takes away.
        if (rows.length > 1 && rows.every((row, i) => i === 0 || middle(row) >= middle(rows[i - 1]))) yield { buffer, rows }
      }
  }
}
