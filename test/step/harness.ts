/** Runs one step through the engine and gives back what can be compared: loss and gradients by tensor, in f64. */
import { type Device, openDevice } from '@fpdt/native'
import { NativeStep } from '../../kernel/src/execute/native.js'
import { writeInputs } from '../../kernel/src/fpdt/inputs.js'
import { readParameters, tensor, writeParameters } from '../../kernel/src/fpdt/parameters.js'
import { planTraining, type TrainingPlan, type TrainOptions } from '../../kernel/src/fpdt/training-plan.js'
import { fromBf16, toBf16 } from '../../kernel/src/model/bf16.js'
import type { ModelConfig } from '../../kernel/src/model/config.js'
import { groupsOf } from '../../kernel/src/model/parameters.js'
import { fillNormal, randomSource } from '../../kernel/src/model/random.js'
import { longText, stepTokens } from '../../kernel/src/model/tokens.js'
import { paddedTokens } from '../../kernel/src/schedule/config.js'
import { transformerStep, type Weights } from './reference/transformer.js'

export interface Outcome {
  readonly loss: number
  readonly gradientNorm: number
  readonly gradients: Weights
}

export const THREADS = 2
const devices = new Map<string, Device>()
/** One device per thread count and path for all tests of a file. */
export function deviceOf(threads = THREADS, path?: string): Device {
  const key = `${threads} ${path}`
  const device = devices.get(key) ?? openDevice({ backend: 'cpu', threads, ...(path ? { path } : {}) })
  devices.set(key, device)
  return device
}
export function closeDevices(): void {
  for (const device of devices.values()) device.close()
  devices.clear()
}

/**
 * Weights of variance 1 / inputs, exact in the dtype that computes: activations and scores are of order one, so attention is far from
 * uniform and every path matters, and f32 still resolves every gradient (400 steps: 8e-7 in the middle, 5e-6 at worst).
 */
export function randomWeights(training: TrainingPlan, seed: number, deviation = 1): Map<string, Float32Array> {
  const next = randomSource(seed)
  return new Map(
    groupsOf(training.values.layout).map((group) => {
      const values = new Float32Array(group.padded)
      for (const part of group.parts) {
        const size = part.shape.reduce((product, extent) => product * extent, 1)
        const target = values.subarray(part.offset, part.offset + size)
        fillNormal(target, part.shape.length === 1 ? 0.2 : deviation / Math.sqrt(part.shape[1]!), next)
        if (part.shape.length === 1) for (let i = 0; i < size; i++) target[i] += 1
      }
      return [group.name, training.config.dtype === 'bf16' ? fromBf16(toBf16(values)) : values]
    }),
  )
}

export function randomTokens(count: number, vocabulary: number, seed: number): Uint32Array {
  const next = randomSource(seed)
  return Uint32Array.from({ length: count }, () => next() % vocabulary)
}

/** Loss and gradients of one step of the engine. */
export async function engine(model: ModelConfig, options: TrainOptions, tokens: Uint32Array, seed = 1, device = deviceOf(), deviation = 1): Promise<Outcome> {
  const training = planTraining(model, options, { budgets: {}, threads: device.info().threads })
  const { config, values, plan } = training
  const native = new NativeStep(device, plan)
  try {
    native.poison() // whatever is read before it is written shows
    writeParameters(native, training, randomWeights(training, seed, deviation))
    const inputs = stepTokens(longText(tokens), 0, config.tokens, paddedTokens(config), model.vocabulary)
    const parameters = writeInputs(native, training, inputs, 1)
    const before = training.firstUpdate - 1
    await native.run(parameters, before)
    const joined = readParameters(native, training, 'gradientPart', before)
    await native.run(parameters)
    const scalar = (bytes: Uint8Array): number => new Float64Array(bytes.buffer, bytes.byteOffset, 1)[0]!
    return {
      loss: scalar(native.read(values.loss, 'host', 0)),
      gradientNorm: Math.sqrt(scalar(native.read(values.gradientNorm, 'host', 0))),
      gradients: byTensor(training, joined),
    }
  } finally {
    native.close()
  }
}

/** The same step by the fp64 oracle. */
export function oracle(model: ModelConfig, options: TrainOptions, tokens: Uint32Array, seed = 1, deviation = 1): Outcome {
  const training = planTraining(model, options, { budgets: {}, threads: THREADS })
  const weights = byTensor(training, randomWeights(training, seed, deviation))
  const inputs = stepTokens(longText(tokens), 0, training.config.tokens, training.config.tokens, model.vocabulary)
  const { loss, gradients } = transformerStep(model, weights, [inputs])
  return { loss, gradients, gradientNorm: Math.sqrt([...gradients.values()].reduce((sum, values) => sum + square(values), 0)) }
}

export function byTensor(training: TrainingPlan, values: ReadonlyMap<string, Float32Array>): Weights {
  return new Map(
    groupsOf(training.values.layout).flatMap((group) =>
      group.parts.map((part) => [`${group.name}/${part.name}`, Float64Array.from(tensor(values, group, part.name))] as const),
    ),
  )
}

/** Largest norm-wise relative error over tensors; the denominator is at least 1e-3 of the rms gradient norm, for gradients that are all but zero. */
export function gradientError(actual: Weights, expected: Weights): { error: number; tensor: string } {
  const norms = [...expected.values()].map((values) => Math.sqrt(square(values)))
  const floor = 1e-3 * Math.sqrt(norms.reduce((sum, norm) => sum + norm * norm, 0) / norms.length)
  let worst = { error: 0, tensor: '' }
  for (const [name, values] of expected) {
    const found = actual.get(name)!
    const difference = Math.sqrt(square(values.map((value, i) => value - found[i]!)))
    const error = difference / Math.max(Math.sqrt(square(values)), floor)
    if (!(error <= worst.error)) worst = { error, tensor: name }
  }
  return worst
}
/** Relative error of the gradient as one long vector. */
export function wholeError(actual: Weights, expected: Weights): number {
  let [difference, whole] = [0, 0]
  for (const [name, values] of expected) {
    const found = actual.get(name)!
    difference += square(values.map((value, i) => value - found[i]!))
    whole += square(values)
  }
  return Math.sqrt(difference / whole)
}
function square(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value * value, 0)
}
