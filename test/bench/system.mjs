/** A system ready to step on the next tokens of a text, which keeps the spans of its fastest step. */

import { NativeStep } from '../../kernel/lib/execute/native.js'
import { planTraining } from '../../kernel/lib/fpdt/plan/training-plan.js'
import { sequenceShape, writeInputs } from '../../kernel/lib/fpdt/run/inputs.js'
import { writeConstants, writeGroup } from '../../kernel/lib/fpdt/run/parameters.js'
import { initialGroup } from '../../kernel/lib/model/initialise.js'
import { KERNEL_NAMES } from '../../kernel/lib/schedule/kernels.js'
import { stepTokens } from '../../kernel/lib/text/sequences.js'
import { longText } from '../../kernel/lib/text/tokens.js'
import { STREAMS } from '../../kernel/lib/trace/schema.js'
import { device, threads } from './measure.mjs'

const COMPUTE = STREAMS.indexOf('compute')
export const COPIES = ['fetch', 'offload', 'load', 'spill'].map((stream) => STREAMS.indexOf(stream))

/** Tokens of a model with a smaller vocabulary than the text's: taken modulo it. */
export function tokensBelow(vocabulary) {
  const text = longText('lib.dom.d.ts')
  return longText(text.read(0, text.length).map((token) => token % vocabulary))
}

/** @param model ModelConfig @param options TrainOptions @param text LongText, read from its start. */
export function openSystem(model, options, text) {
  const training = planTraining(model, options, { budgets: {}, threads })
  const native = new NativeStep(device, training.plan)
  writeConstants(native, training)
  for (const group of training.values.groups) {
    const master = initialGroup(model, group.group, training.seed)
    writeGroup(native, training, group, { master, m: new Float32Array(master.length), v: new Float32Array(master.length) })
  }
  const shape = sequenceShape(training.config)
  const inputs = (n) => writeInputs(native, training, stepTokens(text, (n - 1) * shape.sequences * shape.tokens, shape), n)
  const parameters = inputs(1)
  const system = {
    training,
    native,
    program: native.program,
    seconds: Number.POSITIVE_INFINITY,
    cores: 0,
    spans: undefined,
    run,
    step,
    close: () => native.close(),
  }
  return system

  /** Loss of step n of a training, from 1: each reads on where the one before ended. */
  async function step(n) {
    await native.run(inputs(n))
    native.takeSpans()
    native.reset()
    const { buffer, byteOffset } = native.read(training.values.loss, 'host', 0)
    return new Float64Array(buffer, byteOffset, 1)[0]
  }

  /** Seconds of a first step, from its first op to its last: every call is given the same tokens. */
  async function run() {
    const before = process.cpuUsage()
    await native.run(parameters)
    const { user, system: kernel } = process.cpuUsage(before)
    const spans = native.takeSpans()
    native.reset()
    const seconds = duration(spans)
    if (seconds < system.seconds) Object.assign(system, { seconds, spans, cores: (user + kernel) / 1e6 / seconds })
    return seconds
  }
}

/** Seconds from the first op's begin to the last one's end. */
export function duration({ start_ns, end_ns }) {
  const first = start_ns.reduce((least, time) => Math.min(least, time), Number.POSITIVE_INFINITY)
  return (end_ns.reduce((last, time) => Math.max(last, time), 0) - first) / 1e9
}

/** Calls, seconds, operations and bytes of every kernel of a run, over all ranks. */
export function byKernel(program, spans) {
  const kernels = new Map()
  for (let i = 0; i < spans.entry.length; i++) {
    const entry = spans.entry[i]
    if (program.stream[entry] !== COMPUTE) continue
    const kernel = KERNEL_NAMES[program.kernel[entry]]
    const row = kernels.get(kernel) ?? { calls: 0, seconds: 0, flops: 0, bytes: 0 }
    row.calls++
    row.seconds += (spans.end_ns[i] - spans.start_ns[i]) / 1e9
    row.flops += program.flops[entry]
    row.bytes += program.bytes[entry]
    kernels.set(kernel, row)
  }
  return kernels
}

/** When a set of streams worked, over all ranks: disjoint intervals of ns, ascending. */
export function busy(program, spans, streams) {
  const intervals = []
  for (let i = 0; i < spans.entry.length; i++) if (streams.includes(program.stream[spans.entry[i]])) intervals.push([spans.start_ns[i], spans.end_ns[i]])
  intervals.sort(([a], [b]) => a - b)
  const joined = []
  for (const [start, end] of intervals) {
    const last = joined.at(-1)
    if (last && start <= last[1]) last[1] = Math.max(last[1], end)
    else joined.push([start, end])
  }
  return joined
}

/** Seconds of copies, the share of them under compute, and the seconds in which copies ran and no compute did. */
export function copies(program, spans) {
  const computing = busy(program, spans, [COMPUTE])
  const copying = busy(program, spans, COPIES)
  let hidden_ns = 0
  let at = 0
  for (const [start, end] of copying) {
    while (at < computing.length && computing[at][1] <= start) at++
    for (let i = at; i < computing.length && computing[i][0] < end; i++) hidden_ns += Math.min(end, computing[i][1]) - Math.max(start, computing[i][0])
  }
  const all_ns = copying.reduce((sum, [start, end]) => sum + end - start, 0)
  return { seconds: all_ns / 1e9, hidden: all_ns > 0 ? hidden_ns / all_ns : 1, exposed: (all_ns - hidden_ns) / 1e9 }
}
