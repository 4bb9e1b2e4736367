/** Goes on with the run in a folder, or begins it, and saves it after every step until it is killed: node train-for-ever.mjs FOLDER. Prints a line before and after the first save. */
import { isBegun } from '../../../kernel/lib/checkpoint/folder.js'
import { adamW, Device, llama } from '../../../kernel/lib/fpdt/index.js'
import { unmeasured } from '../unmeasured.mjs'
import { optimizer, options, sizes, tokens } from './sizes.mjs'

unmeasured(Device)
const folder = process.argv[2]
const device = await Device.cpu({ memory: '64 MiB', host: '64 MiB', threads: 1 })
const run = isBegun(folder) ? await device.resume(folder) : await device.train(llama(sizes), { ...options, optimizer: adamW(optimizer) })
for (let saved = 0; ; saved++) {
  await run.step(tokens)
  if (saved === 0) console.log('saves')
  await run.save(folder)
  if (saved === 0) console.log('saved')
}
