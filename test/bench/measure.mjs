/**
 * How everything here is measured: what is compared runs in turns within one process, and the best of the rounds counts,
 * since other work on the machine only ever slows a measurement. A fixed loop is timed in every round: it says how quiet the
 * machine was, on one thread; the cores that the process had say it of the others.
 */
import { loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { openDevice } from '@fpdt/native'
import { cpuWorkspaceBytes } from '../../kernel/lib/plan/cpu-workspace.js'
import { KERNELS } from '../../kernel/lib/schedule/kernels.js'

export const ROUNDS = 5
/** A short call is repeated within a round for this long. */
const ROUND_MS = 25

const spins = []
/** Milliseconds of a fixed loop on one thread: a chain of 8 M dependent operations. */
function spin() {
  const begin = performance.now()
  let x = 1
  for (let i = 0; i < 8_000_000; i++) x = (Math.imul(x, 1664525) + 1013904223) | 0
  const time = performance.now() - begin
  return x === 0 ? Number.NaN : time // uses x, so that the loop is not taken out
}

const used = { cpu_us: 0, wall_ms: 0 }

/** One line on how quiet the machine was since the last call: cores this process got, fewer than its threads when others took them. */
export function quietness() {
  const load = `load ${loadavg()[0].toFixed(1)}`
  if (spins.length === 0) return load
  const times = spins.splice(0).sort((a, b) => a - b)
  const [best, middle, worst] = [times[0], times[times.length >> 1], times.at(-1)].map((time) => time.toFixed(1))
  const cores = (used.cpu_us / 1e3 / used.wall_ms).toFixed(2)
  Object.assign(used, { cpu_us: 0, wall_ms: 0 })
  return `${cores} of ${threads} cores had; fixed spin loop ${best} ms at best, ${middle} median, ${worst} at worst; ${load}`
}

/**
 * Seconds of each of several calls, by name: the best of `rounds`, in turns. A call may be async, and may return seconds of its own.
 * @template {string} Name
 * @param {Record<Name, () => unknown>} calls
 * @returns {Promise<Record<Name, number>>}
 */
export async function bestInTurns(calls, rounds = ROUNDS) {
  const best = Object.fromEntries(Object.keys(calls).map((name) => [name, Number.POSITIVE_INFINITY]))
  for (let round = 0; round < rounds; round++) {
    spins.push(spin())
    const [start, before] = [performance.now(), process.cpuUsage()]
    for (const [name, call] of Object.entries(calls)) {
      const until = performance.now() + ROUND_MS
      do {
        const begin = performance.now()
        const own = await call()
        best[name] = Math.min(best[name], typeof own === 'number' ? own : (performance.now() - begin) / 1e3)
      } while (performance.now() < until)
    }
    const { user, system } = process.cpuUsage(before)
    used.cpu_us += user + system
    used.wall_ms += performance.now() - start
  }
  return best
}

/** What the command line asks for. */
export const { positionals: asked, values: options } = parseArgs({
  allowPositionals: true,
  options: { threads: { type: 'string' }, write: { type: 'boolean' }, only: { type: 'string' }, beside: { type: 'string' } },
})
export const device = openDevice({ backend: 'cpu', ...(options.threads ? { threads: Number(options.threads) } : {}) })
export const { name: processor, path, threads } = device.info()

/** A call of one kernel; numbers by the names of KERNELS, operands in its order, optional ones at the end left out. */
export function kernelCall(kernel, numbers, operands) {
  const { code, parameterNames, operands: specs } = KERNELS[kernel]
  const parameters = Float64Array.from(parameterNames, (name) => numbers[name] ?? 0)
  const workspace = cpuWorkspaceBytes(kernel, [...parameters], threads)
  const step = Float64Array.of(0, 1, 1, 1)
  const all = specs.map((_, i) => operands[i] ?? null)
  return () => device.call(code, parameters, all, workspace, 0, step)
}

export const f32 = (count) => new Float32Array(count)
/** bf16 values near 0.008, not all equal. */
export const bf16 = (count) => new Uint16Array(count).map((_, i) => 0x3c00 + (i % 31))

/** Rows of text, the first the head; columns after `left` stand to the right. */
export function printTable(title, rows, left = 1) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  console.log(`\n${title}`)
  for (const row of rows)
    console.log(`  ${row.map((cell, column) => (column < left ? cell.padEnd(widths[column]) : cell.padStart(widths[column]))).join('  ')}`.trimEnd())
}
export const percent = (share) => `${(100 * share).toFixed(0)} %`
export const giga = (rate) => (rate / 1e9).toFixed(0)
export const milliseconds = (seconds) => (seconds * 1e3).toFixed(seconds < 0.1 ? 2 : 0)
