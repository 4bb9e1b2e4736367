/**
 * Whole steps of the notebook's model, FPDT and the un-chunked baseline in turns: how fast, where the time went, and how
 * well the plan foretold it. The ranks share one compute pool, so the step's time is the sum of their kernels and the pool's idle time.
 */

import { rates } from '../../kernel/lib/cost/durations.js'
import { mfu, modelFlops } from '../../kernel/lib/cost/flops.js'
import { measureMachine } from '../../kernel/lib/cost/machine.js'
import { NativeStep } from '../../kernel/lib/execute/native.js'
import { simulate } from '../../kernel/lib/execute/simulate.js'
import { formatBytes, llama } from '../../kernel/lib/fpdt/index.js'
import { writeInputs } from '../../kernel/lib/fpdt/inputs.js'
import { initialParameters, writeParameters } from '../../kernel/lib/fpdt/parameters.js'
import { planTraining } from '../../kernel/lib/fpdt/training-plan.js'
import { longText, stepTokens } from '../../kernel/lib/model/tokens.js'
import { paddedTokens } from '../../kernel/lib/schedule/config.js'
import { KERNEL_NAMES } from '../../kernel/lib/schedule/kernels.js'
import { STREAMS } from '../../kernel/lib/trace/schema.js'
import { bestInTurns, device, giga, milliseconds, percent, printTable, threads } from './measure.mjs'

const MODEL = llama({ layers: 4, width: 256, heads: 4, kvHeads: 2, feedForward: 688, vocab: 50257, tied: true })
const SIZES = [
  { sequence: 8192, chunk: 1024 },
  { sequence: 16384, chunk: 2048 },
]
const COMPUTE = STREAMS.indexOf('compute')

export async function step() {
  const text = longText('lib.dom.d.ts')
  for (const { sequence, chunk } of SIZES) {
    const systems = { fpdt: open({ sequence, chunk, ranks: 2 }, text), ulysses: open({ sequence, ranks: 2, system: 'ulysses' }, text) }
    try {
      let machine
      const measure = () => {
        machine = best(machine, measureMachine(device, 'bf16', MODEL.headSize))
      }
      await bestInTurns({ fpdt: () => systems.fpdt.run(), ulysses: () => systems.ulysses.run(), measure })
      report(sequence, chunk, systems, machine)
    } finally {
      for (const one of Object.values(systems)) one.close()
    }
  }
}

/** The better of two measurements, number by number: all but the overhead, a constant, are rates. */
function best(a, b) {
  if (a === undefined || typeof b === 'string') return b
  if (typeof b === 'number') return Math.max(a, b)
  return Object.fromEntries(Object.entries(b).map(([name, value]) => [name, best(a[name], value)]))
}

/** A system ready to step, which keeps the spans of its fastest step. */
function open(options, text) {
  const training = planTraining(MODEL, options, { budgets: {}, threads })
  const { config } = training
  const native = new NativeStep(device, training.plan)
  writeParameters(native, training, initialParameters(training))
  const parameters = writeInputs(native, training, stepTokens(text, 0, config.tokens, paddedTokens(config), config.model.vocabulary), 1)
  const system = { training, native, seconds: Number.POSITIVE_INFINITY, cores: 0, spans: undefined, run, close: () => native.close() }
  return system

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

function report(sequence, chunk, systems, { peakFlopsPerSecond, rates: machine }) {
  const flops = modelFlops(MODEL, [sequence])
  const head = ['', 'ms a step', 'tokens/s', 'MFU', 'cores used', 'pool idle ms', 'of step', 'predicted ms', 'of measured', 'device peak a rank']
  const summary = [head]
  const families = new Map()
  for (const [name, { training, native, seconds, spans, cores }] of Object.entries(systems)) {
    const { program } = native
    const predicted = simulate(program, rates(program, machine), { sharedCompute: true })
    const [measuredTimes, predictedTimes] = [byKernel(program, spans), byKernel(program, predicted)]
    const busy = sum([...measuredTimes.values()].map(({ seconds }) => seconds))
    summary.push([
      name,
      milliseconds(seconds),
      (sequence / seconds).toFixed(0),
      percent(mfu(flops, seconds, peakFlopsPerSecond)),
      cores.toFixed(2),
      milliseconds(seconds - busy),
      percent(1 - busy / seconds),
      milliseconds(duration(predicted)),
      percent(duration(predicted) / seconds),
      formatBytes(training.plan.arenaBytes.device),
    ])
    for (const [kernel, row] of measuredTimes) {
      if (!families.has(kernel)) families.set(kernel, {})
      families.get(kernel)[name] = { ...row, step: seconds, predicted: predictedTimes.get(kernel).seconds }
    }
  }
  printTable(`One step, ${sequence} tokens on 2 ranks; FPDT in chunks of ${chunk}. Best GEMM: ${giga(peakFlopsPerSecond)} GF/s.`, summary)
  const rows = [['', ...Object.keys(systems).flatMap((name) => [`${name}: calls`, 'ms', 'of step', 'of best GEMM', 'predicted'])]]
  const longest = (row) => Math.max(...Object.values(row).map(({ seconds }) => seconds))
  for (const [kernel, row] of [...families].sort(([, a], [, b]) => longest(b) - longest(a))) {
    const columns = Object.keys(systems).flatMap((name) => {
      const { calls, seconds, flops, step, predicted } = row[name]
      return [`${calls}`, milliseconds(seconds), percent(seconds / step), percent(flops / seconds / peakFlopsPerSecond), percent(predicted / seconds)]
    })
    rows.push([kernel, ...columns])
  }
  printTable('Compute time by kernel, both ranks', rows)
}

/** Calls, seconds and operations of every kernel, over all ranks. */
function byKernel(program, spans) {
  const kernels = new Map()
  for (let i = 0; i < spans.entry.length; i++) {
    const entry = spans.entry[i]
    if (program.stream[entry] !== COMPUTE) continue
    const kernel = KERNEL_NAMES[program.kernel[entry]]
    const row = kernels.get(kernel) ?? { calls: 0, seconds: 0, flops: 0 }
    row.calls++
    row.seconds += (spans.end_ns[i] - spans.start_ns[i]) / 1e9
    row.flops += program.flops[entry]
    kernels.set(kernel, row)
  }
  return kernels
}

function duration({ start_ns, end_ns }) {
  const first = start_ns.reduce((least, time) => Math.min(least, time), Number.POSITIVE_INFINITY)
  return (end_ns.reduce((last, time) => Math.max(last, time), 0) - first) / 1e9
}
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0)
