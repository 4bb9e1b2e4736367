/**
 * How long a sequence each system trains in the same device memory, by steps that really run: the longest that fits, and what
 * refuses the next one. No times: they are of `npm run bench -- pytorch`. FPDT ends where the host does, so its rows differ in what waits where and in the host memory they are given.
 */
import { Device, FpdtError, formatBytes, llama } from '../../kernel/lib/fpdt/index.js'
import { longestInMemory } from '../../kernel/lib/fpdt/plan/what-fits.js'
import { printTable, threads } from './measure.mjs'
import { intoReadme, markdown } from './readme.mjs'
import { tokensBelow } from './system.mjs'

const MIB = 2 ** 20
const MEMORY = 12 * MIB
const MODEL = llama({ layers: 2, width: 64, heads: 4, kvHeads: 2, vocab: 1024 })
/** Rows of logits at a time. The published baselines hold all of them, which is what ends them first; with this they do not. */
const lossRows = 64
const UNIT = 256
const CHUNK = 1024

const fpdt = { chunk: CHUNK, lossRows }
const onDisk = { ...fpdt, checkpoints: 'disk' }
const ROWS = [
  ['Ulysses', 40, { system: 'ulysses' }],
  ['Ulysses, checkpointed', 40, { system: 'ulysses-checkpoint' }],
  ['Ulysses, checkpoints offloaded', 40, { system: 'ulysses-offload' }],
  [`Ulysses, logits ${lossRows} rows at a time`, 40, { system: 'ulysses', lossRows }],
  [`… checkpointed, logits ${lossRows} rows at a time`, 40, { system: 'ulysses-checkpoint', lossRows }],
  [`… checkpoints offloaded, logits ${lossRows} rows at a time`, 40, { system: 'ulysses-offload', lossRows }],
  [`FPDT without offload, chunks of ${CHUNK}`, 40, { ...fpdt, system: 'fpdt-device' }],
  [`FPDT, chunks of ${CHUNK}`, 40, fpdt],
  ['… checkpoints on disk', 40, onDisk],
  ['…', 128, fpdt],
  ['…', 1024, fpdt],
  ['… checkpoints on disk', 1024, onDisk],
]

export async function length() {
  const text = tokensBelow(MODEL.vocabulary)
  const rows = []
  for (const [name, host, sizes] of ROWS) {
    const device = await Device.cpu({ memory: MEMORY, host: host * MIB, threads })
    try {
      const row = { name, host, ...(await longest(device, sizes, text)) }
      console.log(`  ${name}, host ${host} MiB: ${row.sequence} tokens`)
      rows.push(row)
    } finally {
      await device.close()
    }
  }
  const base = Math.max(...rows.filter(({ name }) => name === 'Ulysses, checkpoints offloaded').map(({ sequence }) => sequence))
  const table = [['', 'host', 'longest sequence', 'times Ulysses, offloaded', 'device touched', 'the step', 'the next one']]
  for (const { name, host, sequence, touched, ran, end } of rows)
    table.push([name, `${host} MiB`, `${sequence}`, (sequence / base).toFixed(1), touched, ran, end])
  const title = `Longest sequence in ${formatBytes(MEMORY)} of device memory: 2 layers, width ${MODEL.width}, ${MODEL.vocabulary} words`
  printTable(title, table)
  intoReadme('length', [`${title}.`, markdown(table)])
}

/** Runs the longest step that fits, and asks for the next longer one. */
async function longest(device, sizes, text) {
  const sequence = longestInMemory(MODEL, sizes, device.machine)
  const end = await refusal(device, sizes, sequence + (sizes.chunk ?? UNIT))
  if (sequence === 0) return { sequence, touched: '', ran: '', end }
  let run
  try {
    run = await device.train(MODEL, { ...sizes, sequence })
  } catch (error) {
    if (!(error instanceof FpdtError && /million ops/.test(error.message))) throw error
    return { sequence, touched: 'planned', ran: `${/about (\d+ million ops)/.exec(error.message)[1]}: not run`, end: 'the host is full, foretold' }
  }
  await run.step(text)
  const { touched, predicted } = run.memory('device')
  if (touched !== predicted) throw new Error(`${touched} bytes touched, ${predicted} predicted`)
  return { sequence, touched: formatBytes(touched), ran: 'ran', end }
}

/** What does not fit, in words. */
async function refusal(device, sizes, sequence) {
  try {
    await (await device.train(MODEL, { ...sizes, sequence })).close()
  } catch (error) {
    if (!(error instanceof FpdtError)) throw error
    const [, tier, needed] = /the (\w+) tier needs \d+ bytes \(([^)]+)\)/.exec(error.message) ?? []
    return tier ? `${tier} needs ${needed}` : error.message
  }
  throw new Error(`${sequence} tokens fit, and were said not to`)
}
