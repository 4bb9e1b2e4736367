/**
 * Whole training steps beside PyTorch on the same cores, in turns: a Llama of 4 layers, width 512, 4 heads, feed-forward 1376, 8192
 * words, in bf16. PyTorch runs `pytorch.py` in a process of its own, which sleeps while ours works.
 *
 * Like is compared with like: PyTorch with activation checkpointing, 'ulysses-checkpoint' and 'fpdt' compute each layer's forward
 * twice; 'ulysses' computes nothing twice, and `keep: 'host'` all but attention. MFU counts none of what is done twice.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpus, loadavg } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { root, TaskError } from '../../.ci/task.mjs'
import { mfu, modelFlops } from '../../kernel/lib/cost/flops.js'
import { measureGemm } from '../../kernel/lib/cost/machine.js'
import { llama } from '../../kernel/lib/model/llama.js'
import { SYSTEMS as KNOWN_SYSTEMS } from '../../kernel/lib/schedule/systems.js'
import { device, giga, milliseconds, options, percent, printTable, threads } from './measure.mjs'
import { intoReadme, markdown } from './readme.mjs'
import { byKernel, copies, openSystem, tokensBelow } from './system.mjs'

const MODEL = llama({ layers: 4, width: 512, heads: 4, feedForward: 1376, vocab: 8192, tied: false })
/** Chunks of 2048 rows run at the un-chunked rate; two chunks at least, so that there is something to pipeline. */
const SIZES = [
  { sequence: 2048, chunk: 1024 },
  { sequence: 8192, chunk: 2048 },
  { sequence: 16384, chunk: 2048 },
]
/** Turns of each size: so many, or, from the second on, no more than fit into this time. */
const TURNS = 4
const SIZE_SECONDS = 150
/** Of the threads' cores, at the fastest step: with fewer, others took them, and OpenMP suffers more from that than our pool does. */
const LEAST_CORES = 0.8

const PEER = 'PyTorch'
const SYSTEMS = {
  fpdt: {},
  'fpdt-device': { system: 'fpdt-device' },
  "fpdt, keep: 'host'": { keep: 'host' },
  'ulysses-checkpoint': { system: 'ulysses-checkpoint' },
  ulysses: { system: 'ulysses' },
}

export async function pytorch() {
  const peer = await openPeer()
  const summary = [['tokens', '', 'tokens/s', `of ${PEER}`, 'MFU', 'cores', 'device memory', 'copies', 'of them hidden', 'exposed, of step']]
  const ratios = []
  const starved = []
  try {
    let largest
    for (const size of SIZES) {
      const { sequence } = size
      const measured = await inTurns(size, peer)
      for (const [name, one] of Object.entries(measured.of)) summary.push(rowOf(sequence, name, one, measured))
      ratios.push(ratioRow(sequence, measured.of))
      for (const [name, { cores }] of Object.entries(measured.of))
        if (cores < LEAST_CORES * threads) starved.push(`${name} at ${sequence} tokens had ${cores.toFixed(2)} of ${threads} cores`)
      printTable(`${sequence} tokens; best GEMM ${giga(measured.peak)} GF/s`, [summary[0], ...summary.slice(-Object.keys(measured.of).length)], 2)
      largest = { ...measured, sequence }
    }
    const compared = [['tokens', `fpdt / ${PEER}`, 'fpdt / ulysses-checkpoint', "fpdt, keep: 'host' / ulysses", 'fpdt / fpdt-device'], ...ratios]
    printTable('Ratios of tokens/s', compared)
    const kernels = kernelTable(largest)
    printTable(kernels.title, kernels.rows)
    if (starved.length > 0) console.log(`\n  The machine was busy, these ratios are not its own: ${starved.join('; ')}.`)
    if (starved.length > 0 && options.write) throw new TaskError('README is left as it is; run this again on a quiet machine')
    intoReadme('pytorch', [markdown(summary, 2), markdown(compared), `${kernels.title}:`, markdown(kernels.rows)])
  } finally {
    peer.close()
  }
}

/** All systems and the peer on one length, the fastest step of each; and the best GEMM rate of the same minutes. */
async function inTurns({ sequence, chunk }, peer) {
  const text = tokensBelow(MODEL.vocabulary)
  const chunks = (system) => (KNOWN_SYSTEMS[system ?? 'fpdt'].chunked ? { chunk } : {})
  const systems = Object.fromEntries(
    Object.entries(SYSTEMS).map(([name, options]) => [name, openSystem(MODEL, { sequence, ...chunks(options.system), ...options }, text)]),
  )
  const of = { [PEER]: { seconds: Number.POSITIVE_INFINITY, cores: 0 }, ...systems }
  let peak = 0
  const begin = performance.now()
  try {
    for (let turn = 0, longest_s = 0; turn < TURNS; turn++) {
      const before = performance.now()
      peak = Math.max(peak, measureGemm(device, 'bf16'))
      const { seconds, cpu } = await peer.step(sequence)
      if (seconds < of[PEER].seconds) of[PEER] = { seconds, cores: cpu / seconds }
      const said = [`${PEER} ${seconds.toFixed(2)} s`]
      for (const [name, system] of Object.entries(systems)) said.push(`${name} ${(await system.run()).toFixed(2)} s`)
      peak = Math.max(peak, measureGemm(device, 'bf16'))
      console.log(`  ${sequence} tokens, turn ${turn + 1}: ${said.join(', ')} (load ${loadavg()[0].toFixed(1)})`)
      longest_s = Math.max(longest_s, (performance.now() - before) / 1e3)
      if (turn > 0 && (performance.now() - begin) / 1e3 + longest_s > SIZE_SECONDS) break
    }
  } finally {
    for (const system of Object.values(systems)) system.close()
  }
  return { of, peak }
}

function rowOf(sequence, name, { seconds, cores, training, program, spans }, { of, peak }) {
  const ours = training && copies(program, spans)
  return [
    `${sequence}`,
    training && training.config.chunks > 1 ? `${name}, chunk ${training.config.chunk}` : name,
    (sequence / seconds).toFixed(0),
    (of[PEER].seconds / seconds).toFixed(2),
    percent(mfu(modelFlops(MODEL, [sequence]), seconds, peak)),
    cores.toFixed(2),
    ...(ours ? [`${(training.plan.arenaBytes.device / 2 ** 20).toFixed(0)} MiB`] : ['']),
    ...(ours?.seconds ? [`${milliseconds(ours.seconds)} ms`, percent(ours.hidden), `${((100 * ours.exposed) / seconds).toFixed(1)} %`] : ['', '', '']),
  ]
}

function ratioRow(sequence, of) {
  const ratio = (a, b) => (of[b].seconds / of[a].seconds).toFixed(2)
  return [`${sequence}`, ratio('fpdt', PEER), ratio('fpdt', 'ulysses-checkpoint'), ratio("fpdt, keep: 'host'", 'ulysses'), ratio('fpdt', 'fpdt-device')]
}

/** Where the time of the fastest FPDT step went. */
function kernelTable({ of, peak, sequence }) {
  const { program, spans, seconds } = of.fpdt
  const rows = [['kernel', 'calls', 'ms', 'of step', 'GF/s', 'of best GEMM', 'GB/s']]
  const kernels = [...byKernel(program, spans)].sort(([, a], [, b]) => b.seconds - a.seconds)
  for (const [kernel, row] of kernels) {
    const rate = row.flops / row.seconds
    rows.push([
      kernel,
      `${row.calls}`,
      milliseconds(row.seconds),
      `${((100 * row.seconds) / seconds).toFixed(1)} %`,
      giga(rate),
      percent(rate / peak),
      giga(row.bytes / row.seconds),
    ])
  }
  const idle = seconds - kernels.reduce((sum, [, row]) => sum + row.seconds, 0)
  rows.push(['(no kernel)', '', milliseconds(idle), `${((100 * idle) / seconds).toFixed(1)} %`, '', '', ''])
  return { title: `FPDT at ${sequence} tokens, ${program.length} ops, time by kernel; best GEMM ${giga(peak)} GF/s`, rows }
}

/** `pytorch.py`, ready to step. */
async function openPeer() {
  const { layers, width, heads, feedForward, vocabulary, positions, normEps } = MODEL
  const sizes = JSON.stringify({ layers, width, heads, feedForward, vocabulary, theta: positions.theta, normEps, threads })
  const script = fileURLToPath(new URL('pytorch.py', import.meta.url))
  const child = spawn(join(root, '.venv/bin/python'), [script, sizes], { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const next = async () => {
    const { value, done } = await lines.next()
    if (done) throw new TaskError(`${script} ended; what it said stands above`)
    return value
  }
  const failed = once(child, 'error').then(([error]) => Promise.reject(new TaskError(`cannot start ${script}: ${error.message}`)))
  console.log(`  ${PEER} ${await Promise.race([next(), failed])} on ${threads} threads beside ours (${cpus().length} cores)`)
  failed.catch(() => {})
  return {
    async step(tokens) {
      child.stdin.write(`${tokens}\n`)
      return JSON.parse(await next())
    },
    close: () => child.stdin.end(),
  }
}
