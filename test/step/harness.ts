/** Runs one step through the engine, and through the oracle, and gives back what can be compared: loss and gradients by tensor, in f64. */
import { type Device, openDevice } from '@fpdt/native'
import { NativeStep } from '../../kernel/src/execute/native.js'
import { adamW } from '../../kernel/src/fpdt/plan/optimizer.js'
import { planTraining, type TrainingPlan, type TrainOptions } from '../../kernel/src/fpdt/plan/training-plan.js'
import { sequenceShape, writeInputs } from '../../kernel/src/fpdt/run/inputs.js'
import { type ParameterValues, readGradients, tensor, writeConstants, writeGroup } from '../../kernel/src/fpdt/run/parameters.js'
import type { ModelConfig } from '../../kernel/src/model/config.js'
import { groupsOf } from '../../kernel/src/model/parameters.js'
import { randomSource } from '../../kernel/src/model/random.js'
import type { BackendName } from '../../kernel/src/plan/workspace.js'
import { stepTokens } from '../../kernel/src/text/sequences.js'
import type { LongText } from '../../kernel/src/text/tokens.js'
import { BACKEND } from '../backend/reference/run.js'
import type { AnySizes } from '../null/schedule/arbitrary.js'
import { normOf } from './errors.js'
import { exactly } from './generated.js'
import type { NamedTensor } from './pytorch/pytorch.js'
import { type Rounding, type Sequence, transformerStep, type Weights } from './reference/transformer.js'

export interface Outcome {
  readonly loss: number
  readonly gradientNorm: number
  readonly gradients: Weights
}
/** What a step is given; the oracle has no use for options. */
export interface Given {
  readonly model: ModelConfig
  readonly weights: readonly NamedTensor[]
  readonly sequences: readonly Sequence[]
}

export const THREADS = 2
const devices = new Map<string, Device>()
/** One device per thread count and path for all tests of a file; with FPDT_TEST_BACKEND=cuda one, whatever is asked for. */
export function deviceOf(threads = THREADS, path?: string): Device {
  const key = BACKEND === 'cuda' ? BACKEND : `${threads} ${path}`
  const device = devices.get(key) ?? openDevice(BACKEND === 'cuda' ? { backend: BACKEND } : { backend: 'cpu', threads, ...(path ? { path } : {}) })
  devices.set(key, device)
  return device
}
export function closeDevices(): void {
  for (const device of devices.values()) device.close()
  devices.clear()
}

export function randomTokens(count: number, vocabulary: number, seed: number): Uint32Array {
  const next = randomSource(seed)
  return Uint32Array.from({ length: count }, () => next() % vocabulary)
}

/** Generated options in the words of a notebook: where states live is said by the optimizer. */
export function trainOptions({ states, adamW: given, ...options }: AnySizes['options']): TrainOptions {
  return { ...options, optimizer: adamW({ ...given, ...(states ? { tier: states } : {}) }) }
}

/** Loss and gradients of one step of the engine. */
export async function engine({ model, options, ...given }: Given & { options: TrainOptions }, device = deviceOf()): Promise<Outcome> {
  const planned = new Engine(model, options, device)
  try {
    return await planned.step(given)
  } finally {
    planned.close()
  }
}
/** A step that is planned once, for weights and tokens that change: each time from arenas that hold nothing of the time before. */
export class Engine {
  readonly #training: TrainingPlan
  readonly #native: NativeStep

  constructor(model: ModelConfig, options: TrainOptions, device = deviceOf()) {
    this.#training = planTraining(model, options, { budgets: {}, backend: device.info().backend as BackendName, threads: device.info().threads })
    this.#native = new NativeStep(device, this.#training.plan)
  }

  async step({ weights, sequences }: Omit<Given, 'model'>): Promise<Outcome> {
    const [training, native] = [this.#training, this.#native]
    const { config, values } = training
    native.reset()
    native.poison() // whatever is read before it is written shows
    writeConstants(native, training)
    const masters = byGroup(training, weights)
    for (const group of values.groups) {
      const master = masters.get(group.group.name) as Float32Array
      writeGroup(native, training, group, { master, m: new Float32Array(master.length), v: new Float32Array(master.length) })
    }
    const parameters = writeInputs(native, training, stepTokens(asText(sequences), 0, sequenceShape(config)), 1)
    await native.run(parameters, training.gradientsDone)
    const gradients = byTensor(training, readGradients(native, training, training.gradientsDone))
    await native.run(parameters)
    const scalar = (bytes: Uint8Array): number => new Float64Array(bytes.buffer, bytes.byteOffset, 1)[0]!
    return {
      loss: scalar(native.read(values.loss, 'host', 0)),
      gradientNorm: Math.sqrt(scalar(native.read(values.gradientNorm, 'host', 0))),
      gradients,
    }
  }
  close(): void {
    this.#native.close()
  }
}

/** The same step by the fp64 oracle, its results rounded where that is asked for. */
export function oracle({ model, weights, sequences }: Given, rounding?: Rounding): Outcome {
  const { loss, gradients } = transformerStep(model, exactly(weights), sequences, rounding)
  return { loss, gradients, gradientNorm: normOf(gradients) }
}

/** Sequences one after the other, with the labels and documents they have. */
export function asText(sequences: readonly Sequence[]): LongText {
  const join = (arrays: readonly ArrayLike<number>[]): Int32Array => Int32Array.from(arrays.flatMap((array) => Array.from(array)))
  const [tokens, labels] = [join(sequences.map((sequence) => sequence.tokens)), join(sequences.map((sequence) => sequence.labels))]
  const begins = join(sequences.map(({ tokens, starts }) => Array.from(tokens, (_, t) => ((starts?.[t] ?? 0) === t ? 1 : 0))))
  return {
    source: `${sequences.length} sequences`,
    length: tokens.length,
    read: (position, count) => tokens.subarray(position, position + count),
    labels: (position, count) => labels.subarray(position, position + count),
    documents: Array.from(begins.keys()).filter((t) => begins[t] === 1),
  }
}

function byGroup(training: TrainingPlan, weights: readonly NamedTensor[]): ParameterValues {
  return new Map(
    groupsOf(training.values.layout).map((group) => {
      const all = new Float32Array(group.padded)
      for (const { name, offset } of group.parts) all.set(weights.find((weight) => weight.name === `${group.name}/${name}`)!.values, offset)
      return [group.name, all]
    }),
  )
}

export function byTensor(training: TrainingPlan, values: ParameterValues): Weights {
  return new Map(
    groupsOf(training.values.layout).flatMap((group) =>
      group.parts.map((part) => [`${group.name}/${part.name}`, Float64Array.from(tensor(values, group, part.name))] as const),
    ),
  )
}
