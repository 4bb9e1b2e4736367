/** A planned schedule of the user's own in a device's memory: tensors in, ops run, tensors out. Shows nothing. */
import { INSPECT } from '../../display.js'
import { FpdtError } from '../../errors.js'
import { NativeStep } from '../../execute/native.js'
import { STEP_PARAMETERS } from '../../plan/program.js'
import { DTYPE_BYTES, elements, type Value } from '../../schedule/values.js'
import { counted, duration } from '../../trace/words/format.js'
import type { Device } from '../device.js'
import type { RunControl } from '../run/control.js'
import { failedOp } from '../run/failed-op.js'
import { interruptible } from '../run/interrupt.js'
import { SpanBook } from '../run/span-book.js'
import { refuseUnknown } from '../sizes.js'
import { type NamedPlace, nameOf, type SchedulePlan } from './schedule-plan.js'
import { describe, fromBytes, Tensor } from './tensor.js'

/** By the value's name: a tensor that every rank gets, or one tensor a rank, in order. */
export type Inputs = Readonly<Record<string, Tensor | readonly Tensor[]>>

/** What kernels are told besides their operands (`adamW`: `rate` and `correction1`, `correction2` = 1 - β^step; `crossEntropy`: `inverseValid`). */
export type Scalars = Partial<Readonly<Record<(typeof STEP_PARAMETERS)[number], number>>>

/** What a run leaves behind: a copy of every result. */
export class Results {
  constructor(
    private readonly tensors: ReadonlyMap<string, readonly Tensor[]>,
    /** From the first op to the end of the last. */
    readonly seconds: number,
  ) {}

  get names(): readonly string[] {
    return [...this.tensors.keys()]
  }
  /** A result by its value or name, of one rank. Throws FpdtError `config`. */
  get(result: Value | string, rank = 0): Tensor {
    const name = typeof result === 'string' ? result : result.name
    const found = this.tensors.get(name)
    if (!found)
      throw new FpdtError(
        'config',
        `${name} is no result; results are ${this.names.join(', ') || 'none: name them in schedule(…, { results: { host: […] } })'}.`,
      )
    if (!found[rank]) throw new FpdtError('config', `rank ${String(rank)} is not one of the ${found.length} ranks, 0 to ${found.length - 1}.`)
    return found[rank]
  }
  [INSPECT](): string {
    const rows = [...this.tensors].map(([name, [first]]) => `${name}  ${describe(first)}${this.tensors.get(name)?.length === 1 ? '' : ' on every rank'}`)
    return [`Results of a run of ${duration(1e9 * this.seconds)}`, ...rows].join('\n')
  }
}

export class LoadedSchedule {
  readonly native: NativeStep
  readonly book: SpanBook

  /** Allocates what the plan says. Throws FpdtError `out_of_memory`, `disk_full`, `disk`. */
  constructor(
    device: Device,
    private readonly schedule: SchedulePlan,
  ) {
    this.native = new NativeStep(device.native, schedule.plan)
    this.book = new SpanBook(this.native)
    this.native.poison() // so that the highest byte that is touched can be measured
  }

  /** Writes every input on every rank. Throws FpdtError `config` (missing, unknown), `shape`, `dtype`: then nothing was written. */
  write(inputs: Inputs): void {
    refuseUnknown(
      'run',
      inputs,
      this.schedule.inputs.map(({ value }) => value.name),
    )
    const { ranks } = this.schedule.plan
    const all = this.schedule.inputs.map((input) => [input, tensorsOf(input, inputs[input.value.name], ranks)] as const)
    for (const [{ value, tier }, tensors] of all) for (const [rank, { data }] of tensors.entries()) this.native.write(value, tier, rank, data, -1)
  }

  /** Runs from the first op to the last, under the notebook's interrupt and as `control` says. Rejects with `stopped`, or what failed and where; the run is then dropped. */
  async run(parameters: Float64Array, control?: RunControl): Promise<void> {
    const stopped = (): FpdtError => new FpdtError('stopped', 'stopped; the run is dropped.')
    const work = async (): Promise<void> => {
      try {
        const reached = await (control?.run(this.native, parameters) ?? this.native.run(parameters))
        if (reached.stopped) throw stopped()
      } catch (error) {
        this.drop()
        throw failedOp(error, this.native, 'The run is dropped.')
      }
    }
    const working = work()
    this.settled = working.catch(() => {})
    const halt = (): void => (control ? control.halt() : this.native.cancel())
    return interruptible(working, halt, stopped, (stop) => control?.onStop(stop) ?? (() => {}))
  }
  /** Until nothing of an interrupted run is under way any more. */
  settled: Promise<unknown> = Promise.resolve()

  /** Copies of all results after the last op. */
  results(): ReadonlyMap<string, readonly Tensor[]> {
    const ranks = Array.from({ length: this.schedule.plan.ranks }, (_, rank) => rank)
    return new Map(
      this.schedule.results.map(({ value, tier }) => [
        value.name,
        ranks.map((rank) => fromBytes(value.dtype, value.shape, this.native.read(value, tier, rank), value.start)),
      ]),
    )
  }
  drop(): void {
    this.book.drop()
    this.native.reset()
  }
  close(): void {
    this.native.close()
  }
}

/** The step's parameter block. Throws FpdtError `config`, also where an update would have no rate. */
export function parameterBlock({ plan }: SchedulePlan, scalars: Scalars): Float64Array {
  refuseUnknown('run', scalars, STEP_PARAMETERS)
  const updates = plan.listing.some((line) => line.startsWith('adamW '))
  if (updates && scalars.rate === undefined)
    throw new FpdtError(
      'config',
      'this schedule has an adamW op, which needs a rate: run(inputs, { rate: 3e-4, correction1: 1 - beta1 ** step, correction2: 1 - beta2 ** step }).',
    )
  const { rate = 0, correction1 = 1, correction2 = 1, inverseValid = 1 } = scalars
  const block = { rate, correction1, correction2, inverseValid }
  for (const [name, number] of Object.entries(block)) if (!Number.isFinite(number)) throw new FpdtError('config', `${name} ${String(number)} is not a number.`)
  return Float64Array.from(STEP_PARAMETERS, (name) => block[name])
}

function tensorsOf({ value, tier }: NamedPlace, given: Inputs[string] | undefined, ranks: number): readonly Tensor[] {
  const expected = `${value.name} is given as ${describe(value)}`
  if (given === undefined) throw new FpdtError('config', `run lacks its input ${nameOf({ value, tier })}: ${expected}.`)
  const tensors = Array.isArray(given) ? (given as readonly Tensor[]) : Array<Tensor>(ranks).fill(given as Tensor)
  if (tensors.length !== ranks)
    throw new FpdtError('shape', `${value.name} needs one tensor for each of ${counted(ranks, 'rank')}, or one for all; got a list of ${tensors.length}.`)
  for (const one of tensors) {
    if (!(one instanceof Tensor)) throw new FpdtError('dtype', `${expected}; got ${typeof one}, not a tensor. tensor([[1, 2], [3, 4]]) makes one.`)
    if (one.dtype !== value.dtype) throw new FpdtError('dtype', `${expected}; got ${describe(one)}. to('${value.dtype}') converts.`)
    if (one.shape.join() !== value.shape.join())
      throw new FpdtError('shape', `${expected}, ${elements(value) * DTYPE_BYTES[value.dtype]} bytes; got ${describe(one)}.`)
  }
  return tensors
}
