/** Parameters between the host's f32 and the ranks' partitions: first values in, trained values out. */
import type { State, StateValues } from '../../checkpoint/states.js'
import type { NativeStep } from '../../execute/native.js'
import { toBf16 } from '../../model/bf16.js'
import type { Group } from '../../model/parameters.js'
import { rotaryOf } from '../../model/rotary.js'
import type { GroupValues, StateSlice } from '../../schedule/step-values.js'
import type { TrainingPlan } from '../plan/training-plan.js'

/** Values of all groups, by name; each of `group.padded` elements. */
export type ParameterValues = ReadonlyMap<string, Float32Array>

/** What does not change from step to step: the rotary frequencies. */
export function writeConstants(step: NativeStep, { config, values }: TrainingPlan): void {
  const rotary = rotaryOf(config.model.positions, config.model.headSize)
  if (rotary) for (let rank = 0; rank < config.ranks; rank++) step.write(values.frequencies, 'device', rank, rotary.frequencies)
}

/** Writes one group: weights as T(master), and its states. Each of `group.padded` elements. */
export function writeGroup(step: NativeStep, training: TrainingPlan, group: GroupValues, states: StateValues): void {
  const { ranks, dtype, parameters } = training.config
  for (const all of Object.values(states))
    if (all.length !== group.group.padded) throw new Error(`group ${group.group.name} needs ${group.group.padded} values, not ${all.length}`)
  const held = group.group.padded / ranks
  for (let rank = 0; rank < ranks; rank++) {
    const part = states.master.subarray(rank * held, (rank + 1) * held)
    step.write(group.weightsPart, parameters, rank, dtype === 'f32' ? part : toBf16(part))
    for (const what of statesOf(training))
      for (const slice of group.slices)
        step.write(slice[what], training.config.states, rank, states[what].subarray(rank * held + slice.offset, rank * held + slice.offset + slice.count))
  }
}

/** f32 values of one state of one group, the ranks' partitions joined: (group.padded). */
export function readGroup(step: NativeStep, training: TrainingPlan, group: GroupValues, what: State): Float32Array {
  const { ranks } = training.config
  const held = group.group.padded / ranks
  const joined = new Float32Array(group.group.padded)
  // In f32 the master weights are the weights themselves.
  const ofWeights = what === 'master' && training.config.dtype === 'f32'
  for (let rank = 0; rank < ranks; rank++) {
    if (ofWeights) joined.set(floats(step.read(group.weightsPart, training.config.parameters, rank)), rank * held)
    else for (const slice of group.slices) joined.set(floats(step.read(slice[what], training.config.states, rank)), rank * held + slice.offset)
  }
  return joined
}

/** One state of every group. */
export function readParameters(step: NativeStep, training: TrainingPlan, what: State): ParameterValues {
  return new Map(training.values.groups.map((group) => [group.group.name, readGroup(step, training, group, what)]))
}

/** Gradients where they stand after the op at `line`, while they live: before the optimizer's first op. */
export function readGradients(step: NativeStep, training: TrainingPlan, line: number): ParameterValues {
  const { ranks } = training.config
  return new Map(
    training.values.groups.map(({ group, gradientPart }) => {
      const joined = new Float32Array(group.padded)
      const tier = training.plan.find(gradientPart.name, 'device', line) ? 'device' : 'host'
      for (let rank = 0; rank < ranks; rank++) joined.set(floats(step.read(gradientPart, tier, rank, line)), (group.padded / ranks) * rank)
      return [group.name, joined]
    }),
  )
}

/** One tensor out of its group's values. */
export function tensor(values: ParameterValues, group: Group, name: string): Float32Array {
  const part = group.parts.find((candidate) => candidate.name === name)
  const all = values.get(group.name)
  if (!part || !all) throw new Error(`no tensor ${group.name}/${name}`)
  return all.subarray(part.offset, part.offset + part.shape.reduce((product, extent) => product * extent, 1))
}

/** States that have values of their own. */
function statesOf({ config }: TrainingPlan): (State & keyof StateSlice)[] {
  return config.dtype === 'f32' ? ['m', 'v'] : ['master', 'm', 'v']
}
function floats(bytes: Uint8Array): Float32Array {
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
}
