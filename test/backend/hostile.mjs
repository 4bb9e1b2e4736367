/**
 * Runs what hostile.test.ts sends, one thing at a time, and answers how it ended: 'ran' or the code of the error. A process of
 * its own, since what is tested is that it neither crashes nor hangs.
 */
import { createRequire } from 'node:module'

const { Device } = createRequire(import.meta.url)('../../native/build/fpdt.node')
const step = Float64Array.of(0, 1, 1, 1)
const device = new Device({ backend: 'cpu', threads: 2 })
const alone = new Device({ backend: 'cpu', threads: 1 }) // its rows are worked on in order

/** `memory` is what the device arena of every rank begins with, as far as it reaches. */
async function run({ program, memory }) {
  const executor = device.load(program)
  const bytes = Math.min(memory.length, program.arenaBytes.device)
  for (let rank = 0; rank < program.ranks; rank++) executor.write('device', rank, 0, memory.subarray(0, bytes))
  try {
    await executor.run(undefined, step)
  } finally {
    executor.close()
  }
}
/** Operands are places in one memory, so that they may overlap; null for one that is not given. */
function call({ kernel, numbers, places, memory, workspaceBytes }) {
  const operands = places.map((place) => place && memory.subarray(place.offset, place.offset + place.bytes))
  alone.call(kernel, numbers, operands, workspaceBytes, 0, step)
}

process.on('message', async (attempt) => {
  try {
    await (attempt.program ? run(attempt) : call(attempt))
    process.send('ran')
  } catch (error) {
    process.send(error.code ?? String(error))
  }
})
