/** Random schedules, planned and run on a clock with random durations: two steps, as a run's tables. */
import fc from 'fast-check'
import { simulate } from '../../../../kernel/src/execute/simulate.js'
import { lower } from '../../../../kernel/src/plan/lower.js'
import { plan } from '../../../../kernel/src/plan/plan.js'
import { KERNEL_NAMES, kernelSpec } from '../../../../kernel/src/schedule/kernels.js'
import { memoryOf } from '../../../../kernel/src/trace/memory.js'
import { planTables } from '../../../../kernel/src/trace/plan-tables.js'
import { RUN_SCHEMA, RUN_VERSION, type RunTables, type StepSummary } from '../../../../kernel/src/trace/schema.js'
import { type Spans, spanTable } from '../../../../kernel/src/trace/spans.js'
import { randomDurations } from '../../plan/hazards.js'
import { randomSchedule, workspace } from '../../plan/random-schedule.js'

export interface RandomRun {
  readonly tables: RunTables
  readonly steps: readonly StepSummary[]
  /** Ranks took turns at computing. */
  readonly shared: boolean
}

const BETWEEN_NS = 100

export function randomRun(most = 200): fc.Arbitrary<RandomRun> {
  return fc.tuple(randomSchedule(most), fc.nat(), fc.boolean()).map(([{ ops, initial, ranks }, seed, shared]) => {
    const made = plan(ops, { ranks, initial, workspace })
    const program = lower(made)
    const steps: StepSummary[] = []
    const records: { step: number; spans: Spans }[] = []
    for (const [step, start_ns] of [
      [1, 0],
      [2, -1],
    ]) {
      const from = start_ns < 0 ? steps[0].start_ns + steps[0].duration_ns + BETWEEN_NS : start_ns
      const spans = simulate(program, randomDurations(seed + step), { start_ns: from, pools: shared ? 1 : program.ranks })
      const duration_ns = spans.end_ns.reduce((last, time) => Math.max(last, time), from) - from
      steps.push({
        step,
        start_ns: from,
        duration_ns,
        loss: null,
        tokens: 0,
        tokens_per_second: 0,
        model_flops: 0,
        mfu: null,
        mfu_formula: '',
        gradient_norm: null,
        accounts: [],
      }) // prettier-ignore
      records.push({ step, spans })
    }
    const fixed = planTables(made)
    const spans = spanTable(program, records)
    const memory = memoryOf(fixed, spans)
    return { tables: { ...fixed, head: head(steps, shared), spans, memory, predicted: null }, steps, shared }
  })
}

function head(steps: StepSummary[], shared: boolean): RunTables['head'] {
  return {
    schema: RUN_SCHEMA,
    version: RUN_VERSION,
    run_id: 'random',
    origin: 'measured',
    state: 'done',
    title: 'random',
    created: '2026-01-01T00:00:00Z',
    system: 'own',
    model: { family: '', layers: 0, width: 0, heads: 0, kvHeads: 0, headSize: 0, feedForward: 0, vocabulary: 0, parameters: 0 },
    sequence: { tokens: 0, chunk: 0, chunks: 0, ranks: 0, lookAhead: 0, prefetch: 0, dtype: 'f32' },
    device: { backend: shared ? 'cpu' : 'cuda', name: 'simulated', threads: 1, note: '' },
    codes: { kernels: KERNEL_NAMES.map((name) => ({ name, family: kernelSpec(name).family })) },
    tiers: [],
    peaks: [],
    steps,
    kept: { spans: 0, of: 0, steps: [1, 2], reason: '' },
    message: '',
    predicted_ns: null,
  }
}
