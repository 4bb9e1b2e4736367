/** A plan as something to look at: bytes, the peak and what makes it, FLOPs, and the predicted timeline. Nothing has run. */

import { MFU_FORMULA, mfu, modelFlops } from '../cost/flops.js'
import { type MimeBundle, TO_MIME } from '../display.js'
import { largestInWords } from '../plan/words.js'
import type { RunHead, Tier } from '../trace/schema.js'
import type { Device } from './device.js'
import { newHead } from './head.js'
import { type Prediction, predict } from './predict.js'
import { copiesInWords, runBundle } from './show.js'
import { formatBytes } from './sizes.js'
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

  /** Predicted time of a step in seconds: the plan on a clock, with the rates measured on this machine. */
  get seconds(): number {
    return this.#simulate().spans.end_ns.reduce((last, time) => Math.max(last, time), 0) / 1e9
  }

  /** In words: what it takes, what makes the peak, how long it may run. */
  toString(): string {
    const { plan, config } = this.training
    const peak = plan.peaks.device
    const { device, host, disk } = this.#device.budgets
    return [
      `${this.head.title} (predicted)`,
      ...this.#sizes(),
      `device  ${formatBytes(plan.arenaBytes.device)} a rank of ${formatBytes(device)}; most alive at once ${formatBytes(peak.bytes)}, at op ${peak.line}: ${plan.words(peak.line)}`,
      `        made of ${largestInWords(peak.residencies)}`,
      `host    ${formatBytes(plan.arenaBytes.host)} a rank of ${formatBytes(host)}`,
      ...(plan.arenaBytes.disk > 0
        ? [`disk    ${formatBytes(plan.arenaBytes.disk)} a rank${disk === null ? '' : ` of ${formatBytes(disk)}`}, in ${this.#device.description.diskFolder}`]
        : []),
      `work    ${plan.listing.length} ops; ${(modelFlops(config.model, [config.tokens]) / 1e12).toPrecision(3)} model TFLOP a step; ${formatBytes(plan.totals.bytes.offload)} offloaded and ${formatBytes(plan.totals.bytes.fetch)} fetched a rank`,
      `time    ${this.seconds.toPrecision(3)} s a step, from rates measured on this machine; ${copiesInWords(this.#simulate().program, this.#simulate().spans)}`,
    ].join('\n')
  }
  /** Where tokens and chunks do not divide. */
  #sizes(): string[] {
    const { tokens, chunk, chunks } = this.training.config
    const last = tokens - chunk * (chunks - 1)
    return last === chunk ? [] : [`chunks  ${chunks} of ${chunk} tokens; the last holds ${last}, the rest of it is padding that counts for nothing`]
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString()
  }

  async [TO_MIME](): Promise<MimeBundle> {
    const { program, spans } = this.#simulate()
    const { config } = this.training
    const duration_ns = Math.round(this.seconds * 1e9)
    const flops = modelFlops(config.model, [config.tokens])
    const predictedMfu = mfu(flops, duration_ns / 1e9, this.#device.rates(config.dtype).peakFlopsPerSecond)
    const tokens_per_second = config.tokens / (duration_ns / 1e9)
    const step = {
      step: 1,
      start_ns: 0,
      duration_ns,
      loss: null,
      tokens: config.tokens,
      tokens_per_second,
      model_flops: flops,
      mfu: predictedMfu,
      mfu_formula: MFU_FORMULA,
      gradient_norm: null,
    }
    const bundle = await runBundle(this.training, program, { ...this.head, steps: [step] }, [{ step: 1, spans }])
    return { ...bundle, 'text/plain': this.toString() }
  }

  #simulate(): Prediction {
    this.#simulated ??= predict(this.training.plan, this.#device, this.training.config.dtype)
    return this.#simulated
  }
}
