/** The head of a run (`trace/schema.ts`): what is true of it before its first step. */
import { v7 as uuid } from 'uuid'
import { parameterCount } from '../../model/parameters.js'
import type { Plan } from '../../plan/plan.js'
import { sequencesOf } from '../../schedule/config.js'
import { KERNEL_NAMES, kernelSpec } from '../../schedule/kernels.js'
import { SYSTEMS } from '../../schedule/systems.js'
import { type Origin, RUN_SCHEMA, RUN_VERSION, type RunHead, TIERS } from '../../trace/schema.js'
import { counted } from '../../trace/words/format.js'
import type { DeviceDescription } from '../device.js'
import type { SchedulePlan } from '../own/schedule-plan.js'
import { slowInWords } from '../plan/notes.js'
import type { TrainingPlan } from '../plan/training-plan.js'

/** Times on the CPU include copies done by the same cores; the widget says so. */
const CPU_NOTE = 'CPU backend: ranks take turns on one compute pool, and copies use the same cores'

/** Times on a GPU that others compute on say little of the program. */
const SHARED_NOTE = 'shared: another process has work on this GPU too, so times may be longer than they need be'
function noteOn({ backend, shared, gpus }: DeviceDescription, ranks: number, slow: string | undefined): string {
  return [backend === 'cpu' ? CPU_NOTE : shared ? SHARED_NOTE : '', ranks < gpus.length ? idleInWords(ranks, gpus.length) : '', slow ?? '']
    .filter((note) => note !== '')
    .join('; ')
}

function idleInWords(ranks: number, gpus: number): string {
  return `${ranks} of ${gpus} GPUs ${ranks === 1 ? 'has' : 'have'} a rank and the others run nothing: name fewer GPUs, or give more ranks`
}

/** The processor, or the GPUs that have a rank, in the words of the addon. */
function nameOf({ name, gpus }: DeviceDescription, ranks: number): string {
  if (ranks >= gpus.length) return name
  const used = gpus.slice(0, ranks)
  return used.length > 1 && used.every((gpu) => gpu === used[0]) ? `${used.length} x ${used[0]}` : used.join(', ')
}

/** Of a training step. */
export function newHead(training: TrainingPlan, device: DeviceDescription, origin: Origin): RunHead {
  const { config } = training
  const { family, layers, width, heads, kvHeads, headSize, feedForward, vocabulary } = config.model
  const { tokens, chunk, chunks, ranks, lookAhead, prefetch, dtype } = config
  const slow = slowInWords(config, device.backend)
  return headOf(training.plan, device, origin, slow, {
    title: titleOf(training),
    system: training.system,
    model: { family, layers, width, heads, kvHeads, headSize, feedForward, vocabulary, parameters: parameterCount(config.model) },
    sequence: { tokens, chunk, chunks, ranks, lookAhead, prefetch, dtype },
  })
}

/** Of a schedule of the user's own: it has no model and no tokens, and says so with an empty family and zeros. */
export function ownHead({ plan, title, dtype }: SchedulePlan, device: DeviceDescription, origin: Origin): RunHead {
  return headOf(plan, device, origin, undefined, {
    title,
    system: 'own',
    model: { family: '', layers: 0, width: 0, heads: 0, kvHeads: 0, headSize: 0, feedForward: 0, vocabulary: 0, parameters: 0 },
    sequence: { tokens: 0, chunk: 0, chunks: 0, ranks: plan.ranks, lookAhead: 0, prefetch: 0, dtype },
  })
}

/** `slow`: what a reader should know of its choices. */
function headOf(
  plan: Plan,
  device: DeviceDescription,
  origin: Origin,
  slow: string | undefined,
  what: Pick<RunHead, 'title' | 'system' | 'model' | 'sequence'>,
): RunHead {
  return {
    schema: RUN_SCHEMA,
    version: RUN_VERSION,
    run_id: uuid(),
    origin,
    state: 'planned',
    created: new Date().toISOString(),
    ...what,
    device: {
      backend: device.backend,
      name: `${nameOf(device, plan.ranks)} (${device.path})`,
      threads: device.threads,
      note: noteOn(device, plan.ranks, slow),
    },
    codes: { kernels: KERNEL_NAMES.map((name) => ({ name, family: kernelSpec(name).family })) },
    tiers: TIERS.filter((tier) => plan.arenaBytes[tier] > 0).map((tier) => ({
      tier,
      budget_bytes: device.budgets[tier],
      predicted_bytes: plan.arenaBytes[tier],
      allocated_bytes: null,
      measured_bytes: null,
    })),
    peaks: [],
    steps: [],
    predicted_ns: null,
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
  return `${SYSTEMS[system].words} · ${FAMILY[model.family]} ${model.layers} × ${model.width} · ${many} · ${counted(ranks, 'rank')}`
}
