/**
 * `npm run bench`: tables of how fast this machine runs what training is made of. On two quiet cores with bf16 units attention,
 * gemm and step take three minutes together, kernel, pytorch and curve some more each.
 *
 *   npm run bench                     all subjects but the two at the end
 *   npm run bench -- attention gemm   these
 *   npm run bench -- gemm --threads 1
 *   npm run bench -- pytorch --write  the table goes into README too
 *   npm run bench -- widgets          runs of up to a million spans, drawn in headless Chromium
 *   npm run bench -- length           the longest sequence in the same device memory
 *   npm run bench -- long             64 K, 256 K and 1 M tokens: a quarter of an hour or more
 */
import { program, setup } from '../../.ci/setup.mjs'
import { TaskError } from '../../.ci/task.mjs'

/** Subjects, each imported when it runs: what they import is built first. */
const subjects = {
  attention: async () => (await import('./attention.mjs')).attention(),
  gemm: async () => (await import('./gemm.mjs')).gemm(),
  step: async () => (await import('./step.mjs')).step(),
  pytorch: async () => {
    await setup({ only: ['python-test'] })
    await (await import('./pytorch.mjs')).pytorch()
  },
  curve: async () => {
    await setup({ only: ['python-test'] })
    await (await import('./curve.mjs')).curve()
  },
  kernel: async () => {
    await setup({ only: ['python-test'] })
    await (await import('./kernel.mjs')).kernel()
  },
  widgets: async () => (await import('./widgets.mjs')).widgets(),
  live: async () => {
    await (await import('./live.mjs')).live()
    ;(await import('./live-picture.mjs')).livePicture()
  },
  length: async () => (await import('./length.mjs')).length(),
  long: async () => (await import('./long.mjs')).long(),
}
/** Only where they are asked for: they take many minutes. */
const APART = ['length', 'long']

await program(async () => {
  await setup()
  const { asked, path, processor, quietness, ROUNDS, threads } = await import('./measure.mjs')
  for (const name of asked) if (!(name in subjects)) throw new TaskError(`there is no subject ${name}; there are ${Object.keys(subjects).join(', ')}`)
  console.log(`${new Date().toISOString().slice(0, 16)} · ${processor}, ${threads} threads, ${path} kernels · best of ${ROUNDS}, in turns`)
  for (const name of asked.length > 0 ? asked : Object.keys(subjects).filter((subject) => !APART.includes(subject))) {
    await subjects[name]()
    console.log(`  (${quietness()})`)
  }
})
