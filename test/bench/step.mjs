/**
 * Whole steps of the notebook's model, FPDT and the un-chunked baseline in turns: how fast, where the time went, and how
 * well the plan foretold it. The ranks share one compute pool, so the step's time is the sum of their kernels and the pool's idle time.
 */

import { durations } from '../../kernel/lib/cost/durations.js'
import { mfu, modelFlops } from '../../kernel/lib/cost/flops.js'
import { measureMachine } from '../../kernel/lib/cost/machine.js'
import { simulate } from '../../kernel/lib/execute/simulate.js'
import { formatBytes } from '../../kernel/lib/fpdt/sizes.js'
import { llama } from '../../kernel/lib/model/llama.js'
import { longText } from '../../kernel/lib/text/tokens.js'
import { bestInTurns, device, giga, milliseconds, percent, printTable } from './measure.mjs'
import { byKernel, duration, openSystem } from './system.mjs'

const MODEL = llama({ layers: 4, width: 256, heads: 4, kvHeads: 2, feedForward: 688, vocab: 50257, tied: true })
const SIZES = [
  { sequence: 8192, chunk: 1024 },
  { sequence: 16384, chunk: 2048 },
]

export async function step() {
  const text = longText('lib.dom.d.ts')
  for (const { sequence, chunk } of SIZES) {
    const systems = {
      fpdt: openSystem(MODEL, { sequence, chunk, ranks: 2 }, text),
      ulysses: openSystem(MODEL, { sequence, ranks: 2, system: 'ulysses' }, text),
    }
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

function report(sequence, chunk, systems, { peakFlopsPerSecond, rates: machine }) {
  const flops = modelFlops(MODEL, [sequence])
  const head = ['', 'ms a step', 'tokens/s', 'MFU', 'cores used', 'pool idle ms', 'of step', 'predicted ms', 'of measured', 'device peak a rank']
  const summary = [head]
  const families = new Map()
  for (const [name, { training, native, seconds, spans, cores }] of Object.entries(systems)) {
    const { program } = native
    const predicted = simulate(program, durations(program, machine), { sharedCompute: true })
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

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0)
