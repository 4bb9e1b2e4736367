/** A plan as something to look at: bytes, the peak and what makes it, FLOPs, and the predicted timeline. Nothing has run. */

import { MFU_FORMULA, mfu, modelFlops } from '../../cost/flops.js'
import { INSPECT, type MimeBundle, TO_MIME } from '../../display.js'
import { sequencesOf, stepTokenCount } from '../../schedule/config.js'
import { attentionBackwardBytes } from '../../schedule/link-bytes.js'
import { type RunHead, type RunTables, TIERS, type Tier } from '../../trace/schema.js'
import type { Spans } from '../../trace/spans.js'
import { largestInWords } from '../../trace/words/format.js'
import type { Device } from '../device.js'
import { Answers } from '../run/answers.js'
import { newHead } from '../run/head.js'
import { copiesInWords, runBundle, runTables } from '../run/show.js'
import { formatBytes } from '../sizes.js'
import { paddingInWords, slowInWords } from './notes.js'
import { isCheap, type Prediction, predict, predictedTimes } from './predict.js'
import type { TrainingPlan } from './training-plan.js'

export class PlannedRun {
  readonly head: RunHead
  readonly #device: Device
  #simulated: Prediction | undefined

  constructor(
    readonly training: TrainingPlan,
    device: Device,
  ) {
    this.#device = device
    this.head = newHead(training, device.description, 'predicted')
  }

  /** The ops of a step, one line each. */
  get listing(): readonly string[] {
    return this.training.plan.listing
  }
  /** Arena bytes of a rank: what will be allocated, exactly. */
  bytes(tier: Tier = 'device'): number {
    return this.training.plan.arenaBytes[tier]
  }

  /** Bytes a rank moves over the host link and to and from disk in a step. */
  get linkBytes(): Readonly<Record<'offload' | 'fetch' | 'spill' | 'load', number>> {
    const { offload, fetch, spill, load } = this.training.plan.totals.bytes
    return { offload, fetch, spill, load }
  }

  /** Bytes a rank moves over the host link in one layer's attention backward over a batch, in either loop order; `config.backwardOrder` of the plan is the one that runs. */
  get attentionBackwardBytes(): Readonly<Record<'kv' | 'q', number>> {
    const moved = (order: 'kv' | 'q'): number => {
      const bytes = attentionBackwardBytes(this.training.config, order)
      return bytes.in + bytes.out
    }
    return { kv: moved('kv'), q: moved('q') }
  }

  /** Predicted time of a step in seconds: the plan on a clock, with the rates measured on this machine. */
  get seconds(): number {
    return this.#simulate().spans.end_ns.reduce((last, time) => Math.max(last, time), 0) / 1e9
  }

  /** @internal What would run when, to be drawn below what did; null where a step would have to wait for it: it has very many ops, or no rates were measured yet. */
  get foretold(): Spans | null {
    const { plan, config } = this.training
    const isAtHand = this.#simulated || (isCheap(plan) && this.#device.knowsRates(config.dtype))
    return isAtHand ? this.#simulate().spans : null
  }

  /** In words: what it takes, what makes the peak, how long it may run. */
  toString(): string {
    const { plan } = this.training
    const { offload, fetch, spill, load } = this.linkBytes
    return [
      `${this.head.title} (predicted)`,
      ...this.#sizes(),
      ...TIERS.filter((tier) => plan.arenaBytes[tier] > 0).flatMap((tier) => this.#tier(tier)),
      `work    ${plan.listing.length} ops; ${(this.#flops / 1e12).toPrecision(3)} model TFLOP a step`,
      `link    ${formatBytes(offload)} offloaded and ${formatBytes(fetch)} fetched a rank${spill + load > 0 ? `, ${formatBytes(spill)} spilled to disk and ${formatBytes(load)} loaded` : ''}`,
      ...this.#orders(),
      ...this.#slow(),
      `time    ${this.seconds.toPrecision(3)} s a step, from rates measured on this machine; ${copiesInWords(this.#times())}`,
    ].join('\n')
  }
  /** A tier's bytes, and what makes its peak. */
  #tier(tier: Tier): string[] {
    const { plan } = this.training
    const { bytes, line, residencies } = plan.peaks[tier]
    const budget = this.#device.budgets[tier]
    const folder = tier === 'disk' ? `, in ${this.#device.description.diskFolder}` : ''
    return [
      `${tier.padEnd(6)}  ${formatBytes(plan.arenaBytes[tier])} a rank${budget === null ? '' : ` of ${formatBytes(budget)}`}${folder}; most alive at once ${formatBytes(bytes)}, at op ${line}: ${plan.words(line)}`,
      `        made of ${largestInWords(residencies)}`,
    ]
  }
  /** What the loop order of the attention's backward is worth, where there is a link to spare. */
  #orders(): string[] {
    const { kv, q } = this.attentionBackwardBytes
    if (kv === q) return []
    const { backwardOrder } = this.training.config
    const words = { kv: `key/value chunks outside move ${formatBytes(kv)}`, q: `query chunks outside ${formatBytes(q)}` }
    return [
      `orders  of one layer's attention backward: ${words.kv}, ${words.q} a rank; the plan has ${backwardOrder === 'kv' ? 'key/value' : 'query'} chunks outside`,
    ]
  }
  #sizes(): string[] {
    const padding = paddingInWords(this.training.config)
    return padding === undefined ? [] : [`chunks  ${padding}`]
  }
  #slow(): string[] {
    const slow = slowInWords(this.training.config, this.#device.description.backend)
    return slow === undefined ? [] : [`slow    ${slow}`]
  }
  [INSPECT](): string {
    return this.toString()
  }

  async [TO_MIME](): Promise<MimeBundle> {
    return this.bundle()
  }
  /** @internal `as`: of the run that it is the plan of. */
  async bundle(as: Partial<Pick<RunHead, 'run_id' | 'state'>> = {}): Promise<MimeBundle> {
    return { ...(await runBundle(this.tables(as))), 'text/plain': this.toString() }
  }
  /** Questions to the prediction: what will make the peak, what will wait for what. */
  ask(): Answers {
    return new Answers(this.tables())
  }
  /** The prediction as a run. */
  tables(as: Partial<Pick<RunHead, 'run_id' | 'state'>> = {}): RunTables {
    const { program, spans } = this.#simulate()
    const { config } = this.training
    const times = this.#times()
    const { duration_ns } = times
    const flops = this.#flops
    const predictedMfu = mfu(flops, duration_ns / 1e9, this.#device.peakOf(config.ranks, config.dtype))
    const tokens = stepTokenCount(config)
    const tokens_per_second = tokens / (duration_ns / 1e9)
    const step = {
      step: 1,
      ...times,
      loss: null,
      tokens,
      tokens_per_second,
      model_flops: flops,
      mfu: predictedMfu,
      mfu_formula: MFU_FORMULA,
      gradient_norm: null,
    }
    return runTables(this.training.plan, program, { ...this.head, ...as, steps: [step] }, [{ step: 1, spans }])
  }

  /** Of a step without documents: how far they reach is known with the text only. */
  get #flops(): number {
    const { config } = this.training
    return modelFlops(config.model, Array<number>(sequencesOf(config)).fill(config.tokens))
  }

  #times(): ReturnType<typeof predictedTimes> {
    return predictedTimes(this.training.plan, this.#simulate(), this.head.device.backend)
  }
  #simulate(): Prediction {
    this.#simulated ??= predict(this.training.plan, this.#device, this.training.config.dtype)
    return this.#simulated
  }
}
