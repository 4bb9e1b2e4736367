/** Parameters between the host's f32 and the ranks' partitions: first values in, trained values out. */
import type { NativeStep } from '../execute/native.js'
import { toBf16 } from '../model/bf16.js'
import { initialGroup } from '../model/initialise.js'
import { type Group, groupsOf } from '../model/parameters.js'
import type { TrainingPlan } from './training-plan.js'

/** Values of all groups, by name; each of `group.padded` elements. */
export type ParameterValues = ReadonlyMap<string, Float32Array>

export function initialParameters(training: TrainingPlan): ParameterValues {
  const { config, values, seed } = training
  return new Map(groupsOf(values.layout).map((group) => [group.name, initialGroup(config.model, group, seed)]))
}

/** Writes weights and masters of every rank, and zero optimizer state. */
export function writeParameters(step: NativeStep, training: TrainingPlan, values: ParameterValues): void {
  for (const group of training.values.groups) {
    const all = values.get(group.group.name)
    if (!all || all.length !== group.group.padded) throw new Error(`group ${group.group.name} needs ${group.group.padded} values`)
    for (let rank = 0; rank < training.config.ranks; rank++) {
      const part = partition(all, rank, training.config.ranks)
      step.write(group.master, 'device', rank, part)
      if (group.weightsPart !== group.master) step.write(group.weightsPart, 'device', rank, toBf16(part))
      const zeros = new Float32Array(part.length)
      step.write(group.m, 'device', rank, zeros)
      step.write(group.v, 'device', rank, zeros)
    }
  }
}

/** f32 values of one of `master`, `m`, `v` or (while it lives) `gradientPart` of every group, partitions joined. */
export function readParameters(step: NativeStep, training: TrainingPlan, what: 'master' | 'm' | 'v' | 'gradientPart', line?: number): ParameterValues {
  const { ranks } = training.config
  return new Map(
    training.values.groups.map((group) => {
      const joined = new Float32Array(group.group.padded)
      for (let rank = 0; rank < ranks; rank++) {
        const bytes = step.read(group[what], 'device', rank, line)
        joined.set(new Float32Array(bytes.buffer, bytes.byteOffset, group.group.padded / ranks), (group.group.padded / ranks) * rank)
      }
      return [group.group.name, joined]
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

function partition(all: Float32Array, rank: number, ranks: number): Float32Array {
  const count = all.length / ranks
  return all.subarray(rank * count, (rank + 1) * count)
}
