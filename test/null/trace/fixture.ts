/**
 * Runs for tests of the format and of its drawing: the engine as far as it goes without the addon. The plan, the ops and the
 * bytes are real; times come from the simulator with the fixed rates below, so every machine draws the same picture. What only
 * running would tell is made up: losses, gradient norms, and that the bytes touched are those planned.
 */

import { durations } from '../../../kernel/src/cost/durations.js'
import { MFU_FORMULA, mfu, modelFlops } from '../../../kernel/src/cost/flops.js'
import { simulate } from '../../../kernel/src/execute/simulate.js'
import { planTraining, type TrainOptions } from '../../../kernel/src/fpdt/plan/training-plan.js'
import { newHead } from '../../../kernel/src/fpdt/run/head.js'
import { runTables } from '../../../kernel/src/fpdt/run/show.js'
import { stepAccounts } from '../../../kernel/src/fpdt/run/step-accounts.js'
import type { ModelConfig } from '../../../kernel/src/model/config.js'
import { llama } from '../../../kernel/src/model/llama.js'
import { lower } from '../../../kernel/src/plan/lower.js'
import { SYSTEMS, type SystemName } from '../../../kernel/src/schedule/systems.js'
import { FAMILIES, type Family, type Origin, type RunTables } from '../../../kernel/src/trace/schema.js'
import type { StepSpans } from '../../../kernel/src/trace/spans.js'

export interface FixtureOptions {
  ranks?: number
  layers?: number
  chunks?: number
  steps?: number
  /** What the head says; a prediction has no losses and no measured bytes. */
  origin?: Origin
  /** Of `schedule/systems.ts`; an un-chunked one takes the same tokens in one piece. Default 'fpdt'. */
  system?: SystemName
  /** Tokens of a chunk; the sequence stays the same. */
  chunk?: number
  /** The prediction of the plan with rates that are off by this factor; left out: none. */
  predicted?: number
  /** How many times slower the steps are. Default 1. */
  slower?: number
  /** Budget of the device tier; null: not limited. */
  budget_bytes?: number | null
  /** Default: a small Llama of `layers`. */
  model?: ModelConfig
  /** More options of the plan. */
  train?: Partial<TrainOptions>
}

const CHUNK = 512
const DEVICE = {
  backend: 'cpu' as const,
  name: 'simulated',
  path: 'avx2',
  threads: 2,
  diskFolder: '/tmp',
  budgets: { device: 32 * 2 ** 20, host: 2 ** 30, disk: null },
  gpus: [],
  shared: false,
}
const PEAK_FLOPS = 400e9
const RATES = {
  flopsPerSecond: Object.fromEntries(FAMILIES.map((family) => [family, 250e9])) as Record<Family, number>,
  memoryBytesPerSecond: 20e9,
  copyBytesPerSecond: 5e9,
  linkBytesPerSecond: 5e9,
  opOverhead_ns: 20_000,
}
/** Time between two steps, in which a notebook draws. */
const BETWEEN_NS = 150e6

export function fixture({
  ranks = 2,
  layers = 2,
  chunks = 8,
  steps = 2,
  origin = 'measured',
  system = 'fpdt',
  chunk = CHUNK,
  predicted,
  slower = 1,
  budget_bytes,
  model = llama({ layers, width: 256, heads: 8, headSize: 32, feedForward: 688, vocab: 2048 }),
  train = {},
}: FixtureOptions = {}): RunTables {
  const training = planTraining(
    model,
    {
      sequence: chunks * CHUNK,
      ranks,
      hidden: 'bf16',
      system,
      ...(SYSTEMS[system].chunked ? { chunk, feedForwardRows: chunk / ranks / 2 } : {}),
      ...train,
    },
    { budgets: {}, threads: DEVICE.threads },
  )
  const { plan, config } = training
  const program = lower(plan)
  const model_flops = modelFlops(model, [config.tokens])
  const head = newHead(training, DEVICE, origin)
  const records: StepSpans[] = []
  for (let step = 1, start_ns = 0; step <= steps; step++) {
    const duration = durations(program, RATES)
    const spans = simulate(program, (entry, rank) => slower * duration(entry, rank), { pools: 1, start_ns })
    const end_ns = Math.round(spans.end_ns.reduce((last, time) => Math.max(last, time), start_ns))
    const duration_ns = end_ns - start_ns
    head.steps.push({
      step,
      start_ns,
      duration_ns,
      loss: origin === 'measured' ? 10.83 - 0.41 * (step - 1) : null,
      tokens: config.tokens,
      tokens_per_second: config.tokens / (duration_ns / 1e9),
      model_flops,
      mfu: mfu(model_flops, duration_ns / 1e9, PEAK_FLOPS),
      mfu_formula: MFU_FORMULA,
      gradient_norm: origin === 'measured' ? 1.7 : null,
      accounts: stepAccounts(plan, program, { step, spans }, { start_ns, duration_ns }, DEVICE.backend),
    })
    records.push({ step, spans })
    start_ns = end_ns + BETWEEN_NS
  }
  head.state = origin === 'measured' ? 'done' : 'planned'
  for (const row of head.tiers) {
    if (row.tier === 'device' && budget_bytes !== undefined) row.budget_bytes = budget_bytes
    if (origin === 'measured') row.allocated_bytes = row.measured_bytes = row.predicted_bytes
  }
  const foretold = durations(program, RATES)
  return runTables(
    plan,
    program,
    head,
    records,
    predicted === undefined ? null : simulate(program, (entry, rank) => predicted * foretold(entry, rank), { pools: 1 }),
  )
}
