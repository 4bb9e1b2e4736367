/** The head of a run (`trace/schema.ts`): what is true of it before its first step. */
import { v7 as uuid } from 'uuid'
import { parameterCount } from '../model/parameters.js'
import { sequencesOf } from '../schedule/config.js'
import { KERNEL_NAMES, kernelSpec } from '../schedule/kernels.js'
import { SYSTEMS } from '../schedule/systems.js'
import { type Origin, RUN_SCHEMA, RUN_VERSION, type RunHead, TIERS } from '../trace/schema.js'
import type { DeviceDescription } from './device.js'
import type { TrainingPlan } from './training-plan.js'

/** Times on the CPU include copies done by the same cores; the widget says so. */
const CPU_NOTE = 'CPU backend: ranks take turns on one compute pool, and copies use the same cores'

export function newHead(training: TrainingPlan, device: DeviceDescription, origin: Origin): RunHead {
  const { config, plan } = training
  const { model } = config
  const { family, layers, width, heads, kvHeads, headSize, feedForward, vocabulary } = model
  return {
    schema: RUN_SCHEMA,
    version: RUN_VERSION,
    run_id: uuid(),
    origin,
    state: 'planned',
    title: titleOf(training),
    created: new Date().toISOString(),
    system: training.system,
    model: { family, layers, width, heads, kvHeads, headSize, feedForward, vocabulary, parameters: parameterCount(model) },
    sequence: {
      tokens: config.tokens,
      chunk: config.chunk,
      chunks: config.chunks,
      ranks: config.ranks,
      lookAhead: config.lookAhead,
      prefetch: config.prefetch,
      dtype: config.dtype,
    },
    device: { backend: device.backend, name: `${device.name} (${device.path})`, threads: device.threads, note: device.backend === 'cpu' ? CPU_NOTE : '' },
    codes: { kernels: KERNEL_NAMES.map((name) => ({ name, family: kernelSpec(name).family })) },
    tiers: TIERS.filter((tier) => plan.arenaBytes[tier] > 0).map((tier) => ({
      tier,
      budget_bytes: tier === 'disk' ? null : device.budgets[tier],
      predicted_bytes: plan.arenaBytes[tier],
      allocated_bytes: null,
      measured_bytes: null,
    })),
    peaks: [],
    steps: [],
    kept: { spans: 0, of: 0, steps: [], reason: '' },
    message: '',
  }
}

const FAMILY = { llama: 'Llama', gpt2: 'GPT-2' } as const

function titleOf({ system, config }: TrainingPlan): string {
  const { model, ranks, chunks } = config
  const sequences = sequencesOf(config)
  const cut = chunks > 1 ? `${config.tokens} tokens in ${chunks} chunks` : `${config.tokens} tokens in one piece`
  const many = sequences > 1 ? `${sequences} × ${cut}` : cut
  return `${SYSTEMS[system].words} · ${FAMILY[model.family]} ${model.layers} × ${model.width} · ${many} · ${ranks} rank${ranks === 1 ? '' : 's'}`
}
