/**
 * Questions to a run, as its views ask them, for cells: what made the peak, what compute waited for, which chunks met and what
 * they came from, how two runs differ. All from what was recorded, or from the prediction of a plan.
 */
import { INSPECT, inWords } from '../../display.js'
import { FpdtError } from '../../errors.js'
import { type CompareOptions, type Comparison, compareRuns } from '../../trace/ask/compare.js'
import { arrivalsOf, SOURCES, type Source, triangleOf } from '../../trace/ask/meetings.js'
import { type Spike, spikeAt } from '../../trace/ask/spike.js'
import { type Stall, stallsOf } from '../../trace/ask/stall.js'
import { openRun, type Run, stackFor } from '../../trace/model/run.js'
import { NONE, type Phase, type RunTables, type Tier } from '../../trace/schema.js'
import { comparisonInWords, spikeInWords, stallsInWords } from '../../trace/words/answers.js'
import { duration } from '../../trace/words/format.js'
import { refuseUnknown } from '../sizes.js'

/** One meeting of a query chunk with a key/value chunk. */
export interface MeetingRow {
  readonly q: number
  readonly kv: number
  /** Where the farthest of what they met with came from: made on the device, stayed there, or fetched from host or disk. */
  readonly from: Source
  readonly start_ns: number
  readonly duration_ns: number
  /** What was copied for it, and how long compute stood still until all of that was there. */
  readonly copied: readonly string[]
  readonly waited_ns: number
}
export interface WhichStep {
  /** Default: the newest of which ops are known. */
  readonly step?: number
  readonly rank?: number
}

export class Answers {
  readonly run: Run
  readonly #newest: number

  /** @internal Use `run.ask()`. */
  constructor(tables: RunTables) {
    this.run = openRun(tables)
    this.#newest = this.run.spans.step.reduce((most, step) => Math.max(most, step), 0)
    if (this.#newest === 0) throw new FpdtError('config', 'nothing has run yet, so there is nothing to ask; run a step, or ask the plan: run.plan.ask().')
  }

  /** What stood in a tier's memory at its peak, or at `at_ns` of the run, buffer by buffer, and the op that brought it there. Throws FpdtError `config`. */
  memory(tier: Tier = 'device', { rank = 0, at_ns }: { readonly rank?: number; readonly at_ns?: number } = {}): Spike {
    const stack = stackFor(this.run, rank, tier)
    const time_ns = at_ns ?? (stack && stack.peak > 0 ? stack.times_ns[stack.peak - 1] : 0)
    const found = spikeAt(this.run, rank, tier, time_ns)
    if (found) return inWords(found, (spike) => spikeInWords(this.run, spike))
    const known = this.run.stacks.map((one) => `${one.tier} of rank ${one.rank}`).join(', ')
    throw new FpdtError('config', `rank ${String(rank)} has no ${String(tier)} memory in this run; there is ${known}.`)
  }

  /** The longest waits of compute in a step, longest first, each with a sentence. */
  stalls({ step = this.#newest, rank, most = 10 }: WhichStep & { readonly most?: number } = {}): Stall[] {
    return inWords(stallsOf(this.run, this.#known(step), { rank: rank ?? null, most }), stallsInWords)
  }

  /** Every meeting of a layer in a phase, in the order in which they ran. Throws FpdtError `config` where no chunks meet. */
  meetings(place: WhichStep & { readonly phase?: Phase; readonly layer?: number } = {}): MeetingRow[] {
    refuseUnknown('meetings', place, ['phase', 'layer', 'step', 'rank'])
    const { phase = 'forward', layer = this.run.head.model.layers > 0 ? 0 : NONE, step = this.#newest, rank = 0 } = place
    const triangle = triangleOf(this.run, this.#known(step), rank, { phase, layer })
    if (!triangle) throw new FpdtError('config', `no chunks meet in ${phase} of layer ${layer}, step ${step}, rank ${rank}.`)
    const rows = Array.from(triangle.q, (q, i): MeetingRow => {
      const copied = arrivalsOf(this.run, triangle, i).filter(({ source }) => source === 'host' || source === 'disk')
      return {
        q,
        kv: triangle.kv[i],
        from: SOURCES[triangle.source[i]],
        start_ns: triangle.start_ns[i],
        duration_ns: triangle.end_ns[i] - triangle.start_ns[i],
        copied: copied.map(({ name }) => name),
        waited_ns: copied.reduce((most, { fetch }) => Math.max(most, fetch?.waited_ns ?? 0), 0),
      }
    })
    return inWords(rows, meetingsInWords)
  }

  /** Differences to another run, aligned at a step of each. Throws FpdtError `config`. */
  compare(other: Answers, options: CompareOptions = {}): Comparison {
    const found = compareRuns(this.run, other.run, options)
    if (!found) throw new FpdtError('config', `the runs have no steps ${options.stepA ?? 'of the first'} and ${options.stepB ?? 'of the second'} to compare.`)
    return inWords(found, comparisonInWords)
  }

  /** What can be asked: the run's tables are long. */
  [INSPECT](): string {
    return `Questions to ${this.run.head.title}: .memory('device'), .stalls(), .meetings({ layer: 0 }), .compare(other.ask())`
  }

  #known(step: number): number {
    if (this.run.spans.step.includes(step)) return step
    const kept = [...new Set(this.run.spans.step)]
    throw new FpdtError('config', `step ${String(step)} is not kept; steps ${kept[0]} to ${kept.at(-1)} are.`)
  }
}

function meetingsInWords(meetings: readonly MeetingRow[]): string {
  const lines = meetings.map(({ q, kv, from, duration_ns, copied, waited_ns }) => {
    const came = copied.length === 0 ? '' : `, ${copied.join(', ')}${waited_ns > 0 ? `, waited for ${duration(waited_ns)}` : ''}`
    return `query chunk ${q} met key/value chunk ${kv} for ${duration(duration_ns)}; from: ${from}${came}`
  })
  return [...lines, '[{ q, kv, from, start_ns, duration_ns, copied, waited_ns }, …]'].join('\n')
}
