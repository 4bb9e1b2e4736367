/**
 * A disk arena under limits that the tests' own process cannot take. Prints how it ended: 'ran', or code and message.
 *
 *   node disk.mjs FOLDER RANKS BYTES [LIMIT]
 *
 * Loads a program of BYTES of host and disk arena on each rank and spills all of it; with LIMIT, no file may grow or be written beyond it
 * once the arena is reserved.
 */
import { execFileSync } from 'node:child_process'
import { createRequire } from 'node:module'

const { Device } = createRequire(import.meta.url)('../../native/build/fpdt.node')
const [folder, ranks, bytes, limit] = process.argv.slice(2)
const spill = {
  ranks: Number(ranks),
  length: 1,
  op: Uint32Array.of(0),
  code: Uint16Array.of(102),
  stream: Uint8Array.of(5),
  operandStart: Uint32Array.of(0, 2),
  operandTier: Uint8Array.of(1, 2),
  operandOffset: Float64Array.of(0, 0),
  operandBytes: Float64Array.of(Number(bytes), Number(bytes)),
  parameterStart: Uint32Array.of(0, 0),
  parameters: new Float64Array(),
  waitStart: Uint32Array.of(0, 0),
  waitEntry: new Uint32Array(),
  arenaBytes: { device: 0, host: Number(bytes), disk: Number(bytes) },
}
try {
  const executor = new Device({ backend: 'cpu', threads: 1, diskFolder: folder }).load(spill)
  if (limit) execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${limit}`])
  await executor.run(undefined, Float64Array.of(0, 1, 1, 1))
  console.log('ran')
} catch (error) {
  console.log(`${error.code}: ${error.message}`)
}
