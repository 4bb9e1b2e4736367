/** A primitive as the smallest schedule: its ops are checked, planned and run by what runs a training step. */
import { FpdtError } from '../../../errors.js'
import { at, compute } from '../../../schedule/emit.js'
import type { Flags, Kernel } from '../../../schedule/kernels.js'
import type { Op } from '../../../schedule/ops.js'
import type { Dtype, Value } from '../../../schedule/values.js'
import type { Tier } from '../../../trace/schema.js'
import type { Device } from '../../device.js'
import { type Inputs, LoadedSchedule, parameterBlock, Results, type Scalars } from '../loaded-schedule.js'
import { planSchedule, type ScheduleOptions, value } from '../schedule-plan.js'
import type { Tensor } from '../tensor.js'

/** Where a primitive stands: it is part of no pass. */
export const HERE = at('forward')

/** A result that no tensor was given for. */
export interface Made {
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly start?: number
}

/** A value like a tensor. */
export function like(name: string, { dtype, shape, start }: Made): Value {
  return value(name, shape, { dtype, ...(start ? { start } : {}) })
}

/**
 * One kernel: operands by role in, those named in `out` back. An operand that is given and also named in `out` is updated: added to,
 * or changed in place. Flags other than sizes as the kernel has them (`schedule/kernels.ts`).
 */
export async function callKernel<Role extends string>(
  device: Device,
  kernel: Kernel,
  given: Readonly<Record<string, Tensor | undefined>>,
  out: Readonly<Record<Role, Made>>,
  flags: Flags = {},
  scalars: Scalars = {},
): Promise<Record<Role, Tensor>> {
  const inputs = Object.entries(given).filter((pair): pair is [string, Tensor] => pair[1] !== undefined)
  const operands: Record<string, Value> = {}
  for (const [role, made] of Object.entries<Made>(out)) operands[role] = like(role, made)
  for (const [role, tensor] of inputs) operands[role] = like(role, tensor)
  const results = await callOps(device, [compute(HERE, kernel, operands, flags)], {
    inputs: Object.fromEntries(inputs),
    values: inputs.map(([role]) => operands[role]),
    results: Object.keys(out).map((role) => operands[role]),
    scalars,
  })
  return Object.fromEntries(Object.keys(out).map((role) => [role, results.get(role)])) as Record<Role, Tensor>
}

export interface Call {
  readonly ranks?: number
  readonly inputs: Inputs
  /** Values of the inputs, on `from`. */
  readonly values: readonly Value[]
  readonly from?: Tier
  /** What to give back, from `to`. */
  readonly results: readonly Value[]
  readonly to?: Tier
  readonly scalars?: Scalars
}

/** A few ops, once. Throws FpdtError `shape` for operands that the ops do not take, and what the kernels refuse. */
export async function callOps(
  device: Device,
  ops: readonly Op[],
  { ranks = 1, inputs, values, from = 'device', results, to = 'device', scalars = {} }: Call,
): Promise<Results> {
  const schedule = planned(device, ops, { ranks, inputs: { [from]: values }, results: { [to]: results } })
  const loaded = new LoadedSchedule(device, schedule)
  try {
    loaded.write(inputs)
    await loaded.run(parameterBlock(schedule, scalars))
    const { start_ns, end_ns } = loaded.native.takeSpans()
    const seconds = (end_ns.reduce((last, time) => Math.max(last, time)) - start_ns.reduce((first, time) => Math.min(first, time))) / 1e9
    return new Results(loaded.results(), seconds)
  } finally {
    await loaded.settled
    loaded.close()
  }
}

/** The words of the checker, without the listing of what the caller never wrote. */
function planned(device: Device, ops: readonly Op[], options: ScheduleOptions) {
  try {
    return planSchedule(ops, options, device.machine)
  } catch (error) {
    if (!(error instanceof FpdtError && error.code === 'schedule')) throw error
    throw new FpdtError('shape', `${error.message.split('\n')[0].replace(/^op \d+: /, '')}.`, { cause: error })
  }
}
