/**
 * Saves a run where the disk has no room for it. Prints what each attempt ended with, one JSON array.
 *
 *   node full-disk.mjs FOLDER limit BYTES    one save, then one under RLIMIT_FSIZE
 *   node full-disk.mjs FOLDER fill           in a small file system: saves until it is full
 *   node full-disk.mjs FOLDER train BYTES    begins a run whose disk tier may not be that large
 *   node full-disk.mjs FOLDER step BYTES     saves it, then a disk tier that is reserved cannot be written in the middle of an update
 */
import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { adamW, Device, llama } from '../../../kernel/lib/fpdt/index.js'
import { unmeasured } from '../unmeasured.mjs'
import { optimizer, options, sizes, tokens } from './sizes.mjs'

unmeasured(Device)
const [folder, mode, limit] = process.argv.slice(2)
const results = []
const attempt = async (work) => {
  try {
    await work()
    results.push('done')
  } catch (error) {
    results.push(`${error.name} ${error.code}: ${error.message}`)
  }
}
const refuseBeyond = (bytes) => execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${bytes}`])
const device = await Device.cpu({ memory: '64 MiB', host: '64 MiB', threads: 1, ...(mode === 'train' ? { diskFolder: folder } : {}) })
const tier = mode === 'train' || mode === 'step' ? 'disk' : 'device'
const train = () => device.train(llama(sizes), { ...options, optimizer: adamW({ ...optimizer, tier }) })

if (mode === 'train') {
  refuseBeyond(limit)
  await attempt(train)
} else if (mode === 'step') {
  const run = await train()
  await run.step(tokens)
  await run.save(folder)
  refuseBeyond(limit)
  await attempt(() => run.step(tokens))
  for (const next of ['step', 'evaluate', 'save', 'parameters']) await attempt(() => run[next](next === 'save' ? folder : tokens))
} else {
  const run = await train()
  const saveNext = async () => {
    await run.step(tokens)
    await attempt(() => run.save(folder, { keep: mode === 'fill' ? 100 : 2 }))
  }
  await saveNext()
  if (mode === 'limit') refuseBeyond(limit)
  do await saveNext()
  while (mode === 'fill' && results.at(-1) === 'done' && results.length < 100)
  results.push(readdirSync(folder).sort().join(' '))
}
console.log(JSON.stringify(results))
process.exit()
